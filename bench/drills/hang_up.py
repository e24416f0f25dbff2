"""The caller hangs up, at every moment of a turn. Drill 5.

The upstream's own socket says when the model was stopped, measured from the client's close.
"""

import asyncio
from enum import Enum
from typing import Any

from bench import verdict
from bench.drills.stage import FIRST_MS, SPEECH, TOKENS, TOOL, Stage, Turn
from bench.report import Figure, Run, Target
from protocol.messages import TurnRecord

CLOSED = "client's close to upstream closed"
QUEUED_S = 0.2
CLAIM_S = 0.03
LONG_SPEECH = SPEECH.replace("tokens=30", "tokens=400")
SLOW_HEADERS = f"head_ms={FIRST_MS} {LONG_SPEECH}"
TWO_CALLS = "first_ms=100 rate=40 tokens=20 tool=2"


class When(Enum):
    """How far the turn has come when its caller leaves."""

    QUEUED = "queued"
    CLAIMED = "after the claim"
    SILENT = "before the first token"
    MID_STREAM = "mid-stream"
    TOOL_CALL = "during a tool call"


ORDERS = {
    When.QUEUED: SPEECH,
    When.CLAIMED: SLOW_HEADERS,
    When.SILENT: LONG_SPEECH,
    When.MID_STREAM: LONG_SPEECH,
    When.TOOL_CALL: TWO_CALLS,
}


def figures() -> list[Figure]:
    """What is held to; docs/failures.md has the last figures."""
    return [Figure(CLOSED, Target("p99", 100))]


async def leave(stage: Stage, when: When, share: float, *, reset: bool) -> Run:
    """One turn, hung up on with a FIN or a RST when `share` of the time of `when` has passed."""
    run = Run()
    holds = await stage.fill() if when is When.QUEUED else []
    body: dict[str, Any] = {"tools": [TOOL]} if when is When.TOOL_CALL else {}
    turn = await stage.turn(ORDERS[when], **body)
    await _reach(stage, turn, when, share)
    turn.call.hang_up(reset=reset)
    if when is When.QUEUED:
        await _never_called(stage, turn, holds, run)
    else:
        await _closed(stage, turn, run)
    records = await stage.records([turn, *holds])
    run.violations += [f"{when.value}: {wrong}" for wrong in _interrupted(turn, records.get(turn.trace_id))]
    return run


async def _reach(stage: Stage, turn: Turn, when: When, share: float) -> None:
    if when is When.QUEUED:
        await asyncio.sleep(share * QUEUED_S)
    elif when is When.CLAIMED:
        await asyncio.sleep(share * CLAIM_S)
    elif when is When.SILENT:
        await stage.begun([turn])
        await asyncio.sleep(share * FIRST_MS / 1000 * 0.8)
    elif when is When.MID_STREAM:
        await turn.call.heard(1 + int(share * TOKENS))
    elif share < 0.5:  # its arguments are being written: nothing has reached the caller yet
        await stage.begun([turn])
        await asyncio.sleep(0.1 + share)
    else:
        await turn.call.heard()  # the first call is out, the second is being written


async def _closed(stage: Stage, turn: Turn, run: Run) -> None:
    await asyncio.sleep(0.02)  # what was on its way to the upstream arrives there
    seen = (await stage.silent([turn]))[turn.tag]
    run.violations += verdict.hung_up(turn.answer, seen)
    for one in seen:
        if one.closed is not None and turn.answer.hung_up_at is not None:
            run.measure(CLOSED, (one.closed - turn.answer.hung_up_at) * 1000)


async def _never_called(stage: Stage, turn: Turn, holds: list[Turn], run: Run) -> None:
    await asyncio.sleep(0.05)
    stage.release(holds)
    await stage.silent(holds)
    await asyncio.sleep(0.1)
    run.violations += verdict.never_called((await stage.generations([turn]))[turn.tag])


def _interrupted(turn: Turn, record: TurnRecord | None) -> list[str]:
    """A barge-in is an outcome of its own, and what was said until then was spent."""
    if record is None:
        return ["no record"]
    wrong = [f"outcome {record.outcome}"] if record.outcome != "interrupted" else []
    if turn.answer.audible and not record.usage.completion:
        wrong.append(f"something was heard, and the usage is {record.usage}")
    return wrong
