"""The figures of the models' benches: as tables for people, and as JSON for machines."""

from collections.abc import Sequence
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from bench.load.table import machine
from bench.models import cascade, hedge
from bench.models.cascade import Way
from bench.models.hedge import Hedged
from bench.report import Figure, percentile

CASCADE_COLUMNS = ("breaker closed", "worst", "target", "breaker open", "worst", "target", "asked", "")


def passed(hedges: Sequence[Hedged], ways: Sequence[Way]) -> bool:
    """Every target is met."""
    figures = [one.figure for one in hedges] + [figure for way in ways for figure in (way.closed, way.open)]
    return all(figure.met for figure in figures)


def to_json(hedges: Sequence[Hedged], ways: Sequence[Way]) -> bytes:
    """All of it."""
    whole: dict[str, Any] = {"passed": passed(hedges, ways), "machine": machine()}
    whole["hedge"] = [{**one.figure.as_json(), "extra_requests": one.extra} for one in hedges]
    whole["cascade"] = [
        {"closed": way.closed.as_json(), "open": way.open.as_json(), "asked": way.asked} for way in ways
    ]
    return orjson.dumps(whole, option=orjson.OPT_INDENT_2)


def show(hedges: Sequence[Hedged], ways: Sequence[Way], console: Console) -> None:
    """A table for each bench that was run."""
    if hedges:
        table = _table(hedge.TITLE, "", "turns", "p50", "p99", "worst", "extra requests", "target", "")
        for one in hedges:
            table.add_row(*_hedged(one))
        console.print(table)
    if ways:
        table = _table(cascade.TITLE, "", *CASCADE_COLUMNS)
        for way in ways:
            verdict = _verdict(way.closed.met and way.open.met)
            asked = "" if way.asked is None else str(way.asked)
            table.add_row(way.title, *_added(way.closed), *_added(way.open), asked, verdict)
        console.print(table)


def _table(title: str, first: str, *others: str) -> Table:
    on = machine()
    where = f"{on['date']}, {on['cores']} cores, {on['memory_gib']} GiB, {on['system']}, Python {on['python']}"
    table = Table(title=f"{title}: {where}", title_justify="left")
    table.add_column(first)
    for other in others:
        table.add_column(other, justify="right")
    return table


def _hedged(one: Hedged) -> tuple[str, ...]:
    values = one.figure.values
    shown = [_ms(value) for value in (percentile(values, 0.5), percentile(values, 0.99), max(values))]
    verdict = _verdict(one.figure.met) if one.figure.target else ""
    return one.figure.name, str(len(values)), *shown, f"{one.extra:.1%}", _limit(one.figure), verdict


def _added(figure: Figure) -> tuple[str, str, str]:
    return _ms(percentile(figure.values, 0.5)), _ms(max(figure.values)), _limit(figure)


def _limit(figure: Figure) -> str:
    return f"{figure.target.at} ≤ {_ms(figure.target.limit)}" if figure.target else ""


def _ms(value: float) -> str:
    return f"{value:,.0f} ms" if abs(value) >= 10 else f"{value:.1f} ms"


def _verdict(met: bool) -> str:
    return "[green]passed[/green]" if met else "[red]missed[/red]"
