"""The worker's metrics, as Prometheus reads them. Names: `protocol/telemetry.py`."""

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from protocol import telemetry
from protocol.messages import Attempt, Failed, Finished
from protocol.reload import OUTCOMES, Outcome


class Metrics:
    """One process's counters. What every turn counts has its label looked up once."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.live = Gauge(telemetry.GENERATIONS_LIVE, "Claims that run now", registry=r)
        self.free = Gauge(telemetry.SLOTS_FREE, "Slots that hold no claim", registry=r)
        self.connected = Gauge(telemetry.BUS_CONNECTED, "1 while the bus is there", registry=r)
        self._claims = Counter(telemetry.CLAIMS, "Deliveries taken", registry=r)
        self._terminated = Counter(telemetry.DELIVERIES_TERMINATED, "Deliveries of edges that are gone", registry=r)
        generations = Counter(telemetry.GENERATIONS, "Generations by how they ended", ["outcome"], registry=r)
        self._generations = cache(generations.labels)
        reloads = Counter(telemetry.CONFIG_RELOADS, "SIGHUPs, by what came of them", ["outcome"], registry=r)
        self._reloads = {outcome: reloads.labels(outcome) for outcome in OUTCOMES}
        first = Histogram(
            telemetry.TARGET_FIRST_CONTENT,
            "Request to first content, on the target's clock",
            ["target"],
            buckets=telemetry.BUCKETS_S,
            registry=r,
        )
        self._first = cache(first.labels)
        tokens = Counter(telemetry.TOKENS, "Tokens, as counted or estimated", ["direction"], registry=r)
        self._input, self._output = tokens.labels("input"), tokens.labels("output")
        attempts = Counter(
            telemetry.TARGET_ATTEMPTS, "Requests to targets by what came of them", ["target", "outcome"], registry=r
        )
        self._attempts = cache(attempts.labels)
        self._skipped = Counter(
            telemetry.TARGETS_SKIPPED, "Targets passed over, and why", ["target", "reason"], registry=r
        )
        self._open = Gauge(telemetry.BREAKERS_OPEN, "1 while a target is passed over", ["target"], registry=r)
        hedges = Counter(telemetry.HEDGES, "Targets started beside a slow one", ["what"], registry=r)
        self._hedges_started, self._hedges_won = hedges.labels("started"), hedges.labels("won")
        self._faults = Counter(
            telemetry.UPSTREAM_FAULTS, "What no upstream should send, by kind", ["target", "kind"], registry=r
        )

        self._objections = Counter(
            telemetry.TOOL_OBJECTIONS, "Tool calls that were not let out, and why", ["reason"], registry=r
        )
        repairs = Counter(telemetry.TOOL_REPAIRS, "Models asked once more for a tool call", ["what"], registry=r)
        self._repairs_tried, self._repairs_succeeded = repairs.labels("tried"), repairs.labels("succeeded")
        self._schemas_unreadable = Counter(
            telemetry.TOOL_SCHEMAS_UNREADABLE, "Tool calls whose schema checks nothing", registry=r
        )

    def claimed(self) -> None:
        """One delivery was taken."""
        self._claims.inc()

    def terminated(self) -> None:
        """A delivery whose edge is gone was ended."""
        self._terminated.inc()

    def reloaded(self, outcome: Outcome) -> None:
        """The configuration was read again."""
        self._reloads[outcome].inc()

    def generated(self, last: Finished | Failed) -> None:
        """A turn has come to its end."""
        self._generations("finished" if isinstance(last, Finished) else last.code).inc()

    def attempted(self, attempt: Attempt) -> None:
        """A target was tried for a turn, or passed over."""
        if attempt.outcome == "skipped":
            self._skipped.labels(attempt.target, attempt.reason).inc()
            return
        self._attempts(attempt.target, attempt.outcome).inc()
        if attempt.first_content_ms is not None:
            self._first(attempt.target).observe(attempt.first_content_ms / 1000)
        self._input.inc(attempt.usage.prompt)
        self._output.inc(attempt.usage.completion)

    def hedge_started(self) -> None:
        """A target was started beside a slow one."""
        self._hedges_started.inc()

    def hedge_won(self) -> None:
        """It had content first."""
        self._hedges_won.inc()

    def breaker(self, target: str, is_open: bool) -> None:
        """A target is passed over from now on, or no more."""
        self._open.labels(target).set(is_open)

    def fault(self, target: str, kind: str) -> None:
        """An upstream sent what it should not."""
        self._faults.labels(target, kind).inc()

    def objected(self, reason: str) -> None:
        """A tool call was not let out."""
        self._objections.labels(reason).inc()

    def repair_tried(self) -> None:
        """A model is asked once more for a tool call that may not go out."""
        self._repairs_tried.inc()

    def repair_succeeded(self) -> None:
        """It made one that may, or went on without it."""
        self._repairs_succeeded.inc()

    def schema_unreadable(self) -> None:
        """A tool call went out unchecked by its schema."""
        self._schemas_unreadable.inc()
