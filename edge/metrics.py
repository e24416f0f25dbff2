"""The edge's metrics, as Prometheus reads them. Names: `protocol/telemetry.py`."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from protocol import telemetry
from protocol.messages import TurnRecord
from protocol.reload import OUTCOMES, Outcome


class Metrics:
    """One process's counters."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.live = Gauge(telemetry.TURNS_LIVE, "Turns whose client still waits or listens", registry=r)
        self.depth = Gauge(telemetry.QUEUE_DEPTH, "Offers of this edge that nobody has claimed", registry=r)
        self.connected = Gauge(telemetry.BUS_CONNECTED, "1 while the bus is there", registry=r)
        self.workers = Gauge(telemetry.POOL_WORKERS, "Living workers, as heard here", ["pool"], registry=r)
        self._turns = Counter(telemetry.TURNS, "Turns by outcome", ["outcome"], registry=r)
        self._refused = Counter(telemetry.REQUESTS_REFUSED, "Requests that were no turn", ["code"], registry=r)
        self._fenced = Counter(telemetry.FENCED, "Frames of claims that do not own their line", registry=r)
        self._offers = Counter(telemetry.OFFERED, "Offers published", registry=r)
        self._lost = Counter(telemetry.CLAIMS_LOST, "Claims lost with their worker", registry=r)
        self._dropped = Counter(telemetry.RECORDS_DROPPED, "Turn records that no stream took", registry=r)
        reloads = Counter(telemetry.CONFIG_RELOADS, "SIGHUPs, by what came of them", ["outcome"], registry=r)
        self._reloads = {outcome: reloads.labels(outcome) for outcome in OUTCOMES}
        tokens = Counter(telemetry.TURN_TOKENS, "Tokens of turns, as told or counted", ["direction"], registry=r)
        self._tokens = {direction: tokens.labels(direction) for direction in ("input", "cached", "output")}
        self._cost = Counter(telemetry.COST_SPENT, "What turns cost, in the unit of the prices", ["target"], registry=r)
        self._first = self._seconds(telemetry.FIRST_CONTENT, "Request to first content")
        self._total = self._seconds(telemetry.TURN_SECONDS, "Request to last byte")
        self._queue = self._seconds(telemetry.QUEUE_SECONDS, "Offer to claim")
        self._overhead = self._seconds(telemetry.OVERHEAD_SECONDS, "Our share of the time to first content")
        self._cancel = self._seconds(telemetry.CANCEL_SECONDS, "Hang-up to upstream closed")

    def _seconds(self, name: str, text: str) -> Histogram:
        return Histogram(name, text, buckets=telemetry.BUCKETS_S, registry=self.registry)

    def fenced(self, count: int) -> None:
        """Frames were dropped."""
        self._fenced.inc(count)

    def offered(self) -> None:
        """A new line was published."""
        self._offers.inc()

    def worker_lost(self) -> None:
        """A claim was lost."""
        self._lost.inc()

    def refused(self, code: str) -> None:
        """A request that was no turn."""
        self._refused.labels(code).inc()

    def record_dropped(self) -> None:
        """A turn record that no stream took."""
        self._dropped.inc()

    def reloaded(self, outcome: Outcome) -> None:
        """The configuration was read again."""
        self._reloads[outcome].inc()

    def ended(self, record: TurnRecord) -> None:
        """A turn has ended."""
        self._turns.labels(record.outcome).inc()
        self._total.observe(record.total_ms / 1000)
        for histogram, value in (
            (self._first, record.ttft_ms),
            (self._queue, record.queue_ms),
            (self._overhead, record.overhead_ms),
            (self._cancel, record.cancel_ms),
        ):
            if value is not None:
                histogram.observe(value / 1000)
        self._bill(record)

    def _bill(self, record: TurnRecord) -> None:
        for usage in [attempt.usage for attempt in record.attempts] or [record.usage]:
            for direction, tokens in (("input", usage.prompt), ("cached", usage.cached), ("output", usage.completion)):
                self._tokens[direction].inc(tokens)
        for attempt in record.attempts:
            if attempt.cost:
                self._cost.labels(attempt.target).inc(attempt.cost)
