"""Fixtures: the scripted upstream, a plain proxy before it, a line before it, and a client."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from tests.broker.line_fixture import RealLine
from tests.platforms.line import KEY, platforms_line
from tests.platforms.proxy import plain_proxy
from tests.platforms.requests import PROMPT
from tests.platforms.upstream import Scripted, scripted_upstream


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream() -> AsyncIterator[Scripted]:
    async with scripted_upstream() as upstream:
        yield upstream


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def proxy_url(upstream: Scripted) -> AsyncIterator[str]:
    async with plain_proxy(upstream.url) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line(tmp_path_factory: pytest.TempPathFactory, upstream: Scripted) -> AsyncIterator[RealLine]:
    """Nothing is left running on it, and nothing secret in its logs."""
    async with platforms_line(tmp_path_factory.mktemp("line"), upstream.url) as line:
        yield line
        await line.idle()
        assert upstream.running == []
        for secret in ("worker-token-of-livekit", KEY, PROMPT):
            assert secret not in line.logs()
