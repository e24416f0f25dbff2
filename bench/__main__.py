"""`python -m bench`: figures about a line, measured on real processes. Exit code 1: a target is missed."""

import sys
from pathlib import Path

import click
from rich.console import Console

from bench import drills
from bench.guard.command import guard_command
from bench.load.command import load_command
from bench.models.command import models_command
from bench.profile.command import profile_command
from bench.report import Report, show, to_json
from bench.running import run


@click.group()
def main() -> None:
    """Measure a line on this machine, and hold it against its targets."""


main.add_command(guard_command)
main.add_command(load_command)
main.add_command(models_command)
main.add_command(profile_command)


def _numbers(_: click.Context, __: click.Parameter, said: str | None) -> list[int]:
    """`1,5` as drills; none named: all of them."""
    try:
        numbers = [int(part) for part in said.split(",")] if said else list(drills.DRILLS)
    except ValueError:
        raise click.BadParameter(f"{said}: name drills by their numbers, as in 1,5") from None
    if unknown := set(numbers) - set(drills.DRILLS):
        raise click.BadParameter(f"no drill {sorted(unknown)}; there are 1 to {max(drills.DRILLS)}")
    return numbers


@main.command("drills")
@click.option("--only", callback=_numbers, help="Some of them, by number: 1,5.")
@click.option("--runs", default=20, show_default=True, type=click.IntRange(min=1), help="Runs per drill, at least.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures there.")
def drills_command(only: list[int], runs: int, json_file: Path | None) -> None:
    """Kill, freeze, drain and overflow a line, and see what its callers notice."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    reports = run(_all(only, runs, console))
    show(reports, console)
    if json_file:
        json_file.write_bytes(to_json(reports))
    sys.exit(0 if all(report.passed for report in reports) else 1)


async def _all(numbers: list[int], runs: int, console: Console) -> list[Report]:
    """One after the other."""
    reports = []
    for number in numbers:
        report = await drills.run(number, runs)
        verdict = "passed" if report.passed else f"[red]failed[/red], logs in {report.logs}"
        console.print(f"drill {number}, {report.title}: {verdict}, {report.took_s:.0f} s")
        reports.append(report)
    return reports


if __name__ == "__main__":
    main()
