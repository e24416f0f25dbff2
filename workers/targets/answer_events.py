"""Bytes of an upstream's answer -> the data of its events. Pure: split anywhere, the same events come out.

Takes an event stream, and the one JSON object of an upstream that ignores `stream`: that counts as one event.
"""

from collections.abc import Iterator

from protocol import sse
from protocol.codec import without_halves
from workers.targets.upstream_errors import Fault

MAX_LINE_BYTES = 1024 * 1024  # an event is some hundred bytes; a whole tool call in one may be long
HEAD_BYTES = 1024  # of white space before a body: some proxies send it to keep a connection
TOO_LONG = "line_too_long"  # the kind of fault
BOM = b"\xef\xbb\xbf"


def as_text(data: bytes) -> bytes:
    """JSON that could not be read, without what is no text: bytes that are no UTF-8 become U+FFFD, half a surrogate
    pair (of an emoji that was cut in two) is left out.
    """
    return without_halves(data.decode("utf-8", "replace").encode())


class AnswerEvents:
    """Feed it bytes, take events; `end()` gives the last one. `target` is named in errors."""

    def __init__(self, *, target: str) -> None:
        self._target = target
        self._head: bytes | None = b""  # until the first visible byte tells which kind of body this is
        self._blank_bytes = 0  # before it
        self._body: bytearray | None = None  # of a body that is one JSON object
        self._stream = sse.EventReader(limit_bytes=MAX_LINE_BYTES)

    @property
    def between(self) -> bool:
        """Whether the next byte begins an event of a stream."""
        return self._stream.between

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The data of every event that is whole now. To be read to its end before more is fed.

        Raises:
            Fault: a line or a body is over the limit.
        """
        if self._head is not None:
            data = self._begin(data)
        if self._body is None:
            return self._bounded(self._stream.feed(data))
        self._body += data
        self._bound(len(self._body))
        return iter(())

    def end(self) -> Iterator[bytes]:
        """The event that is left when all bytes have come. Raises Fault."""
        return self._bounded(self._stream.end()) if self._body is None else iter([bytes(self._body)])

    def _bounded(self, events: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from events
        except sse.TooLong as error:
            raise Fault(TOO_LONG, f"target {self._target!r}: {error}") from None

    def _begin(self, data: bytes) -> bytes:
        """Hold the first bytes until one of them is visible: `{` starts a JSON body, anything else an event stream."""
        head = (self._head or b"") + data
        visible = head.removeprefix(BOM).lstrip()
        if not visible or BOM.startswith(head):
            self._blank_bytes += len(data)
            self._bound(self._blank_bytes)
            self._head = head[-HEAD_BYTES:]
            return b""
        self._head = None
        if visible.startswith(b"{"):
            self._body = bytearray()
            return visible
        return head

    def _bound(self, length: int) -> None:
        if length > MAX_LINE_BYTES:
            why = f"a body without events is longer than {MAX_LINE_BYTES} bytes"
            raise Fault(TOO_LONG, f"target {self._target!r}: {why}")
