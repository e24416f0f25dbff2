"""Pulls on a real server: what is asked for fits the free slots, and no job stays with a worker that is not there."""

import asyncio

import msgspec
import pytest

from edge.inbox import Lost
from protocol.messages import Claimed, Failed
from protocol.streams import pull_request
from protocol.wire import Arrived
from tests.broker.halves import GUARD_S, Halves, Sent, Turn, Worker, eventually

pytestmark = pytest.mark.usefixtures("no_bug_logged")


class Freezer:
    """A raw client with an open pull: it takes whatever comes, and never says a word about it."""

    def __init__(self, halves: Halves) -> None:
        self._halves = halves
        self.taken: list[str] = []

    async def open(self) -> None:
        """Pull, and pull again whenever something has come."""
        self._wire = await self._halves.wire()
        await self._wire.subscribe(f"{self._halves.subjects.root}.frozen", self._take)
        info = await self._halves.stream()
        self._consumer = info["config"]["metadata"]["trunkline.consumer"]
        self._pull()
        await self._wire.flush()

    def _pull(self) -> None:
        subject, body = pull_request(self._halves.subjects.jobs_stream("default"), self._consumer, 1, 60.0)
        self._wire.publish(subject, body, reply=f"{self._halves.subjects.root}.frozen")

    def _take(self, message: Arrived) -> None:
        if message.status is None:
            self.taken.append(message.reply)
            self._pull()


async def test_a_job_in_the_hands_of_a_frozen_worker_that_goes_on_pulling_gets_to_a_healthy_one(
    halves: Halves,
) -> None:
    edge = await halves.edge()
    frozen = Freezer(halves)
    await frozen.open()
    turn = await edge.offer_stored()
    await eventually(lambda: len(frozen.taken) >= 1)

    worker = await halves.worker(answer="hello")

    assert await turn.answer() == "hello"
    assert len(worker.taken) == 1
    await halves.until_depth(0)


async def test_many_jobs_get_past_a_frozen_worker(halves: Halves) -> None:
    edge, worker = await asyncio.gather(halves.edge(), halves.worker(slots=8, answer="hello"))
    frozen = Freezer(halves)
    await frozen.open()

    turns = [edge.offer(f"turn {number}") for number in range(8)]

    assert {await turn.answer() for turn in turns} == {"hello"}
    assert sorted(worker.heard()) == sorted(f"turn {number}" for number in range(8))
    assert len(frozen.taken) >= 1
    await halves.until_depth(0)


# --- slots -----------------------------------------------------------------------------------------


class Asked:
    """Counts what one worker has asked for and not yet got, as the server does."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.most = 0
        self.sizes: list[int] = []
        worker.wire.holds = self.look

    def look(self, sent: Sent) -> bool:
        if ".MSG.NEXT." in sent.subject:
            self.sizes.append(msgspec.json.decode(sent.data)["batch"])
            asked = sum(pull.open_slots for pull in self.worker.bus._pulls.by_pool.values())
            self.most = max(self.most, asked + self.worker.bus.live)
        return False


async def test_two_pools_on_one_worker_never_ask_for_more_than_its_slots(halves: Halves) -> None:
    pools = ("one", "two")
    edge, worker = await asyncio.gather(halves.edge(pools=pools), halves.worker(pools=pools, slots=3, start=False))
    asked = Asked(worker)
    turns = [edge.offer(f"{pool} {number}", pool=pool) for number in range(10) for pool in pools]
    worker.start()

    live = 0
    for _ in turns:
        delivery = await worker.next()
        live = max(live, worker.bus.live)
        await asyncio.sleep(0.01)  # so that some wait for a slot
        worker.finish(delivery, "done")

    assert {await turn.answer() for turn in turns} == {"done"}
    assert [turn.count(Claimed) for turn in turns] == [1] * 20
    assert live <= 3
    assert asked.most <= 3
    assert sorted(worker.heard()) == sorted(f"{pool} {number}" for number in range(10) for pool in pools)
    await halves.until_depth(0, "one")
    await halves.until_depth(0, "two")


async def test_two_pools_share_a_single_slot(halves: Halves) -> None:
    pools = ("one", "two")
    edge, worker = await asyncio.gather(
        halves.edge(pools=pools), halves.worker(pools=pools, slots=1, answer="done", start=False)
    )
    asked = Asked(worker)
    worker.start()

    turns = [edge.offer(f"{pool} {number}", pool=pool) for pool in pools for number in range(3)]

    assert {await turn.answer() for turn in turns} == {"done"}
    assert set(asked.sizes) == {1}
    assert asked.most == 1
    assert sorted(worker.heard()) == sorted(f"{pool} {number}" for number in range(3) for pool in pools)


async def test_jobs_wait_on_the_server_while_no_slot_is_free(halves: Halves) -> None:
    edge, worker = await asyncio.gather(halves.edge(), halves.worker(slots=2))
    turns = [edge.offer(f"turn {number}") for number in range(5)]
    running = [await worker.next(), await worker.next()]
    await asyncio.gather(*(turn.until(Claimed) for turn in turns[:2]))
    await halves.until_depth(3)  # and none of them is with the worker

    other = await halves.worker(slots=8)

    await asyncio.gather(*(turn.until(Claimed) for turn in turns[2:]))
    assert len(other.claims) == 3
    for delivery in running:
        worker.finish(delivery, "done")
    await halves.until_depth(0)


async def test_a_worker_that_reconnects_has_no_pull_from_before_beside_the_new_one(halves: Halves) -> None:
    edge, worker = await asyncio.gather(halves.edge(), halves.worker(slots=1))
    back = asyncio.Event()
    worker.wire.on_connection(lambda connected: back.set() if connected else None)
    for _ in range(3):
        back.clear()
        await worker.wire._client.force_reconnect()
        async with asyncio.timeout(10.0):
            await back.wait()
    await asyncio.sleep(0.05)

    turns = [edge.offer(f"turn {number}") for number in range(3)]
    for _ in turns:
        worker.finish(await worker.next(), "done")

    assert [await turn.answer() for turn in turns] == ["done"] * 3
    assert [turn.count(Failed) for turn in turns] == [0] * 3


# --- draining --------------------------------------------------------------------------------------


async def test_a_draining_worker_serves_what_had_arrived_and_others_get_the_rest(halves: Halves) -> None:
    edge, leaving, staying = await asyncio.gather(
        halves.edge(), halves.worker(slots=64), halves.worker(slots=64, answer="stays")
    )
    turns: list[Turn] = []

    async def offer() -> bool:
        turns.append(edge.offer(f"turn {len(turns)}"))
        await asyncio.sleep(0.001)
        return len(leaving.taken) >= 5

    async with asyncio.timeout(GUARD_S):
        while not await offer():
            pass
    leaving.begin_to_drain()
    for _ in range(20):
        await offer()

    await eventually(lambda: len(leaving.taken) + len(staying.taken) >= len(turns))
    for delivery in leaving.taken:
        leaving.finish(delivery, "leaves")

    answers = [await turn.answer() for turn in turns]
    assert answers.count("leaves") == len(leaving.taken)
    assert answers.count("stays") == len(staying.taken) > 0
    assert {turn.count(Claimed) for turn in turns} == {1}
    assert {turn.count(Failed) + turn.count(Lost) for turn in turns} == {0}
    await leaving.drain()
    assert leaving.bus.live == 0
    await halves.until_depth(0)


async def test_a_drained_worker_takes_nothing_more(halves: Halves) -> None:
    edge, leaving = await asyncio.gather(halves.edge(), halves.worker(answer="early"))
    assert await edge.offer().answer() == "early"
    await leaving.drain()

    turn = await edge.offer_stored("late")
    await halves.until_depth(1)
    staying = await halves.worker(answer="late")

    assert await turn.answer() == "late"
    assert (leaving.heard(), staying.heard()) == (["hello"], ["late"])


async def test_edges_hear_at_once_that_a_worker_drains(halves: Halves) -> None:
    edge, worker = await asyncio.gather(halves.edge(), halves.worker())
    now = asyncio.get_running_loop().time

    await eventually(lambda: edge.bus.presence.serves("default", "m", now()))
    await worker.drain()

    await eventually(lambda: not edge.bus.presence.living("default", now()))
