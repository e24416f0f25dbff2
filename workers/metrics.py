"""The worker's metrics, as Prometheus reads them. Names: `protocol/telemetry.py`."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from protocol import telemetry
from protocol.messages import Failed, Finished


class Metrics:
    """One process's counters."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.live = Gauge(telemetry.GENERATIONS_LIVE, "Claims that run now", registry=r)
        self.free = Gauge(telemetry.SLOTS_FREE, "Slots that hold no claim", registry=r)
        self.connected = Gauge(telemetry.BUS_CONNECTED, "1 while the bus is there", registry=r)
        self._claims = Counter(telemetry.CLAIMS, "Deliveries taken", registry=r)
        self._terminated = Counter(telemetry.DELIVERIES_TERMINATED, "Deliveries of edges that are gone", registry=r)
        self._generations = Counter(telemetry.GENERATIONS, "Generations by how they ended", ["outcome"], registry=r)
        self._first = Histogram(
            telemetry.TARGET_FIRST_CONTENT,
            "Request to first content, on the target's clock",
            ["target"],
            buckets=telemetry.BUCKETS_S,
            registry=r,
        )
        tokens = Counter(telemetry.TOKENS, "Tokens, as counted or estimated", ["direction"], registry=r)
        self._input, self._output = tokens.labels("input"), tokens.labels("output")

    def claimed(self) -> None:
        """One delivery was taken."""
        self._claims.inc()

    def terminated(self) -> None:
        """A delivery whose edge is gone was ended."""
        self._terminated.inc()

    def generated(self, last: Finished | Failed) -> None:
        """A target has come to its end."""
        self._generations.labels("finished" if isinstance(last, Finished) else last.code).inc()
        if last.timings.first_content_ms is not None:
            self._first.labels(last.target).observe(last.timings.first_content_ms / 1000)
        self._input.inc(last.usage.prompt)
        self._output.inc(last.usage.completion)
