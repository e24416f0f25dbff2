"""What was seen of a line, and the figures of it. Pure: every time is given, in seconds of one clock."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import get_args

from msgspec import Struct

from edge.presence import ABSENT_AFTER_S
from protocol.messages import Here, Outcome, TurnRecord
from trunkline.top.figures import EdgeRow, ErrorRow, Figures, ModelRow, WorkerRow, WorkerState, spread

RATE_S = 10.0  # turns/s follow the load sooner than percentiles, which need many turns
FORGET_S = 30.0  # a worker that fell silent is shown for so long
ERRORS = 50
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
NO_ERROR = ("completed", "interrupted")  # a barge-in is an outcome, not an error
MIN_SPAN_S = 1.0


class _Worker(Struct):
    here: Here
    at: float
    pools: set[str]


class _Ended(Struct, frozen=True):
    record: TurnRecord
    at: float


class Line:
    """Everything heard of one line that may still matter."""

    def __init__(self, nats: str, *, window_s: float, now: float) -> None:
        self._nats = nats
        self._window_s = window_s
        self._known_from = now  # no turn that ended before is known for certain
        self._back_at = now
        self._away_since: float | None = None
        self._workers: dict[str, _Worker] = {}
        self._turns: dict[str, _Ended] = {}
        self._errors: dict[str, _Ended] = {}
        self._queued: dict[str, int] | None = None
        self._edges: tuple[EdgeRow, ...] = ()

    def hear(self, pool: str, here: Here, now: float) -> None:
        """A worker says that it lives, once for each of its pools."""
        worker = self._workers.setdefault(here.worker_id, _Worker(here, now, set()))
        worker.here, worker.at = here, now
        worker.pools.add(pool)

    def record(self, record: TurnRecord, at: float) -> None:
        """A turn ended `at`. An edge may tell it twice, and the stream once more."""
        if record.id in self._turns or record.id in self._errors:
            return
        ended = _Ended(record, at)
        self._turns[record.id] = ended
        if record.outcome not in NO_ERROR:
            self._errors[record.id] = ended
            if len(self._errors) > 2 * ERRORS:
                self._errors = {old.record.id: old for old in self._newest_errors()}

    def known_from(self, at: float) -> None:
        """Every turn that ended after `at` is known."""
        self._known_from = at

    def queue(self, depths: dict[str, int] | None) -> None:
        """How many jobs wait, pool by pool; None: nobody could say."""
        self._queued = depths

    def edges(self, rows: Iterable[EdgeRow]) -> None:
        """What the edges' admin listeners said."""
        self._edges = tuple(rows)

    def bus(self, connected: bool, now: float) -> None:
        """Whether NATS is there. While it is away nobody can be heard, so nobody counts as silent."""
        if connected and self._away_since is not None:
            self._away_since, self._back_at = None, now
        elif not connected and self._away_since is None:
            self._away_since = now

    def figures(self, now: float, at: datetime) -> Figures:
        """One look, `now` on our clock and `at` on the wall's. While NATS is away: as it was before."""
        then = now if self._away_since is None else self._away_since
        self._forget(then)
        turns = list(self._turns.values())
        window_s = self._span(self._window_s, then)
        rate_s = self._span(RATE_S, then)
        recent = [ended for ended in turns if ended.at > then - rate_s]
        workers = tuple(self._worker_rows(then))
        present = [worker for worker in workers if worker.state in ("up", "draining")]
        outcomes = Counter(ended.record.outcome for ended in turns)
        return Figures(
            at=at,
            nats=self._nats,
            away_s=None if self._away_since is None else now - self._away_since,
            listening=then - self._back_at < ABSENT_AFTER_S,
            window_s=window_s,
            turns=len(turns),
            turns_per_s=len(recent) / rate_s,
            tokens_per_s=sum(ended.record.usage.completion for ended in recent) / rate_s,
            rate_s=rate_s,
            live=sum(worker.busy for worker in present),
            slots=sum(worker.slots for worker in present),
            queued=self._queued,
            first_content=spread(ended.record.ttft_ms for ended in turns),
            cancel=spread(ended.record.cancel_ms for ended in turns),
            outcomes={outcome: outcomes[outcome] for outcome in OUTCOMES},
            workers=workers,
            edges=self._edges,
            models=tuple(_model_rows([ended.record for ended in turns])),
            errors=tuple(_error_row(ended.record) for ended in self._newest_errors()),
        )

    def _span(self, wanted_s: float, then: float) -> float:
        """So much of it as is known, but never so little that a rate would mean nothing."""
        return min(wanted_s, max(MIN_SPAN_S, then - self._known_from))

    def _forget(self, then: float) -> None:
        window_s = self._span(self._window_s, then)
        self._turns = {id_: ended for id_, ended in self._turns.items() if ended.at > then - window_s}
        gone = [id_ for id_, worker in self._workers.items() if self._silent_s(worker, then) > FORGET_S]
        for id_ in gone:
            del self._workers[id_]

    def _silent_s(self, worker: _Worker, then: float) -> float:
        """For how long it could have been heard and was not."""
        return then - max(worker.at, self._back_at)

    def _worker_rows(self, then: float) -> list[WorkerRow]:
        rows = [self._worker_row(worker, then) for worker in self._workers.values()]
        return sorted(rows, key=lambda row: (row.state == "up", row.id))  # where room is short: what is unusual

    def _worker_row(self, worker: _Worker, then: float) -> WorkerRow:
        here = worker.here
        absent = self._silent_s(worker, then) > ABSENT_AFTER_S
        state: WorkerState = "draining" if here.draining else "up"
        if absent:
            state = "left" if here.draining else "silent"
        return WorkerRow(
            id=here.worker_id,
            state=state,
            pools=tuple(sorted(worker.pools)),
            models=here.models,
            slots=here.slots,
            busy=max(0, here.slots - here.free),
            heard_s=max(0.0, then - worker.at),
            config=here.config,
            open=here.open,
        )

    def _newest_errors(self) -> list[_Ended]:
        return sorted(self._errors.values(), key=lambda ended: ended.at, reverse=True)[:ERRORS]


def _ended_at(record: TurnRecord) -> datetime | None:
    """When it ended, in local time, as its edge's clock had it. None: the record does not say so."""
    try:
        return (datetime.fromisoformat(record.started_at) + timedelta(milliseconds=record.total_ms)).astimezone()
    except (ValueError, OverflowError):
        return None


def _model_rows(records: list[TurnRecord]) -> list[ModelRow]:
    """Those with the most turns first."""
    by_model: dict[str, list[TurnRecord]] = {}
    for record in records:
        by_model.setdefault(record.model, []).append(record)
    rows = [
        ModelRow(
            name=name,
            turns=len(turns),
            failed=sum(turn.outcome not in NO_ERROR for turn in turns),
            first_content=spread(turn.ttft_ms for turn in turns),
        )
        for name, turns in by_model.items()
    ]
    return sorted(rows, key=lambda row: (-row.turns, row.name))


def _error_row(record: TurnRecord) -> ErrorRow:
    return ErrorRow(
        turn=record.id,
        outcome=record.outcome,
        error=record.error,
        model=record.model,
        trace_id=record.trace_id,
        ended_at=_ended_at(record),
    )
