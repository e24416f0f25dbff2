"""What a worker says of itself while it runs, and what it is told to get ready for."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from protocol.messages import Here
from protocol.settings_types import NatsSettings, Settings
from tests.broker.halves import GUARD_S, MODEL, Edge, Halves
from workers import app
from workers.metrics import Metrics


@pytest.fixture(autouse=True)
def nothing_is_said_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.bus.HERE_S", 1000.0)


async def until_here(edge: Edge, config: str = "", *, open_targets: tuple[str, ...] = ()) -> Here:
    """The first `Here` with this configuration and these open targets."""
    async with asyncio.timeout(GUARD_S):
        while True:
            for here in edge.bus.presence.living("default", asyncio.get_running_loop().time()):
                if (here.config, here.open) == (config, open_targets):
                    return here
            await asyncio.sleep(0.005)


async def test_a_breaker_that_opens_or_closes_is_told_at_once(halves: Halves) -> None:
    open_targets: tuple[str, ...] = ()
    edge = await halves.edge()
    await halves.worker(open_targets=lambda: open_targets)
    await until_here(edge)

    open_targets = ("gpt",)
    await until_here(edge, open_targets=("gpt",))
    open_targets = ()

    await until_here(edge)


async def test_a_new_configuration_is_told_at_once_with_its_models(halves: Halves) -> None:
    edge = await halves.edge()
    worker = await halves.worker()
    assert (await until_here(edge)).models == (MODEL,)

    worker.bus.follow(("new",), "fresh")

    assert (await until_here(edge, "fresh")).models == ("new",)


async def test_a_pool_is_warmed_by_every_worker_of_it_and_no_other(halves: Halves) -> None:
    edge = await halves.edge(pools=("default", "other"))
    warmed = [asyncio.Event() for _ in range(3)]
    for pool, one in zip(("default", "default", "other"), warmed, strict=True):
        await halves.worker(pools=(pool,), warm=one.set)

    edge.bus.warm("default")

    async with asyncio.timeout(GUARD_S):
        await asyncio.gather(warmed[0].wait(), warmed[1].wait())
        assert not warmed[2].is_set()
        edge.bus.warm("other")
        await warmed[2].wait()


async def test_a_worker_as_it_is_put_together_warms_its_targets_and_tells_of_its_breakers(halves: Halves) -> None:
    edge, warmed = await halves.edge(), asyncio.Event()
    settings = Settings(nats=NatsSettings(prefix=halves.subjects.root.partition(".")[0]))
    models, warm = SimpleNamespace(open=("gpt",)), SimpleNamespace(warm_now=warmed.set)
    bus = app._bus(settings, await halves.wire(), "w", Metrics(), cast(Any, models), cast(Any, warm))
    await bus.open()

    bus.say_here()
    edge.bus.warm("default")

    await until_here(edge, settings.digest(), open_targets=("gpt",))
    async with asyncio.timeout(GUARD_S):
        await warmed.wait()


async def test_the_stream_of_a_new_pool_is_made_before_its_first_turn(halves: Halves) -> None:
    edge = await halves.edge()
    assert "error" in await halves.stream("fresh")

    edge.bus.watch(["default", "fresh"])

    async with asyncio.timeout(GUARD_S):
        while "error" in await halves.stream("fresh"):  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.005)
