"""The one line after a turn: what its caller measured, and what the line's own record adds. Pure."""

from typing import Any

from protocol.messages import TurnRecord
from trunkline.talk.turn import Turn
from trunkline.turns.summary import money

SEPARATOR = " · "
REASONS = {"length": "cut at its length limit", "content_filter": "ended by a content filter"}


def figures(turn: Turn, record: TurnRecord | None) -> str:
    """One line for people. Without a record, what only the line knows is left out."""
    parts = [_ending(turn, record)]
    if turn.first_at is not None:
        parts.append(f"first {ms((turn.first_at - turn.began) * 1000)}")
    parts.append(f"total {ms((turn.ended - turn.began) * 1000)}")
    if (rate := turn.tokens_per_s) is not None:
        parts.append(f"{rate:,.1f} tokens/s" if rate < 100 else f"{rate:,.0f} tokens/s")
    if record is not None and record.queue_ms is not None:
        parts.append(f"queue {ms(record.queue_ms)}")
    if record is not None and record.worker is not None:
        parts.append(f"worker {record.worker}")
    if trace := trace_of(turn, record):
        parts.append(f"trace {trace}")
    return SEPARATOR.join(part for part in parts if part)


def as_json(turn: Turn, record: TurnRecord | None) -> dict[str, Any]:
    """The same for machines, with the answer."""
    return {
        "answer": turn.text or turn.refusal,
        "finish_reason": turn.reason,
        "interrupted": turn.interrupted,
        "error": str(turn.failure) if turn.failure else None,
        "tokens": turn.tokens,
        "first_ms": _rounded(turn.first_at - turn.began) if turn.first_at is not None else None,
        "total_ms": _rounded(turn.ended - turn.began),
        "tokens_per_s": round(turn.tokens_per_s, 1) if turn.tokens_per_s is not None else None,
        "queue_ms": record.queue_ms if record else None,
        "cancel_ms": record.cancel_ms if record else None,
        "unheard_tokens": record.unheard if record else None,
        "unheard_cost": record.unheard_cost if record else None,
        "worker": record.worker if record else None,
        "turn": turn.turn_id or (record.id if record else None),
        "trace": trace_of(turn, record),
    }


def trace_of(turn: Turn, record: TurnRecord | None) -> str | None:
    """The turn's trace id. A caller who left before the first byte has it from the record alone."""
    return turn.trace_id or (record.trace_id if record else None)


def ms(value: float) -> str:
    """A duration to be taken in at a glance."""
    if value < 10:
        return f"{value:.1f} ms"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.2f} s"


def _ending(turn: Turn, record: TurnRecord | None) -> str:
    """How it ended, where that is not as usual; of a barge-in, how fast it reached the model."""
    if not turn.interrupted:
        return REASONS.get(turn.reason or "", "")
    if record is None:
        return "interrupted"
    if record.worker is None:
        return "interrupted before a worker had it"
    if record.cancel_ms is None:
        return "interrupted when the model had finished" if record.finish_reason else "interrupted"
    return f"interrupted, upstream stopped in {ms(record.cancel_ms)}{_unheard(record)}"


def _unheard(record: TurnRecord) -> str:
    """What was generated and not sent, and what that cost, where there is something."""
    if not record.unheard:
        return ""
    cost = "" if record.unheard_cost is None else f" (cost {money(record.unheard_cost)})"
    return f", {record.unheard} token{'' if record.unheard == 1 else 's'} unheard{cost}"


def _rounded(seconds: float) -> float:
    return round(seconds * 1000, 3)
