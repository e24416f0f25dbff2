"""One job, from its route's targets to the last frame."""

import time
from collections.abc import Callable

from opentelemetry.trace import SpanKind

from protocol import telemetry
from protocol.errors import ServiceError
from protocol.spans import Span, Spans
from workers.attempts import mark
from workers.cascade import Cascade
from workers.claims import Delivery
from workers.metrics import Metrics
from workers.routes import Route


class Runner:
    """Runs jobs against their routes, each under its spans."""

    def __init__(
        self,
        route_for: Callable[[str], Route],
        *,
        spans: Spans,
        metrics: Metrics,
        worker_id: str,
        clock: Callable[[], float] = time.monotonic,  # uvloop's own is cut to milliseconds
    ) -> None:
        self._route_for = route_for
        self._spans = spans
        self._metrics = metrics
        self._worker_id = worker_id
        self._clock = clock

    async def run(self, delivery: Delivery) -> None:
        """Answer one claimed job: exactly one last frame leaves, whatever happens."""
        span = self._span(delivery)
        try:
            route = self._route_for(delivery.job.model)
            if route.prompt is not None:
                delivery.job = route.prompt.before(delivery.job)
            await Cascade(delivery, route, span, metrics=self._metrics, clock=self._clock).run()
        except ServiceError as error:
            mark(span, error)
            delivery.fail(error)
        except Exception as error:
            mark(span, error)
            raise
        finally:
            span.end()

    def _span(self, delivery: Delivery) -> Span:
        return self._spans.start(
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
                telemetry.TURN: delivery.job.id,
            },
        )
