"""An edge is killed with turns of every kind on its hands. Drill 4.

Nobody listens any more: what is being said must stop at its source, and what still waits must never begin.
"""

import asyncio
import signal
from collections.abc import Iterable

from bench import verdict
from bench.drills.stage import SPEECH, Moment, Stage, State, Turn
from bench.line import Line, Member
from bench.orders import Generation
from bench.report import Figure, Run, Target

EACH = 4
FREE_S = 1.0
FLOWING, SILENT = "upstream closed, text flowing", "upstream closed, model silent"
FIGURES = ((FLOWING, Target("max", 1000)), (SILENT, Target("max", 1500)))
LONG_SPEECH = SPEECH.replace("tokens=30", "tokens=400")
NO_TOKEN = "first_ms=7000 tokens=5"
NO_HEADERS = "head_ms=7000 first_ms=7000 tokens=5"


def figures() -> list[Figure]:
    """What is held to; docs/failures.md has the last figures."""
    return [Figure(name, target) for name, target in FIGURES]


async def lose(stage: Stage, line: Line, moment: Moment) -> Run:
    """Kill edge 0. A queued moment in the first half of its time finds strangers' turns in all slots, then its own."""
    run = Run()
    if moment.state is State.QUEUED:
        await _with_jobs_waiting(stage, line, moment, run)
    else:
        await _with_turns_running(stage, line, moment, run)
    return run


async def _with_turns_running(stage: Stage, line: Line, moment: Moment, run: Run) -> None:
    silent = await stage.turns(EACH // 2, NO_TOKEN) + await stage.turns(EACH // 2, NO_HEADERS)
    flowing = await stage.turns(EACH, LONG_SPEECH)
    await stage.reach(flowing, moment)
    await stage.begun([*silent, *flowing])
    killed_at = await _kill(stage, line.edges[0], [*silent, *flowing])
    seen = await stage.silent([*silent, *flowing])
    await line.restart(line.edges[0])
    for one in (one for generations in seen.values() for one in generations):
        run.violations += verdict.abandoned([one])
        flowed = one.first is not None and one.first < killed_at
        if one.closed is not None:
            run.measure(FLOWING if flowed else SILENT, (one.closed - killed_at) * 1000)


async def _with_jobs_waiting(stage: Stage, line: Line, moment: Moment, run: Run) -> None:
    holder = 1 if moment.share < 0.5 else 0
    holds = await stage.fill(edge=holder)
    queued = await stage.turns(EACH)
    await stage.reach(queued, moment)
    await _kill(stage, line.edges[0], queued if holder else [*holds, *queued])
    stage.release(holds)
    await stage.silent(holds)
    freed = asyncio.sleep(FREE_S)  # what still waits would begin in that time
    await asyncio.gather(freed, line.restart(line.edges[0]))
    seen = await stage.generations(queued)
    run.violations += verdict.never_called(_every(seen.values()))


async def _kill(stage: Stage, edge: Member, turns: list[Turn]) -> float:
    killed_at = edge.process.send_group(signal.SIGKILL)
    stage.without_record(turns)
    await edge.process.exited(5.0)
    return killed_at


def _every(groups: Iterable[list[Generation]]) -> list[Generation]:
    return [one for group in groups for one in group]
