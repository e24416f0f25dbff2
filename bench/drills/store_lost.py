"""NATS is killed again and again while responses are stored. Drill 12: what is said to be kept can be read afterwards.

Each kill is aimed at a write: it comes when a turn's last word is out and its end is not, a little later every time.
"""

import asyncio
import itertools
import signal
from collections.abc import Iterator

import orjson

from bench import verdict
from bench.client import fetch
from bench.drills.stage import Reply, Stage
from bench.line import Line
from bench.polling import until
from bench.report import Figure, Run, Target

TURNS, AT_ONCE, KILLS = 1000, 20, 5
TOKENS = 10
SPEECH = f"first_ms=100 rate=50 tokens={TOKENS}"
WRITE_S = 0.0015
"""The kills are swept over so long a time after a last word."""

AWAY_S = (0.0, 0.1, 0.3)
BACK_OFF_S = 0.2
"""Who was turned away asks again after that."""

READ_S = 5.0
KEPT, UNKEPT, FAILED = "completed, store: true", "completed, store: false", "ended with an error"
SHARE, MISSING, END = "of those that completed, kept", "said to be kept, and missing", "last word to the end"


def figures() -> list[Figure]:
    """What is held to; docs/failures.md has the last figures."""
    shown = [Figure(name, counts=True) for name in (KEPT, UNKEPT, FAILED)]
    return [*shown, Figure(SHARE, Target("share", 0.95)), Figure(MISSING, Target("max", 0), counts=True), Figure(END)]


async def under_writes(
    stage: Stage, line: Line, *, turns: int = TURNS, at_once: int = AT_ONCE, kills: int = KILLS
) -> Run:
    """So many turns, `at_once` at any time, on all edges in turn; NATS dies `kills` times, evenly spread over them."""
    run = Run()
    replies: list[Reply] = []
    numbers = iter(range(turns))
    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(_talk(stage, len(line.edges), numbers, replies, run))
        for number in range(kills):
            await _reached(replies, (number + 1) * turns // (kills + 1))
            await _kill_in_a_write(line, replies, number / max(1, kills - 1))
            await asyncio.sleep(AWAY_S[number % len(AWAY_S)])
            await line.start_nats()
    await line.whole()
    await _judge(stage, replies, run)
    return run


async def _talk(stage: Stage, edges: int, numbers: Iterator[int], replies: list[Reply], run: Run) -> None:
    """One turn after the other."""
    for number in numbers:
        reply = await stage.reply(SPEECH, edge=number % edges)
        replies.append(reply)
        run.violations += await stage.ended([reply.turn])
        if not reply.call.completed:
            await asyncio.sleep(BACK_OFF_S)


async def _reached(replies: list[Reply], count: int) -> None:
    while len(replies) < count:  # noqa: ASYNC110 - a count sets no event
        await asyncio.sleep(0.005)


async def _kill_in_a_write(line: Line, replies: list[Reply], share: float) -> None:
    """Kill NATS when the newest turn has said all of its words, or another one, if that one fails before."""
    for seen in itertools.count():
        newest = replies[-1].call
        if await newest.heard(TOKENS) or seen == AT_ONCE:
            break
        await asyncio.sleep(BACK_OFF_S)
    await asyncio.sleep(share * WRITE_S)
    line.nats.send(signal.SIGKILL)
    await line.nats.exited(5.0)


async def _judge(stage: Stage, replies: list[Reply], run: Run) -> None:
    seen = await stage.generations([reply.turn for reply in replies])
    for reply in replies:
        call = reply.call
        run.violations += verdict.explicit_response(call, seen[reply.turn.tag])
        if call.completed and call.response_at is not None:
            run.measure(END, (call.response_at - call.answer.chunk_at[-1]) * 1000)
    kept = [reply for reply in replies if reply.call.kept]
    completed = sum(reply.call.completed for reply in replies)
    run.measure(KEPT, len(kept))
    run.measure(UNKEPT, completed - len(kept))
    run.measure(FAILED, len(replies) - completed)
    run.measure(SHARE, len(kept) / max(1, completed))
    if len(kept) < len(replies) // 2:
        run.violations.append(f"only {len(kept)} of {len(replies)} are said to be kept: that shows little")
    found = [await _found(stage, reply) for reply in kept]
    run.measure(MISSING, found.count(None))
    run.violations += ["it was stored otherwise than it was told" for one in found if one is False]


async def _found(stage: Stage, reply: Reply) -> bool | None:
    """Whether it is kept as it was told; None: it is not there."""
    url = f"{stage.responses_url()}/{reply.call.id}"
    status, body = await until(lambda: fetch(url), lambda answer: answer[0] != 503, READ_S)
    return orjson.loads(body) == reply.call.response if status == 200 else None
