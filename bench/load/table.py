"""The figures as one table for people, and as JSON for machines."""

import datetime
import os
import platform
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson
import psutil
from rich.console import Console
from rich.table import Table

from bench.load.figures import AGAINST, DIRECT, KINDS, LINE, Measured, Row, written

GROWN = "_grown_mb"
COLORS = {"passed": "green", "missed": "red", "not valid": "yellow", "not measured": "red"}


def machine() -> dict[str, Any]:
    """Where and when it was measured."""
    return {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def to_json(measured: Sequence[Measured]) -> bytes:
    """All of it."""
    whole = {
        "passed": all(one.passed for one in measured),
        "machine": machine(),
        "scenarios": [one.as_json() for one in measured],
    }
    return orjson.dumps(whole, option=orjson.OPT_INDENT_2)


def show(measured: Sequence[Measured], console: Console, *, against: str | None) -> None:
    """One row per figure, then examples of what went wrong."""
    on = machine()
    title = f"{on['date']}, {on['cores']} cores, {on['memory_gib']} GiB, {on['system']}, Python {on['python']}"
    table = Table(title=f"Load: {title}", title_justify="left", caption_justify="left")
    table.add_column("")
    gateway = [urlsplit(against).netloc] if against else []
    for column in ("direct", "line", "added", *gateway, "target"):
        table.add_column(column, justify="right")
    table.add_column("")
    for one in measured:
        table.add_row(f"[bold]{one.name}[/bold]: {one.scenario.title}; {_runs(one)}")
        grown = {row.figure: row for row in one.rows if row.figure.endswith(GROWN)}
        for row in one.rows:
            if row.target or row.figure not in grown:  # else it is in the row of the memory itself
                table.add_row(*_cells(row, grown.get(row.figure.replace("_mb", GROWN)), with_against=bool(against)))
        table.add_section()
    console.print(table)
    for one in measured:
        for example in one.examples[:8]:
            console.print(f"{one.name}, {example}", markup=False, style="red")


def _runs(one: Measured) -> str:
    return "one run" if len(one.runs) == 1 else f"medians of {len(one.runs)} runs"


def _cells(row: Row, grown: Row | None, *, with_against: bool) -> list[str]:
    cells = [_cell(row, grown, side) for side in (DIRECT, LINE)]
    cells.append("" if row.added is None else written(row.figure, row.added))
    if with_against:
        cells.append(_cell(row, grown, AGAINST))
    return [f"  {KINDS[row.figure][0]}", *cells, *_target(row)]


def _cell(row: Row, grown: Row | None, side: str) -> str:
    value = row.sides.get(side)
    if value is None:
        return "" if side not in row.sides else "–" if row.measured else "not valid"
    more = grown.sides.get(side) if grown else None
    if more is None:
        return written(row.figure, value)
    return f"{value:.1f} → {written(row.figure, value + more)}"


def _target(row: Row) -> tuple[str, str]:
    target = row.target
    if target is None:
        return "", ""
    limit = written(row.figure, target.limit)
    color = COLORS[row.verdict]
    return f"{'added ' if target.added else ''}{target.sense} {limit}", f"[{color}]{row.verdict}[/{color}]"
