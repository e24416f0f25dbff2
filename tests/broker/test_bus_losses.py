"""Messages that get lost between two real halves: every loss heals, and the caller hears one claim, once."""

import asyncio
from collections.abc import Callable

import pytest

from edge.inbox import Lost
from edge.lines import Stage
from protocol import codec
from protocol.messages import Ask, Claimed, Failed, Finished, Text
from tests.broker.halves import Halves, Sent, Turn, Worker, carries, claims, eventually, is_ack, is_cancel, says
from workers.claims import Delivery

pytestmark = pytest.mark.usefixtures("no_bug_logged")


def first(number: int, chosen: Callable[[Sent], bool]) -> Callable[[Sent], bool]:
    """True for the first so many messages that are `chosen`."""
    left = [number]

    def holds(sent: Sent) -> bool:
        if left[0] == 0 or not chosen(sent):
            return False
        left[0] -= 1
        return True

    return holds


def asks(sent: Sent) -> bool:
    return ".worker." in sent.subject and sent.data[:1] != b"" and isinstance(codec.decode_control(sent.data), Ask)


async def claimed_by(one: Worker, other: Worker) -> tuple[Worker, Worker, Delivery]:
    """Who got the job, who did not, and the claim."""
    await eventually(lambda: bool(one.taken or other.taken))
    owner, idle = (one, other) if one.taken else (other, one)
    return owner, idle, await owner.next()


# --- claims ----------------------------------------------------------------------------------------


async def test_a_lost_claim_moves_the_job_to_somebody_else_and_only_one_is_heard(halves: Halves) -> None:
    edge, one, other = await asyncio.gather(halves.edge(), halves.worker(slots=1), halves.worker(slots=1))
    one.wire.holds = other.wire.holds = first(1, claims)

    turn = edge.offer()
    loser, winner, lost = await claimed_by(one, other)
    won = await winner.next()
    await turn.until(Claimed)

    lost.emit(Text("nobody hears this"))  # its first sign of life: fenced, and cancelled
    await eventually(lambda: lost.closed)
    winner.finish(won, "hello")
    assert await turn.answer() == "hello"
    assert turn.count(Claimed) == 1
    assert lost.stopped_for is not None
    assert (len(loser.taken), len(winner.taken)) == (1, 1)
    assert edge.counts.fenced_frames > 0
    await halves.until_depth(0)


async def test_a_claim_that_is_lost_alone_is_asked_for_as_soon_as_its_worker_speaks(halves: Halves) -> None:
    """Whatever the first frame, its claim owns the line; it is asked for from 0."""
    edge, worker = await asyncio.gather(halves.edge(), halves.worker(slots=1))
    worker.wire.holds = first(1, claims)

    turn = edge.offer()
    worker.finish(await worker.next(), "hel", "lo")

    assert await turn.answer() == "hello"
    assert turn.count(Claimed) == 1
    await halves.until_depth(0)


async def test_a_lost_ack_makes_a_second_claim_which_is_acknowledged_and_cancelled(halves: Halves) -> None:
    edge, one, other = await asyncio.gather(halves.edge(), halves.worker(slots=1), halves.worker(slots=1))
    edge.wire.holds = first(1, is_ack)

    turn = edge.offer()
    owner, second, delivery = await claimed_by(one, other)
    await eventually(lambda: len(second.claims) == 1)
    (again,) = second.claims

    await eventually(lambda: again.closed)
    await halves.until_depth(0)
    owner.finish(delivery, "hello")
    assert await turn.answer() == "hello"
    assert turn.count(Claimed) == 1
    assert turn.count(Failed) == 0
    assert sum(map(is_ack, edge.wire.sent)) == 1
    assert sum(map(is_cancel, edge.wire.sent)) >= 1
    assert delivery.stopped_for is None


async def test_a_worker_that_gets_its_own_claim_again_runs_it_once_more_and_is_heard_once(halves: Halves) -> None:
    edge, worker = await asyncio.gather(halves.edge(), halves.worker(slots=2))
    edge.wire.holds = first(1, is_ack)

    turn = edge.offer()
    await eventually(lambda: len(worker.claims) == 2)
    delivery, again = worker.claims
    assert await worker.next() is delivery

    assert delivery.claim != again.claim
    await eventually(lambda: again.closed)
    worker.finish(delivery, "hello")
    assert await turn.answer() == "hello"
    await eventually(lambda: worker.bus.free == 2)
    await halves.until_depth(0)


# --- cancels ---------------------------------------------------------------------------------------


async def running(turn: Turn, worker: Worker) -> Delivery:
    """A claim that has said something."""
    delivery = await worker.next()
    delivery.emit(Text("hello"))
    await turn.until(Text)
    return delivery


async def test_a_lost_cancel_is_repeated_until_the_last_frame_comes(halves: Halves) -> None:
    edge, worker = await asyncio.gather(halves.edge(), halves.worker())
    turn = edge.offer()
    delivery = await running(turn, worker)
    edge.wire.holds = first(3, is_cancel)

    edge.bus.stop(turn.line)

    last = await turn.until(Failed)
    assert last.code == "interrupted"
    assert len(edge.wire.held) == 3
    assert sum(map(is_cancel, edge.wire.sent)) == 1
    assert delivery.stopped_for is not None
    assert worker.bus.free == 4


async def test_when_every_cancel_is_lost_the_lease_ends_the_claim(halves: Halves) -> None:
    edge, worker = await asyncio.gather(halves.edge(), halves.worker())
    turn, bystander = edge.offer("left"), edge.offer("goes on")
    deliveries = {str(d.job.messages[0].content): d for d in (await worker.next(), await worker.next())}
    await asyncio.gather(turn.until(Claimed), bystander.until(Claimed))
    edge.wire.holds = is_cancel

    edge.bus.stop(turn.line)

    await turn.until(Lost)
    assert len(edge.wire.held) == 4
    assert turn.line.stage is Stage.CLOSED
    left = deliveries["left"]
    await eventually(lambda: left.closed)
    assert str(left.stopped_for) == "nobody listens"
    # The lease is the claim's, not the worker's: the other one was asked for all the time.
    worker.finish(deliveries["goes on"], "done")
    assert await bystander.answer() == "done"
    assert worker.bus.free == 4


async def test_a_lost_last_frame_of_a_cancelled_claim_is_sent_again_with_the_next_cancel(halves: Halves) -> None:
    edge, worker = await asyncio.gather(halves.edge(), halves.worker())
    turn = edge.offer()
    await running(turn, worker)
    worker.wire.holds = first(1, carries(Failed))

    edge.bus.stop(turn.line)

    assert (await turn.until(Failed)).code == "interrupted"
    assert len(worker.wire.held) == 1


# --- frames ----------------------------------------------------------------------------------------


async def say(delivery: Delivery, *texts: str) -> None:
    """One message each."""
    for text in texts:
        delivery.emit(Text(text))
        await asyncio.sleep(0)


async def test_frames_that_are_lost_in_the_middle_come_again_in_their_order(halves: Halves) -> None:
    edge, worker = await asyncio.gather(halves.edge(), halves.worker())
    turn = edge.offer()
    delivery = await worker.next()
    await turn.until(Claimed)
    worker.wire.holds = first(2, lambda sent: says("two ")(sent) or says("three ")(sent))

    await say(delivery, "one ", "two ", "three ", "four ", "five")
    worker.finish(delivery)

    assert await turn.answer() == "one two three four five"
    assert [sent for sent in worker.wire.held if not says("two ")(sent) and not says("three ")(sent)] == []
    assert any(map(asks, edge.wire.sent))
    assert edge.counts.fenced_frames == 0


async def test_what_is_sent_again_may_be_lost_again(halves: Halves) -> None:
    edge, worker = await asyncio.gather(halves.edge(), halves.worker())
    turn = edge.offer()
    delivery = await worker.next()
    await turn.until(Claimed)
    worker.wire.holds = first(5, carries(Text))

    await say(delivery, "one ", "two ", "three")
    worker.finish(delivery)

    assert await turn.answer() == "one two three"
    assert len(worker.wire.held) == 5


async def test_a_lost_last_frame_comes_when_the_edge_asks(halves: Halves) -> None:
    edge, worker = await asyncio.gather(halves.edge(), halves.worker())
    turn = edge.offer()
    delivery = await worker.next()
    await turn.until(Claimed)
    worker.wire.holds = first(1, carries(Finished))

    await say(delivery, "that ", "was ", "all")
    worker.finish(delivery)

    assert await turn.answer() == "that was all"
    assert turn.count(Finished) == 1
    assert len(worker.wire.held) == 1


async def test_a_lost_ask_and_a_lost_answer_cost_nobody_his_turn(halves: Halves) -> None:
    edge, worker = await asyncio.gather(halves.edge(), halves.worker())
    turn = edge.offer()
    delivery = await worker.next()
    await turn.until(Claimed)
    edge.wire.holds = first(1, asks)
    await eventually(lambda: len(edge.wire.held) == 1)
    await eventually(lambda: any(map(asks, edge.wire.sent)))
    worker.wire.holds = first(1, lambda sent: sent.subject.startswith("_INBOX."))
    await eventually(lambda: len(worker.wire.held) == 1)

    await say(delivery, "still ", "here")
    worker.finish(delivery)

    assert await turn.answer() == "still here"
    assert edge.counts.losses == 0


async def test_a_worker_that_dies_is_noticed_and_one_that_forgot_a_claim_has_lost_it(halves: Halves) -> None:
    edge, dying, forgetful = await asyncio.gather(halves.edge(), halves.worker(slots=1), halves.worker(slots=1))
    turns = [edge.offer("one"), edge.offer("two")]
    await asyncio.gather(*(turn.until(Claimed) for turn in turns))
    by_text = {str(turn.line.number): turn for turn in turns}
    killed, forgotten = (by_text[str(worker.claims[0].line)] for worker in (dying, forgetful))

    await dying.die()
    forgetful.bus._claims.clear()  # as a worker that took too long to ask for

    assert await killed.until(Lost) == Lost(dying.bus.worker_id)
    assert await forgotten.until(Lost) == Lost(forgetful.bus.worker_id)
    assert edge.counts.losses == 2
