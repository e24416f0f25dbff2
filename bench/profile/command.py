"""`python -m bench profile`: a line under load, sampled from outside."""

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from bench.load.command import raise_file_limit, sized
from bench.load.measuring import round_of
from bench.load.rig import Rig, Taken, a_rig
from bench.load.scenarios import SCENARIOS, Scenario
from bench.options import writable
from bench.processes import ROOT, StartFailed
from bench.profile import stacks
from bench.profile.table import Profile, show
from bench.running import run

PYTHON_TIERS = ("edge", "worker")
TIERS = (*PYTHON_TIERS, "nats")
PACED = [name for name, scenario in SCENARIOS.items() if scenario.measure_s]
PY_SPY = Path(sys.executable).with_name("py-spy")
STOP_S = 20.0  # after its time py-spy writes what it has seen


@click.command("profile")
@click.option("--scenario", "name", default="many", show_default=True, type=click.Choice(PACED), help="The load.")
@click.option("--seconds", default=10.0, show_default=True, type=click.FloatRange(1, 600), help="For how long.")
@click.option("--process", "kinds", multiple=True, type=click.Choice(TIERS), help="Some of them only; repeatable.")
@click.option("--streams", type=click.IntRange(1, 5000), help="Streams side by side, in place of the scenario's own.")
@click.option("--rate", default=200, show_default=True, type=click.IntRange(1, 1000), help="Samples a second.")
@click.option("--native", is_flag=True, help="Look into C code too: system calls apart, at a higher price.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=writable,
    help="Write the stacks there, collapsed, as flame graph tools read them.",
)
def profile_command(
    name: str,
    seconds: float,
    kinds: tuple[str, ...],
    streams: int | None,
    rate: int,
    native: bool,
    out: Path | None,
) -> None:
    """Say where the CPU of a line goes while it is under load."""
    if not PY_SPY.exists():
        raise click.UsageError("py-spy is not installed here; `make setup` installs it")
    scenario = sized(SCENARIOS[name], seconds=seconds, streams=streams)
    raise_file_limit(scenario.streams)
    taken, profiles = run(Sampler(scenario, rate=rate, native=native).profile(kinds or TIERS))
    if out:
        out.write_text("".join(stacks.collapsed(one.kind, one.samples) for one in profiles))
    show(f"{name}: {scenario.title}", taken, profiles, Console(width=None if sys.stdout.isatty() else 140))
    sys.exit(1 if taken.heard.bad else 0)


class Sampler:
    """A line under one scenario, and py-spy beside it."""

    def __init__(self, scenario: Scenario, *, rate: int, native: bool) -> None:
        self._scenario = scenario
        self._options = ["--rate", str(rate), *(["--native"] if native else [])]

    async def profile(self, kinds: Sequence[str]) -> tuple[Taken, list[Profile]]:
        """The load, and what each kind of process did meanwhile.

        Raises:
            StartFailed: a process did not come up, or py-spy could not look.
        """
        async with a_rig() as rig:
            base_url = await rig.base_url(ordinary=self._scenario.ordinary)
            return await self._watch(rig, base_url, kinds)

    async def _watch(self, rig: Rig, base_url: str, kinds: Sequence[str]) -> tuple[Taken, list[Profile]]:
        async with rig.line(base_url, slots=self._scenario.slots, env={}) as side:
            driving = rig.drive(round_of(side, self._scenario))
            await driving.said("measuring")
            watched = [kind for kind in kinds if kind in PYTHON_TIERS]
            sampling = asyncio.gather(*(self._sample(rig, kind, side.groups[kind][0]) for kind in watched))
            taken, sampled = await asyncio.gather(driving.taken(side.groups), sampling)
        samples = dict(zip(watched, sampled, strict=True))
        return taken, [Profile(kind, taken.used[kind], samples.get(kind, [])) for kind in kinds]

    async def _sample(self, rig: Rig, kind: str, pid: int) -> list[stacks.Stack]:
        """The stacks of one process, while the load lasts."""
        file = rig.directory / f"{kind}.stacks"
        time = ["--pid", str(pid), "--duration", str(max(1, int(self._scenario.measure_s)))]
        form = ["--format", "raw", "--full-filenames", "--nolineno", "--output", str(file)]
        process = await asyncio.create_subprocess_exec(
            PY_SPY, "record", *time, *self._options, *form, stdout=PIPE, stderr=STDOUT
        )
        try:
            async with asyncio.timeout(self._scenario.measure_s + STOP_S):
                said, _ = await process.communicate()
        except BaseException:
            if process.returncode is None:
                process.kill()
                await process.wait()
            raise
        if process.returncode:
            raise StartFailed(refusal(said.decode(errors="replace")))
        return stacks.parse(file.read_text(), str(ROOT))


def refusal(said: str) -> str:
    """Why py-spy has not looked."""
    if "ermission" in said or "not permitted" in said:
        return (
            "py-spy may not look into other processes here; run this as root, or allow it: "
            "sysctl kernel.yama.ptrace_scope=0, in a container --cap-add SYS_PTRACE"
        )
    return f"py-spy failed: {' '.join(said.split())[-300:]}"
