"""All processes of a line are killed between two turns of many conversations. Drill 11: another edge goes on with all.

The second turn names the first one's response alone, so that what the model is given shows what was kept.
"""

import asyncio

from bench import verdict
from bench.drills.stage import Reply, Stage
from bench.line import Line
from bench.report import Figure, Run, Target

CONVERSATIONS = 50
SPEECH = "first_ms=50 rate=100 tokens=12"
WENT_ON = "conversations that went on"


def figures() -> list[Figure]:
    """What is held to; docs/failures.md has the last figures."""
    return [Figure(WENT_ON, Target("share", 1.0))]


async def lose_everything(stage: Stage, line: Line, *, conversations: int = CONVERSATIONS) -> Run:
    """First turns on edge 0; everything dies as soon as the last of them has ended; second turns on edge 1."""
    run = Run()
    begun = (stage.reply(SPEECH, stream=number % 2 == 0) for number in range(conversations))
    firsts = await asyncio.gather(*begun)
    run.violations += await stage.ended(reply.turn for reply in firsts)
    await line.lose_everything()
    run.violations += await _whole(stage, firsts)
    run.violations += ["a first turn says `store: false`" for reply in firsts if not reply.call.kept]
    stage.without_record(reply.turn for reply in firsts)
    await line.begin_anew()
    again = (stage.reply(SPEECH, edge=1, previous_response_id=first.call.id) for first in firsts)
    seconds = await asyncio.gather(*again)
    run.violations += await stage.ended(reply.turn for reply in seconds)
    run.violations += await _whole(stage, seconds)
    lost = [wrong for pair in zip(firsts, seconds, strict=True) for wrong in _lost(*pair)]
    run.measure(WENT_ON, 1 - len(lost) / conversations)
    run.violations += lost
    return run


async def _whole(stage: Stage, replies: list[Reply]) -> list[str]:
    seen = await stage.generations([reply.turn for reply in replies])
    return [wrong for reply in replies for wrong in verdict.whole_response(reply.call, seen[reply.turn.tag])]


def _lost(first: Reply, second: Reply) -> list[str]:
    words = first.words + len(first.call.answer.text.split()) + second.words
    return verdict.went_on(second.call, words)
