"""What must hold when processes die, freeze, drain or overflow: twelve drills on real processes, with figures.

Every drill runs many times, the moment of its signal swept over the turn. Outcome and order are judged in
`bench.verdict`, speed against the targets of the figures. `tests/broker` holds the outcomes with a few moments each.
"""

import logging
import shutil
import signal
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from bench.drills import churn, drain, edge_lost, hang_up, nats_away, queue_full, state_kept, store_lost, worker_lost
from bench.drills.nats_away import Absence
from bench.drills.scene import a_line, an_up_line
from bench.drills.stage import State, sweep
from bench.drills.worker_lost import Loss
from bench.report import Figure, Report

BLINKS = [Absence(signal.SIGKILL, 0.1 * tenths) for tenths in range(5)]
LONG_ABSENCE = Absence(signal.SIGKILL, 5.0)
FREEZE = Absence(signal.SIGSTOP, 2.0)
RUNNING = (State.CLAIMED, State.MID_STREAM)
SMALL = 8
"""Slots per worker where a drill has to fill them all."""

LOAD_PER_S = 100

log = logging.getLogger(__name__)


async def _worker_killed_before_first_token(report: Report, runs: int) -> None:
    async with a_line(report) as (stage, line):
        for moment in sweep(runs, State.CLAIMED):
            report.add(await worker_lost.lose(stage, line, moment, Loss.KILLED))


async def _worker_killed_mid_stream(report: Report, runs: int) -> None:
    async with a_line(report) as (stage, line):
        for moment in sweep(runs, State.MID_STREAM):
            report.add(await worker_lost.lose(stage, line, moment, Loss.KILLED))


async def _worker_frozen(report: Report, runs: int) -> None:
    async with a_line(report) as (stage, line):
        for moment in sweep(runs, *RUNNING):
            report.add(await worker_lost.lose(stage, line, moment, Loss.FROZEN))


async def _edge_killed(report: Report, runs: int) -> None:
    async with a_line(report, edges=2, slots=SMALL) as (stage, line):
        for moment in sweep(2 * runs, State.MID_STREAM, State.QUEUED):
            report.add(await edge_lost.lose(stage, line, moment))


async def _client_hangs_up(report: Report, runs: int) -> None:
    async with a_line(report, workers=1, slots=SMALL) as (stage, _):
        for number in range(runs):
            for when in hang_up.When:
                share = number / max(1, runs - 1)
                report.add(await hang_up.leave(stage, when, share, reset=number % 2 == 1))


async def _nats_restarts(report: Report, runs: int) -> None:
    moments = sweep(runs, *RUNNING)
    every = [(moment, BLINKS[number // 2 % len(BLINKS)]) for number, moment in enumerate(moments)]
    every += [(moment, LONG_ABSENCE) for moment in sweep(-(-runs // 5), *RUNNING)]
    async with a_line(report) as (stage, line):
        for moment, absence in every:
            report.add(await nats_away.away(stage, line, moment, absence))


async def _nats_frozen(report: Report, runs: int) -> None:
    async with a_line(report) as (stage, line):
        for moment in sweep(runs, *RUNNING):
            report.add(await nats_away.away(stage, line, moment, FREEZE))


async def _both_tiers_drain(report: Report, runs: int) -> None:
    env = {"TRUNKLINE_EDGE__LAME_S": str(drain.LAME_S)}
    async with a_line(report, edges=2, slots=SMALL, env=env) as (stage, line):
        for number, moment in enumerate(sweep(runs, State.QUEUED, State.CLAIMED, State.MID_STREAM)):
            everybody = moment.state is State.MID_STREAM and number % 2 == 0
            report.add(await drain.drain(stage, line, moment, everybody=everybody))


async def _queue_full(report: Report, runs: int) -> None:
    env = {"TRUNKLINE_JOBS__MAX_MSGS": str(queue_full.QUEUE)}
    async with a_line(report, workers=1, slots=SMALL, env=env) as (stage, _):
        for moment in sweep(runs, *State):
            report.add(await queue_full.overflow(stage, moment))


async def _workers_killed_under_load(report: Report, runs: int) -> None:
    """One run with as many kills."""
    async with an_up_line(report, workers=4) as (stage, line):
        report.add(await churn.under_load(stage, line.kill_worker, rate=LOAD_PER_S, kills=runs))


async def _everything_killed_between_turns(report: Report, runs: int) -> None:
    async with a_line(report, edges=2) as (stage, line):
        for _ in range(-(-runs // 10)):
            report.add(await state_kept.lose_everything(stage, line))


async def _nats_killed_while_responses_are_stored(report: Report, runs: int) -> None:
    """One run with many kills."""
    async with a_line(report, edges=2) as (stage, line):
        report.add(await store_lost.under_writes(stage, line, kills=max(store_lost.KILLS, runs // 2)))


class Drill(NamedTuple):
    """What it is called, what it measures, and how it fills a report with at least so many runs."""

    title: str
    figures: list[Figure]
    fill: Callable[[Report, int], Awaitable[None]]


DRILLS: dict[int, Drill] = {
    1: Drill(
        "worker SIGKILL before the first token",
        worker_lost.figures(Loss.KILLED, State.CLAIMED),
        _worker_killed_before_first_token,
    ),
    2: Drill(
        "worker SIGKILL mid-stream", worker_lost.figures(Loss.KILLED, State.MID_STREAM), _worker_killed_mid_stream
    ),
    3: Drill("worker SIGSTOP, then SIGCONT", worker_lost.figures(Loss.FROZEN, *RUNNING), _worker_frozen),
    4: Drill("edge SIGKILL", edge_lost.figures(), _edge_killed),
    5: Drill("client hangs up", hang_up.figures(), _client_hangs_up),
    6: Drill("NATS SIGKILL and restart", nats_away.figures(long_too=True), _nats_restarts),
    7: Drill("NATS SIGSTOP for 2 s", nats_away.figures(long_too=False), _nats_frozen),
    8: Drill("SIGTERM to both tiers under load", drain.figures(), _both_tiers_drain),
    9: Drill("queue full", queue_full.figures(), _queue_full),
    10: Drill("one worker of four SIGKILLed every second", churn.figures(), _workers_killed_under_load),
    11: Drill("everything SIGKILLed between two turns", state_kept.figures(), _everything_killed_between_turns),
    12: Drill("NATS SIGKILL while responses are stored", store_lost.figures(), _nats_killed_while_responses_are_stored),
}


async def run(number: int, runs: int) -> Report:
    """One drill, at least `runs` times. Its logs stay when something was wrong."""
    drill = DRILLS[number]
    report = Report(number, drill.title, drill.figures)
    began_at = time.monotonic()
    try:
        await drill.fill(report, runs)
    except Exception as error:  # what broke one drill must not cost the others
        log.exception("drill %s", number)
        report.violations.append(f"broke off: {error!r}")
    report.took_s = time.monotonic() - began_at
    if report.passed:
        shutil.rmtree(report.logs, ignore_errors=True)
        report.logs = ""
    return report
