"""A collector for tests: takes OTLP over HTTP and gives spans back, as the processes sent them."""

import base64
import gzip
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from google.protobuf.json_format import MessageToDict
from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from bench.polling import until

KINDS = {1: "INTERNAL", 2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}
ERROR = 2
SETTLE_S = 10.0


class Span(Struct):
    """One span. Times in seconds since 1970."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    start: float
    end: float
    attributes: dict[str, Any]
    failed: bool
    events: dict[str, dict[str, Any]]
    service: str
    instance: str

    def holds(self, other: "Span", slack_s: float) -> bool:
        """Whether `other` lies within this one."""
        return self.start - slack_s <= other.start <= other.end <= self.end + slack_s


class Tree:
    """All spans of one trace."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self.spans = sorted(spans, key=lambda span: span.start)

    @property
    def shape(self) -> list[str]:
        """`kind name < parent's name` of every span, in alphabetical order."""
        names = {span.span_id: span.name for span in self.spans}
        return sorted(f"{span.kind} {span.name} < {names.get(span.parent_id, '')}".rstrip(" <") for span in self.spans)

    def named(self, name: str) -> list[Span]:
        """Spans whose name begins with this, in the order of their start."""
        return [span for span in self.spans if span.name.startswith(name)]

    def one(self, name: str) -> Span:
        """The only one."""
        [span] = self.named(name)
        return span

    def children(self, parent: Span) -> list[Span]:
        """The spans right under one."""
        return [span for span in self.spans if span.parent_id == parent.span_id]


class Sink:
    """What was collected."""

    def __init__(self) -> None:
        self.url = ""
        self.raw = b""
        self.spans: dict[str, list[Span]] = {}

    async def take(self, request: web.Request) -> web.Response:
        """POST /v1/traces."""
        data = await request.read()
        if data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
        self.raw += data
        for span in spans_of(MessageToDict(ExportTraceServiceRequest.FromString(data), use_integers_for_enums=True)):
            self.spans.setdefault(span.trace_id, []).append(span)
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf"
        )

    async def tree(self, trace_id: str, count: int) -> Tree:
        """The trace, once it has that many spans, or after a while."""

        async def spans() -> list[Span]:
            return self.spans.get(trace_id, [])

        def enough(found: list[Span]) -> bool:
            return len(found) >= count

        found: list[Span] = await until(spans, enough, SETTLE_S)
        return Tree(found)


def spans_of(told: dict[str, Any], *, ids_in_hex: bool = False) -> list[Span]:
    """The spans of an export, as protobuf's JSON has it (ids in base64), or as OTLP's has it (in hex)."""
    found = []
    for resource in told.get("resourceSpans", ()):
        about = _attributes(resource["resource"])
        for scope in resource["scopeSpans"]:
            found += [_span(span, about, ids_in_hex=ids_in_hex) for span in scope["spans"]]
    return found


def _span(told: dict[str, Any], about: dict[str, Any], *, ids_in_hex: bool) -> Span:
    def hexed(name: str) -> str:
        value: str = told.get(name, "")
        return value if ids_in_hex else base64.b64decode(value).hex()

    return Span(
        trace_id=hexed("traceId"),
        span_id=hexed("spanId"),
        parent_id=hexed("parentSpanId"),
        name=told["name"],
        kind=KINDS[told["kind"]],
        start=int(told["startTimeUnixNano"]) / 1e9,
        end=int(told["endTimeUnixNano"]) / 1e9,
        attributes=_attributes(told),
        failed=told.get("status", {}).get("code") == ERROR,
        events={event["name"]: _attributes(event) for event in told.get("events", ())},
        service=about["service.name"],
        instance=about["service.instance.id"],
    )


def _attributes(told: dict[str, Any]) -> dict[str, Any]:
    return {entry["key"]: _value(entry["value"]) for entry in told.get("attributes", ())}


def _value(told: dict[str, Any]) -> Any:
    [(kind, value)] = told.items()
    if kind == "intValue":
        return int(value)
    return [_value(entry) for entry in value["values"]] if kind == "arrayValue" else value


@asynccontextmanager
async def otlp_sink() -> AsyncIterator[Sink]:
    """A collector on a port of its own; its address is for OTEL_EXPORTER_OTLP_ENDPOINT."""
    sink = Sink()
    app = web.Application(client_max_size=64 << 20)
    app.add_routes([web.post("/v1/traces", sink.take)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        sink.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield sink
    finally:
        await runner.cleanup()
