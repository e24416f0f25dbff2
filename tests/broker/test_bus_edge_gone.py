"""An edge that is gone: its claims end, its waiting jobs never begin, and others go on."""

import asyncio

import pytest

from edge.inbox import Stored
from protocol.messages import Claimed, Text
from tests.broker.halves import Halves, Worker, eventually
from workers.claims import Delivery

pytestmark = pytest.mark.usefixtures("no_bug_logged")


async def claims_of(worker: Worker, number: int) -> list[Delivery]:
    return [await worker.next() for _ in range(number)]


async def test_claims_of_an_edge_that_is_gone_are_cancelled_and_its_other_jobs_never_begin(halves: Halves) -> None:
    edge, other, worker = await asyncio.gather(halves.edge(), halves.edge(), halves.worker(slots=2))
    turns = [edge.offer(f"turn {number}") for number in range(6)]
    speaking, silent = await claims_of(worker, 2)
    await asyncio.gather(*(turn.until(Claimed) for turn in turns[:2]), *(turn.until(Stored) for turn in turns[2:]))
    speaking.emit(Text("hel"))
    await turns[0].until(Text)
    stranger = other.offer("a stranger's turn")

    await edge.die()
    speaking.emit(Text("lo"))  # and nobody listens

    await eventually(lambda: speaking.closed and silent.closed)
    assert {str(delivery.stopped_for) for delivery in (speaking, silent)} == {"the edge is gone"}
    worker.finish(await worker.next(), "hello")
    assert await stranger.answer() == "hello"
    assert worker.heard() == ["turn 0", "turn 1", "a stranger's turn"]
    await halves.until_depth(0)
    assert worker.counts.terminations >= 4


async def test_a_worker_whose_model_is_silent_asks_and_finds_its_edge_gone(halves: Halves) -> None:
    edge, worker = await asyncio.gather(halves.edge(), halves.worker())
    turn = edge.offer()
    (delivery,) = await claims_of(worker, 1)
    await turn.until(Claimed)

    await edge.die()

    await eventually(lambda: delivery.closed)
    assert str(delivery.stopped_for) == "the edge is gone"
    assert worker.bus.free == 4


async def test_jobs_that_a_dead_edge_left_behind_are_no_sign_that_it_lives(halves: Halves) -> None:
    """Each job that began set the suspicion back, so that short ones were all run, one after the other."""
    edge, worker = await asyncio.gather(halves.edge(), halves.worker(slots=1, start=False))
    left = 30
    for number in range(left):
        await edge.offer_stored(f"turn {number}")
    await edge.die()

    async def run() -> None:
        while True:
            delivery = await worker.next()
            await asyncio.sleep(0.1)  # less than it takes to make sure of a suspicion
            if not delivery.closed:
                worker.finish(delivery, "nobody hears this")

    running = asyncio.create_task(run())
    worker.start()

    await halves.until_depth(0)
    running.cancel()
    assert len(worker.taken) < left / 2


async def test_a_job_that_ended_before_its_edge_was_found_gone_leaves_the_queue_too(halves: Halves) -> None:
    edge, worker = await asyncio.gather(halves.edge(), halves.worker(answer="nobody hears this", start=False))
    for number in range(3):
        await edge.offer_stored(f"turn {number}")
    await edge.die()

    worker.start()

    await halves.until_depth(0)
    assert len(worker.taken) <= 6


async def test_an_edge_that_is_back_before_it_was_found_gone_keeps_its_claims(halves: Halves) -> None:
    """One "no responders" alone is common at every reconnect."""
    edge, worker = await asyncio.gather(halves.edge(), halves.worker())
    turn = edge.offer()
    (delivery,) = await claims_of(worker, 1)
    await turn.until(Claimed)

    await edge.wire._client.force_reconnect()
    for word in ("one ", "two ", "three"):
        delivery.emit(Text(word))
        await asyncio.sleep(0.01)
    worker.finish(delivery)

    assert await turn.answer() == "one two three"
    assert delivery.stopped_for is None
