"""One claim, as its worker holds it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import Addressed
from protocol.errors import Draining, Internal, Interrupted, TooLarge
from protocol.lifecycle import Claim, Fence, ProtocolViolation
from protocol.messages import LAST, Claimed, Failed, Finished, Frame, Job, Text, ToolCall, Usage
from workers.claims import FRAME_BYTES, KEPT_BYTES, Delivery


class Sent(list[Addressed]):
    """What went to the outbox."""

    def put(self, edge_id: str, frame: Addressed) -> None:
        assert edge_id == "e"
        self.append(frame)

    @property
    def frames(self) -> list[Frame | None]:
        return [addressed.frame for addressed in self]


def claimed() -> tuple[Delivery, Sent]:
    sent = Sent()
    job = Job(id="t", model="m", messages=(), budget_ms=1, total_ms=1)
    delivery = Delivery(job, pool="default", edge_id="e", line=3, claim=9, ack="ack", trace={}, now=0.0, send=sent.put)
    delivery.start()
    return delivery, sent


def test_frames_are_numbered_without_gaps_and_the_claim_is_the_first() -> None:
    delivery, sent = claimed()

    for text in "abc":
        delivery.emit(Text(text))

    assert sent == [Addressed(3, 9, 0, Claimed("ack")), *(Addressed(3, 9, at, Text("abc"[at - 1])) for at in (1, 2, 3))]
    assert delivery.next_seq == 4


def test_a_frame_that_cannot_stand_there_does_not_leave() -> None:
    delivery, sent = claimed()
    delivery.emit(ToolCall(0, "i", "f", "{}"))

    with pytest.raises(ProtocolViolation, match="Text cannot follow CALLING"):
        delivery.emit(Text("a"))

    assert len(sent) == 2
    assert delivery.next_seq == 2


def test_a_frame_over_the_limit_does_not_leave() -> None:
    delivery, sent = claimed()
    delivery.emit(Text("x" * FRAME_BYTES))

    with pytest.raises(TooLarge, match="262145 bytes"):
        delivery.emit(Text("x" * (FRAME_BYTES + 1)))

    assert delivery.state is Claim.SPEAKING
    assert delivery.next_seq == len(sent) == 2


def test_exactly_one_last_frame_leaves() -> None:
    delivery, sent = claimed()

    delivery.fail(Draining("stops"), usage=Usage(completion=2))
    delivery.fail(Internal("again"))

    assert sent.frames[1:] == [Failed("draining", "stops", retryable=True, usage=Usage(completion=2))]
    assert delivery.closed


def test_cancelling_stops_the_task_once_and_keeps_the_first_reason() -> None:
    delivery, _ = claimed()
    stops: list[None] = []
    delivery.stop = lambda: stops.append(None)

    delivery.cancel(Draining("stops"))
    delivery.cancel(Interrupted("gone"))

    assert len(stops) == 1
    assert isinstance(delivery.stopped_for, Draining)


def test_cancelling_a_claim_that_is_closed_is_nothing() -> None:
    delivery, _ = claimed()
    delivery.emit(Finished("stop"))

    delivery.cancel()

    assert delivery.stopped_for is None


@pytest.mark.parametrize(("start", "numbers"), [(0, [0, 1, 2]), (1, [1, 2]), (2, [2]), (3, []), (9, [])])
def test_what_an_edge_asks_for_again(start: int, numbers: list[int]) -> None:
    delivery, _ = claimed()
    delivery.emit(Text("a"))
    delivery.emit(Text("b"))

    again = delivery.again(start)

    assert again is not None
    assert [frame.seq for frame in again] == numbers


def test_what_is_kept_for_asking_has_a_bound() -> None:
    delivery, sent = claimed()
    piece = "x" * (FRAME_BYTES // 2)
    for _ in range(20):
        delivery.emit(Text(piece))

    assert delivery.again(0) is None, "some of it is kept no more: the claim is lost"
    kept = delivery.again(21 - KEPT_BYTES // len(piece))
    assert kept == sent[-(KEPT_BYTES // len(piece)) :]
    assert delivery.next_seq == 21


def test_what_a_try_has_brought_is_what_came_since_it_began() -> None:
    delivery, _ = claimed()
    delivery.emit(Text("a"))
    begun = delivery.next_seq
    delivery.emit(Text("b"))
    delivery.emit(Text("c"))

    assert delivery.since(begun) == [Text("b"), Text("c")]
    assert delivery.since(delivery.next_seq) == []


def test_of_a_try_that_brought_too_much_the_end_is_kept() -> None:
    delivery, _ = claimed()
    for number in range(20):
        delivery.emit(Text(str(number) * (FRAME_BYTES // 4)))

    kept = delivery.since(0)

    assert kept[-1] == Text("19" * (FRAME_BYTES // 4))
    assert len(kept) < 20


texts = st.lists(st.text(min_size=1, max_size=5), max_size=12)


@given(texts, st.lists(st.tuples(st.integers(0, 15), st.booleans())))
def test_whatever_is_lost_asking_from_the_hole_brings_it(said: list[str], losses: list[tuple[int, bool]]) -> None:
    """The worker's side and the edge's, together: after one ask that gets through, all is there, in order, once."""
    delivery, sent = claimed()
    for text in said:
        delivery.emit(Text(text))
    delivery.emit(Finished("stop"))
    fence, heard = Fence(), []

    def arrives(frame: Addressed) -> None:
        if fence.judge("w", frame) == "accepted":
            heard.append(frame.frame)

    lost = {number for number, is_lost in losses if is_lost}
    for frame in sent:
        if frame.seq not in lost:
            arrives(frame)
    for start, gets_through in losses:
        for frame in delivery.again(min(start, fence.expected)) or []:
            if gets_through:
                arrives(frame)
    for frame in delivery.again(fence.expected) or []:
        arrives(frame)

    assert heard == sent.frames
    assert isinstance(heard[-1], LAST)
