"""The list of models warms: whoever asks for it is about to talk."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from edge.handlers import Edge
from edge.metrics import Metrics
from edge.presence import Presence
from protocol.messages import Here
from protocol.settings_types import Model, Settings
from protocol.spans import Spans

KEY = "sk-caller-3d"
BEARER = {"Authorization": f"Bearer {KEY}"}


class Desk:
    """An edge, its clock, the workers that it hears, and the pools that it has warmed."""

    def __init__(self) -> None:
        self.now = 100.0
        self.presence = Presence()
        self.warmed: list[str] = []
        bus = SimpleNamespace(connected=True, presence=self.presence, warm=self.warmed.append)
        self.edge = Edge(
            Settings(models={"echo": Model(pool="default")}, api_keys={"desk": KEY}),
            cast(Any, bus),
            spans=Spans(),
            metrics=Metrics(),
            records=cast(Any, None),
            tasks=cast(asyncio.TaskGroup, None),
            now=lambda: self.now,
        )

    def hear(self, pool: str, *, draining: bool = False) -> None:
        here = Here(worker_id=f"w-{pool}", models=("echo",), slots=1, free=1, draining=draining, config="")
        self.presence.hear(pool, here, self.now)


async def ask(client: TestClient[web.Request, web.Application], path: str = "/v1/models", **more: Any) -> int:
    async with client.get(path, **{"headers": BEARER, **more}) as answer:
        return answer.status


async def test_every_pool_with_a_living_worker_is_warmed_once_a_second(aiohttp_client: AiohttpClient) -> None:
    desk = Desk()
    client = await aiohttp_client(desk.edge.app())
    desk.hear("silent")
    desk.now += 60.0
    desk.hear("default")
    desk.hear("other")
    desk.hear("leaving", draining=True)

    for _ in range(5):
        assert await ask(client) == 200
    assert desk.warmed == ["default", "other"]
    desk.now += 0.9
    assert await ask(client, "/models") == 200
    assert desk.warmed == ["default", "other"]
    desk.now += 0.1
    assert await ask(client) == 200
    assert desk.warmed == ["default", "other"] * 2


async def test_who_has_no_key_warms_nothing(aiohttp_client: AiohttpClient) -> None:
    desk = Desk()
    client = await aiohttp_client(desk.edge.app())
    desk.hear("default")

    assert await ask(client, headers={}) == 401

    assert desk.warmed == []
