"""More turns than the queue holds. Drill 9: those over it are refused in milliseconds, the others are served."""

import asyncio

from bench import verdict
from bench.drills.stage import HOLD, Moment, Stage, State, Turn
from bench.polling import until
from bench.report import Figure, Run, Target

QUEUE = 8
"""Set as `jobs.max_msgs`."""

ONE_BY_ONE, AT_ONCE = 10, 10
REFUSED = "refusal"
SILENT_HOLD = "first_ms=7000 tokens=5"


def figures() -> list[Figure]:
    """What is held to; docs/failures.md has the last figures."""
    return [Figure(REFUSED, Target("p99", 20))]


async def overflow(stage: Stage, moment: Moment) -> Run:
    """Fill slots and queue, then knock. The moment is that of the turns that hold the slots, or of one that waits."""
    run = Run()
    holds = await stage.fill(SILENT_HOLD if moment.state is State.CLAIMED else HOLD)
    if moment.state is State.MID_STREAM:
        await asyncio.gather(*(hold.call.heard() for hold in holds))
    queued = await stage.turns(QUEUE, "tokens=3")
    await _full(stage, run)
    for _ in range(ONE_BY_ONE):
        await _refused(stage, await stage.turns(1, "tokens=3"), run)
    await _refused(stage, await stage.turns(AT_ONCE, "tokens=3"), run)
    if moment.state is State.QUEUED:
        queued = await _one_place_free(stage, queued, run)
    stage.release(holds)
    run.violations += await stage.ended(queued)
    seen = await stage.generations(queued)
    run.violations += [wrong for turn in queued for wrong in verdict.complete(turn.answer, seen[turn.tag])]
    await stage.silent([*holds, *queued])
    return run


async def _full(stage: Stage, run: Run) -> None:
    waiting = await until(stage.waiting, lambda count: count >= QUEUE, 2.0)
    if waiting != QUEUE:
        run.violations.append(f"{waiting} jobs wait in a queue for {QUEUE}, and every slot is taken")


async def _refused(stage: Stage, turns: list[Turn], run: Run) -> None:
    run.violations += await stage.ended(turns, 5.0)
    seen = await stage.generations(turns)
    for turn in turns:
        answer = turn.answer
        run.violations += verdict.refused(answer) + verdict.never_called(seen[turn.tag])
        if answer.ended_at is not None:
            run.measure(REFUSED, (answer.ended_at - answer.started) * 1000)


async def _one_place_free(stage: Stage, queued: list[Turn], run: Run) -> list[Turn]:
    """One of those that wait hangs up: one more fits, and no second one."""
    stage.release(queued[:1])
    await until(stage.waiting, lambda count: count < QUEUE, 2.0)
    last = await stage.turn("tokens=3")
    await _full(stage, run)
    await _refused(stage, await stage.turns(1, "tokens=3"), run)
    return [*queued[1:], last]
