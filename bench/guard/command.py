"""`python -m bench guard`: options and the exit code."""

import sys
from pathlib import Path

import click
from rich.console import Console

from bench.guard import cost, silence
from bench.guard.cost import Cost
from bench.guard.silence import Silence
from bench.guard.table import passed, show, to_json
from bench.load.command import MISSED, raise_file_limit
from bench.load.rig import a_rig
from bench.models.turns import a_line
from bench.models.upstream import serving
from bench.options import json_option
from bench.running import run

HALVES = ("cost", "silence")


@click.command("guard")
@click.option("--only", type=click.Choice(HALVES), help="One of the two.")
@click.option(
    "--rounds", default=cost.ROUNDS, show_default=True, type=click.IntRange(1, 100), help="Of each profile, for `cost`."
)
@click.option(
    "--turns", default=silence.TURNS, show_default=True, type=click.IntRange(1, 1_000_000), help="For `silence`."
)
@json_option
def guard_command(only: str | None, rounds: int, turns: int, json_file: Path | None) -> None:
    """Measure what a voice profile costs while the model is in time, and the silence while it is not."""
    raise_file_limit(max(2 * silence.AT_ONCE, cost.STREAMS))
    found = run(_measured(only, rounds, turns))
    show(*found, Console(width=None if sys.stdout.isatty() else 160))
    if json_file:
        json_file.write_bytes(to_json(*found))
    sys.exit(0 if passed(*found) else MISSED)


async def _measured(only: str | None, rounds: int, turns: int) -> tuple[Cost | None, Silence | None]:
    return (
        await _cost(rounds) if only != "silence" else None,
        await _silence(turns) if only != "cost" else None,
    )


async def _cost(rounds: int) -> Cost:
    async with a_rig() as rig:
        return await cost.measure(rig, rounds)


async def _silence(turns: int) -> Silence:
    late, manners = silence.manners()
    async with (
        serving(manners) as targets,
        a_line(targets.base_url("well", "upstream"), silence.config(targets)) as url,
    ):
        return await silence.measure(url, late, turns)
