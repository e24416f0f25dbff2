"""NATS is killed and comes back, or freezes and wakes, under live streams. Drills 6 and 7."""

import asyncio
import signal
import time
from typing import NamedTuple

from bench import verdict
from bench.client import Answer, End
from bench.drills.stage import Moment, Stage, State, Turn
from bench.line import Line
from bench.report import Figure, Run, Target

LIVE = 50
LIVE_SPEECH = "first_ms=300 rate=30 tokens=90"
"""3.3 s: most of a turn lies on either side of an absence."""

WENT_ON, NEW_TURN, LONGEST = "streams that went on", "back to the first new turn", "explicit end, long absence"
PROBES_S = 5.0


class Absence(NamedTuple):
    """How NATS goes away, and for how long."""

    by: signal.Signals
    seconds: float

    @property
    def short(self) -> bool:
        """So short that most streams must outlive it."""
        return self.seconds < 3.0


def figures(*, long_too: bool) -> list[Figure]:
    """What is held to; docs/failures.md has the last figures."""
    shared = [Figure(WENT_ON, Target("share", 0.8)), Figure(NEW_TURN, Target("max", 1000))]
    return shared + ([Figure(LONGEST)] if long_too else [])


async def away(
    stage: Stage, line: Line, moment: Moment, absence: Absence, *, live: int = LIVE, speech: str = LIVE_SPEECH
) -> Run:
    """Take NATS away from `live` turns that have come as far as `moment`."""
    run = Run()
    holds = await stage.fill() if moment.state is State.QUEUED else []
    turns = await stage.turns(live, speech)
    if not holds:
        await stage.begun(
            turns
        )  # one that has not been offered by then is no live stream: it is refused, as it should be
    await stage.reach(turns, moment)
    gone_at = line.nats.send(absence.by)
    back_at = await _come_back(stage, line, absence, run)
    stage.release(holds)
    run.measure(NEW_TURN, *await _first_new_turn(stage, back_at, run))
    run.violations += await stage.ended(turns)
    await _judge(stage, turns, absence, gone_at, run)
    if holds:
        run.violations += _lost_in_the_queue(turns)
    await stage.silent([*holds, *turns])
    await line.whole()
    return run


async def _come_back(stage: Stage, line: Line, absence: Absence, run: Run) -> float:
    """The moment at which the server is there again. A turn begun meanwhile ends explicitly, whichever way."""
    if absence.by is signal.SIGSTOP:
        await asyncio.sleep(absence.seconds)
        return line.nats.send(signal.SIGCONT)
    await line.nats.exited(5.0)
    await asyncio.sleep(absence.seconds / 2)
    meanwhile = await stage.turn("tokens=3")
    await asyncio.sleep(absence.seconds / 2)
    back_at = await line.start_nats()
    run.violations += await stage.ended([meanwhile], 10.0)
    run.violations += verdict.explicit(meanwhile.answer, (await stage.generations([meanwhile]))[meanwhile.tag])
    return back_at


async def _first_new_turn(stage: Stage, back_at: float, run: Run) -> list[float]:
    """Milliseconds until a new turn is answered; every one that is tried must end explicitly."""
    while time.monotonic() < back_at + PROBES_S:
        turn = await stage.turn("tokens=3")
        run.violations += await stage.ended([turn], 10.0)
        generations = (await stage.generations([turn]))[turn.tag]
        run.violations += [f"a new turn: {wrong}" for wrong in verdict.explicit(turn.answer, generations)]
        if turn.answer.first_at and not turn.answer.error:
            return [(turn.answer.first_at - back_at) * 1000]
        await asyncio.sleep(0.02)
    run.violations.append(f"no new turn was answered within {PROBES_S:.0f} s of its return")
    return []


async def _judge(stage: Stage, turns: list[Turn], absence: Absence, gone_at: float, run: Run) -> None:
    seen = await stage.generations(turns)
    for turn in turns:
        run.violations += verdict.explicit(turn.answer, seen[turn.tag])
    if absence.short:
        run.measure(WENT_ON, sum(_went_on(turn.answer) for turn in turns) / len(turns))
    else:
        lost = [turn.answer for turn in turns if turn.answer.error]
        run.measure(LONGEST, *((answer.ended_at - gone_at) * 1000 for answer in lost if answer.ended_at))


def _lost_in_the_queue(turns: list[Turn]) -> list[str]:
    """There was room in the queue, and soon there were slots: nobody who waited was one too many."""
    codes = [(turn.answer.error or {}).get("code") for turn in turns]
    lost = codes.count("overloaded")
    return [f"{lost} of {len(turns)} turns that waited were told `overloaded`: their jobs are gone"] if lost else []


def _went_on(answer: Answer) -> bool:
    return answer.end is End.COMPLETE and answer.status == 200 and not answer.error
