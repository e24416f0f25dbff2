"""`python -m bench load`: options, checks before anything is started, and the exit code."""

import contextlib
import os
import resource
import socket
import sys
from pathlib import Path
from typing import Any

import click
import msgspec
import psutil
from rich.console import Console

from bench.load.figures import Measured
from bench.load.measuring import Gateway, measure
from bench.load.rig import Rig, a_rig
from bench.load.rounds import Round
from bench.load.scenarios import FULL_TURNS, SCENARIOS, Scenario
from bench.load.table import show, to_json
from bench.load.words import MAX_TOKENS
from bench.options import json_option
from bench.running import run
from bench.speech import MODEL

MISSED = 1
SPARE_FILES = 200
"""Open files of a process beside those of its streams: logs, the bus, standing connections."""


def _names(_: click.Context, __: click.Parameter, said: tuple[str, ...]) -> list[str]:
    """`--only many,flat` as names; none named: all of them."""
    names = [name.strip() for one in said for name in one.split(",")] or list(SCENARIOS)
    if unknown := [name for name in names if name not in SCENARIOS]:
        raise click.BadParameter(f"no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    return names


def _free(_: click.Context, __: click.Parameter, port: int) -> int:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise click.BadParameter(
            f"port {port}: {os.strerror(error.errno or 0)}; choose another, or 0 for any free one"
        ) from None
    return port


@click.command("load")
@click.option("--only", "names", multiple=True, callback=_names, help=f"Some of them: {', '.join(SCENARIOS)}.")
@click.option("--all", "full", is_flag=True, help=f"`flat` with all {FULL_TURNS:,} turns, as with --only flat.")
@click.option("--runs", type=click.IntRange(min=1), help="Runs of each scenario; medians are quoted.")
@click.option("--seconds", type=click.FloatRange(0.5, 600), help="The measured time of each round.")
@click.option("--streams", type=click.IntRange(1, 5000), help="Streams side by side, in place of a scenario's own.")
@click.option(
    "--tokens", type=click.IntRange(1, MAX_TOKENS), help="Tokens of each stream, in place of a scenario's own."
)
@click.option("--turns", type=click.IntRange(1, 10_000_000), help="Turns of `flat`, after its warm-up.")
@click.option("--edges", default=1, show_default=True, type=click.IntRange(1, 16), help="Edges of the line.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 16), help="Workers of the line.")
@click.option("--against", metavar="URL", help="Another gateway before the same upstream: its URL with /v1.")
@click.option("--against-model", default=MODEL, show_default=True, help="What that gateway calls the model.")
@click.option("--against-key-env", metavar="VAR", help="The variable that holds a key for it.")
@click.option("--against-pid", type=click.IntRange(min=1), help="Its process: CPU and memory are measured too.")
@click.option(
    "--upstream-port",
    default=0,
    type=click.IntRange(0, 65535),
    callback=_free,
    help="Where the upstream listens, so that a gateway can be told before; 0: any free port.",
)
@json_option
def load_command(
    names: list[str],
    full: bool,
    runs: int | None,
    seconds: float | None,
    streams: int | None,
    tokens: int | None,
    turns: int | None,
    edges: int,
    workers: int,
    against: str | None,
    against_model: str,
    against_key_env: str | None,
    against_pid: int | None,
    upstream_port: int,
    json_file: Path | None,
) -> None:
    """Measure what a line adds to direct access to the same upstream: time, CPU, memory."""
    if names == ["flat"] or full:
        turns = turns or FULL_TURNS
    scenarios = {
        name: sized(SCENARIOS[name], runs=runs, seconds=seconds, streams=streams, tokens=tokens, turns=turns)
        for name in names
    }
    gateway = _gateway(against, against_model, against_key_env, against_pid)
    raise_file_limit(max(scenario.streams for scenario in scenarios.values()))
    console = Console(width=None if sys.stdout.isatty() else 140)

    async def all_of_them() -> list[Measured]:
        async with a_rig(upstream_port=upstream_port, edges=edges, workers=workers) as rig:
            console.print(f"upstream: {rig.upstream_url}/v1, model {MODEL}", highlight=False)
            if gateway:
                await _answers(rig, gateway)
            return [await measure(rig, name, one, gateway, console.print) for name, one in scenarios.items()]

    measured = run(all_of_them())
    if json_file:
        json_file.write_bytes(to_json(measured))
    show(measured, console, against=against)
    sys.exit(0 if all(one.passed for one in measured) else MISSED)


def sized(
    scenario: Scenario, *, seconds: float | None = None, turns: int | None = None, **sizes: int | None
) -> Scenario:
    """A scenario with what was asked for in place of its own; None: as it is."""
    changes: dict[str, Any] = {name: size for name, size in sizes.items() if size is not None}
    if seconds and scenario.measure_s:
        changes |= {"measure_s": seconds, "warm_up_s": min(scenario.warm_up_s, seconds)}
    if turns and scenario.turns:
        changes |= {"turns": turns, "warm_up_turns": min(scenario.warm_up_turns, turns)}
    return msgspec.structs.replace(scenario, **changes)


def _gateway(url: str | None, model: str, key_env: str | None, pid: int | None) -> Gateway | None:
    if url is None:
        return None
    if not url.startswith("http://"):
        raise click.BadParameter(f"{url}: an http:// URL is needed", param_hint="--against")
    if key_env and key_env not in os.environ:
        raise click.BadParameter(f"the variable {key_env} is not set", param_hint="--against-key-env")
    if pid and not psutil.pid_exists(pid):
        raise click.BadParameter(f"there is no process {pid}", param_hint="--against-pid")
    return Gateway(url=url.rstrip("/"), model=model, key=os.environ[key_env] if key_env else "", pid=pid)


async def _answers(rig: Rig, gateway: Gateway) -> None:
    """Raises click.BadParameter: it is not there, or does not say what our upstream says."""
    one = Round(urls=(gateway.url,), model=gateway.model, key=gateway.key, streams=1, tokens=3, turns=1)
    heard = await rig.drive(one).heard()
    if heard.bad:
        raise click.BadParameter(
            f"{gateway.url} does not answer from {rig.upstream_url}/v1, model {MODEL} ({' '.join(heard.examples)}); "
            "point it there: --upstream-port keeps the port",
            param_hint="--against",
        )


def raise_file_limit(streams: int) -> None:
    """As far as it goes; children inherit it.

    Raises:
        click.UsageError: that is not far enough.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < streams + SPARE_FILES:
        raise click.UsageError(
            f"{streams} streams need {streams + SPARE_FILES} open files per process and {soft} are allowed; raise the "
            "limit (ulimit -n), or ask for fewer with --streams"
        )
