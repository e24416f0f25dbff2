"""Events as bytes, as we write them. Reading: tests/workers/test_sse_reader.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import sse

CASES: dict[str, tuple[bytes, str | None, bytes]] = {
    "data": (b"a", None, b"data: a\n\n"),
    "empty data": (b"", None, b"data: \n\n"),
    "data that begins with a space": (b" a", None, b"data:  a\n\n"),
    "a named event": (b"{}", "delta", b"event: delta\ndata: {}\n\n"),
    "other bytes than ASCII": ("hé".encode(), None, b"data: h\xc3\xa9\n\n"),
}


@pytest.mark.parametrize(("data", "event", "stream"), CASES.values(), ids=CASES)
def test_an_event_as_bytes(data: bytes, event: str | None, stream: bytes) -> None:
    assert sse.encode(data, event=event) == stream


@pytest.mark.parametrize("data", [b"a\nb", b"a\rb", b"\n", b"a\r\n"])
def test_a_line_break_would_end_the_field(data: bytes) -> None:
    with pytest.raises(ValueError, match="single line"):
        sse.encode(data)


@given(st.lists(st.binary().map(lambda data: data.replace(b"\n", b"").replace(b"\r", b""))))
def test_what_is_written_is_read_the_same(events: list[bytes]) -> None:
    stream = b"".join(sse.encode(data) + sse.PING for data in events)

    assert list(sse.EventReader(limit_bytes=10_000).feed(stream)) == events


def test_the_end_mark_and_the_sign_of_life() -> None:
    assert list(sse.EventReader(limit_bytes=100).feed(sse.PING + sse.DONE)) == [b"[DONE]"]
