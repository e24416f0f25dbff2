"""Event streams as WHATWG HTML 9.2.6 has them read."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import sse

CASES: dict[str, tuple[bytes, list[bytes]]] = {
    "one event": (b"data: a\n\n", [b"a"]),
    "without the space": (b"data:a\n\n", [b"a"]),
    "only one space is taken off": (b"data:  a\n\n", [b" a"]),
    "two events": (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
    "CRLF": (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
    "CR": (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
    "mixed line ends": (b"data: a\r\n\ndata: b\n\r\n", [b"a", b"b"]),
    "a comment": (b": ping\n\ndata: a\n\n", [b"a"]),
    "a comment inside an event": (b"data: a\n: ping\ndata: b\n\n", [b"a\nb"]),
    "several data lines": (b"data: a\ndata: b\n\n", [b"a\nb"]),
    "other fields": (b"event: x\nid: 1\nretry: 5\ndata: a\n\n", [b"a"]),
    "a field whose name only begins like data": (b"database: x\ndata: a\n\n", [b"a"]),
    "data without a colon": (b"data\n\n", [b""]),
    "BOM": (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
    "an event without data": (b"event: x\n\ndata: a\n\n", [b"a"]),
    "blank lines before and between": (b"\n\n\ndata: a\n\n\n\ndata: b\n\n", [b"a", b"b"]),
    "no blank line at the end": (b"data: a\n\ndata: b\n", [b"a", b"b"]),
    "no line end at the end": (b"data: a\n\ndata: b", [b"a", b"b"]),
    "an ended CR at the end": (b"data: a\r", [b"a"]),
    "colons inside": (b'data: {"a": "b:c"}\n\n', [b'{"a": "b:c"}']),
    "nothing": (b"", []),
}


def read(pieces: list[bytes]) -> list[bytes]:
    reader = sse.EventReader(limit_bytes=1000)
    events = [event for piece in pieces for event in reader.feed(piece)]
    return [*events, *reader.end()]


@pytest.mark.parametrize(("stream", "events"), CASES.values(), ids=CASES)
def test_a_stream_is_read_the_same_whole_and_one_byte_at_a_time(stream: bytes, events: list[bytes]) -> None:
    assert read([stream]) == events
    assert read([stream[at : at + 1] for at in range(len(stream))]) == events


@given(st.lists(st.sampled_from([b"data: a", b"data:", b"\n", b"\r", b"\r\n", b":x", b"\xc3", b"a"])), st.data())
def test_where_a_stream_is_split_changes_nothing(tokens: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(tokens)
    at = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    bounds = [0, *at, len(stream)]
    assert read([stream[a:b] for a, b in itertools.pairwise(bounds)]) == read([stream])


@given(st.binary())
def test_no_bytes_are_too_odd(stream: bytes) -> None:
    read([stream])


@pytest.mark.parametrize("stream", [b"data: " + b"a" * 1000, b":" + b"a" * 1001 + b"\n", b"data: 123456789\n" * 101])
def test_a_line_or_an_event_over_the_limit_is_refused_at_any_split(stream: bytes) -> None:
    for size in (len(stream), 100, 1):
        with pytest.raises(sse.TooLong):
            read([stream[at : at + size] for at in range(0, len(stream), size)])


def test_what_came_before_an_event_that_is_too_long_is_kept() -> None:
    events = sse.EventReader(limit_bytes=10).feed(b"data: a\n\ndata: " + b"b" * 20)
    assert next(events) == b"a"
    with pytest.raises(sse.TooLong):
        next(events)


def test_what_is_written_is_read() -> None:
    assert read([sse.PING, sse.encode(b"{}", event="x"), sse.DONE]) == [b"{}", b"[DONE]"]
