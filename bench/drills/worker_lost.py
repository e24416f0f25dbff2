"""A worker is killed, or frozen and woken, while it runs turns. Drills 1, 2 and 3.

Who has heard nothing yet gets one complete answer from another worker, a little later; who has, is told.
"""

import asyncio
import signal
import time
from enum import Enum

from bench import verdict
from bench.drills.stage import FIRST_MS, Moment, Stage, State, Turn
from bench.line import Line, Member
from bench.report import Figure, Run, Target

TURNS = 8
FROZEN_S = 1.6
"""Long enough to be given up for lost, short enough to wake while the next worker still speaks in its place."""

DELAY, ENDED = "added delay to the first token", "explicit end after the loss"


class Loss(Enum):
    """What happens to the worker."""

    KILLED = signal.SIGKILL
    FROZEN = signal.SIGSTOP


def figures(loss: Loss, *states: State) -> list[Figure]:
    """The targets of issue and design for these moments."""
    killed = loss is Loss.KILLED
    delay = Figure(DELAY, Target("max", 1000 if killed else 1500))
    ended = Figure(ENDED, Target("max", 500 if killed else 1200))
    wanted = {State.CLAIMED: delay, State.MID_STREAM: ended}
    return [wanted[state] for state in states]


async def lose(stage: Stage, line: Line, moment: Moment, loss: Loss) -> Run:
    """Take worker 0 away from turns that have come as far as `moment`."""
    run = Run()
    holds = await stage.fill() if moment.state is State.QUEUED else []
    turns = await stage.turns(TURNS)
    await stage.reach(turns, moment)
    worker = line.workers[0]
    lost_at = worker.process.send_group(loss.value)
    stage.release(holds)
    await asyncio.gather(_bring_back(line, worker, loss, turns), _judge(stage, turns, moment, lost_at, run))
    await stage.silent([*holds, *turns])
    return run


async def _bring_back(line: Line, worker: Member, loss: Loss, turns: list[Turn]) -> None:
    """Wake it, or start another in its place: then only when the first tokens are there, so as not to slow them."""
    if loss is Loss.FROZEN:
        await asyncio.sleep(FROZEN_S)
        worker.process.send_group(signal.SIGCONT)
        await worker.ready()
        return
    await worker.process.exited(5.0)
    await asyncio.gather(*(turn.call.heard() for turn in turns))
    await line.restart(worker)


async def _judge(stage: Stage, turns: list[Turn], moment: Moment, lost_at: float, run: Run) -> None:
    run.violations += await stage.ended(turns)
    seen = await stage.generations(turns)
    for turn in turns:
        answer = turn.answer
        run.violations += verdict.moved_or_explicit(answer, seen[turn.tag])
        if moment.state is State.CLAIMED and answer.first_at:
            run.measure(DELAY, (answer.first_at - answer.started) * 1000 - FIRST_MS)
        if moment.state is State.MID_STREAM and answer.error:
            run.measure(ENDED, ((answer.ended_at or time.monotonic()) - lost_at) * 1000)
