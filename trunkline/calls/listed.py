"""Turn records, put together by call. Pure."""

from collections import Counter
from collections.abc import Iterable

from msgspec import Struct

from protocol.messages import Outcome, TurnRecord


class CallSeen(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call, as far as its turns were looked at."""

    call_id: str
    tenant: str
    profile: str
    models: tuple[str, ...]
    turns: int
    outcomes: dict[Outcome, int]
    first_at: str  # when its first turn began, and its last one
    last_at: str
    interrupted: int = 0
    cost: float | None = None  # of the turns that have one


def listed(records: Iterable[TurnRecord], *, last: int) -> list[CallSeen]:
    """The newest calls, oldest first: at most `last`. One call id under two keys is two calls; turns that name no call
    belong to none.
    """
    calls: dict[tuple[str, str], list[TurnRecord]] = {}
    for record in records:
        if record.call_id:
            key = (record.tenant, record.call_id)
            calls[key] = [*calls.pop(key, []), record]  # back to the end: its last turn counts
    return [_seen(turns) for turns in list(calls.values())[-last:]]


def _seen(turns: list[TurnRecord]) -> CallSeen:
    newest = turns[-1]
    outcomes = Counter(turn.outcome for turn in turns)
    costs = [turn.cost for turn in turns if turn.cost is not None]
    return CallSeen(
        call_id=newest.call_id or "",
        tenant=newest.tenant,
        profile=newest.profile,
        models=tuple(dict.fromkeys(turn.model for turn in turns)),
        turns=len(turns),
        outcomes=dict(outcomes.most_common()),
        first_at=min(turn.started_at for turn in turns),
        last_at=max(turn.started_at for turn in turns),
        interrupted=outcomes["interrupted"],
        cost=round(sum(costs), 9) if costs else None,
    )
