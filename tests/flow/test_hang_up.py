"""A caller who hangs up, or does not read: nothing is generated for nobody."""

from collections.abc import Iterable

import pytest

from protocol.errors import UpstreamError
from protocol.messages import Finished, Job, Text, Usage
from tests.flow.fates import Fates, twice
from tests.flow.line import Line
from tests.flow.target import Step, words

TALK = words(1000, every_s=0.05)
ASKED = 9  # tokens of "hello" with its role and what stands around a message, as they are counted here


def test_a_caller_who_hangs_up_while_waiting_is_withdrawn() -> None:
    with Line(script=TALK) as line:
        edge, _ = line.add_edge(), line.add_worker(slots=1)
        talking, waiting = edge.post(), edge.post()
        line.until(lambda: talking.text)
        line.until(lambda: line.queued == 1)

        waiting.hang_up()

        line.until(lambda: line.queued == 0, within_s=0.01)
        talking.hang_up()
        line.settle()
        line.run(1.0)
        assert len(line.sayings) == 1, "the upstream was called for nobody"
        assert [record.outcome for record in line.records] == ["interrupted"] * 2


@pytest.mark.parametrize("heard", ["", "0.0 ", "0.0 0.1 0.2 "])
def test_a_caller_who_hangs_up_stops_the_model(heard: str) -> None:
    with Line(script=words(1000, first_s=0.5, every_s=0.05)) as line:
        edge, worker = line.add_edge(), line.add_worker()
        client = edge.post()
        line.until(lambda: line.sayings and not edge.bus.waiting)
        line.until(lambda: client.text == heard)

        client.hang_up()

        line.until(lambda: line.sayings[0].closed, within_s=0.01)
        line.until(lambda: worker.bus.live == 0, within_s=0.01)
        line.settle()
        line.until(lambda: line.records)
        record = line.records[0]
        assert record.outcome == "interrupted"
        assert record.cancel_ms is not None
        assert record.usage.prompt > 0
        assert len(line.sayings) == 1


def test_a_caller_who_hangs_up_between_offer_and_claim_costs_nothing_for_long() -> None:
    """The purge and the claim cross: the claim is for a line that is closed, and is cancelled."""
    with Line(script=TALK, fate=Fates({"batch": (0.05,)})) as line:
        edge, worker = line.add_edge(), line.add_worker()
        client = edge.post()
        line.until(lambda: line.sayings)
        assert edge.bus.waiting == 1

        client.hang_up()

        line.until(lambda: line.sayings[0].closed, within_s=0.1)
        assert worker.bus.live == 0
        line.settle()


def test_a_purge_that_overtakes_its_publish_is_repeated() -> None:
    """The offer is stored after it was withdrawn; its late acknowledgement tells."""
    fates = Fates()
    with Line(script=TALK, fate=fates) as line:
        edge, _ = line.add_edge(), line.add_worker(slots=1)
        talking = edge.post()
        line.until(lambda: talking.text)
        fates.of["offer", fates.seen["offer"]] = (0.1,)
        waiting = edge.post()
        line.run(0.02)

        waiting.hang_up()

        line.run(0.05)
        assert fates.seen["purge"] == 1
        assert line.queued == 0
        line.run(0.1)
        assert fates.seen["purge"] == 2
        assert line.queued == 0
        talking.hang_up()
        line.settle()
        assert len(line.sayings) == 1


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_lost_cancel_is_repeated(lost: int) -> None:
    fates = Fates()
    with Line(script=TALK, fate=fates) as line:
        edge, _ = line.add_edge(), line.add_worker()
        client = edge.post()
        line.until(lambda: client.text)
        fates.lose_next("cancel", lost)

        client.hang_up()

        line.until(lambda: line.sayings[0].closed, within_s=0.25 * lost + 0.1)
        assert fates.seen["cancel"] == lost + 1
        line.settle()


def test_a_claim_whose_every_cancel_is_lost_ends_with_its_lease() -> None:
    fates = Fates()
    with Line(script=TALK, fate=fates) as line:
        edge, worker = line.add_edge(), line.add_worker()
        client = edge.post()
        line.until(lambda: client.text)
        fates.lose_all("cancel")

        client.hang_up()

        line.run(2.5)
        assert not line.sayings[0].closed
        assert edge.idle, "the edge waits one second for the last frame, no longer"
        line.until(lambda: line.sayings[0].closed, within_s=3.0)
        line.until(lambda: worker.bus.live == 0)
        assert [(record.outcome, record.usage.estimated) for record in line.records] == [("interrupted", True)]
        line.settle()


def test_a_lost_last_frame_of_a_cancelled_claim_is_sent_again() -> None:
    """The repeated cancel finds the claim closed: its last frame is what the edge has not heard."""
    fates = Fates()
    with Line(script=TALK, fate=fates) as line:
        edge, _ = line.add_edge(), line.add_worker()
        client = edge.post()
        line.until(lambda: client.text)
        client.hang_up()
        line.until(lambda: line.sayings[0].closed)
        fates.lose_next("batch")

        line.until(lambda: line.records, within_s=0.5)

        assert line.records[0].cancel_ms is not None, "the confirmation has come after all"
        line.settle()


def test_a_last_frame_for_a_closed_line_starts_no_endless_exchange() -> None:
    """It was answered with a cancel, the cancel with the last frame, and so on at the speed of the network."""
    fates = Fates({"batch": twice(0.005)})
    with Line(script=words(3), fate=fates) as line:
        edge, _ = line.add_edge(), line.add_worker()
        client = edge.post()
        line.until(lambda: client.ended)

        line.run(3.0)

        assert fates.seen["cancel"] <= 1
        assert fates.seen["batch"] <= 8
        line.settle()


def test_a_client_that_does_not_read_is_given_up_within_the_bound() -> None:
    word = "x" * 8192

    def flood(_: int, __: Job) -> Iterable[Step]:
        for _at in range(10_000):
            yield 0.001
            yield Text(word)
        yield Finished("stop")

    with Line(script=flood) as line:
        edge, worker = line.add_edge(), line.add_worker()
        client = edge.post()
        line.until(lambda: client.text)

        client.stop_reading()

        line.until(lambda: line.sayings[0].closed, within_s=2.0)
        unread = len(line.sayings[0].text) - len(client.text)
        assert unread < 1 << 20
        line.until(lambda: worker.bus.live == 0)
        line.settle()
        line.until(lambda: line.records)
        assert [(record.outcome, record.error) for record in line.records] == [("interrupted", "slow_client")]


def test_a_client_that_stops_to_read_a_short_answer_is_let_go_in_the_end() -> None:
    """Too little waits for it to count as overflow, so only time ends the turn."""

    def spurt(_: int, __: Job) -> Iterable[Step]:
        yield Text("hello ")
        yield 0.5
        yield from [Text("x" * 8192) for _ in range(20)]
        yield Finished("stop", Usage(prompt=7, completion=21))

    with Line(script=spurt, total_s=3.0, budget_s=2.0) as line:
        edge, worker = line.add_edge(), line.add_worker()
        client = edge.post()
        line.until(lambda: client.text)

        client.stop_reading()

        line.until(lambda: worker.bus.live == 0)
        line.until(lambda: line.records, within_s=10.0)
        assert [(record.outcome, record.error) for record in line.records] == [("interrupted", "slow_client")]
        assert line.records[0].usage == Usage(prompt=7, completion=21)  # it had finished: that is on the bill
        line.settle()


def test_the_bill_of_a_turn_that_was_handed_on_has_each_claim_once() -> None:
    """The first claim's last frame is not taken for the second's: twice on the bill, and what was said not at all."""
    with Line(script=words(400, first_s=1.0, every_s=0.05)) as line:
        edge, first = line.add_edge(), line.add_worker(drain_s=0.2)
        client = edge.post()
        line.until(lambda: line.sayings)
        line.add_worker()
        first.drain()
        line.until(lambda: client.text)

        client.hang_up()

        line.until(lambda: line.records)
        [record] = line.records
        heard = len(line.sayings[1].text)
        assert (record.outcome, record.offers) == ("interrupted", 2)
        assert record.usage == Usage(prompt=2 * ASKED, completion=-(-heard // 4), estimated=True)  # asked twice
        assert record.cancel_ms is not None
        line.settle()


def test_two_callers_on_one_worker_do_not_meet() -> None:
    """One hangs up; the other's answer goes on, whole."""
    with Line(script=words(20)) as line:
        edge, _ = line.add_edge(), line.add_worker()
        first, second = edge.post(), edge.post()
        line.until(lambda: first.text and second.text)

        first.hang_up()

        line.until(lambda: second.ended)
        assert second.ended_well
        assert second.text in {saying.text for saying in line.sayings}
        assert len(second.text.split()) == 20
        line.settle()


def test_the_bill_of_a_turn_that_was_handed_on_and_never_claimed_again_has_its_claim_once() -> None:
    """The last frame of the claim that had failed was on the bill already."""
    with Line(script=words(20, first_s=1.0)) as line:
        edge, _ = line.add_edge(), line.add_worker(slots=1)
        talking = edge.post()
        line.until(lambda: line.sayings)
        first = line.add_worker(drain_s=0.2)
        client = edge.post()
        line.until(lambda: len(line.sayings) == 2)
        first.drain()
        line.until(lambda: first.drained is False)
        line.until(lambda: line.queued == 1)

        client.hang_up()

        line.until(lambda: line.records)
        [record] = line.records
        assert (record.outcome, record.offers) == ("interrupted", 2)
        assert record.usage == Usage(prompt=ASKED, estimated=True)  # asked once
        assert record.cancel_ms is None
        talking.hang_up()
        line.settle()


def bill_of_a_failure(*, reads: bool) -> Usage:
    """Of a turn whose target breaks off; its client, who reads or does not, is gone a moment later."""

    def script(_: int, __: Job) -> Iterable[Step]:
        yield Text("hello " * 40)
        yield 0.5
        yield UpstreamError("broke off")

    with Line(script=script) as line:
        edge, worker = line.add_edge(), line.add_worker()
        client = edge.post()
        line.until(lambda: client.text)
        client.connection.reads = reads
        line.until(lambda: worker.bus.live == 0)
        line.run(0.3)
        client.hang_up()
        line.until(lambda: line.records)
        line.settle()
        return line.records[0].usage


def test_a_claim_that_failed_is_billed_once_though_its_client_leaves_while_the_error_is_written() -> None:
    assert bill_of_a_failure(reads=False) == bill_of_a_failure(reads=True)
