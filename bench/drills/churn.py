"""Workers are killed one after the other under steady load. Drill 10: no turn fails before its first token."""

import asyncio
import itertools
import signal
import time
from collections.abc import Awaitable, Callable

from bench import verdict
from bench.drills.stage import SPEECH, Moment, Stage, State, Turn
from bench.line import Line
from bench.report import Figure, Run

LOAD_SPEECH = "first_ms=50 rate=50 tokens=6"
FIRST, CUT, APART = "first token", "explicit end, cut by a kill", "from one kill to the next"

Kill = Callable[[int], Awaitable[float]]
"""Ends one worker; the moment at which it did."""


def figures() -> list[Figure]:
    """Shown; the target is the outcome."""
    return [Figure(FIRST), Figure(CUT), Figure(APART)]


async def under_load(stage: Stage, kill: Kill, *, rate: float, kills: int) -> Run:
    """`rate` turns a second, until `kill` has ended one worker a second, `kills` in all; others replace them."""
    run = Run()
    turns: list[Turn] = []
    async with asyncio.TaskGroup() as tasks:
        load = tasks.create_task(_load(stage, turns, rate, run))
        run.measure(APART, *await _kills(kill, kills))
        load.cancel()
    run.violations += await stage.ended(turns)
    await _judge(stage, turns, run)
    return run


async def one_after_the_other(stage: Stage, line: Line, moment: Moment) -> Run:
    """The short form: every worker is killed and started again, each at `moment` of some turns."""
    run = Run()
    for worker in line.workers:
        holds = await stage.fill() if moment.state is State.QUEUED else []
        turns = await stage.turns(4, SPEECH)
        await stage.reach(turns, moment)
        worker.process.send_group(signal.SIGKILL)
        stage.release(holds)
        await worker.process.exited(5.0)
        await line.restart(worker)
        run.violations += await stage.ended(turns)
        await _judge(stage, turns, run)
        await stage.silent([*holds, *turns])
    return run


async def _load(stage: Stage, turns: list[Turn], rate: float, run: Run) -> None:
    """Begin each turn at its own time, however long the ones before it take, until cancelled."""
    begun_at = time.monotonic()
    for number in itertools.count():
        await asyncio.sleep(max(0.0, begun_at + number / rate - time.monotonic()))
        try:
            turns.append(await stage.turn(LOAD_SPEECH))
        except OSError as error:
            run.violations.append(f"the edge took no connection: {error}")


async def _kills(kill: Kill, count: int) -> list[float]:
    """Milliseconds from each to the next: a second, where workers come back fast enough for it."""
    killed_at: list[float] = []
    for number in range(count):
        await asyncio.sleep(max(0.0, killed_at[-1] + 1.0 - time.monotonic()) if killed_at else 1.0)
        killed_at.append(await kill(number))
    await asyncio.sleep(1.0)
    return [(after - before) * 1000 for before, after in itertools.pairwise(killed_at)]


async def _judge(stage: Stage, turns: list[Turn], run: Run) -> None:
    seen = await stage.generations(turns)
    for turn in turns:
        answer = turn.answer
        run.violations += verdict.moved_or_explicit(answer, seen[turn.tag])
        if answer.first_at is not None:
            run.measure(FIRST, (answer.first_at - answer.started) * 1000)
        if answer.error and answer.chunk_at and answer.ended_at:
            run.measure(CUT, (answer.ended_at - answer.chunk_at[-1]) * 1000)
