"""One request to one target, as its turn sees it: what came of it, its span, its bill."""

import time
from collections.abc import AsyncGenerator, Callable
from typing import Any, cast

from opentelemetry.trace import SpanKind

from protocol import telemetry
from protocol.errors import Draining, Interrupted, ServiceError, Unheard, UnsupportedParameter, UnsupportedValue
from protocol.messages import LAST, Attempt, Failed, Finished, Frame, Job, Reasoning, Usage
from protocol.spans import Span
from workers.claims import Delivery, size_of
from workers.routes import Choice
from workers.targets import Patience
from workers.targets.usage import cost_of, usage_of

HELD_BYTES = 256 << 10  # of thoughts; what comes beyond is lost, the answer is not

# What a hang-up looks like from here; no error of anybody's.
STOPPED = (Interrupted, Draining, Unheard)
UNSUPPORTED = (UnsupportedParameter, UnsupportedValue)

ANSWERED, OUTRUN, SKIPPED = "answered", "outrun", "skipped"


class Try:
    """One request. `clock` counts seconds.

    Thoughts that come before content are held back (`holds`) while another target may still answer, or dropped
    (`drops`) where the caller has had another one's: nobody hears one model go on with what another one thought.
    """

    def __init__(
        self,
        delivery: Delivery,
        choice: Choice,
        job: Job,
        patience: Patience,
        *,
        parent: Span,
        clock: Callable[[], float],
        holds: bool = False,
        drops: bool = False,
        hedge: bool = False,
        reason: str = "",
    ) -> None:
        self.choice = choice
        self.hedge = hedge
        self.reason = reason
        self.drops = drops
        self.error: ServiceError | None = None
        self.last: Finished | Failed | None = None
        self.outcome = ""
        self.usage = Usage()
        self._said: Usage | None = None  # by the upstream, of its cost
        self.began = clock()
        self.first_content_ms: float | None = None
        self._ended = self.began
        self._ended_ns = 0
        self._delivery = delivery
        self._job = job
        self._clock = clock
        self._holds = holds
        self._held: list[Frame] = []
        self._held_bytes = 0
        self._withheld: list[Frame] = []
        self._objections: list[str] = []
        self._seqs = (delivery.next_seq, delivery.next_seq)  # of what it has brought
        self._ticket = choice.breaker.begin(self.began)
        self._span = chat_span(parent, delivery.job, choice)
        self.frames = cast(
            AsyncGenerator[Frame, None],
            choice.target.stream(job, headers=self._span.headers(), patience=Patience(*patience[:3], self._told)),
        )

    @property
    def ended(self) -> bool:
        """Whether what came of it is known."""
        return self.outcome != ""

    @property
    def spoke(self) -> bool:
        """Whether the caller has heard anything from it."""
        return self.first_content_ms is not None

    # --- what comes of it ----------------------------------------------------------------------------

    def take(self, frame: Frame) -> None:
        """Pass a frame on; the last one waits until the connection is closed."""
        if isinstance(frame, LAST):
            self.last = frame
        elif self.first_content_ms is not None:
            self._delivery.emit(frame)
        elif isinstance(frame, Reasoning):
            self._think(frame)
        else:
            self._begin(frame)

    def take_spoken(self, frame: Frame) -> None:
        """The same, without any thoughts."""
        if not isinstance(frame, Reasoning):
            self.take(frame)

    def withhold(self, frame: Frame, objection: str = "") -> None:
        """It has brought what nobody gets, and is paid for all the same. `objection`: which tool, and why not."""
        self._withheld.append(frame)
        if objection:
            self._objections.append(objection)

    def _told(self, usage: Usage) -> None:
        self._said = usage

    def _think(self, thought: Reasoning) -> None:
        if self.drops:
            return
        if not self._holds:
            self._delivery.emit(thought)
        elif self._held_bytes < HELD_BYTES:
            self._held.append(thought)
            self._held_bytes += size_of(thought)

    def _begin(self, frame: Frame) -> None:
        """Content: from here on no other target may begin."""
        held, self._held = self._held, []
        for thought in held:
            self._delivery.emit(thought)
        self._delivery.emit(frame)
        now = self._clock()
        self.first_content_ms = (now - self.began) * 1000
        self.choice.latencies.add(now - self.began)

    # --- how it ends ---------------------------------------------------------------------------------

    def answer(self) -> None:
        """It came to its end. Raises RuntimeError: it has none, which is a bug of the target's."""
        if self.last is None:
            raise RuntimeError(f"target {self.choice.target.name} ended without a last frame")
        self.choice.breaker.succeeded(self._ticket, self._clock())
        self._end(self.last.code if isinstance(self.last, Failed) else ANSWERED)

    def fail(self, error: ServiceError, *, counts: bool = False) -> None:
        """It came to none. `counts`: the target is to blame; else what it has said until then speaks for it."""
        self.error = error
        if counts:
            self.choice.breaker.failed(self._ticket, self._clock(), error.retry_after_s)
        elif self.spoke:
            self.choice.breaker.succeeded(self._ticket, self._clock())
        unsupported = isinstance(error, UNSUPPORTED)
        self.reason = "unsupported" if unsupported else self.reason
        self._end(SKIPPED if unsupported else error.code)

    def outrun(self, winner: "Try", after_s: float) -> None:
        """Another one was faster, though it was started `after_s` later: too slow to be of use, which is a failure. A
        target that is slow now and then makes up for it; one that is silent for ever is passed over in the end, though
        no caller ever waits until its time is up. A hedge that is outrun has proven nothing.
        """
        if not self.hedge:
            self.choice.latencies.add(after_s)
            if self.choice.breaker is not winner.choice.breaker:
                self.choice.breaker.failed(self._ticket, self._clock())
        self._end(OUTRUN)

    def _end(self, outcome: str) -> None:
        self.outcome = outcome
        self._ended, self._ended_ns = self._clock(), time.time_ns()
        self._seqs = (self._seqs[0], self._delivery.next_seq)
        self.choice.breaker.left(self._ticket)

    # --- its bill ------------------------------------------------------------------------------------

    async def bill(self) -> Attempt:
        """What it cost; ends its span. Once, when no token waits for it."""
        told = self._said if self.last is None else self.last.usage
        if self.outcome != SKIPPED:
            brought = () if told is not None and told.completion else self._brought()
            self.usage = await usage_of(self._job, brought, told, self.error)
        attempt = Attempt(
            target=self.choice.target.name,
            outcome=self.outcome,
            reason=self.reason,
            hedge=self.hedge,
            usage=self.usage,
            cost=None if self.outcome == SKIPPED else cost_of(self.usage, self.choice.prices),
            first_content_ms=self.first_content_ms,
            total_ms=(self._ended - self.began) * 1000,
        )
        self._tell(attempt)
        return attempt

    def _brought(self) -> list[Frame]:
        first, end = self._seqs
        return [*self._held, *self._withheld, *self._delivery.since(first)[: end - first]]

    def _tell(self, attempt: Attempt) -> None:
        span, usage = self._span, attempt.usage
        reason = self.last.reason if isinstance(self.last, Finished) else self.outcome
        told: dict[str, Any] = {
            telemetry.INPUT_TOKENS: usage.prompt,
            telemetry.OUTPUT_TOKENS: usage.completion,
            telemetry.USAGE_ESTIMATED: usage.estimated,
            telemetry.FINISH_REASONS: (reason,),
        }
        if attempt.first_content_ms is not None:
            told[telemetry.TIME_TO_FIRST_CHUNK] = attempt.first_content_ms / 1000
        if self._objections:
            told[telemetry.ATTEMPT_OBJECTIONS] = tuple(self._objections)
        span.set(told | attributes_of(attempt))
        if self.error is not None:
            mark(span, self.error)
        span.end(self._ended_ns)

    def abandon(self, error: Exception) -> None:
        """A bug: nobody knows what it cost."""
        self.choice.breaker.left(self._ticket)
        mark(self._span, error)
        self._span.end()


def chat_span(parent: Span, job: Job, choice: Choice) -> Span:
    """One target tried, or passed over."""
    told = {
        telemetry.OPERATION: "chat",
        telemetry.REQUEST_MODEL: job.model,
        telemetry.TARGET: choice.target.name,
        **({telemetry.CONVERSATION: job.call_id} if job.call_id else {}),
    }
    return parent.child(telemetry.span_chat(job.model), kind=SpanKind.CLIENT, attributes=told)


def attributes_of(attempt: Attempt) -> dict[str, Any]:
    """What a span tells of it beside the tokens."""
    told: dict[str, Any] = {telemetry.ATTEMPT_OUTCOME: attempt.outcome}
    if attempt.reason:
        told[telemetry.ATTEMPT_REASON] = attempt.reason
    if attempt.hedge:
        told[telemetry.ATTEMPT_HEDGE] = True
    if attempt.cost is not None:
        told[telemetry.COST] = attempt.cost
    return told


def mark(span: Span, error: Exception) -> None:
    """An error on a span: its kind, never its text, which may quote an upstream."""
    kind = error.code if isinstance(error, ServiceError) else type(error).__name__
    span.set({telemetry.ERROR_TYPE: kind})
    if not isinstance(error, STOPPED):
        span.fail(kind)
