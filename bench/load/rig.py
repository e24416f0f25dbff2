"""The processes of one measurement: upstream, sink, a line, and a load generator per round."""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import orjson
import psutil
from msgspec import Struct

from bench import line as lines
from bench.client import fetch
from bench.drills.scene import failures_logged
from bench.load import meter
from bench.load.generator import PATIENCE_S, ROUND
from bench.load.rounds import Api, Heard, Round
from bench.load.upstream import Stats
from bench.processes import Family, Process
from bench.speech import MODEL

SETTLED_S = 1.2  # an edge that has just connected gives nobody up for lost in its first second
AT_ONCE = {"TRUNKLINE_EDGE__LAME_S": "0", "TRUNKLINE_EDGE__DRAIN_S": "1", "TRUNKLINE_WORKER__DRAIN_S": "1"}
"""A line that is stopped has either nothing left to say, or somebody who does not want to wait for it."""

LOOK_S = 0.01
START_S = 30.0


Groups = Mapping[str, Sequence[int]]
"""Pids by what they are: edge, worker, nats."""


class Side(Struct, frozen=True):
    """Who is asked, and whose processes answer."""

    name: str
    urls: tuple[str, ...]
    model: str = MODEL
    key: str = ""
    api: Api = "chat"
    store: bool = False
    groups: Groups = {}


class Taken(Struct, kw_only=True):
    """One round against one side: what was heard, and what it cost meanwhile."""

    heard: Heard
    before: meter.Readings
    after: meter.Readings
    busy_percent: float  # of all cores, over the measured window
    yardstick_ms: float = 0.0  # of before and after: how slow the machine was

    @property
    def used(self) -> meter.Readings:
        return meter.between(self.before, self.after)

    def us_per_token(self, *groups: str) -> float | None:
        """CPU of these groups together, per token that was heard; None where nothing is known."""
        used = [self.used[group] for group in groups if group in self.used]
        if not used or not self.heard.tokens:
            return None
        return sum(reading.cpu_s for reading in used) / self.heard.tokens * 1e6


class Driving:
    """A generator at work on one round."""

    def __init__(self, process: Process, asked: Round) -> None:
        self._process = process
        self._bound_s = START_S + asked.spread_s + asked.warm_up_s + asked.measure_s + asked.stream_s + PATIENCE_S
        if asked.turns:  # as slow as nobody may be
            self._bound_s += (asked.turns + asked.warm_up_turns) * max(0.05, asked.stream_s / asked.streams)

    async def said(self, name: str) -> dict[str, object]:
        """The line with that event, once it is there. Raises StartFailed: it never was."""
        deadline = time.monotonic() + self._bound_s
        ended = False
        while (said := self._find(name)) is None:
            if ended or time.monotonic() > deadline:
                self._process.check(deadline)
            ended = self._process.exit_code is not None  # what it said last is there to be read now
            await asyncio.sleep(LOOK_S)
        return said

    async def taken(self, groups: Groups) -> Taken:
        """The round to its end, and what it cost these processes. Raises StartFailed: the generator broke."""
        await self.said("measuring")
        before = meter.read(groups)
        psutil.cpu_percent()
        await self.said("measured")
        busy, after = psutil.cpu_percent(), meter.read(groups)
        return Taken(heard=await self.heard(), before=before, after=after, busy_percent=busy)

    async def heard(self) -> Heard:
        """What it heard, once every stream has ended. Raises StartFailed."""
        return msgspec.convert((await self.said("heard"))["heard"], Heard)

    def _find(self, name: str) -> dict[str, object] | None:
        lines = self._process.out.read_bytes().split(b"\n")[:-1]
        return next((said for said in map(orjson.loads, lines) if said["event"] == name), None)


class Rig:
    """Upstream, sink and generator; lines stand on it one after the other."""

    def __init__(self, directory: Path, *, edges: int = 1, workers: int = 1) -> None:
        self.directory = directory
        self._edges, self._workers = edges, workers
        self._family = Family(directory)
        self._rounds = 0
        self._ordinary: Process | None = None
        self.failures: list[str] = []  # what makes the figures worth nothing
        self.upstream_url: str
        self.sink_url: str

    async def start(self, upstream_port: int) -> None:
        """Raises StartFailed."""
        argv = [sys.executable, "-m", "bench.load.upstream", "--port", str(upstream_port)]
        upstream = self._family.start("upstream", argv)
        sink = self._family.start("sink", [sys.executable, "-m", "bench.sink"])
        self.upstream_url = (await upstream.first_line())["url"]
        self.sink_url = (await sink.first_line())["url"]

    async def base_url(self, *, ordinary: bool) -> str:
        """The upstream's. The ordinary one is started when it is first asked for. Raises StartFailed."""
        if not ordinary:
            return f"{self.upstream_url}/v1"
        if self._ordinary is None:
            self._ordinary = self._family.start("ordinary", [sys.executable, "-m", "bench.load.ordinary"])
        return f"{(await self._ordinary.first_line())['url']}/v1"

    async def stop(self) -> list[str]:
        """What had to be killed."""
        return await self._family.stop()

    async def stats(self) -> Stats:
        """What the upstream has seen."""
        _, body = await fetch(f"{self.upstream_url}/stats")
        return msgspec.json.decode(body, type=Stats)

    async def spans(self) -> int:
        """How many spans the sink has taken."""
        _, body = await fetch(f"{self.sink_url}/stats")
        return int(orjson.loads(body)["spans"])

    @asynccontextmanager
    async def line(self, base_url: str, *, slots: int, env: Mapping[str, str]) -> AsyncIterator[Side]:
        """A line before an upstream, with its traces going to the sink."""
        directory = Path(tempfile.mkdtemp(prefix="line-", dir=self.directory))
        exported = {"OTEL_EXPORTER_OTLP_ENDPOINT": self.sink_url, **AT_ONCE, **env}
        size = {"edges": self._edges, "workers": self._workers, "slots": slots}
        standing = lines.Line(directory, base_url, **size, env=exported)
        try:
            await standing.start()
            await asyncio.sleep(SETTLED_S)
            urls = tuple(f"{url}/v1" for url in standing.edge_urls)
            yield Side("line", urls, "upstream", groups=_groups(standing))
        finally:
            await standing.stop()
            self.failures += failures_logged(directory)

    def drive(self, asked: Round) -> Driving:
        """Start a generator on a round."""
        self._rounds += 1
        argv = [sys.executable, "-m", "bench.load.generator"]
        env = {ROUND: msgspec.json.encode(asked).decode()}
        return Driving(self._family.start(f"generator-{self._rounds}", argv, env), asked)


def _groups(line: lines.Line) -> Groups:
    """Its processes by their kind."""
    return {
        "edge": [member.process.pid for member in line.edges],
        "worker": [member.process.pid for member in line.workers],
        "nats": [line.nats.pid],
    }


@asynccontextmanager
async def a_rig(*, upstream_port: int = 0, edges: int = 1, workers: int = 1) -> AsyncIterator[Rig]:
    """Everything but a line, in a temporary directory. Nothing is left of it.

    Raises:
        StartFailed: something did not come up.
    """
    with tempfile.TemporaryDirectory(prefix="trunkline-load-", ignore_cleanup_errors=True) as directory:
        rig = Rig(Path(directory), edges=edges, workers=workers)
        try:
            await rig.start(upstream_port)
            yield rig
        finally:
            await rig.stop()
