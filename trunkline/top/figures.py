"""What is shown: one look at the line, as values. `trunkline top --json` prints them as they are."""

import math
from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from msgspec import Struct

from protocol.messages import Outcome

WorkerState = Literal["up", "draining", "silent", "left"]
"""`silent`: not heard for 3 s; `left`: the same, after it had said that it drains."""
EdgeState = Literal["ready", "not ready", "draining", "unreachable", "no edge"]


class Spread(Struct, frozen=True):
    """How a time is spread over the window. None: there was none."""

    count: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None


class WorkerRow(Struct, frozen=True, kw_only=True):
    """One worker, as it said last."""

    id: str
    state: WorkerState
    pools: tuple[str, ...]
    models: tuple[str, ...]
    slots: int
    busy: int
    heard_s: float  # since it said anything
    config: str  # hash of its settings
    open: tuple[str, ...] = ()  # targets that its circuit breakers pass over now


class EdgeRow(Struct, frozen=True, kw_only=True):
    """One edge, as its admin listener said last. None: it did not say."""

    url: str
    state: EdgeState
    live: int | None = None  # turns whose client still waits or listens
    waiting: int | None = None  # its offers that nobody has claimed
    turns: int | None = None  # since it started


class ModelRow(Struct, frozen=True, kw_only=True):
    """What one model did in the window."""

    name: str
    turns: int
    failed: int
    first_content: Spread


class ErrorRow(Struct, frozen=True, kw_only=True):
    """A turn that failed; never what was said in it."""

    turn: str
    outcome: Outcome
    error: str | None  # the wire code
    model: str
    trace_id: str | None
    ended_at: datetime | None  # on its edge's clock


class Figures(Struct, frozen=True, kw_only=True):
    """One look at the line."""

    at: datetime
    nats: str
    away_s: float | None  # how long NATS has been away; the rest is as it was then
    listening: bool  # for less than it takes to hear every worker
    window_s: float  # what the figures about turns span
    turns: int
    turns_per_s: float  # of the last `rate_s`, as `tokens_per_s`
    tokens_per_s: float  # of turns that finished
    rate_s: float
    live: int  # claims that run, as the workers said
    slots: int
    queued: dict[str, int] | None  # pool → jobs that wait; None: JetStream did not say
    first_content: Spread
    cancel: Spread
    outcomes: dict[Outcome, int]
    workers: tuple[WorkerRow, ...]
    edges: tuple[EdgeRow, ...]
    models: tuple[ModelRow, ...]
    errors: tuple[ErrorRow, ...]  # the newest first


def spread(times_ms: Iterable[float | None]) -> Spread:
    """Percentiles of those that are known: of each, the smallest value that so many do not exceed."""
    ordered = sorted(time for time in times_ms if time is not None)
    if not ordered:
        return Spread()
    p50, p95 = (ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.95))
    return Spread(len(ordered), p50, p95)
