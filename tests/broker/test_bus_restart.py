"""The NATS server goes away and comes back: live claims go on, waiting jobs are served, and nothing hangs."""

import asyncio

import pytest

from edge.inbox import Lost
from protocol.errors import NoWorker
from protocol.messages import Claimed, Text
from tests.broker.halves import Edge, Halves, Worker, eventually
from tests.broker.nats_server import NatsServer
from tests.conftest import StartNats

pytestmark = pytest.mark.usefixtures("no_bug_logged")


async def connected(*halves: Edge | Worker, there: bool = True) -> None:
    """Until all of them are, or are not."""
    await eventually(lambda: all(half.wire.connected is there for half in halves), what=f"connected: {there}")


async def back(server: NatsServer) -> None:
    """It runs again, on the same port and store."""
    await asyncio.to_thread(server.start)


async def test_a_restart_heals_the_streams_the_live_claims_and_the_waiting_jobs(start_nats: StartNats) -> None:
    server = start_nats()
    async with Halves(server.url) as halves:
        edge, worker = await asyncio.gather(halves.edge(), halves.worker(slots=1))
        live = edge.offer("live")
        delivery = await worker.next()
        delivery.emit(Text("one "))
        await live.until(Text)
        waiting = await edge.offer_stored("waiting")

        server.kill()
        await connected(edge, worker, there=False)
        delivery.emit(Text("two "))  # while nobody can hear it
        await back(server)
        await connected(edge, worker)
        delivery.emit(Text("three"))
        worker.finish(delivery)

        assert await live.answer() == "one two three"
        worker.finish(await worker.next(), "served")
        assert await waiting.answer() == "served"
        new = edge.offer("new")
        worker.finish(await worker.next(), "too")
        assert await new.answer() == "too"
        assert worker.heard() == ["live", "waiting", "new"]
        await halves.until_depth(0)


async def test_a_claim_that_ends_while_the_server_is_away_is_heard_when_it_is_back(start_nats: StartNats) -> None:
    server = start_nats()
    async with Halves(server.url) as halves:
        edge, worker = await asyncio.gather(halves.edge(), halves.worker())
        turn = edge.offer()
        delivery = await worker.next()
        await turn.until(Claimed)

        server.kill()
        await connected(worker, there=False)
        worker.finish(delivery, "it ", "went ", "on")
        await back(server)

        assert await turn.answer() == "it went on"


async def test_an_absence_of_five_seconds_ends_every_turn_and_claim_and_then_all_works_again(
    start_nats: StartNats,
) -> None:
    server = start_nats()
    async with Halves(server.url) as halves:
        edge, worker = await asyncio.gather(halves.edge(), halves.worker(slots=1))
        live, waiting = edge.offer("live"), edge.offer("waiting")
        delivery = await worker.next()
        await live.until(Claimed)

        server.kill()
        killed_at = asyncio.get_running_loop().time()
        ended = await asyncio.gather(live.until(Lost), waiting.until(Lost))
        assert [event.cut_off for event in ended] == [True, True]
        with pytest.raises(NoWorker, match="lost its bus"):
            edge.offer("refused")
        await eventually(lambda: delivery.closed, what="the claim that nobody hears ends")
        await asyncio.sleep(max(0.0, killed_at + 5.0 - asyncio.get_running_loop().time()))
        await back(server)
        await connected(edge, worker)

        new = edge.offer("new")
        worker.finish(await worker.next(), "hello")
        assert await new.answer() == "hello"
        assert worker.heard() == ["live", "new"]
        await halves.until_depth(0)
        assert edge.bus.waiting == 0


async def test_a_server_that_freezes_is_noticed_and_its_thaw_heals_what_is_left(start_nats: StartNats) -> None:
    server = start_nats()
    async with Halves(server.url) as halves:
        edge, worker = await asyncio.gather(halves.edge(), halves.worker())
        turn = edge.offer("cut off")
        delivery = await worker.next()
        await turn.until(Claimed)

        server.freeze()
        assert (await turn.until(Lost)).cut_off
        server.thaw()
        await connected(edge, worker)

        await eventually(lambda: delivery.closed, what="the claim of a turn that is over ends")
        new = edge.offer("new")
        worker.finish(await worker.next(), "hello")
        assert await new.answer() == "hello"
        assert worker.heard() == ["cut off", "new"]
        await halves.until_depth(0)
