"""`python -m bench models`: options and the exit code."""

import sys
from pathlib import Path

import click
from rich.console import Console

from bench.load.command import MISSED
from bench.models import cascade, hedge
from bench.models.cascade import Way
from bench.models.hedge import TURNS, Hedged
from bench.models.table import passed, show, to_json
from bench.models.turns import NotAnswered, a_line
from bench.models.upstream import serving
from bench.options import json_option
from bench.running import run

BENCHES = ("hedge", "cascade")


@click.command("models")
@click.option("--only", type=click.Choice(BENCHES), help="One of the two.")
@click.option("--turns", default=TURNS, show_default=True, type=click.IntRange(100, 1_000_000), help="Of each hedge.")
@json_option
def models_command(only: str | None, turns: int, json_file: Path | None) -> None:
    """Measure what hedges bring, and what a dead first target costs."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    try:
        hedges, ways = run(_measured(only, turns))
    except NotAnswered as error:
        raise click.ClickException(str(error)) from None
    show(hedges, ways, console)
    if json_file:
        json_file.write_bytes(to_json(hedges, ways))
    sys.exit(0 if passed(hedges, ways) else MISSED)


async def _measured(only: str | None, turns: int) -> tuple[list[Hedged], list[Way]]:
    async with serving() as targets:
        with cascade.dead_ends() as ends:
            config = f"{cascade.config(targets, ends)}\n{hedge.config(targets)}"
            async with a_line(targets.base_url("well", "upstream"), config) as url:
                ways = await cascade.measure(url, targets) if only != "hedge" else []
                hedges = await hedge.measure(url, targets, turns) if only != "cascade" else []
    return hedges, ways
