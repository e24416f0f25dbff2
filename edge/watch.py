"""What one turn looked like from the edge: its spans, its record, its log line, its metrics.

Nothing here happens per token but two float operations; everything is written when the turn has ended.
"""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from edge.dialect import Delta
from edge.inbox import Lost, size_of
from edge.metrics import Metrics
from edge.turn import Turn, cost_of
from edge.unheard import unheard_cost, unheard_tokens
from protocol import telemetry
from protocol.errors import ServiceError
from protocol.extras import shown
from protocol.messages import Attempt, Failed, Finished, Job, Outcome, Reasoning, TurnRecord, Usage
from protocol.spans import Span, Spans

log = logging.getLogger("turn")

LEFT = 499  # no client reads it: it hung up before the status line
OUTCOMES: dict[str, Outcome] = {
    "interrupted": "interrupted",
    "slow_client": "interrupted",
    "cancelled": "interrupted",
    "no_worker": "shed",
    "overloaded": "shed",
    "too_large": "shed",
    "draining": "shed",
    "no_slot": "shed",
    "worker_lost": "worker_lost",
    "unheard": "worker_lost",
    "internal": "internal",
}
"""By the error's code; every other failure is the target's: `upstream_error`."""


class Clock:
    """A monotonic clock and the wall's, paired once: spans want the one, everything else the other."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._offset_ns = time.time_ns() - int(now() * 1e9)

    def ns(self, at: float) -> int:
        """A moment of that clock, in nanoseconds since 1970."""
        return self._offset_ns + int(at * 1e9)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


class TurnWatch:
    """One turn. Times are those of the clock, in seconds."""

    def __init__(
        self,
        spans: Spans,
        metrics: Metrics,
        *,
        name: str,
        context: Context,
        began: float,
        clock: Clock,
        output_price: Callable[[str], float | None] = lambda target: None,
        extras: Sequence[str] = (),
    ) -> None:
        self._metrics = metrics
        self._output_price = output_price
        self._extras = extras
        self._clock = clock
        self._began = began
        method, _, route = name.partition(" ")
        self.root: Span = spans.start(
            name,
            context,
            kind=SpanKind.SERVER,
            start_ns=clock.ns(began),
            attributes={telemetry.HTTP_METHOD: method, telemetry.HTTP_ROUTE: route},
        )
        self._job: Job | None = None
        self._send: Span | None = None
        self._published_at: float | None = None
        self._queue_s: float | None = None
        self._content_at: float | None = None
        self._first_content_at: float | None = None
        self._max_gap_s = 0.0
        self._last_byte_at: float | None = None
        self._left_at: float | None = None
        self._cancel_s: float | None = None
        self._unwritten_chars = 0
        self._worker: str | None = None
        self._last: Finished | Failed | None = None
        self._last_usage = Usage()  # of the claim that ended the turn; those before it are on the turn's bill
        self._last_attempts: tuple[Attempt, ...] = ()
        self._error: ServiceError | None = None
        self._timed_out = False
        self._cut_off = False
        self.stream = False
        self.status = 200

    @property
    def trace_id(self) -> str:
        """Where the turn can be found in Jaeger."""
        return self.root.trace_id

    # --- as it happens -------------------------------------------------------------------------------

    def admitted(self, job: Job | None, now: float, *, stream: bool = False) -> None:
        """Auth, limits and parsing are over; None: the request was refused."""
        self._job = job
        self.stream = stream
        if job is not None and job.repairs:
            self.root.set({telemetry.REPAIRS: job.repairs})
        if job is not None and self._extras:
            told = shown(job.extras, self._extras)
            self.root.set({telemetry.EXTRA + name: value for name, value in told.items()})
        self._span(telemetry.SPAN_ADMIT, self._began, now)

    def offering(self, pool: str, now: float) -> dict[str, str]:
        """An offer goes out; the headers that carry its trace context."""
        if self._published_at is None:
            self._published_at = now
        self._end_send(now)
        self._send = self.root.child(
            telemetry.span_send(pool),
            kind=SpanKind.PRODUCER,
            start_ns=self._clock.ns(now),
            attributes={
                telemetry.MESSAGING_SYSTEM: "nats",
                telemetry.MESSAGING_OPERATION: "send",
                telemetry.MESSAGING_DESTINATION: f"job.{pool}",
            },
        )
        return self._send.headers()

    def stored(self, now: float) -> None:
        """The publish ack."""
        self._end_send(now)

    def claimed(self, now: float, offered_at: float, worker_id: str) -> None:
        """A worker has it; counts as the publish ack."""
        self._end_send(now)
        self._queue_s = now - offered_at
        self._worker = worker_id

    def content(self, now: float) -> None:
        """Content is about to be written."""
        if self._content_at is None:
            self._first_content_at = now
        else:
            self._max_gap_s = max(self._max_gap_s, now - self._content_at)
        self._content_at = now

    def lost(self, event: Lost, now: float) -> None:
        """A claim is lost. A worker that was killed exports nothing, so this is its trace."""
        self._cut_off = event.cut_off and self._worker is not None
        attributes: dict[str, str | bool] = {telemetry.WORKER: event.worker_id or "", "cut_off": event.cut_off}
        self.root.event(telemetry.EVENT_LOST, attributes, self._clock.ns(now))

    def finished(self, last: Finished) -> None:
        """The last frame of an answer."""
        self._last = last

    def failed(self, last: Failed) -> None:
        """The last frame of a claim that came to no end."""
        self._last = last

    def completed(self, last: Finished, now: float) -> None:
        """All of it is written."""
        self._bill(last)
        self._last_byte_at = now

    def gave_up(self, error: ServiceError) -> None:
        """The turn ends without its answer."""
        self._error = error

    def too_late(self) -> None:
        """The edge's own clock ended it."""
        self._timed_out = True

    def left(self, error: ServiceError, now: float) -> None:
        """The client is gone."""
        self._error = error
        self._left_at = self._last_byte_at = now

    def unwritten(self, frame: Delta) -> None:
        """It came when nobody listened any more."""
        if not isinstance(frame, Reasoning):
            self._unwritten_chars += size_of(frame)

    @property
    def interrupted(self) -> bool:
        """Whether the client left before the end."""
        return self._left_at is not None

    def last_byte(self, now: float) -> None:
        """The response is complete."""
        self._last_byte_at = now

    def confirmed(self, last: Finished | Failed, now: float) -> None:
        """A cancelled claim has said what it cost; its upstream connection is closed."""
        self._last = last
        self._bill(last)
        if self._left_at is not None:
            self._cancel_s = now - self._left_at

    def _bill(self, last: Finished | Failed) -> None:
        self._last_usage = last.usage
        self._last_attempts = last.attempts

    # --- at the end ----------------------------------------------------------------------------------

    def refused(
        self, turn_id: str, error: ServiceError, status: int, now: float, *, call_id: str | None = None
    ) -> None:
        """The request never became a turn."""
        self.admitted(None, now)
        self._metrics.refused(error.code)
        self.root.set({telemetry.HTTP_STATUS: status, telemetry.ERROR_TYPE: error.code})
        if call_id:
            self.root.set({telemetry.CONVERSATION: call_id})
        self.root.end(self._clock.ns(now))
        fields = {"trace": self.trace_id, "status": status, "error": error.code, "param": error.param}
        log.info("refused", extra={"turn": turn_id, "call": call_id, **fields})

    def end(self, turn: Turn, *, now: float) -> TurnRecord:
        """Write everything down; the record is for the bus."""
        at = self._last_byte_at or now
        if self.interrupted and not turn.headers_sent:
            self.status = LEFT
        self._end_send(at)
        if self._published_at is not None:
            self._span(telemetry.SPAN_WAIT, self._published_at, self._first_content_at or at)
        if self._first_content_at is not None:
            self._span(telemetry.SPAN_STREAM, self._first_content_at, at)
        record = self._record(turn, at)
        self._end_root(record, at)
        self._metrics.ended(record)
        log.info("turn", extra={**_log_fields(record), "status": self.status})
        return record

    def _record(self, turn: Turn, at: float) -> TurnRecord:
        assert self._job is not None
        ttft_s = None if self._first_content_at is None else self._first_content_at - self._began
        target_ms = self._last.timings.first_content_ms if self._last is not None else None
        overhead = None if ttft_s is None or target_ms is None else max(0.0, ttft_s * 1000 - target_ms)
        attempts = turn.attempts(self._last_attempts)
        usage = turn.usage(self._last_usage)
        target = self._last.target or None if self._last is not None else None
        unheard = self._unheard(turn, usage)
        return TurnRecord(
            id=self._job.id,
            tenant=self._job.tenant,
            model=self._job.model,
            outcome=self.outcome,
            started_at=datetime.fromtimestamp(self._clock.ns(self._began) / 1e9, UTC).isoformat(
                timespec="milliseconds"
            ),
            call_id=self._job.call_id,
            trace_id=self.trace_id,
            worker=self._worker,
            target=target,
            offers=turn.offers,
            finish_reason=self._last.reason if isinstance(self._last, Finished) and not self._error else None,
            error=self._error.code if self._error is not None else None,
            queue_ms=_ms(self._queue_s),
            ttft_ms=_ms(ttft_s),
            overhead_ms=None if overhead is None else round(overhead, 3),
            max_gap_ms=_ms(self._max_gap_s) if self._content_at is not None else None,
            cancel_ms=_ms(self._cancel_s),
            total_ms=_ms(at - self._began) or 0.0,
            usage=usage,
            cost=cost_of(attempts),
            attempts=attempts,
            profile=self._job.profile,
            language=self._job.language,
            spoken_by_edge=tuple(turn.spoken_by_edge),
            called_by_edge=tuple(turn.called_by_edge),
            withheld=turn.withheld,
            leaked=turn.leaked,
            unheard=unheard,
            unheard_cost=unheard_cost(unheard, self._output_price(target)) if target else None,
        )

    def _unheard(self, turn: Turn, usage: Usage) -> int | None:
        if not self.interrupted:
            return None
        return unheard_tokens(
            usage, written=len(turn.said), unwritten=self._unwritten_chars, audible=turn.audible and turn.headers_sent
        )

    @property
    def outcome(self) -> Outcome:
        """How it ended, in one word."""
        if self._error is None:
            return "completed"
        if self._cut_off:
            return "worker_lost"
        return "deadline" if self._timed_out else OUTCOMES.get(self._error.code, "upstream_error")

    def _end_root(self, record: TurnRecord, at: float) -> None:
        attributes: dict[str, str | int | float | tuple[str, ...] | None] = {
            telemetry.TURN: record.id,
            telemetry.OUTCOME: record.outcome,
            telemetry.TENANT: record.tenant,
            telemetry.REQUEST_MODEL: record.model,
            telemetry.CONVERSATION: record.call_id,
            telemetry.WORKER: record.worker,
            telemetry.OFFERS: record.offers,
            telemetry.QUEUE_MS: record.queue_ms,
            telemetry.TTFT_MS: record.ttft_ms,
            telemetry.OVERHEAD_MS: record.overhead_ms,
            telemetry.MAX_GAP_MS: record.max_gap_ms,
            telemetry.CANCEL_MS: record.cancel_ms,
            telemetry.INPUT_TOKENS: record.usage.prompt,
            telemetry.OUTPUT_TOKENS: record.usage.completion,
            telemetry.TARGET: record.target,
            telemetry.ATTEMPTS: len(record.attempts) or None,
            telemetry.COST: record.cost,
            telemetry.PROFILE: record.profile,
            telemetry.LANGUAGE: record.language,
            telemetry.SPOKEN_BY_EDGE: record.spoken_by_edge or None,
            telemetry.WITHHELD: withheld_of(record) or None,
            telemetry.LEAKED: record.leaked or None,
            telemetry.UNHEARD_TOKENS: record.unheard,
            telemetry.UNHEARD_COST: record.unheard_cost,
            telemetry.HTTP_STATUS: self.status,
            telemetry.ERROR_TYPE: record.error,
        }
        self.root.set({key: value for key, value in attributes.items() if value is not None})
        if record.outcome not in ("completed", "interrupted"):  # a barge-in is an outcome, not an error
            self.root.fail(record.error)
        self.root.end(self._clock.ns(at))

    def _end_send(self, now: float) -> None:
        if self._send is not None:
            self._send.end(self._clock.ns(now))
            self._send = None

    def _span(self, name: str, start: float, end: float) -> None:
        self.root.child(name, start_ns=self._clock.ns(start)).end(self._clock.ns(end))


def withheld_of(record: TurnRecord) -> tuple[str, ...]:
    """The calls that did not go out, each as tool:reason."""
    return tuple(f"{withheld.tool}:{withheld.reason}" for withheld in record.withheld)


def _log_fields(record: TurnRecord) -> dict[str, object]:
    return {
        "turn": record.id,
        "call": record.call_id,
        "trace": record.trace_id,
        "worker": record.worker,
        "outcome": record.outcome,
        "error": record.error,
        "model": record.model,
        "offers": record.offers,
        "target": record.target,
        "attempts": len(record.attempts) if len(record.attempts) > 1 else None,
        "cost": record.cost,
        "profile": record.profile,
        "language": record.language,
        "spoken_by_edge": list(record.spoken_by_edge) or None,
        "withheld": list(withheld_of(record)) or None,
        "leaked": record.leaked or None,
        "unheard": record.unheard,
        "ttft_ms": record.ttft_ms,
        "total_ms": record.total_ms,
    }
