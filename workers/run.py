"""One job, from the target's stream to the last frame."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, cast

from msgspec.structs import replace
from opentelemetry.trace import SpanKind

from protocol import telemetry
from protocol.errors import Draining, Interrupted, ServiceError, Unheard, to_failed
from protocol.messages import LAST, Failed, Finished, Reasoning, Timings, Usage
from protocol.spans import Span, Spans
from workers.claims import Delivery
from workers.metering import Meter
from workers.metrics import Metrics
from workers.targets import Target

log = logging.getLogger(__name__)

# What a hang-up looks like from here; no error of anybody's.
STOPPED = (Interrupted, Draining, Unheard)


class Runner:
    """Runs jobs against their targets, each under its spans."""

    def __init__(self, target_for: Callable[[str], Target], *, spans: Spans, metrics: Metrics, worker_id: str) -> None:
        self._target_for = target_for
        self._spans = spans
        self._metrics = metrics
        self._worker_id = worker_id

    async def run(self, delivery: Delivery) -> None:
        """Answer one claimed job: exactly one last frame leaves, whatever happens."""
        job = delivery.job
        span = self._spans.start(
            telemetry.span_process(delivery.pool),
            telemetry.context_of(delivery.trace),
            kind=SpanKind.CONSUMER,
            attributes={
                telemetry.MESSAGING_SYSTEM: "nats",
                telemetry.MESSAGING_OPERATION: "process",
                telemetry.MESSAGING_DESTINATION: f"job.{delivery.pool}",
                telemetry.WORKER: self._worker_id,
                telemetry.EDGE: delivery.edge_id,
                telemetry.LINE: delivery.line,
                telemetry.CLAIM: delivery.claim,
                telemetry.TURN: job.id,
            },
        )
        try:
            target = self._target_for(job.model)
            await self._stream(delivery, target, span)
        except ServiceError as error:
            _mark(span, error)
            delivery.fail(error)
        except Exception as error:
            _mark(span, error)
            raise
        finally:
            span.end()

    async def _stream(self, delivery: Delivery, target: Target, parent: Span) -> None:
        """One target: its span, its frames, its bill."""
        attempt = _Attempt(delivery, target, parent)
        try:
            # Closed before the last frame leaves: when the edge hears it, the upstream connection is gone.
            async with aclosing(cast(Any, target.stream(delivery.job, headers=attempt.headers))) as frames:
                async for frame in frames:
                    attempt.take(frame)
        except asyncio.CancelledError:
            error = delivery.stopped_for or Interrupted("the worker stops")
            attempt.end(_failed(error, attempt))
            if delivery.stopped_for is None:
                raise  # nobody asked for it: the process ends
        except ServiceError as error:
            attempt.end(_failed(error, attempt), error)
        else:
            attempt.end(attempt.last)
        finally:
            attempt.close(self._metrics)


class _Attempt:
    """One try at one target. Times on the target's clock, in milliseconds."""

    def __init__(self, delivery: Delivery, target: Target, parent: Span) -> None:
        self._delivery = delivery
        self._clock = time.monotonic  # uvloop's own is cut to milliseconds
        self._began = self._clock()
        self.meter = Meter(delivery.job)
        self.target = target.name
        self.first_content_ms: float | None = None
        self.last: Finished | Failed | None = None
        self.span = parent.child(
            telemetry.span_chat(delivery.job.model),
            kind=SpanKind.CLIENT,
            attributes={
                telemetry.OPERATION: "chat",
                telemetry.REQUEST_MODEL: delivery.job.model,
                telemetry.TARGET: target.name,
                **({telemetry.CONVERSATION: delivery.job.call_id} if delivery.job.call_id else {}),
            },
        )
        self.headers = self.span.headers()

    def elapsed_ms(self) -> float:
        """Since the attempt began."""
        return (self._clock() - self._began) * 1000

    def take(self, frame: Any) -> None:
        """Pass a frame on; the last one waits until the upstream is closed."""
        self.meter.count(frame)
        if isinstance(frame, LAST):
            self.last = frame
            return
        if self.first_content_ms is None and not isinstance(frame, Reasoning):
            self.first_content_ms = self.elapsed_ms()
        self._delivery.emit(frame)

    def end(self, last: Finished | Failed | None, error: ServiceError | None = None) -> None:
        """Send the last frame, with its bill."""
        if last is None:
            raise RuntimeError(f"target {self.target} ended without a last frame")
        timings = Timings(
            first_content_ms=self.first_content_ms,
            total_ms=self.elapsed_ms(),
        )
        usage = self.meter.usage if last.usage == Usage() else last.usage
        self.last = replace(last, usage=usage, timings=timings, target=last.target or self.target)
        if error is not None:
            _mark(self.span, error)
        self._delivery.emit(self.last)

    def close(self, metrics: Metrics) -> None:
        """End the span and count."""
        last = self.last
        if last is not None:
            usage = last.usage
            reason = last.reason if isinstance(last, Finished) else last.code
            self.span.set(
                {
                    telemetry.INPUT_TOKENS: usage.prompt,
                    telemetry.OUTPUT_TOKENS: usage.completion,
                    telemetry.USAGE_ESTIMATED: usage.estimated,
                    telemetry.FINISH_REASONS: (reason,),
                }
            )
            metrics.generated(last)
        if self.first_content_ms is not None:
            self.span.set({telemetry.TIME_TO_FIRST_CHUNK: self.first_content_ms / 1000})
        self.span.end()


def _failed(error: ServiceError, attempt: _Attempt) -> Failed:
    return replace(to_failed(error), usage=attempt.meter.usage, target=attempt.target)


def _mark(span: Span, error: Exception) -> None:
    """An error on a span: its kind, never its text, which may quote an upstream."""
    kind = error.code if isinstance(error, ServiceError) else type(error).__name__
    span.set({telemetry.ERROR_TYPE: kind})
    if not isinstance(error, STOPPED):
        span.fail(kind)
