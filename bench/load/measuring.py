"""Runs the scenarios: lines up and down, rounds against every side in turn."""

import asyncio
import time
from collections.abc import Callable, Iterator

import psutil
from msgspec import Struct
from msgspec.structs import replace

from bench.load import meter
from bench.load.figures import AGAINST, CHAT, DIRECT, GATEWAY, UNSTORED, Measured, Run
from bench.load.rig import Rig, Side, Taken
from bench.load.rounds import Round
from bench.load.scenarios import ARRIVALS_PER_S, Scenario
from bench.polling import until
from bench.speech import MODEL

SPREAD = 0.75
"""The share of the warm-up over which the streams begin: then they run as if they had always run."""

SPARE_BUDGET_S = 30.0
LAZY_TURNS = 50
"""Before memory is read for the first time: what is made once, at the first turns, is no turn's cost."""


class Gateway(Struct, frozen=True, kw_only=True):
    """Another gateway, that stands before the same upstream."""

    url: str
    model: str = MODEL
    key: str = ""
    pid: int | None = None


async def measure(
    rig: Rig, name: str, scenario: Scenario, gateway: Gateway | None, tell: Callable[[str], None]
) -> Measured:
    """One scenario, all its runs. Each run has a line of its own.

    Raises:
        StartFailed: a process did not come up, or broke.
    """
    measured = Measured(name, scenario)
    began_at, spans = time.monotonic(), await rig.spans()
    for number in range(scenario.runs):
        tell(f"{name}, run {number + 1} of {scenario.runs}")
        base_url = await rig.base_url(ordinary=scenario.ordinary)
        async with rig.line(base_url, slots=scenario.slots, env=_env(scenario)) as line:
            run = Run()
            for side in _sides(base_url, line, scenario, gateway):
                before = meter.yardstick_ms()
                taken = await (_take_waiting(rig, side, scenario) if scenario.wait_s else _take(rig, side, scenario))
                taken.yardstick_ms = (before + meter.yardstick_ms()) / 2
                run.add(side.name, taken, scenario)
            measured.runs.append(run)
    measured.took_s, measured.spans = time.monotonic() - began_at, await rig.spans() - spans
    measured.failures, rig.failures = rig.failures, []
    return measured


async def _take(rig: Rig, side: Side, scenario: Scenario) -> Taken:
    return await rig.drive(round_of(side, scenario)).taken(side.groups)


def _env(scenario: Scenario) -> dict[str, str]:
    if not scenario.wait_s:
        return {}
    return {"TRUNKLINE_TURN__BUDGET_S": str(_wait_s(scenario) + SPARE_BUDGET_S)}


def _wait_s(scenario: Scenario) -> float:
    """How long the first to come waits, so that all wait together for as long as they should."""
    return scenario.streams / ARRIVALS_PER_S + scenario.wait_s


def _sides(base_url: str, line: Side, scenario: Scenario, gateway: Gateway | None) -> Iterator[Side]:
    if scenario.direct:
        yield Side(DIRECT, (base_url,))
    if scenario.beside_chat:
        yield replace(line, name=CHAT)
        yield replace(line, name=UNSTORED, api="responses")
        yield replace(line, api="responses", store=True)
        return
    yield line
    if gateway and not scenario.ordinary:  # it stands before the other upstream
        groups = {GATEWAY: meter.family(gateway.pid)} if gateway.pid else {}
        yield Side(AGAINST, (gateway.url,), gateway.model, gateway.key, groups=groups)


def round_of(side: Side, scenario: Scenario) -> Round:
    """One round of a scenario against one side."""
    waiting = bool(scenario.wait_s)
    return Round(
        urls=side.urls,
        model=side.model,
        key=side.key,
        api=side.api,
        store=side.store,
        streams=scenario.streams,
        tokens=scenario.tokens,
        rate=scenario.rate,
        first_ms=_wait_s(scenario) * 1000 if waiting else 0.0,
        spread_s=scenario.streams / ARRIVALS_PER_S if waiting else scenario.warm_up_s * SPREAD,
        warm_up_s=scenario.warm_up_s,
        measure_s=scenario.measure_s,
        warm_up_turns=scenario.warm_up_turns,
        turns=scenario.streams if waiting else scenario.turns,
    )


async def _take_waiting(rig: Rig, side: Side, scenario: Scenario) -> Taken:
    """Memory while nobody says anything, in the middle of the time in which all wait."""
    asked = round_of(side, scenario)
    lazy = replace(asked, streams=1, first_ms=0.0, spread_s=0.0, turns=LAZY_TURNS)
    await rig.drive(lazy).heard()
    before = meter.read(side.groups)
    psutil.cpu_percent()
    driving = rig.drive(asked)
    await driving.said("measuring")
    stats = await until(rig.stats, lambda stats: stats.open >= asked.streams, asked.first_ms / 1000, every_s=0.05)
    if stats.open < asked.streams:
        rig.failures.append(f"{side.name}: only {stats.open} of {asked.streams} streams waited together")
    await asyncio.sleep(scenario.wait_s / 2)
    after, busy = meter.read(side.groups), psutil.cpu_percent()
    return Taken(heard=await driving.heard(), before=before, after=after, busy_percent=busy)
