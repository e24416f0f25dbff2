"""Jobs go into free slots alone; a process that stops leaves nothing half done."""

from collections.abc import Iterable
from typing import Any

import pytest

from protocol.messages import Job, Text
from tests.flow.fates import Fates
from tests.flow.line import Line
from tests.flow.target import Step, words

TALK = words(20, every_s=0.05)


def test_a_worker_never_runs_more_than_it_has_slots_for() -> None:
    with Line(script=words(5)) as line:
        edge, first, second = line.add_edge(), line.add_worker(slots=2), line.add_worker(slots=1)
        most = 0

        clients = [edge.post() for _ in range(12)]

        while not all(client.ended for client in clients):
            line.run(0.005)
            open_now = [saying.worker for saying in line.sayings if not saying.closed]
            assert open_now.count(first.name) <= 2
            assert open_now.count(second.name) <= 1
            most = max(most, len(open_now))
        assert most == 3
        assert all(client.ended_well for client in clients)
        assert sorted(client.text for client in clients) == sorted(saying.text for saying in line.sayings)
        line.settle()


def test_two_pools_share_a_workers_slots() -> None:
    models = {"front": "front-desk", "back": "back-office"}
    with Line(script=words(5), models=models) as line:
        edge = line.add_edge()
        line.add_worker(slots=2, pools=("front-desk", "back-office"))

        clients = [edge.post(model=model) for model in ("front", "back") * 5]

        while not all(client.ended for client in clients):
            line.run(0.005)
            assert sum(not saying.closed for saying in line.sayings) <= 2
        assert all(client.ended_well for client in clients)
        assert [saying.job.model for saying in line.sayings].count("front") == 5
        line.settle()


def test_a_model_is_served_by_its_own_pool_alone() -> None:
    models = {"front": "front-desk", "back": "back-office"}
    with Line(script=words(5), models=models) as line:
        edge, front = line.add_edge(), line.add_worker(pools=("front-desk",))
        line.run(3.1)

        served, refused = edge.post(model="front"), edge.post(model="back")

        line.until(lambda: served.ended and refused.ended)
        assert served.ended_well
        assert refused.error is not None
        assert refused.error["code"] == "no_worker"
        assert {saying.worker for saying in line.sayings} == {front.name}


def test_a_frozen_worker_that_goes_on_pulling_swallows_no_job() -> None:
    with Line(script=words(3)) as line:
        edge, frozen, _ = line.add_edge(), line.add_worker(slots=8), line.add_worker(slots=8)
        line.run(0.5)
        frozen.freeze(4.0)

        clients = [edge.post() for _ in range(6)]

        line.until(lambda: all(client.ended for client in clients), within_s=3.0)
        assert all(client.ended_well for client in clients)
        line.run(4.0)
        line.settle()
        for client in clients:
            assert client.text in {saying.text for saying in line.sayings}


def test_a_draining_worker_finishes_what_it_runs_and_takes_nothing_new() -> None:
    with Line(script=TALK) as line:
        edge, first = line.add_edge(), line.add_worker()
        running = edge.post()
        line.until(lambda: running.text)

        first.drain()
        line.run(0.01)
        later = edge.post()
        line.run(0.1)
        second = line.add_worker()

        line.until(lambda: running.ended and later.ended)
        assert running.ended_well
        assert later.ended_well
        assert [saying.worker for saying in line.sayings] == [first.name, second.name]
        line.until(lambda: first.drained)
        line.settle()


def test_what_arrived_before_the_drain_is_still_served() -> None:
    """The pull is ended at the server first: a job that was on its way is not left for 300 ms."""
    with Line(script=words(3)) as line:
        edge, first = line.add_edge(), line.add_worker()
        line.add_worker(slots=1)
        line.run(0.1)
        client = edge.post()

        first.drain()

        line.until(lambda: client.ended)
        assert client.ended_well
        line.until(lambda: line.records)
        assert [record.offers for record in line.records] == [1]
        line.settle()


def test_a_drain_that_runs_out_before_the_first_word_hands_the_turn_on() -> None:
    with Line(script=words(5, first_s=1.0)) as line:
        edge, first = line.add_edge(), line.add_worker(drain_s=0.2)
        client = edge.post()
        line.until(lambda: line.sayings)
        line.add_worker()

        first.drain()

        line.until(lambda: client.ended)
        assert client.ended_well
        assert client.text == line.sayings[1].text
        line.until(lambda: first.drained is False)
        line.until(lambda: line.records)
        assert [record.offers for record in line.records] == [2]
        line.settle()


def test_a_drain_that_runs_out_mid_stream_ends_openly() -> None:
    with Line(script=words(400, every_s=0.05)) as line:
        edge, worker = line.add_edge(), line.add_worker(drain_s=0.2)
        client = edge.post()
        line.until(lambda: client.text)

        worker.drain()

        line.until(lambda: client.ended)
        assert client.ended_explicitly
        assert client.error is not None
        assert line.sayings[0].closed
        line.settle()


@pytest.mark.parametrize("on_lost", ["error", "finish", "continue"])
def test_an_edge_that_drains_lets_streams_finish(on_lost: str) -> None:
    with Line(script=TALK, on_lost=on_lost) as line:
        edge, _ = line.add_edge(), line.add_worker()
        client = edge.post()
        line.until(lambda: client.text)

        edge.drain(5.0)

        line.until(lambda: edge.drained)
        assert client.ended_well
        assert client.text == line.sayings[0].text
        line.settle()


def test_an_edge_whose_drain_runs_out_ends_its_streams_openly() -> None:
    with Line(script=words(400, every_s=0.05)) as line:
        edge, worker = line.add_edge(), line.add_worker()
        client = edge.post()
        line.until(lambda: client.text)

        edge.drain(0.5)

        line.until(lambda: edge.drained is False)
        assert client.ended_explicitly
        line.until(lambda: line.sayings[0].closed and worker.bus.live == 0, within_s=0.1)
        line.settle()


def test_a_drain_that_runs_out_does_not_wait_for_clients_that_do_not_read() -> None:
    def spurt(_: int, __: Job) -> Iterable[Step]:
        yield Text("hello ")
        yield 0.2
        yield from [Text("x" * 8192) for _ in range(20)]
        yield 60.0

    with Line(script=spurt) as line:
        edge, worker = line.add_edge(), line.add_worker()
        clients = [edge.post() for _ in range(3)]
        line.until(lambda: all(client.text for client in clients))
        for client in clients:
            client.stop_reading()
        line.run(0.5)

        edge.drain(0.5)

        line.until(lambda: edge.drained is False, within_s=0.5 + 1.0 + 0.2)
        line.until(lambda: worker.bus.live == 0, within_s=2.0)
        line.settle()


def test_a_job_that_nobody_can_read_ends_with_its_budget() -> None:
    """Of another version, say: no worker claims it, and no worker falls over it."""
    with Line(script=words(3), budget_s=1.0) as line:
        edge, _ = line.add_edge(), line.add_worker()
        good = edge.post()
        line.until(lambda: good.ended)
        edge.wire.publish("trunkline.1.job.default.edge0.77", b"\xc1", headers={"Nats-TTL": "1"})
        line.run(1.5)

        after = edge.post()

        line.until(lambda: after.ended, within_s=2.0)
        assert after.ended_well
        line.settle()


def test_a_second_delivery_of_a_job_is_a_claim_that_says_nothing() -> None:
    seen: list[Job] = []
    fates = Fates(of={("delivery", 0): (0.0, 0.02)})

    def script(number: int, job: Job) -> object:
        seen.append(job)
        return words(20)(number, job)

    with Line(script=script, fate=fates) as line:  # type: ignore[arg-type]
        edge, _ = line.add_edge(), line.add_worker(slots=2)

        client = edge.post()

        line.until(lambda: client.ended)
        assert client.text == line.sayings[0].text
        assert not any(saying.whole for saying in line.sayings[1:])
        line.settle()


def test_a_job_that_finds_a_pull_open_begins_without_another_way_to_the_server() -> None:
    """Its edge lived a moment ago: looking for it first would cost every turn that way."""
    with Line() as line:
        edge, worker = line.add_edge(), line.add_worker()
        line.run(0.5)

        client = edge.post()

        line.until(lambda: client.ended)
        assert client.ended_well
        assert worker.bus._echo_number == 0
        line.settle()


def test_a_job_that_waited_for_a_slot_begins_once_its_edge_is_known_to_listen() -> None:
    with Line() as line:
        edge, worker = line.add_edge(), line.add_worker(slots=1)
        line.run(0.5)

        clients = [edge.post() for _ in range(2)]

        line.until(lambda: all(client.ended for client in clients))
        assert all(client.ended_well for client in clients)
        assert worker.bus._echo_number == 1
        line.settle()


def test_jobs_that_waited_and_are_claimed_together_share_one_look_for_their_edge() -> None:
    with Line() as line:
        edge = line.add_edge()
        clients = [edge.post() for _ in range(5)]
        line.until(lambda: line.queued == 5)

        worker = line.add_worker()

        line.until(lambda: all(client.ended for client in clients))
        assert all(client.ended_well for client in clients)
        assert 1 <= worker.bus._echo_number < 5
        line.settle()


def test_a_job_that_came_in_the_last_moment_of_a_connection_waits_for_the_next() -> None:
    """Its edge has not heard of the claim: somebody else gets the job, and two models would answer it."""
    with Line(script=words(20)) as line:
        edge, worker = line.add_edge(), line.add_worker()
        line.run(0.5)
        take = worker.bus._take

        def cut_off_and_take(*message: Any, **more: Any) -> None:
            worker.cut_off(2.0)
            take(*message, **more)

        worker.bus._take = cut_off_and_take  # type: ignore[method-assign]
        client = edge.post()
        line.until(lambda: not worker.bus.connected)
        line.run(1.0)
        assert not line.sayings

        worker.bus._take = take  # type: ignore[method-assign]
        line.until(lambda: client.ended)
        assert client.ended_well
        assert sum(saying.whole for saying in line.sayings) == 1
        line.settle()
