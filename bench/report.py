"""What a drill found: figures with their targets, and what went wrong; as a table and as JSON."""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import orjson
from msgspec import Struct, field
from rich.console import Console
from rich.table import Table

SHOWN = 8
"""Violations printed per drill; the JSON has them all."""


class Target(NamedTuple):
    """A limit for one figure: an upper bound in its unit, or the smallest `share` of 1 that will do."""

    at: Literal["max", "p50", "p99", "share"]
    limit: float


class Figure(Struct):
    """Measured values under one name: milliseconds, shares of 1, or counts."""

    name: str
    target: Target | None = None
    values: list[float] = field(default_factory=list)
    counts: bool = False  # plain numbers

    @property
    def judged(self) -> float | None:
        """The value that is held against the target."""
        if not self.values:
            return None
        if self.target is None or self.target.at == "max":
            return max(self.values)
        if self.target.at == "share":
            return min(self.values)
        return percentile(self.values, 0.99 if self.target.at == "p99" else 0.5)

    @property
    def tail(self) -> tuple[float, float]:
        """The bad end of the values: what one in a hundred exceeds, and the worst. Of shares the small ones are bad."""
        if self.target and self.target.at == "share":
            return percentile(self.values, 0.01), min(self.values)
        return percentile(self.values, 0.99), max(self.values)

    @property
    def met(self) -> bool:
        """Nothing measured is nothing shown: it does not count as met."""
        if self.target is None:
            return True
        if self.judged is None:
            return False
        return self.judged >= self.target.limit if self.target.at == "share" else self.judged <= self.target.limit

    def as_json(self) -> dict[str, Any]:
        values = self.values
        shape = {"p50": percentile(values, 0.5), "p99": percentile(values, 0.99), "max": max(values)} if values else {}
        target = self.target._asdict() if self.target else None
        return {"name": self.name, "n": len(values), **shape, "target": target, "met": self.met, "values": values}


class Run(Struct):
    """What one run of a drill brought: figures by name, and what was wrong."""

    violations: list[str] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)

    def measure(self, name: str, *values: float) -> None:
        self.values.setdefault(name, []).extend(values)


class Report(Struct):
    """One drill."""

    number: int
    title: str
    figures: list[Figure]
    runs: int = 0
    violations: list[str] = field(default_factory=list)
    took_s: float = 0.0
    logs: str = ""  # where they are, if something was wrong

    def add(self, run: Run) -> None:
        """Raises KeyError: the run measured what the drill has no figure for."""
        figures = {figure.name: figure for figure in self.figures}
        self.runs += 1
        self.violations += [f"run {self.runs}: {violation}" for violation in run.violations]
        for name, values in run.values.items():
            figures[name].values += values

    @property
    def passed(self) -> bool:
        return not self.violations and all(figure.met for figure in self.figures)

    def as_json(self) -> dict[str, Any]:
        figures = [figure.as_json() for figure in self.figures]
        head = {"drill": self.number, "title": self.title, "passed": self.passed, "runs": self.runs}
        return {**head, "took_s": round(self.took_s, 1), "figures": figures, "violations": self.violations}


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def to_json(reports: Sequence[Report]) -> bytes:
    """All of it."""
    whole = {"passed": all(report.passed for report in reports), "drills": [report.as_json() for report in reports]}
    return orjson.dumps(whole, option=orjson.OPT_INDENT_2)


def show(reports: Sequence[Report], console: Console) -> None:
    """One row per figure, then what was wrong."""
    table = Table(title="Drills", title_justify="left")
    for column in ("drill", "figure"):
        table.add_column(column)
    for column in ("runs", "n", "p50", "p99", "worst", "target"):
        table.add_column(column, justify="right")
    table.add_column("")
    for report in reports:
        for row in _rows(report):
            table.add_row(*row)
        table.add_section()
    console.print(table)
    for report in reports:
        for violation in report.violations[:SHOWN]:
            console.print(f"drill {report.number}, {violation}", markup=False, style="red")
        if more := len(report.violations[SHOWN:]):
            console.print(f"drill {report.number}: {more} more", style="red")


def _rows(report: Report) -> list[tuple[str, ...]]:
    order = "ok" if not report.violations else f"[red]{len(report.violations)} wrong[/red]"
    rows = [(f"{report.number} {report.title}", "outcome and order", str(report.runs), "", "", "", "", "", order)]
    return rows + [("", figure.name, "", *_cells(figure)) for figure in report.figures]


def _cells(figure: Figure) -> tuple[str, ...]:
    values, target = figure.values, figure.target
    numbers = [percentile(values, 0.5), *figure.tail] if values else []
    shown = [_number(value, figure) for value in numbers] or ["–"] * 3
    limit = ""
    if target:
        limit = f"{'min ≥' if target.at == 'share' else f'{target.at} ≤'} {_number(target.limit, figure)}"
    return str(len(values)), *shown, limit, "ok" if figure.met else "[red]missed[/red]"


def _number(value: float, figure: Figure) -> str:
    if figure.target and figure.target.at == "share":
        return f"{value:.0%}"
    if figure.counts:
        return f"{value:,.0f}"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"
