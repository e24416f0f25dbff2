"""The line of a soak: `trunkline up` as a user starts it, and what can be read from it from outside."""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import orjson
import psutil
from prometheus_client.parser import text_string_to_metric_families

from bench.client import fetch
from bench.processes import Family
from protocol import telemetry
from protocol.codec import decode_record
from protocol.messages import TurnRecord
from protocol.profiles import BUILT_IN, PLAIN
from protocol.settings_profiles import Profile
from protocol.settings_types import EdgeSettings, TurnSettings
from tests.broker.otlp_sink import Span, spans_of
from tests.platforms.soak.calls import MODEL

EDGES = WORKERS = 2
START_S, STOP_S = 60.0, 40.0
FIRST_CONTENT_S = 2.5  # of the first target, in the platform's seconds
TIMERS = ("guard_s", "again_s", "headers_after_s", "ping_s", "budget_s")
"""Of a profile: scaled as the platform's clocks are."""


class SoakLine:
    """One that runs."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        self.url = f"{said['url']}/v1"
        self._said = said

    def memory(self) -> dict[str, float]:
        """The resident set of every edge and worker, in MB."""
        pids = self._said["pids"]
        named = [(kind, number, pid) for kind in ("edges", "workers") for number, pid in enumerate(pids[kind])]
        return {f"{kind[:-1]} {number}": psutil.Process(pid).memory_info().rss / 1e6 for kind, number, pid in named}

    async def live(self) -> float:
        """Generations that the workers say are running."""
        return await self._sum(telemetry.GENERATIONS_LIVE, self._said["admin"]["workers"])

    async def turns(self) -> int:
        """Turns that the edges have counted."""
        return int(await self._sum(telemetry.TURNS, self._said["admin"]["edges"]))

    async def records(self) -> list[TurnRecord]:
        """Of all turns, as the line has written them down."""
        connection = await nats.connect(self._said["nats"])
        try:
            jetstream = connection.jetstream()
            [stream] = [one for one in await jetstream.streams_info() if str(one.config.name).endswith("TURNS")]
            numbers = range(1, stream.state.last_seq + 1)
            kept = [await jetstream.get_msg(str(stream.config.name), number) for number in numbers]
            return [decode_record(one.data or b"") for one in kept if ".heard." not in str(one.subject)]
        finally:
            await connection.close()

    async def spans(self) -> list[Span]:
        """All that were exported so far."""
        lines = (Path(self._said["data_dir"]) / "traces.jsonl").read_bytes().splitlines()
        return [span for line in lines if line.endswith(b"}") for span in spans_of(orjson.loads(line), ids_in_hex=True)]

    async def _sum(self, metric: str, admins: list[str]) -> float:
        total = 0.0
        for url in admins:
            _, body = await fetch(f"{url}/metrics")
            total += sum(
                sample.value
                for family in text_string_to_metric_families(body.decode())
                for sample in family.samples
                if sample.name in (metric, f"{metric}_total")
            )
        return total


@asynccontextmanager
async def soak_line(directory: Path, upstream_url: str, pace: float) -> AsyncIterator[SoakLine]:
    """Two edges, two workers, and a model with two targets on one upstream.

    Raises:
        StartFailed: it did not come up.
    """
    config = directory / "trunkline.toml"
    config.write_text(configuration(upstream_url, pace))
    family = Family(directory)
    counts = ["--edges", str(EDGES), "--workers", str(WORKERS)]
    argv = [sys.executable, "-m", "trunkline", "up", "--json", "--ephemeral", "--no-restart", "--port", "0", *counts]
    try:
        process = family.start("up", argv, {"TRUNKLINE_CONFIG": str(config), "OTEL_BSP_SCHEDULE_DELAY": "200"})
        yield SoakLine(await process.first_line(START_S))
    finally:
        killed = await family.stop(timeout_s=STOP_S)
    assert not killed, killed
    assert "Traceback (most recent call last)" not in _logs(directory)


def _logs(directory: Path) -> str:
    return "\n".join(path.read_text(errors="replace") for path in directory.rglob("*.log"))


def configuration(upstream_url: str, pace: float) -> str:
    """The profiles as they are built in, each timer as much faster as the platforms' clocks are."""
    return "\n".join([
        *(_profile(name, profile, pace) for name, profile in BUILT_IN.items() if name != PLAIN),
        f'[models.{MODEL}]\ntargets = ["first", "second"]\nretry_share = 1.0',
        _target("first", upstream_url, f"first_content_s = {FIRST_CONTENT_S * pace:.3f}"),
        _target("second", upstream_url, ""),
        "[breaker]\nfailures = 1.0",  # every turn is to meet its own failure
    ])  # fmt: skip


def _profile(name: str, profile: Profile, pace: float) -> str:
    whole = {"budget_s": TurnSettings().budget_s, "headers_after_s": EdgeSettings().headers_after_s}
    own = {key: getattr(profile, key) for key in TIMERS}
    timers = {key: whole.get(key) if value is None else value for key, value in own.items()}
    lines = [f"{key} = {value * pace:.3f}" for key, value in timers.items() if value is not None]
    return "\n".join([f"[profiles.{name}]", *lines])


def _target(name: str, upstream_url: str, more: str) -> str:
    return f'[targets.{name}]\nbase_url = "{upstream_url}"\nmodel = "scripted-1"\n{more}'
