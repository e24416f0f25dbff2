"""The figures of the guard's bench: as tables for people, and as JSON for machines."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

import msgspec
import orjson
from rich.console import Console
from rich.table import Table

from bench.guard import cost as costs
from bench.guard import silence as silences
from bench.guard.cost import Cost, Rounds
from bench.guard.silence import Silence
from bench.load.table import machine
from bench.report import percentile

EXAMPLES = 5
FIGURES = {  # of the rounds -> what it is called, and its unit
    "first_p50_ms": ("first content p50", "ms"),
    "first_p99_ms": ("first content p99", "ms"),
    "us_per_token": ("CPU per token, edge + worker + NATS", "µs"),
    "edge_us": ("  of it edge", "µs"),
    "worker_us": ("  of it worker", "µs"),
    "busy_percent": ("how busy the machine was", "%"),
}


def passed(cost: Cost | None, silence: Silence | None) -> bool:
    """Every target of what was measured is met."""
    in_time = cost is None or (not cost.bad and _added(cost, "first_p50_ms") <= costs.ADDED_MS)
    never_silent = silence is None or not (silence.too_long or silence.wrong or not silence.turns)
    return in_time and never_silent


def to_json(cost: Cost | None, silence: Silence | None) -> bytes:
    """All of it."""
    whole: dict[str, Any] = {"passed": passed(cost, silence), "machine": machine()}
    if cost:
        whole["in_time"] = {**msgspec.to_builtins(cost), "added": {name: _added(cost, name) for name in FIGURES}}
    if silence:
        whole["late"] = dict(_late(silence))
        whole["late"]["wrong"] = silence.wrong
    return orjson.dumps(whole, option=orjson.OPT_INDENT_2)


def show(cost: Cost | None, silence: Silence | None, console: Console) -> None:
    """A table for each half, then examples of what went wrong."""
    if cost:
        table = _table(costs.TITLE, costs.PLAIN, costs.GUARDED, "added", "target")
        for name, (title, unit) in FIGURES.items():
            table.add_row(title, *_side_by_side(cost, name, unit))
        table.add_row(
            "lost, failed or wrong", str(cost.plain.bad), str(cost.guarded.bad), "", "0", _verdict(not cost.bad)
        )
        console.print(table)
    if silence:
        table = _table(silences.TITLE, "", "target")
        for row in _rows(silence):
            table.add_row(*row)
        console.print(table)
    for example in [*(_examples(cost) if cost else ()), *(silence.wrong[:EXAMPLES] if silence else ())]:
        console.print(example, markup=False, style="red")


def _examples(cost: Cost) -> Sequence[str]:
    return [*cost.plain.examples, *cost.guarded.examples][:EXAMPLES]


def _added(cost: Cost, name: str) -> float:
    """The median of what each pair of rounds differs by; without a pair nothing is shown to be in time."""
    plain, guarded = _values(cost.plain, name), _values(cost.guarded, name)
    return statistics.median([more - less for less, more in zip(plain, guarded, strict=False)] or [math.inf])


def _values(rounds: Rounds, name: str) -> list[float]:
    values: list[float] = getattr(rounds, name)
    return values


def _side_by_side(cost: Cost, name: str, unit: str) -> tuple[str, ...]:
    sides = [statistics.median(_values(side, name) or [math.nan]) for side in (cost.plain, cost.guarded)]
    shown = [f"{value:.2f} {unit}" for value in sides]
    added = _added(cost, name)
    if name != "first_p50_ms":
        return *shown, f"{added:+.2f} {unit}", "", ""
    return *shown, f"{added:+.2f} {unit}", f"≤ {costs.ADDED_MS:g} {unit}", _verdict(added <= costs.ADDED_MS)


def _late(silence: Silence) -> dict[str, float]:
    """Seconds of the platform's time, and shares of the turns."""
    firsts = [turn.first_s for turn in silence.turns] or [math.nan]
    return {
        "turns": len(silence.turns),
        "clock_s": silences.CLOCK_S,
        "late_share": silence.late,
        "first_p50_s": percentile(firsts, 0.5),
        "first_p99_s": percentile(firsts, 0.99),
        "first_max_s": max(firsts),
        "pause_max_s": max((turn.pause_s for turn in silence.turns), default=0.0),
        "spoke_share": silence.share("spoke"),
        "sentence_share": silence.share("sentence"),
        "too_long": silence.too_long,
        "busy_percent": silence.busy_percent,
    }


def _rows(silence: Silence) -> list[tuple[str, str, str, str]]:
    said = _late(silence)
    none = f"0 of {said['turns']:,.0f}"
    return [
        ("turns", f"{said['turns']:,.0f}", "", ""),
        (f"model's first word after {silences.CLOCK_S:g} s", f"{said['late_share']:.1%}", "", ""),
        ("first content p50", f"{said['first_p50_s']:.2f} s", "", ""),
        ("first content p99", f"{said['first_p99_s']:.2f} s", "", ""),
        ("longest silence before the first content", f"{said['first_max_s']:.2f} s", "", ""),
        (f"silent for more than {silences.CLOCK_S:g} s", str(silence.too_long), none, _verdict(not silence.too_long)),
        ("longest pause afterwards", f"{said['pause_max_s']:.2f} s", "", ""),
        ("turns in which the edge spoke first", f"{said['spoke_share']:.1%}", "", ""),
        ("turns that ended with its sentence", f"{said['sentence_share']:.1%}", "", ""),
        ("turns with a word lost, wrong or twice", str(len(silence.wrong)), none, _verdict(not silence.wrong)),
        ("how busy the machine was", f"{silence.busy_percent:.0f} %", "", ""),
    ]


def _table(title: str, *columns: str) -> Table:
    on = machine()
    where = f"{on['date']}, {on['cores']} cores, {on['memory_gib']} GiB, {on['system']}, Python {on['python']}"
    table = Table(title=f"{title}: {where}", title_justify="left")
    table.add_column("")
    for column in (*columns, ""):
        table.add_column(column, justify="right")
    return table


def _verdict(met: bool) -> str:
    return "[green]passed[/green]" if met else "[red]missed[/red]"
