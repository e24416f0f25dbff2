"""Cascades: the first target is dead, the second is well. What that adds, before the breaker opens and after."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from msgspec import Struct

from bench.models.turns import first_content_ms, model, target
from bench.models.upstream import Targets
from bench.report import Figure, Target, percentile

TITLE = "added to the first content when the first target is dead"
BASE = "well"
CLOSED_TURNS, OPEN_TURNS = 10, 50
CONNECT_MS, FIRST_CONTENT_MS = 500.0, 1500.0
QUICK_MS = 20.0
SLACK_MS = 100.0

WAYS: dict[str, tuple[str, float]] = {
    "refused": ("connection refused", QUICK_MS),
    "hole": ("connection never taken", CONNECT_MS + SLACK_MS),
    "silence": ("request taken, silence", FIRST_CONTENT_MS + SLACK_MS),
    "reset": ("reset before headers", QUICK_MS),
    "500": ("500", QUICK_MS),
    "503": ("503 with Retry-After", QUICK_MS),
    "429": ("429", QUICK_MS),
    "empty": ("empty answer", QUICK_MS),
    "error": ("error inside 200", QUICK_MS),
}
"""How it is dead, and what that may add to a turn while the breaker is closed."""

ENDS = ("refused", "hole")  # nobody is there to answer

BREAKER = f"[breaker]\nwindow_s = 60.0\nrequests = {CLOSED_TURNS}\nopen_s = 600.0\n"
"""It looks at as many turns as are measured before it opens, and probes nothing meanwhile."""


class Way(Struct):
    """One way to be dead. Milliseconds added."""

    title: str
    closed: Figure
    open: Figure
    asked: int | None  # of all turns, how many reached the dead target; None: nobody is there to count


@contextmanager
def dead_ends() -> Iterator[dict[str, str]]:
    """Base URLs where nobody answers: a port on which nobody listens, and one whose queue of connections is full."""
    with contextlib.ExitStack() as held:
        closed, full = (held.enter_context(socket.socket()) for _ in range(2))
        for one in (closed, full):
            one.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        ports = {way: one.getsockname()[1] for way, one in zip(ENDS, (closed, full), strict=True)}
        yield {way: f"http://127.0.0.1:{port}/v1" for way, port in ports.items()}


def config(targets: Targets, ends: dict[str, str]) -> str:
    """A model for each way, each with a second target of its own, and one that is well alone."""
    tables = [BREAKER, target(BASE, targets.base_url("well", BASE)), model(BASE, [BASE])]
    for way in WAYS:
        first, second = _first(way), f"{way}-second"
        tables += [
            target(first, ends.get(way) or targets.base_url(way, first)),
            target(second, targets.base_url("well", second)),
            model(way, [first, second], retry_share=1.0),
        ]
    return "\n".join(tables)


async def measure(url: str, targets: Targets, ways: Sequence[str] = tuple(WAYS)) -> list[Way]:
    """Turn after turn on each of the models: the quick ones one by one, those that wait beside each other."""
    await _turns(url, BASE, CLOSED_TURNS)  # the first ones find cold connections
    base = percentile(await _turns(url, BASE, OPEN_TURNS), 0.5)
    waits = [way for way in ways if WAYS[way][1] > QUICK_MS]
    found = {way: await _way(url, targets, way, base) for way in ways if way not in waits}
    found |= dict(zip(waits, await asyncio.gather(*(_way(url, targets, way, base) for way in waits)), strict=True))
    return [found[way] for way in ways]


async def _way(url: str, targets: Targets, way: str, base: float) -> Way:
    title, limit = WAYS[way]
    closed = Figure(f"{title}, breaker closed", Target("p50", limit))
    opened = Figure(f"{title}, breaker open", Target("p50", QUICK_MS))
    closed.values = [value - base for value in await _turns(url, way, CLOSED_TURNS)]
    opened.values = [value - base for value in await _turns(url, way, OPEN_TURNS)]
    return Way(title, closed, opened, None if way in ENDS else targets.requests[_first(way)])


def _first(way: str) -> str:
    return f"{way}-first"


async def _turns(url: str, name: str, count: int) -> list[float]:
    return [await first_content_ms(url, name) for _ in range(count)]
