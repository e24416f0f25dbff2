"""The edge's metrics, as Prometheus reads them. Names: `protocol/telemetry.py`."""

from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from edge.calls import KINDS, kind_of
from edge.response_store import KEPT, READ, Kept, Read
from edge.state import Missed
from protocol import telemetry
from protocol.messages import TurnRecord
from protocol.reload import OUTCOMES, Outcome

WITHHELD_FOR = ("invalid", "repeated", "too_early", "not_allowed", "not_after", "placeholder")


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
        self._hooks = Counter(telemetry.HOOKS, "Webhooks, by what became of them", ["platform", "outcome"], registry=r)
        reloads = Counter(telemetry.CONFIG_RELOADS, "SIGHUPs, by what came of them", ["outcome"], registry=r)
        self._reloads = {outcome: reloads.labels(outcome) for outcome in OUTCOMES}
        tokens = Counter(telemetry.TURN_TOKENS, "Tokens of turns, as told or counted", ["direction"], registry=r)
        self._tokens = {direction: tokens.labels(direction) for direction in ("input", "cached", "output")}
        self._cost = Counter(telemetry.COST_SPENT, "What turns cost, in the unit of the prices", ["target"], registry=r)
        spoken = Counter(telemetry.GUARD_SPOKEN, "What the edge said by itself", ["kind"], registry=r)
        self._spoken = {kind: spoken.labels(kind) for kind in KINDS}
        self._withheld = Counter(telemetry.TOOLS_WITHHELD, "Calls that did not go out", ["reason"], registry=r)
        for reason in WITHHELD_FOR:
            self._withheld.labels(reason)
        self._leaked = Counter(telemetry.MARKUP_LEAKED, "Marks and calls taken out of what models said", registry=r)
        self._unheard = Counter(telemetry.UNHEARD, "Tokens that no client took after its hang-up", registry=r)
        self._unheard_cost = Counter(telemetry.UNHEARD_SPENT, "What they cost, in the unit of the prices", registry=r)
        self._cut = Counter(telemetry.TURNS_CUT, "Turns whose caller has not heard all, as histories show", registry=r)
        kept = Counter(telemetry.RESPONSES_KEPT, "Responses to be kept, by what became of it", ["outcome"], registry=r)
        self._kept = {outcome: kept.labels(outcome) for outcome in KEPT}
        read = Counter(telemetry.RESPONSES_READ, "Stored responses that were asked for", ["outcome"], registry=r)
        self._read = {outcome: read.labels(outcome) for outcome in READ}
        missed = Counter(telemetry.CALL_STATE_MISSED, "Turns without their call's record", ["why"], registry=r)
        self._missed = {why: missed.labels(why) for why in get_args(Missed)}
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

    def hook(self, platform: str, outcome: str) -> None:
        """A platform has sent something after a call."""
        self._hooks.labels(platform, outcome).inc()

    def reloaded(self, outcome: Outcome) -> None:
        """The configuration was read again."""
        self._reloads[outcome].inc()

    def call_state_missed(self, why: Missed) -> None:
        """A turn goes on without its call's record."""
        self._missed[why].inc()

    def response_kept(self, outcome: Kept) -> None:
        """A response was to be kept."""
        self._kept[outcome].inc()

    def response_read(self, outcome: Read) -> None:
        """A stored response was asked for."""
        self._read[outcome].inc()

    def cut(self) -> None:
        """A history has shown that the turn before it was not heard to its end."""
        self._cut.inc()

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
        self._count_voice(record)

    def _count_voice(self, record: TurnRecord) -> None:
        for text in record.spoken_by_edge:
            self._spoken[kind_of(text)].inc()
        for withheld in record.withheld:
            self._withheld.labels(withheld.reason).inc()
        if record.leaked:
            self._leaked.inc(record.leaked)
        if record.unheard:
            self._unheard.inc(record.unheard)
        if record.unheard_cost:
            self._unheard_cost.inc(record.unheard_cost)

    def _bill(self, record: TurnRecord) -> None:
        for usage in [attempt.usage for attempt in record.attempts] or [record.usage]:
            for direction, tokens in (("input", usage.prompt), ("cached", usage.cached), ("output", usage.completion)):
                self._tokens[direction].inc(tokens)
        for attempt in record.attempts:
            if attempt.cost:
                self._cost.labels(attempt.target).inc(attempt.cost)
