"""An edge and a worker, or all of them, get SIGTERM under load. Drill 8: no stream is cut, and each leaves with 0."""

import asyncio
import signal
import time

from bench import verdict
from bench.drills.stage import Moment, Stage, State, Turn
from bench.line import Line, Member
from bench.report import Figure, Run

LAME_S = 0.6
"""Set as `edge.lame_s`: a balancer has this long to look elsewhere."""

NOTICED_S = 0.3
"""After it our own balancer has."""

BETWEEN_S = 0.15
RUNNING = 8
QUEUED = 2
SPEECH = "first_ms=300 rate=30 tokens=30"
"""1.3 s: longer than the edge stays lame."""

SHORT_HOLD = "rate=20 tokens=25"
EXIT_S = 15.0
LEFT = "SIGTERM to exit"


def figures() -> list[Figure]:
    """How long it takes is shown, and has no target."""
    return [Figure(LEFT)]


async def drain(stage: Stage, line: Line, moment: Moment, *, everybody: bool = False) -> Run:
    """SIGTERM to edge 0 and worker 0, or to every edge and worker, then start them again."""
    run = Run()
    turns = await _load(stage, moment)
    await stage.reach(turns, moment)
    members = [*line.edges, *line.workers] if everybody else [line.edges[0], line.workers[0]]
    stopped_at = [member.process.send(signal.SIGTERM) for member in members][-1]
    if not everybody:
        turns += await _balanced(stage, stopped_at)
    await asyncio.gather(*(_leaves(member, stopped_at, run) for member in members))
    run.violations += await stage.ended(turns)
    seen = await stage.generations(turns)
    run.violations += [wrong for turn in turns for wrong in verdict.complete(turn.answer, seen[turn.tag])]
    await asyncio.gather(*(line.restart(member) for member in members))
    await line.whole()
    return run


async def _load(stage: Stage, moment: Moment) -> list[Turn]:
    """Turns on both edges; at a queued moment those of edge 0 wait behind others that soon come to their end."""
    if moment.state is State.QUEUED:
        return [*await stage.fill(SHORT_HOLD, edge=1), *await stage.turns(QUEUED, SPEECH)]
    return [*await stage.turns(RUNNING // 2, SPEECH), *await stage.turns(RUNNING // 2, SPEECH, edge=1)]


async def _balanced(stage: Stage, stopped_at: float) -> list[Turn]:
    """New turns, begun while edge 0 is lame: it still takes them until the balancer has noticed."""
    turns: list[Turn] = []
    while (now := time.monotonic()) < stopped_at + LAME_S:
        edge = len(turns) % 2 if now < stopped_at + NOTICED_S else 1
        turns.append(await stage.turn(SPEECH, edge=edge))
        await asyncio.sleep(BETWEEN_S)
    return turns


async def _leaves(member: Member, stopped_at: float, run: Run) -> None:
    try:
        code = await member.process.exited(EXIT_S)
    except TimeoutError as error:
        run.violations.append(str(error))
        member.process.send_group(signal.SIGKILL)
        await member.process.exited(EXIT_S)
        return
    run.measure(LEFT, (time.monotonic() - stopped_at) * 1000)
    if code != 0:
        run.violations.append(f"{member.name} exited with {code}")
