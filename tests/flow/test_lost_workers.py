"""Workers that die or freeze: before the caller has heard something nobody notices, afterwards it ends openly."""

import pytest

from protocol.messages import Job
from tests.flow.fates import Fates
from tests.flow.line import Line
from tests.flow.processes import WorkerProcess
from tests.flow.target import words

SLOW_START = words(5, first_s=0.5)
TALK = words(40, every_s=0.05)


def owner(line: Line, number: int = 0) -> WorkerProcess:
    """The worker that a request to the upstream came from."""
    return next(worker for worker in line.workers if worker.name == line.sayings[number].worker)


@pytest.mark.parametrize("stream", [True, False])
def test_a_worker_killed_before_the_first_word_is_not_noticed(stream: bool) -> None:
    with Line(script=SLOW_START) as line:
        edge, _, _ = line.add_edge(), line.add_worker(), line.add_worker()
        line.run(1.0)
        client = edge.post(stream=stream)
        line.until(lambda: line.sayings)
        line.run(0.2)
        began = line.now

        owner(line).kill()

        line.until(lambda: client.ended)
        assert client.ended_well
        assert client.text == line.sayings[1].text
        assert line.now - began < 1.0 + 0.6
        line.settle()
        line.until(lambda: line.records)
        assert [record.offers for record in line.records] == [2]


def test_a_worker_that_dies_with_an_ask_under_way_is_found_out_as_soon() -> None:
    """That ask stays unanswered: nobody refuses it, and nobody is left to answer."""
    fates = Fates()
    with Line(script=TALK, fate=fates) as line:
        edge, _ = line.add_edge(), line.add_worker()
        line.run(1.0)
        client = edge.post()
        line.until(lambda: client.text)
        fates.lose_next("answer", 1)
        asks = fates.seen["ask"]
        line.until(lambda: fates.seen["ask"] > asks)
        began = line.now

        owner(line).kill()

        line.until(lambda: client.ended)
        assert client.ended_explicitly
        assert line.now - began < 0.5
        line.settle()


@pytest.mark.parametrize("stream", [True, False])
def test_a_worker_frozen_before_the_first_word_is_not_noticed(stream: bool) -> None:
    with Line(script=SLOW_START) as line:
        edge, _, _ = line.add_edge(), line.add_worker(), line.add_worker()
        line.run(1.0)
        client = edge.post(stream=stream)
        line.until(lambda: line.sayings)
        line.run(0.2)
        began = line.now

        owner(line).freeze(3.0)

        line.until(lambda: client.ended)
        assert client.ended_well
        assert client.text == line.sayings[1].text
        assert line.now - began < 1.5 + 0.6
        line.run(3.0)
        assert line.sayings[0].closed, "it woke up and went on talking to nobody"
        line.settle()


def test_a_worker_killed_between_delivery_and_claim_costs_300_ms() -> None:
    """Nobody but JetStream has to notice: the same offer goes to somebody else."""
    with Line(script=words(3)) as line:
        edge, first = line.add_edge(), line.add_worker()
        first.freeze()
        client = edge.post()
        line.run(0.1)

        first.kill()
        line.add_worker()

        line.until(lambda: client.ended)
        assert client.ended_well
        line.until(lambda: line.records)
        assert [record.offers for record in line.records] == [1]
        line.settle()


def test_without_a_stream_an_answer_begins_again_in_full() -> None:
    with Line(script=TALK) as line:
        edge, _, _ = line.add_edge(), line.add_worker(), line.add_worker()
        line.run(1.0)
        client = edge.post(stream=False)
        line.until(lambda: len(line.sayings) == 1 and len(line.sayings[0].said) == 10)

        owner(line).kill()

        line.until(lambda: client.ended)
        assert client.text == line.sayings[1].text
        line.settle()


def test_after_the_first_word_a_killed_worker_is_an_error_within_half_a_second() -> None:
    with Line(script=TALK) as line:
        edge, _, _ = line.add_edge(), line.add_worker(), line.add_worker()
        line.run(1.0)
        client = edge.post()
        line.until(lambda: client.text == "0.0 0.1 0.2 ")
        began = line.now

        owner(line).kill()

        line.until(lambda: client.ended)
        assert line.now - began < 0.5
        assert client.error is not None
        assert client.error["code"] == "worker_lost"
        assert client.ended_explicitly
        assert line.sayings[0].text.startswith(client.text)
        assert len(line.sayings) == 1
        line.settle()
        line.until(lambda: line.records)
        assert [record.outcome for record in line.records] == ["worker_lost"]


def test_under_finish_a_killed_worker_ends_with_a_sentence() -> None:
    with Line(script=TALK, on_lost="finish", finish_text="Again, please?") as line:
        edge, _, _ = line.add_edge(), line.add_worker(), line.add_worker()
        line.run(1.0)
        client = edge.post()
        line.until(lambda: client.text)

        owner(line).kill()

        line.until(lambda: client.ended)
        assert client.ended_well
        said, _, closing = client.text.partition("Again")
        assert closing == ", please?"
        assert line.sayings[0].text.startswith(said)
        line.settle()


@pytest.mark.parametrize("frozen", [False, True])
def test_under_continue_another_worker_goes_on(frozen: bool) -> None:
    with Line(script=TALK, on_lost="continue") as line:
        edge, _, _ = line.add_edge(), line.add_worker(), line.add_worker()
        line.run(1.0)
        client = edge.post()
        line.until(lambda: client.text == "0.0 0.1 0.2 ")

        owner(line).freeze(5.0) if frozen else owner(line).kill()

        line.until(lambda: client.ended)
        first, second = line.sayings
        assert client.ended_well
        assert client.text == second.job.said + second.text
        assert first.text.startswith(second.job.said)
        line.run(6.0)
        line.settle()
        assert {record.usage.estimated for record in line.records} == {True}, (
            "nobody is left to say what the first cost"
        )


def test_what_a_frozen_worker_says_when_it_wakes_never_reaches_the_client() -> None:
    with Line(script=TALK) as line:
        edge, _, _ = line.add_edge(), line.add_worker(), line.add_worker()
        line.run(1.0)
        client = edge.post()
        line.until(lambda: client.text == "0.0 0.1 ")
        began = line.now
        frozen = owner(line)

        frozen.freeze()

        line.until(lambda: client.ended)
        assert line.now - began < 1.2
        assert client.error is not None
        heard = bytes(client.connection.received)
        frozen.wake()
        line.until(lambda: line.sayings[0].closed, within_s=1.0)
        line.settle()
        assert bytes(client.connection.received) == heard
        assert client.text == "0.0 0.1 "


def test_a_worker_that_wakes_in_time_goes_on_as_if_nothing_was() -> None:
    with Line(script=TALK) as line:
        edge, worker = line.add_edge(), line.add_worker()
        line.run(1.0)
        client = edge.post()
        line.until(lambda: client.text)

        worker.freeze(0.6)

        line.until(lambda: client.ended)
        assert client.text == line.sayings[0].text
        assert client.ended_well
        line.settle()


def test_a_turn_is_offered_three_times_at_most() -> None:
    with Line(script=words(5, first_s=5.0)) as line:
        edge = line.add_edge()
        for _ in range(4):
            line.add_worker()
        line.run(1.0)
        client = edge.post()
        for number in range(3):
            line.until(lambda number=number: len(line.sayings) == number + 1)  # type: ignore[misc]
            line.run(0.05)
            owner(line, number).kill()

        line.until(lambda: client.ended)

        assert client.error is not None
        assert client.error["code"] == "worker_lost"
        assert client.status == 502
        line.run(2.0)
        assert len(line.sayings) == 3
        line.settle()


def test_a_cut_off_worker_stops_its_model_and_a_living_one_answers() -> None:
    with Line(script=words(5, first_s=2.0)) as line:
        edge, _, _ = line.add_edge(), line.add_worker(), line.add_worker()
        line.run(1.0)
        client = edge.post()
        line.until(lambda: line.sayings)
        line.run(0.05)

        owner(line).stall(10.0)

        line.until(lambda: client.ended)
        assert client.text == line.sayings[1].text
        assert client.ended_well
        line.until(lambda: line.sayings[0].closed, within_s=6.0)
        line.run(8.0)
        line.settle()


def test_a_late_edge_does_not_bury_healthy_workers() -> None:
    """Its asks went unanswered because it was itself frozen or cut off: the echo did not come back either."""
    with Line(script=TALK) as line:
        edge, _ = line.add_edge(), line.add_worker()
        line.run(1.0)
        client = edge.post()
        line.until(lambda: client.text)

        edge.stall(1.0)

        line.until(lambda: client.ended)
        assert client.text == line.sayings[0].text
        assert client.ended_well
        assert len(line.sayings) == 1
        line.settle()


def test_one_no_responders_alone_buries_nobody() -> None:
    """As at every reconnect of a worker."""
    with Line(script=TALK) as line:
        edge, worker = line.add_edge(), line.add_worker()
        line.run(1.0)
        client = edge.post()
        line.until(lambda: client.text)

        worker.cut_off(0.05)

        line.until(lambda: client.ended)
        assert client.text == line.sayings[0].text
        assert client.ended_well
        line.settle()


@pytest.mark.parametrize("batch", range(8))
def test_any_lost_batch_is_asked_for_again(batch: int) -> None:
    fates = Fates(of={("batch", batch): ()})
    with Line(script=words(5), fate=fates) as line:
        edge, _ = line.add_edge(), line.add_worker()
        client = edge.post()

        line.until(lambda: client.ended, within_s=1.0)

        assert client.text == "0.0 0.1 0.2 0.3 0.4 "
        assert client.ended_well
        line.settle()


def test_a_lost_ack_of_a_claim_costs_a_second_claim_and_no_second_word() -> None:
    """Redelivered after 300 ms: the second claim is fenced, cancelled and acknowledged."""
    fates = Fates(of={("ack", 0): ()})
    with Line(script=words(40, every_s=0.05), fate=fates) as line:
        edge, _, _ = line.add_edge(), line.add_worker(), line.add_worker()
        client = edge.post()

        line.until(lambda: client.ended)

        assert client.text == line.sayings[0].text
        assert len(line.sayings) == 2
        assert line.sayings[1].closed
        assert not line.sayings[1].whole
        line.settle()


def test_a_job_is_claimed_by_its_own_offer_only() -> None:
    """The job says what the caller has heard, and how long there still is."""
    seen: list[Job] = []

    def script(number: int, job: Job) -> list[float]:
        seen.append(job)
        return [60.0]

    with Line(script=script, budget_s=4.0) as line:
        edge, _, _ = line.add_edge(), line.add_worker(), line.add_worker()
        line.run(1.0)
        edge.post()
        line.until(lambda: len(seen) == 1)
        line.run(0.5)

        owner(line).kill()

        line.until(lambda: len(seen) == 2)
        assert [job.said for job in seen] == ["", ""]
        assert seen[0].budget_ms == 4000
        assert 2500 < seen[1].budget_ms < 3500, "the budget of a second offer is what is left of the first"
        assert len({job.id for job in seen}) == 1
