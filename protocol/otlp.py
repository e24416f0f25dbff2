"""Ended spans -> OTLP, as protobuf for a collector and as JSON for a file. Pure.

The SDK's encoder builds a message object per attribute, in a thread that the event loop then waits for: a quarter of
what a line can carry. Here a span is encoded when it ends, and a batch is its spans, joined.
Source: opentelemetry-proto, trace/v1/trace.proto and common/v1/common.proto; OTLP specification, JSON encoding.
"""

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw

Value = str | bool | int | float | Sequence[str]
Attributes = Mapping[str, Value]

SCOPE = "trunkline"
REMOTE_KNOWN, REMOTE = 0x100, 0x200  # of the flags: whether the parent came from another process
NAME_CHARS = 24
SMALL = range(1024)
BYTES = [bytes((number,)) for number in range(0x80)]
DOUBLE = b"\x21"  # field 4, eight bytes
_int64 = struct.Struct("<Q")
_int32 = struct.Struct("<I")
_double = struct.Struct("<d")
_json = msgspec.json.Encoder().encode


class Event(msgspec.Struct, frozen=True):
    """Something that happened within a span. Nanoseconds since 1970."""

    name: str
    attributes: Attributes
    at_ns: int


class Ended(msgspec.Struct, frozen=True):
    """A span with all that it will ever say. Ids as numbers; times in nanoseconds since 1970; `kind` as in OTLP."""

    name: str
    trace_id: int
    span_id: int
    trace_state: str
    parent_id: int
    flags: int
    kind: int
    start_ns: int
    end_ns: int
    attributes: Attributes
    events: Sequence[Event]
    error: str | None  # None: nothing went wrong


# --- protobuf --------------------------------------------------------------------------------------


def _varint(number: int) -> bytes:
    if number < 0x80:
        return BYTES[number]
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


LENGTHS = [_varint(number << 3 | 2) for number in range(17)]


def _field(number: int, data: bytes) -> bytes:
    """A field of a known length."""
    return LENGTHS[number] + _varint(len(data)) + data


@lru_cache(maxsize=256)
def _tag(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


@lru_cache(maxsize=1024)
def _text(number: int, text: str) -> bytes:
    """A field of text of which there are few."""
    return _field(number, text.encode("utf-8", "replace"))


def _value(value: Value) -> bytes:
    """An AnyValue."""
    if isinstance(value, float):
        return DOUBLE + _double.pack(value)
    if isinstance(value, str):
        return _field(1, value.encode("utf-8", "replace"))
    if isinstance(value, bool):
        return _tag(2, 0) + (b"\x01" if value else b"\x00")
    if isinstance(value, int):
        return _tag(3, 0) + _varint(value & 0xFFFFFFFFFFFFFFFF)
    return _field(5, b"".join([_field(1, _value(one)) for one in value]))


def _attribute(number: int, key: str, value: Value) -> bytes:
    return _field(number, _text(1, key) + _field(2, _value(value)))


_known = lru_cache(maxsize=4096, typed=True)(_attribute)


def _is_of_few(value: Value) -> bool:
    """Whether it will be said again and again: a name, an outcome, a status; no id, no duration."""
    if isinstance(value, str):
        return len(value) <= NAME_CHARS
    return type(value) is int and value in SMALL


def _attributes(number: int, attributes: Attributes) -> bytes:
    return b"".join(
        [
            _known(number, key, value) if _is_of_few(value) else _attribute(number, key, value)
            for key, value in attributes.items()
        ]
    )


def to_protobuf(span: Ended) -> bytes:
    """One Span."""
    parts = [
        _field(1, span.trace_id.to_bytes(16, "big")),
        _field(2, span.span_id.to_bytes(8, "big")),
        _field(3, span.trace_state.encode()) if span.trace_state else b"",
        _field(4, span.parent_id.to_bytes(8, "big")) if span.parent_id else b"",
        _text(5, span.name),
        _tag(6, 0) + _varint(span.kind),
        _tag(7, 1) + _int64.pack(span.start_ns),
        _tag(8, 1) + _int64.pack(span.end_ns),
        _attributes(9, span.attributes),
    ]
    for event in span.events:
        told = _text(2, event.name) + _attributes(3, event.attributes)
        parts.append(_field(11, _tag(1, 1) + _int64.pack(event.at_ns) + told))
    if span.error is not None:
        parts.append(_field(15, _text(2, span.error) + _tag(3, 0) + b"\x02"))
    parts.append(_tag(16, 5) + _int32.pack(span.flags))
    return b"".join(parts)


def protobuf_request(resource: Attributes, scope: str, spans: Iterable[bytes]) -> bytes:
    """An ExportTraceServiceRequest of spans that are encoded."""
    scoped = _field(1, _field(1, scope.encode())) + b"".join([_field(2, span) for span in spans])
    return _field(1, _field(1, _attributes(1, resource)) + _field(2, scoped))


# --- JSON ------------------------------------------------------------------------------------------


def _json_value(value: Value) -> dict[str, Any]:
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"arrayValue": {"values": [_json_value(one) for one in value]}}


def _json_attributes(attributes: Attributes) -> list[dict[str, Any]]:
    return [{"key": key, "value": _json_value(value)} for key, value in attributes.items()]


def to_json(span: Ended) -> bytes:
    """One Span; its ids in hex, 64-bit numbers as text."""
    said: dict[str, Any] = {
        "traceId": f"{span.trace_id:032x}",
        "spanId": f"{span.span_id:016x}",
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _json_attributes(span.attributes),
        "status": {} if span.error is None else {"message": span.error, "code": 2},
        "flags": span.flags,
    }
    if span.trace_state:
        said["traceState"] = span.trace_state
    if span.parent_id:
        said["parentSpanId"] = f"{span.parent_id:016x}"
    if span.events:
        said["events"] = [
            {"timeUnixNano": str(one.at_ns), "name": one.name, "attributes": _json_attributes(one.attributes)}
            for one in span.events
        ]
    return _dumps(said)


def _dumps(said: dict[str, Any]) -> bytes:
    try:
        return _json(said)
    except UnicodeEncodeError:  # half a character, such as a header may bring
        return json.dumps(said).encode()


def json_request(resource: Attributes, scope: str, spans: Iterable[bytes]) -> bytes:
    """An ExportTraceServiceRequest of spans that are encoded."""
    origin = Raw(_dumps({"attributes": _json_attributes(resource)}))
    scoped = {"scope": {"name": scope}, "spans": [Raw(span) for span in spans]}
    return _json({"resourceSpans": [{"resource": origin, "scopeSpans": [scoped]}]})
