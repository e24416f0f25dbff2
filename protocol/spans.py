"""Spans at the least cost: the SDK samples and sends them, its own `Span` and its encoder are left out.

That `Span` is made to be changed by any thread at any time: with locks, copies and checks of every attribute it is a
fifth of what a short turn costs. Ours belong to one event loop, and are encoded and handed over when they end.
"""

import time
from collections.abc import Callable
from random import getrandbits

from msgspec import Struct
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, Sampler
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    SpanContext,
    SpanKind,
    TraceFlags,
    format_trace_id,
    get_current_span,
)

from protocol import otlp
from protocol.otlp import Attributes, Ended, Event

SAMPLED, NOT_SAMPLED = TraceFlags(TraceFlags.SAMPLED), TraceFlags(TraceFlags.DEFAULT)


class Encoded(Struct, frozen=True):
    """An ended span on its way out. `context` is what the SDK's processor asks of it."""

    context: SpanContext
    data: bytes


class Span:
    """One bar of a trace. Times are nanoseconds since 1970; none: now."""

    __slots__ = ("_attributes", "_error", "_events", "_kind", "_name", "_parent", "_spans", "_start_ns", "context")

    def __init__(
        self,
        spans: "Spans",
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        *,
        kind: SpanKind,
        start_ns: int | None,
        attributes: Attributes | None,
    ) -> None:
        self.context = context
        self._spans = spans
        self._name = name
        self._parent = parent
        self._kind = kind
        self._start_ns = start_ns or time.time_ns()
        self._attributes = dict(attributes or {})
        self._events: list[Event] = []
        self._error: str | None = None

    @property
    def trace_id(self) -> str:
        """32 hex digits, as Jaeger searches for them."""
        return format_trace_id(self.context.trace_id)

    def child(
        self,
        name: str,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        start_ns: int | None = None,
        attributes: Attributes | None = None,
    ) -> "Span":
        """A span below this one; it is sampled where this one is."""
        own = self.context
        context = SpanContext(own.trace_id, _new_id(64), False, own.trace_flags, own.trace_state)
        return Span(self._spans, name, context, own, kind=kind, start_ns=start_ns, attributes=attributes)

    def set(self, attributes: Attributes) -> None:
        """Add attributes, or change them."""
        self._attributes.update(attributes)

    def event(self, name: str, attributes: Attributes, at_ns: int) -> None:
        """Something that happened in between."""
        self._events.append(Event(name, attributes, at_ns))

    def fail(self, why: str | None) -> None:
        """What the span is about went wrong."""
        self._error = why or ""

    def headers(self) -> dict[str, str]:
        """Trace context for whoever goes on with this trace, as W3C Trace Context has it."""
        own = self.context
        parent = {"traceparent": f"00-{own.trace_id:032x}-{own.span_id:016x}-{own.trace_flags:02x}"}
        return {**parent, "tracestate": own.trace_state.to_header()} if own.trace_state else parent

    def end(self, at_ns: int | None = None) -> None:
        """Hand it over for export; once."""
        own, parent, spans = self.context, self._parent, self._spans
        if spans.export is None or not own.trace_flags.sampled:
            return
        remote = otlp.REMOTE if parent is not None and parent.is_remote else 0
        ended = Ended(
            name=self._name,
            trace_id=own.trace_id,
            span_id=own.span_id,
            trace_state=own.trace_state.to_header(),
            parent_id=parent.span_id if parent is not None else 0,
            flags=otlp.REMOTE_KNOWN | remote,
            kind=self._kind.value + 1,  # OTLP has one more, for none
            start_ns=self._start_ns,
            end_ns=at_ns or time.time_ns(),
            attributes=self._attributes,
            events=self._events,
            error=self._error,
        )
        spans.export(Encoded(own, spans.encode(ended)))


class Spans:
    """Begins the spans of one process. `export` takes each when it has ended; None: nobody wants them."""

    def __init__(
        self,
        export: Callable[[Encoded], None] | None = None,
        *,
        encode: Callable[[Ended], bytes] = otlp.to_protobuf,
        sampler: Sampler = ALWAYS_ON,
    ) -> None:
        self.export = export
        self.encode = encode
        self._sampler = sampler

    def start(
        self,
        name: str,
        context: Context,
        *,
        kind: SpanKind,
        start_ns: int | None = None,
        attributes: Attributes | None = None,
    ) -> Span:
        """The first span of a trace here, below the one in `context`, where there is one."""
        above = get_current_span(context).get_span_context()
        parent = above if above.is_valid else None
        trace_id = _new_id(128) if parent is None else parent.trace_id
        sampled = self._sampler.should_sample(context, trace_id, name, kind, dict(attributes or {}))
        own = SpanContext(
            trace_id,
            _new_id(64),
            False,
            SAMPLED if sampled.decision is Decision.RECORD_AND_SAMPLE else NOT_SAMPLED,
            sampled.trace_state or (parent or INVALID_SPAN_CONTEXT).trace_state,
        )
        return Span(self, name, own, parent, kind=kind, start_ns=start_ns, attributes=attributes)


def _new_id(bits: int) -> int:
    """Any number but 0, which stands for none."""
    return getrandbits(bits) or 1
