"""Hedges: a target that is slow in some turns, with and without another one started beside it."""

import asyncio
from typing import Any

from bench.models.turns import first_content_ms, model, target
from bench.models.upstream import FAST_S, SLOW_S, SLOW_SHARE, Targets
from bench.report import Figure, Target

TITLE = f"first content of a target that takes {SLOW_S:g} s in {SLOW_SHARE:.0%} of turns, {FAST_S:g} s in the others"
TURNS, AT_ONCE = 2000, 100
HEDGED_P99_MS = 1500.0
HEDGE_SHARE = 0.15

SETUPS: dict[str, tuple[int, dict[str, Any], Target | None]] = {
    "one target": (1, {}, None),
    "a second target after first_content_s = 1.5": (2, {"first_content_s": 1.5}, None),
    "hedge_after_s = 0.5": (2, {"hedge_after_s": 0.5}, Target("p99", HEDGED_P99_MS)),
    "hedge_percentile = 0.9": (2, {"hedge_percentile": 0.9}, Target("p99", HEDGED_P99_MS)),
}
"""Targets of the model, settings of the first, what must come out. Every target has the same moods, each its own."""


class Hedged:
    """One setup, measured."""

    def __init__(self, name: str, limit: Target | None) -> None:
        self.figure = Figure(name, limit)
        self.extra: float = 0.0  # requests beyond one per turn, as a share of the turns


def config(targets: Targets) -> str:
    """Models and targets of all setups."""
    tables = []
    for number, (count, settings, _) in enumerate(SETUPS.values()):
        names = [f"hedge-{number}-{at}" for at in range(count)]
        for at, name in enumerate(names):
            tables.append(target(name, targets.base_url("moody", name), **(settings if at == 0 else {})))
        tables.append(model(f"hedge-{number}", names, hedge_share=HEDGE_SHARE))
    return "\n".join(tables)


async def measure(url: str, targets: Targets, turns: int = TURNS) -> list[Hedged]:
    """All setups, one after the other."""
    return [await _one(url, targets, number, name, turns) for number, name in enumerate(SETUPS)]


async def _one(url: str, targets: Targets, number: int, name: str, turns: int) -> Hedged:
    hedged = Hedged(name, SETUPS[name][2])
    callers = asyncio.Semaphore(AT_ONCE)

    async def take() -> float:
        async with callers:
            return await first_content_ms(url, f"hedge-{number}")

    hedged.figure.values = list(await asyncio.gather(*(take() for _ in range(turns))))
    asked = sum(count for name, count in targets.requests.items() if name.startswith(f"hedge-{number}-"))
    hedged.extra = (asked - turns) / turns
    return hedged
