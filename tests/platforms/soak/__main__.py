"""`python -m tests.platforms.soak`: exit code 1 where something missed its target."""

import logging
import sys
import time
from pathlib import Path

import click
from rich.console import Console

from bench.load.command import MISSED, raise_file_limit
from bench.options import json_option
from bench.running import run
from tests.platforms.soak.checks import rows
from tests.platforms.soak.running import Size, soak
from tests.platforms.soak.table import passed, show, to_json


@click.command()
@click.option("--calls", default=Size().calls, show_default=True, type=click.IntRange(8, 100_000))
@click.option("--turns", default=Size().turns, show_default=True, type=click.IntRange(2, 1000), help="Of each call.")
@click.option("--at-once", default=Size().at_once, show_default=True, type=click.IntRange(1, 1000), help="Calls.")
@click.option(
    "--pace", default=Size().pace, show_default=True, type=click.FloatRange(0.05, 1), help="A platform's second."
)
@click.option("--seed", default=Size().seed, show_default=True, help="Of who is slow, empty, cut.")
@json_option
def main(calls: int, turns: int, at_once: int, pace: float, seed: int, json_file: Path | None) -> None:
    """Simulated calls of all platforms, first through a plain proxy, then through a line."""
    raise_file_limit(8 * at_once)
    logging.getLogger("aiohttp.server").disabled = True  # the upstream's callers leave in the middle: that is the point
    console = Console(width=None if sys.stdout.isatty() else 160)
    size = Size(calls=calls, turns=turns, at_once=at_once, pace=pace, seed=seed)
    began = time.monotonic()
    found = rows(run(soak(size, console.print)))
    show(found, console)
    if json_file:
        json_file.write_bytes(to_json(found, time.monotonic() - began, seed))
    sys.exit(0 if passed(found) else MISSED)


if __name__ == "__main__":
    main()
