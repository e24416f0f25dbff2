"""Names of metrics, spans and attributes; trace context in headers; set-up of the exporters.

Dashboards and searches rely on these names: one search here finds both ends.
Source of the `gen_ai.*`, `messaging.*`, `server.*`, `error.*` names: OpenTelemetry semantic conventions.
"""

import os
from collections.abc import Mapping, Sequence
from socket import gethostname
from threading import Thread
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from protocol import otlp
from protocol.collector import Collector
from protocol.spans import Spans

# --- attributes ------------------------------------------------------------------------------------

OUTCOME = "trunkline.outcome"
TURN = "trunkline.turn"
TENANT = "trunkline.tenant"
TTFT_MS = "trunkline.ttft_ms"
OVERHEAD_MS = "trunkline.overhead_ms"
QUEUE_MS = "trunkline.queue_ms"
OFFERS = "trunkline.offers"
WORKER = "trunkline.worker"
MAX_GAP_MS = "trunkline.max_gap_ms"
CANCEL_MS = "trunkline.cancel_ms"
REPAIRS = "trunkline.repairs"  # of the history, see edge/history.py
LINE = "trunkline.line"
CLAIM = "trunkline.claim"
EDGE = "trunkline.edge"
TARGET = "trunkline.target"
ATTEMPTS = "trunkline.attempts"  # targets tried or passed over for the turn
COST = "trunkline.cost"  # of all of them, in the unit of the prices
USAGE_ESTIMATED = "trunkline.usage_estimated"
ATTEMPT_OUTCOME = "trunkline.attempt.outcome"  # of one target: `answered`, `outrun`, `skipped`, or an error's code
ATTEMPT_REASON = "trunkline.attempt.reason"
ATTEMPT_HEDGE = "trunkline.attempt.hedge"  # it was started beside another one
HOOK_TYPE = "trunkline.hook.type"  # as the platform says it
HOOK_BYTES = "trunkline.hook.bytes"
HOOK_OUTCOME = "trunkline.hook.outcome"  # `stored`, `duplicate`, `dropped`, else an error's code
PROFILE = "trunkline.profile"
LANGUAGE = "trunkline.language"
SPOKEN_BY_EDGE = "trunkline.spoken_by_edge"  # spaces, fillers, sentences, as configured; in order
WITHHELD = "trunkline.withheld"  # calls that did not go out, each as tool:reason
LEAKED = "trunkline.leaked"  # marks that were taken out of the text
UNHEARD_TOKENS = "trunkline.unheard_tokens"  # generated, and never written to a client that hung up
UNHEARD_COST = "trunkline.unheard_cost"
EXTRA = "trunkline.extra."  # before a name in a platform's extra bodies, see [telemetry] extras
ATTEMPT_OBJECTIONS = "trunkline.attempt.objections"  # to its tool calls: `tool:reason`
HOOK_TURN_TRACE = "trunkline.hook.turn_trace"  # of the last turn of its call, where that is known
EVENT_LOST = "claim lost"

CONVERSATION = "gen_ai.conversation.id"
OPERATION = "gen_ai.operation.name"
REQUEST_MODEL = "gen_ai.request.model"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
FINISH_REASONS = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"  # seconds
MESSAGING_SYSTEM = "messaging.system"
MESSAGING_DESTINATION = "messaging.destination.name"
MESSAGING_OPERATION = "messaging.operation.type"
ERROR_TYPE = "error.type"
HTTP_METHOD = "http.request.method"
HTTP_ROUTE = "http.route"
HTTP_STATUS = "http.response.status_code"

# --- spans -----------------------------------------------------------------------------------------

SPAN_ADMIT = "admit"
SPAN_WAIT = "wait first_content"
SPAN_STREAM = "stream"


def span_send(pool: str) -> str:
    """One offer."""
    return f"send job.{pool}"


def span_process(pool: str) -> str:
    """One claim."""
    return f"process job.{pool}"


def span_chat(model: str) -> str:
    """One target tried."""
    return f"chat {model}"


# --- metrics ---------------------------------------------------------------------------------------

BUCKETS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0)
"""Histogram buckets that fit voice: 5 ms to 10 s."""

TURNS = "trunkline_turns"  # {outcome}; the client library appends _total
FIRST_CONTENT = "trunkline_turn_first_content_seconds"
TURN_SECONDS = "trunkline_turn_seconds"
QUEUE_SECONDS = "trunkline_queue_seconds"
OVERHEAD_SECONDS = "trunkline_overhead_seconds"
TURNS_LIVE = "trunkline_turns_live"
CANCEL_SECONDS = "trunkline_cancel_seconds"
FENCED = "trunkline_frames_fenced"
OFFERED = "trunkline_offers"
CLAIMS_LOST = "trunkline_claims_lost"
QUEUE_DEPTH = "trunkline_queue_depth"
BUS_CONNECTED = "trunkline_bus_connected"
CONFIG_RELOADS = "trunkline_config_reloads"  # {outcome}; of edges and workers
REQUESTS_REFUSED = "trunkline_requests_refused"  # {code}
HOOKS = "trunkline_hooks"  # {platform, outcome}
RECORDS_DROPPED = "trunkline_turn_records_dropped"
TURN_TOKENS = "trunkline_turn_tokens"  # {direction}; of every target that a turn tried
GUARD_SPOKEN = "trunkline_guard_spoken"  # {kind}: space, filler, sentence
TOOLS_WITHHELD = "trunkline_tools_withheld"  # {reason}
MARKUP_LEAKED = "trunkline_markup_leaked"
UNHEARD = "trunkline_unheard_tokens"
UNHEARD_SPENT = "trunkline_unheard_cost"  # in the unit of the prices
TURNS_CUT = "trunkline_turns_cut"  # turns of which the next one's history shows that the caller has not heard all
RESPONSES_KEPT = "trunkline_responses_kept"  # {outcome}: kept, too_large, away, refused, late
RESPONSES_READ = "trunkline_responses_read"  # {outcome}: found, missing, unreadable, away
CALL_STATE_MISSED = "trunkline_call_state_missed"  # {why}
COST_SPENT = "trunkline_cost"  # {target}; in the unit of its prices
POOL_WORKERS = "trunkline_pool_workers"  # {pool}
GENERATIONS_LIVE = "trunkline_generations_live"
SLOTS_FREE = "trunkline_slots_free"
CLAIMS = "trunkline_claims"
GENERATIONS = "trunkline_generations"  # {outcome}
TARGET_FIRST_CONTENT = "trunkline_target_first_content_seconds"  # {target}
TOKENS = "gen_ai_client_token_usage"  # {direction}
DELIVERIES_TERMINATED = "trunkline_deliveries_terminated"
TARGET_ATTEMPTS = "trunkline_target_attempts"  # {target, outcome}
TARGETS_SKIPPED = "trunkline_targets_skipped"  # {target, reason}
BREAKERS_OPEN = "trunkline_breaker_open"  # {target}; 1 while it is passed over
HEDGES = "trunkline_hedges"  # {what}
UPSTREAM_FAULTS = "trunkline_upstream_faults"  # {target, kind}
TOOL_OBJECTIONS = "trunkline_tool_objections"  # {reason}; to calls of models: what no repair mends is withheld
TOOL_REPAIRS = "trunkline_tool_repairs"  # {what}
TOOL_SCHEMAS_UNREADABLE = "trunkline_tool_schemas_unreadable"

# --- trace context ---------------------------------------------------------------------------------

_propagator = TraceContextTextMapPropagator()


def context_of(headers: Mapping[str, str]) -> Context:
    """The trace context that headers carry; an empty one where they carry none, or nonsense."""
    return _propagator.extract({key.lower(): value for key, value in headers.items()}, Context())


# --- set-up ----------------------------------------------------------------------------------------

LAST_SPANS_S = 2.0  # a collector that is down holds up no process that stops


class OtlpFile(SpanExporter):
    """Spans as OTLP JSON lines, appended whole: several processes may share one file."""

    encode = staticmethod(otlp.to_json)

    def __init__(self, path: str, resource: otlp.Attributes) -> None:
        self._resource = resource
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        """Write one line of `Encoded` spans."""
        line = otlp.json_request(self._resource, otlp.SCOPE, [span.data for span in spans])
        os.write(self._file, line + b"\n")
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the file."""
        os.close(self._file)


def spans_for(
    tier: str, process_id: str, *, traces_file: str | None, environ: Mapping[str, str]
) -> tuple[Spans, TracerProvider]:
    """What begins the spans of a process, and the SDK's provider, to be given to `shut_down` at the end.

    Exports over OTLP when OTEL_EXPORTER_OTLP_ENDPOINT (or its traces form) is set, else to `traces_file`, else nowhere;
    in the background: a collector that is down costs no turn anything. Every turn is sampled unless
    OTEL_TRACES_SAMPLER says otherwise: an edge does not obey the flag of an incoming context (platforms send 00);
    a worker obeys its edge's.
    """
    names = {
        "service.name": f"trunkline-{tier}",
        "service.namespace": "trunkline",
        "service.instance.id": process_id,
        "host.name": gethostname(),  # without it Jaeger takes every span for one of another machine's clock
    }
    resource = Resource.create(names)
    sampler: Sampler | None = ParentBased(ALWAYS_ON) if tier == "worker" else ALWAYS_ON
    if tier == "edge" and environ.get("OTEL_TRACES_SAMPLER"):
        sampler = None  # the SDK reads the variable itself
    provider = TracerProvider(sampler=sampler, resource=resource, shutdown_on_exit=False)
    exporter = _exporter(traces_file, environ, dict(resource.attributes))
    if exporter is None:
        return Spans(sampler=provider.sampler), provider
    processor: Any = BatchSpanProcessor(exporter)  # it asks of a span only whether it is sampled
    provider.add_span_processor(processor)
    return Spans(processor.on_end, encode=exporter.encode, sampler=provider.sampler), provider


def shut_down(provider: TracerProvider) -> None:
    """Send the last spans, but not for longer than `LAST_SPANS_S`; blocks. The SDK tries for up to 30 s."""
    sending = Thread(target=provider.shutdown, name="last spans", daemon=True)
    sending.start()
    sending.join(LAST_SPANS_S)


def _exporter(
    traces_file: str | None, environ: Mapping[str, str], resource: dict[str, Any]
) -> Collector | OtlpFile | None:
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    if environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        return Collector(resource)
    return OtlpFile(traces_file, resource) if traces_file else None
