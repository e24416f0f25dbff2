"""Offers on a real server: who gets them, when they are refused, and how they are taken back."""

import asyncio
from pathlib import Path

import pytest

from edge.inbox import Refused, Stored
from protocol import codec
from protocol.errors import Overloaded, TooLarge
from protocol.messages import Claimed, Finished, Text
from protocol.streams import JobLimits
from tests.broker.halves import Halves, Sent, carries, eventually
from tests.broker.nats_server import NatsServer
from tests.conftest import StartNats

pytestmark = pytest.mark.usefixtures("no_bug_logged")


def is_job(sent: Sent) -> bool:
    return ".job." in sent.subject


async def test_a_job_reaches_one_of_two_workers_and_its_frames_the_edge(halves: Halves) -> None:
    edge, one, other = await asyncio.gather(
        halves.edge(), halves.worker(answer="hello there"), halves.worker(answer="hello there")
    )

    turn = edge.offer("who is it?")

    assert await turn.answer() == "hello there"
    assert one.heard() + other.heard() == ["who is it?"]
    await halves.until_depth(0)


async def test_many_jobs_spread_over_both_workers_and_each_is_claimed_once(halves: Halves) -> None:
    edge, one, other = await asyncio.gather(halves.edge(), halves.worker(slots=8), halves.worker(slots=8))

    turns = [edge.offer(f"turn {number}") for number in range(16)]
    await asyncio.gather(*(turn.until(Claimed) for turn in turns))

    assert len(one.claims) == len(other.claims) == 8
    await eventually(lambda: len(one.taken) == len(other.taken) == 8)
    assert sorted(one.heard() + other.heard()) == sorted(f"turn {number}" for number in range(16))
    await halves.until_depth(0)


async def test_frames_of_one_loop_turn_share_one_message_in_their_order(halves: Halves) -> None:
    edge, worker = await asyncio.gather(halves.edge(), halves.worker())
    turn = edge.offer()
    delivery = await worker.next()
    await turn.until(Claimed)

    for word in ("five ", "five ", "five"):
        delivery.emit(Text(word))
    worker.finish(delivery)

    assert await turn.answer() == "five five five"
    batches = [codec.decode_batch(sent.data)[1] for sent in worker.wire.sent if carries(Text)(sent)]
    assert [[frame.seq for frame in batch] for batch in batches] == [[1, 2, 3, 4]]


async def test_two_edges_hear_their_own_turns_alone(halves: Halves) -> None:
    one, other, worker = await asyncio.gather(halves.edge(), halves.edge(), halves.worker())
    mine, yours = one.offer("mine"), other.offer("yours")  # both are line 1

    for delivery in [await worker.next(), await worker.next()]:
        worker.finish(delivery, str(delivery.job.messages[0].content))

    assert (await mine.answer(), await yours.answer()) == ("mine", "yours")
    assert one.counts.fenced_frames == other.counts.fenced_frames == 0


# --- a full queue ----------------------------------------------------------------------------------


async def test_a_full_queue_refuses_at_once_and_takes_the_next_when_there_is_room(nats_server: NatsServer) -> None:
    async with Halves(nats_server.url, limits=JobLimits(max_msgs=2, max_bytes=1 << 20)) as halves:
        edge = await halves.edge()
        first, second = await edge.offer_stored("first"), await edge.offer_stored("second")

        refused = edge.offer("third")

        assert isinstance((await refused.until(Refused)).error, Overloaded)
        assert refused.count(Stored) == 0
        edge.bus.stop(first.line)
        await halves.until_depth(1)
        await edge.offer_stored("fourth")
        worker = await halves.worker(answer="done")
        assert await second.answer() == "done"
        await halves.until_depth(0)
        await eventually(lambda: worker.heard() == ["second", "fourth"])


async def test_a_job_that_is_stored_is_not_refused_by_a_full_queue_when_its_ack_was_lost(
    nats_server: NatsServer,
) -> None:
    async with Halves(nats_server.url, limits=JobLimits(max_msgs=1, max_bytes=1 << 20)) as halves:
        edge = await halves.edge()
        edge.wire.ignores = lambda arrived: ".ack." in arrived.subject and not edge.wire.ignored

        turn = edge.offer("stored, and nobody says so")  # it alone fills the queue

        await turn.until(Stored)
        assert [is_job(sent) for sent in edge.wire.sent].count(True) == 2
        assert turn.count(Refused) == 0
        worker = await halves.worker(answer="done")
        assert await turn.answer() == "done"
        assert len(worker.taken) == 1


async def test_a_refused_turn_whose_repetition_was_stored_after_all_is_withdrawn(nats_server: NatsServer) -> None:
    """The refusal was late: meanwhile the edge had published again, and there was room."""
    async with Halves(nats_server.url, limits=JobLimits(max_msgs=1, max_bytes=1 << 20)) as halves:
        edge, stranger = await asyncio.gather(halves.edge(), halves.edge())
        first = await stranger.offer_stored("first")
        edge.wire.ignores = lambda arrived: ".ack." in arrived.subject
        turn = edge.offer("second")
        await eventually(lambda: len(edge.wire.ignored) == 1, what="a refusal")
        stranger.bus.stop(first.line)
        await eventually(lambda: len(edge.wire.ignored) == 2, what="the repetition's ack")

        edge.wire.hear_late()

        assert isinstance((await turn.until(Refused)).error, Overloaded)
        await halves.until_depth(0)


# --- taken back ------------------------------------------------------------------------------------


async def test_a_turn_that_is_given_up_while_it_waits_is_withdrawn(halves: Halves) -> None:
    edge, worker = await asyncio.gather(halves.edge(), halves.worker(slots=1))
    running = edge.offer("running")
    delivery = await worker.next()
    await running.until(Claimed)
    waiting = await edge.offer_stored("waiting")
    await halves.until_depth(1)

    edge.bus.stop(waiting.line)

    await halves.until_depth(0)
    worker.finish(delivery, "done")
    assert await running.answer() == "done"
    edge.offer("next")
    assert (await worker.next()).job.messages[0].content == "next"
    assert worker.heard() == ["running", "next"]


async def test_a_line_waits_while_all_slots_are_full_and_is_served_when_one_is_free(halves: Halves) -> None:
    edge, worker = await asyncio.gather(halves.edge(), halves.worker(slots=1))
    running = edge.offer("running")
    delivery = await worker.next()
    waiting = await edge.offer_stored("waiting")
    # It is published again, once a second: a duplicate.
    await eventually(lambda: [sent.subject for sent in edge.wire.sent].count(waiting.line.subject) == 2)
    assert await halves.depth() == 1

    worker.finish(delivery)
    await running.until(Finished)

    worker.finish(await worker.next(), "at last")
    assert await waiting.answer() == "at last"
    assert worker.heard() == ["running", "waiting"]
    await halves.until_depth(0)


async def test_a_purge_that_overtakes_its_publish_leaves_the_stream_empty(halves: Halves) -> None:
    edge = await halves.edge()
    edge.wire.holds = is_job
    turn = edge.offer("late")
    edge.bus.stop(turn.line)
    await edge.wire.flush()

    edge.wire.release()

    await eventually(lambda: [".PURGE." in sent.subject for sent in edge.wire.sent].count(True) == 2)
    await halves.until_depth(0)
    worker = await halves.worker(answer="done")
    assert await edge.offer("next").answer() == "done"
    assert worker.heard() == ["next"]


async def test_an_edge_that_gives_up_all_its_waiting_turns_leaves_the_stream_empty(halves: Halves) -> None:
    edge = await halves.edge()
    turns = [edge.offer(f"turn {number}") for number in range(20)]

    for turn in turns:  # some have their publish ack, some do not
        edge.bus.stop(turn.line)
        await asyncio.sleep(0)

    await halves.until_depth(0)
    assert edge.bus.waiting == 0


# --- the server's limit ----------------------------------------------------------------------------


async def test_a_job_over_the_servers_limit_is_refused_and_the_connection_survives(halves: Halves) -> None:
    edge, worker = await asyncio.gather(halves.edge(), halves.worker(answer="done"))
    limit = edge.wire.max_payload
    assert limit == 12 << 20  # of deploy/nats/nats.conf

    with pytest.raises(TooLarge, match=f"the bus takes {limit}"):
        edge.offer("x" * limit)  # the text fits, the job made of it does not

    assert await edge.offer("hello").answer() == "done"
    assert worker.heard() == ["hello"]
    assert edge.bus.waiting == 0


async def test_headers_count_towards_the_servers_limit(start_nats: StartNats, tmp_path: Path) -> None:
    """A message over it closes the client for good, so the largest that passes must be one that the server takes."""
    extra = tmp_path / "small.conf"
    extra.write_text("max_payload: 4096\njetstream: {}\n")
    server = start_nats(options=["-c", str(extra)])
    async with Halves(server.url) as halves:
        edge, worker = await asyncio.gather(halves.edge(), halves.worker(answer="done"))
        assert edge.wire.max_payload == 4096
        taken = 0
        for length in range(3700, 4097):
            try:
                turn = edge.offer("x" * length)
            except TooLarge:
                continue
            taken += 1
            assert await turn.answer() == "done"
        assert 0 < taken < 397
        assert edge.wire.connected
        assert len({one.job.id for one in worker.taken}) == taken  # a slow machine may have one claimed twice
