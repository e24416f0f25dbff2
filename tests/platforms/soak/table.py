"""The summary: as a table for people, and as JSON for machines."""

from collections.abc import Sequence
from typing import Any

import msgspec
import orjson
from rich.console import Console
from rich.table import Table

from bench.load.table import machine
from tests.platforms.soak.checks import Row

EXAMPLES = 5


def passed(rows: Sequence[Row]) -> bool:
    return all(row.met for row in rows)


def to_json(rows: Sequence[Row], took_s: float, seed: int) -> bytes:
    """All rows, with everything that was wrong."""
    told: dict[str, Any] = {"passed": passed(rows), "machine": machine(), "took_s": round(took_s, 1), "seed": seed}
    told["rows"] = [{**msgspec.to_builtins(row), "met": row.met} for row in rows]
    return orjson.dumps(told, option=orjson.OPT_INDENT_2)


def show(rows: Sequence[Row], console: Console) -> None:
    """The table, then examples of what was wrong."""
    on = machine()
    where = f"{on['date']}, {on['cores']} cores, {on['memory_gib']} GiB, {on['system']}, Python {on['python']}"
    table = Table(title=f"Soak: {where}", title_justify="left")
    for column in ("", "measured", "target", ""):
        table.add_column(column)
    for row in rows:
        verdict = "[green]passed[/green]" if row.met else "[red]missed[/red]"
        table.add_row(row.what, row.measured, row.target, verdict if row.target else "")
    console.print(table)
    for row in rows:
        for example in row.wrong[:EXAMPLES]:
            console.print(f"{row.what}: {example}", markup=False, style="red")
        if more := len(row.wrong[EXAMPLES:]):
            console.print(f"{row.what}: {more} more", style="red")
