"""A whole soak, from the upstream's start to the last check."""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from bench.polling import until
from tests.broker.otlp_sink import Span
from tests.platforms.proxy import plain_proxy
from tests.platforms.soak.calls import take
from tests.platforms.soak.checks import Left, Soak
from tests.platforms.soak.line import SoakLine, soak_line
from tests.platforms.soak.plan import PlannedCall, kinds, plan
from tests.platforms.upstream import Scripted, scripted_upstream

SETTLE_S = 15.0
PROXIED, LINE = "p", "c"  # how the calls of either are tagged


class Size(Struct, frozen=True, kw_only=True):
    """How much of it. `pace`: how long a platform's second lasts, for clocks, profiles and upstream alike."""

    calls: int = 300
    turns: int = 8
    at_once: int = 40
    pace: float = 0.25
    seed: int = 8


async def soak(size: Size, tell: Callable[[str], None]) -> Soak:
    """Raises StartFailed: the line did not come up."""
    calls = plan(size.calls, size.turns, pace=size.pace, seed=size.seed)
    found = Soak(kinds(calls))
    with tempfile.TemporaryDirectory(prefix="trunkline-soak-") as directory:
        async with scripted_upstream() as upstream:
            tell(f"{size.calls} calls through a plain proxy")
            async with plain_proxy(upstream.url) as url:
                found.proxied = await take(calls, url, PROXIED, pace=size.pace, at_once=size.at_once)
            tell(f"{size.calls} calls through a line")
            async with soak_line(Path(directory), upstream.url, size.pace) as line:
                await _soak(found, line, upstream, calls, size)
    return found


async def _soak(found: Soak, line: SoakLine, upstream: Scripted, calls: list[PlannedCall], size: Size) -> None:
    third: dict[str, float] = {}

    async def a_third() -> None:
        third.update(line.memory())

    found.outcomes = await take(calls, line.url, LINE, pace=size.pace, at_once=size.at_once, a_third=a_third)
    found.left = await _left(line, upstream, third)


async def _left(line: SoakLine, upstream: Scripted, third: dict[str, float]) -> Left:
    """Read when it has settled, or after a while: what is not settled by then is to be seen."""

    async def running() -> int:
        return len([one for one in upstream.running if one.call.startswith(LINE)])

    still = await until(running, lambda count: count == 0, SETTLE_S, every_s=0.1)
    live = await until(line.live, lambda count: count == 0, SETTLE_S, every_s=0.1)
    counted = await line.turns()
    records = await until(line.records, lambda kept: len(kept) >= counted, SETTLE_S, every_s=0.5)
    end = line.memory()
    spans = await _spans(line)
    return Left(still, live, counted, tuple(records), tuple(spans), third, end)


async def _spans(line: SoakLine) -> list[Span]:
    """Exports are batched: they are all there when no more come."""
    spans = await line.spans()
    async with asyncio.timeout(SETTLE_S):
        while True:
            await asyncio.sleep(1.0)
            more = await line.spans()
            if len(more) == len(spans):
                return more
            spans = more
