"""A real Jaeger for tests: one that runs already, or a binary that is started here. Read by its query API."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from bench.polling import until
from bench.processes import ROOT, Family, free_ports
from tests.broker.otlp_sink import Tree, spans_of

BUILT = ROOT / ".jaeger" / "jaeger"
CONFIG = ROOT / "deploy" / "observability" / "jaeger" / "jaeger.yaml"
OTLP_PORT = 4318  # where a Jaeger listens unless it is told otherwise
START_S = 30.0
SETTLE_S = 15.0  # an export, Jaeger's batch, and a slow machine
WARNINGS = "@jaeger@warnings"
EVERY = 1500  # traces that a search may bring


class NoJaeger(Exception):
    """There is none to test with; the text says how to get one."""


class Jaeger:
    """Where spans go and where they are asked for."""

    def __init__(self, http: aiohttp.ClientSession, url: str, otlp: str) -> None:
        self.url = url
        self.otlp = otlp
        self._http = http

    async def answers(self) -> bool:
        """Whether it can be asked, and takes spans."""
        try:
            async with self._http.get(f"{self.url}/api/services") as asked:
                await asked.json()
            async with self._http.post(f"{self.otlp}/v1/traces", json={}) as sent:
                return asked.status == sent.status == 200
        except (aiohttp.ClientError, ValueError, TimeoutError):
            return False

    async def tree(self, trace_id: str, count: int) -> Tree:
        """The trace, once it has that many spans, or after a while.

        Asked for raw: otherwise Jaeger writes what is missing meanwhile into the spans that it keeps, as a warning.
        """
        return await until(lambda: self._tree(trace_id, "true"), lambda tree: len(tree.spans) >= count, SETTLE_S)

    async def warnings(self, trace_id: str) -> list[str]:
        """What Jaeger itself finds wrong with a trace, such as a span whose parent is missing."""
        tree = await self._tree(trace_id, "false")
        return [warning for span in tree.spans for warning in span.attributes.get(WARNINGS, ())]

    async def _tree(self, trace_id: str, raw: str) -> Tree:
        status, told = await self._get(f"/api/v3/traces/{trace_id}", {"raw_traces": raw})
        return Tree(spans_of(told["result"], ids_in_hex=True) if status == 200 else ())

    async def search(
        self,
        tags: Mapping[str, str] | None = None,
        *,
        service: str = "trunkline-edge",
        operation: str = "",
        longer_than: str = "",
    ) -> set[str]:
        """Ids of the traces in which one span has all of this, as the search form of the web page asks for them."""
        query = {"service": service, "limit": str(EVERY), "tags": json.dumps(tags or {})}
        query |= {"operation": operation} if operation else {}
        query |= {"minDuration": longer_than} if longer_than else {}
        status, told = await self._get("/api/traces", query)
        assert status == 200, told
        return {trace["traceID"] for trace in told["data"]}

    async def awaited(self, tags: Mapping[str, str], count: int = 1) -> set[str]:
        """What a search by tags finds, once it is that many, or after a while."""
        return await until(lambda: self.search(tags), lambda found: len(found) >= count, SETTLE_S)

    async def _get(self, path: str, query: Mapping[str, str] | None = None) -> tuple[int, Any]:
        async with self._http.get(f"{self.url}{path}", params=query) as answer:
            return answer.status, await answer.json(content_type=None)  # a 404 is JSON that calls itself text


@asynccontextmanager
async def jaeger_for_tests(directory: Path) -> AsyncIterator[Jaeger]:
    """The Jaeger at JAEGER_URL; else one of our own, from JAEGER_BIN or as `make test-jaeger` has built it.

    Raises:
        NoJaeger: there is none, or the one that was named does not answer.
    """
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as http:
        if url := os.environ.get("JAEGER_URL", "").rstrip("/"):
            otlp = os.environ.get("JAEGER_OTLP_URL") or f"{urlsplit(url).scheme}://{urlsplit(url).hostname}:{OTLP_PORT}"
            jaeger = Jaeger(http, url, otlp.rstrip("/"))
            if not await jaeger.answers():
                raise NoJaeger(f"no Jaeger at {url} with OTLP at {jaeger.otlp}: see JAEGER_URL and JAEGER_OTLP_URL")
            yield jaeger
        else:
            async with _started(http, _binary(), directory) as jaeger:
                yield jaeger


def _binary() -> Path:
    named = os.environ.get("JAEGER_BIN")
    path = Path(named).absolute() if named else BUILT
    if os.access(path, os.X_OK) and path.is_file():
        return path
    raise NoJaeger(
        f"JAEGER_BIN={named} is no program: name a Jaeger 2 binary"
        if named
        else "no Jaeger to test with: run `make test-jaeger` where Go is installed, or set JAEGER_BIN or JAEGER_URL"
    )


@asynccontextmanager
async def _started(http: aiohttp.ClientSession, binary: Path, directory: Path) -> AsyncIterator[Jaeger]:
    query, otlp = free_ports(2)
    family = Family(directory)
    process = family.start(
        "jaeger",
        [str(binary), "--config", str(CONFIG)],
        {"JAEGER_QUERY_PORT": str(query), "JAEGER_OTLP_PORT": str(otlp)},
    )
    jaeger = Jaeger(http, f"http://127.0.0.1:{query}", f"http://127.0.0.1:{otlp}")
    deadline = time.monotonic() + START_S
    try:
        while not await jaeger.answers():
            process.check(deadline)
            await asyncio.sleep(0.05)
        yield jaeger
    finally:
        assert await family.stop() == []
