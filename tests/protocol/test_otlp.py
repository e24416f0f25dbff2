"""What is written by hand here, read again by the protocol's own generated code."""

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind

from protocol import otlp, telemetry
from protocol.otlp import Ended, Event
from protocol.spans import Encoded, Spans

NUMBERS = st.integers(-(2**63), 2**63 - 1)
VALUES = st.one_of(
    st.text(), st.booleans(), NUMBERS, st.floats(allow_nan=False, allow_infinity=False), st.lists(st.text(), max_size=3)
)
ATTRIBUTES = st.dictionaries(st.text(), VALUES, max_size=5)
NS = st.integers(1, 2**63)
SPANS = st.builds(
    Ended,
    name=st.text(),
    trace_id=st.integers(1, 2**128 - 1),
    span_id=st.integers(1, 2**64 - 1),
    trace_state=st.sampled_from(["", "a=b"]),
    parent_id=st.integers(0, 2**64 - 1),
    flags=st.integers(0, 2**32 - 1),
    kind=st.integers(1, 5),
    start_ns=NS,
    end_ns=NS,
    attributes=ATTRIBUTES,
    events=st.lists(st.builds(Event, name=st.text(), attributes=ATTRIBUTES, at_ns=NS), max_size=2),
    error=st.none() | st.text(),
)


def read_value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [read_value(one) for one in value.array_value.values]
    return getattr(value, kind)


def read_attributes(told: Any) -> dict[str, Any]:
    return {one.key: read_value(one.value) for one in told}


def read_span(told: Any) -> Ended:
    return Ended(
        name=told.name,
        trace_id=int.from_bytes(told.trace_id, "big"),
        span_id=int.from_bytes(told.span_id, "big"),
        trace_state=told.trace_state,
        parent_id=int.from_bytes(told.parent_span_id, "big"),
        flags=told.flags,
        kind=told.kind,
        start_ns=told.start_time_unix_nano,
        end_ns=told.end_time_unix_nano,
        attributes=read_attributes(told.attributes),
        events=[Event(one.name, read_attributes(one.attributes), one.time_unix_nano) for one in told.events],
        error=told.status.message if told.status.code == 2 else None,
    )


@given(spans=st.lists(SPANS, max_size=3), resource=ATTRIBUTES)
def test_protobuf_comes_back_as_it_went(spans: list[Ended], resource: dict[str, Any]) -> None:
    data = otlp.protobuf_request(resource, "scope", map(otlp.to_protobuf, spans))
    [origin] = ExportTraceServiceRequest.FromString(data).resource_spans
    [scope] = origin.scope_spans

    assert read_attributes(origin.resource.attributes) == resource
    assert scope.scope.name == "scope"
    assert [read_span(told) for told in scope.spans] == spans


def read_json_value(value: dict[str, Any]) -> Any:
    [(kind, told)] = value.items()
    if kind == "arrayValue":
        return [read_json_value(one) for one in told["values"]]
    return int(told) if kind == "intValue" else told


def read_json_attributes(told: list[dict[str, Any]]) -> dict[str, Any]:
    return {one["key"]: read_json_value(one["value"]) for one in told}


def read_json_span(told: dict[str, Any]) -> Ended:
    events = told.get("events", [])
    return Ended(
        name=told["name"],
        trace_id=int(told["traceId"], 16),
        span_id=int(told["spanId"], 16),
        trace_state=told.get("traceState", ""),
        parent_id=int(told.get("parentSpanId", "0"), 16),
        flags=told["flags"],
        kind=told["kind"],
        start_ns=int(told["startTimeUnixNano"]),
        end_ns=int(told["endTimeUnixNano"]),
        attributes=read_json_attributes(told["attributes"]),
        events=[
            Event(one["name"], read_json_attributes(one["attributes"]), int(one["timeUnixNano"])) for one in events
        ],
        error=told["status"].get("message"),
    )


@given(spans=st.lists(SPANS, max_size=3), resource=ATTRIBUTES)
def test_json_comes_back_as_it_went(spans: list[Ended], resource: dict[str, Any]) -> None:
    line = otlp.json_request(resource, "scope", map(otlp.to_json, spans))
    [origin] = json.loads(line)["resourceSpans"]
    [scope] = origin["scopeSpans"]

    assert b"\n" not in line
    assert read_json_attributes(origin["resource"]["attributes"]) == resource
    assert [read_json_span(told) for told in scope["spans"]] == spans


@pytest.mark.parametrize("encode", [otlp.to_protobuf, otlp.to_json])
def test_half_a_character_such_as_a_header_may_bring_breaks_nothing(encode: Callable[[Ended], bytes]) -> None:
    ended = Ended("a\udc80", 1, 2, "", 0, 0, 1, 1, 2, {"key": "b\udc80"}, [], None)

    assert b"key" in encode(ended)
    assert b"key" in otlp.json_request({"key": "b\udc80"}, "s", [])


def test_a_trace_that_is_not_sampled_is_not_handed_over() -> None:
    ended: list[Encoded] = []
    root = Spans(ended.append, sampler=ALWAYS_OFF).start("root", Context(), kind=SpanKind.SERVER)
    root.child("child").end()
    root.end()

    assert ended == []
    assert root.headers()["traceparent"].endswith("-00")


@pytest.mark.parametrize(("tier", "flags"), [("edge", "00"), ("worker", "01")])
def test_an_edge_samples_as_the_environment_says_and_a_worker_as_its_edge_did(
    tier: str, flags: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    spans, _ = telemetry.spans_for(tier, "p", traces_file=None, environ=os.environ)
    above = telemetry.context_of({"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"})

    assert spans.start("root", above, kind=SpanKind.SERVER).headers()["traceparent"].endswith(f"-{flags}")


def test_a_remote_parent_gives_the_trace_its_id_and_its_state() -> None:
    headers = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "tracestate": "a=b"}
    root = Spans().start("root", telemetry.context_of(headers), kind=SpanKind.SERVER)
    handed_on = root.child("child").headers()

    assert root.trace_id == "ab" * 16
    assert handed_on["tracestate"] == "a=b"
    assert handed_on["traceparent"].startswith(f"00-{'ab' * 16}-")
