"""Server-sent events, event <-> bytes: the edge writes them, upstreams send them."""

from collections.abc import Iterator

DONE = b"data: [DONE]\n\n"
PING = b": ping\n\n"


def encode(data: bytes, *, event: str | None = None) -> bytes:
    """Frame one server-sent event, as WHATWG HTML 9.2.6 has it read.

    Raises:
        ValueError: `data` holds a line break; a reader would see the field end there.
    """
    if b"\n" in data or b"\r" in data:
        raise ValueError("SSE data must be a single line")
    name = b"event: %b\n" % event.encode() if event else b""
    return b"%bdata: %b\n\n" % (name, data)


class TooLong(ValueError):
    """A line or an event of more bytes than its reader takes."""


class EventReader:
    """Bytes of an event stream, split anywhere -> the data of each event, as WHATWG HTML 9.2.6 has it read.

    Line ends are LF, CR or CRLF; comments and the fields `event`, `id` and `retry` are passed over; several data
    lines make one event, joined by LF.
    """

    def __init__(self, *, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes  # of one line, and of one event's data
        self._tail = bytearray()  # a line that has not ended yet
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._after_cr = False
        self._first = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The data of every event that is whole now. To be read to its end before more is fed.

        Raises:
            TooLong: a line or an event is over the limit.
        """
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if not self.between or not data.endswith(b"\n\n"):
            yield from self._lines(data)
            return
        for event in data[:-2].split(b"\n\n"):  # whole events, as most reads are: one line of data each
            if event.startswith(b"data: ") and b"\n" not in event:
                self._first = False
                self._bound(len(event))
                yield event[6:]
            else:
                yield from self._lines(event + b"\n\n")

    @property
    def between(self) -> bool:
        """Whether the next byte begins an event."""
        return not (self._tail or self._data or self._after_cr or self._first)

    def _lines(self, data: bytes) -> Iterator[bytes]:
        first, *lines = data.split(b"\n")
        self._tail += first
        for following in lines:
            line, self._tail = bytes(self._tail), bytearray(following)
            yield from self._line(line)
        self._bound(len(self._tail))

    def end(self) -> Iterator[bytes]:
        """The event that the stream ended in, without its blank line: browsers drop it, but its sender meant it."""
        return self.feed(b"\n\n")

    def _line(self, line: bytes) -> Iterator[bytes]:
        self._bound(len(line))
        if self._first:
            self._first = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data_bytes += len(value) + 1
            self._bound(self._data_bytes)
            self._data.append(value.removeprefix(b" "))
        elif not line and self._data:
            data, self._data, self._data_bytes = b"\n".join(self._data), [], 0
            yield data

    def _bound(self, length: int) -> None:
        if length > self._limit_bytes:
            raise TooLong(f"a line or an event is longer than {self._limit_bytes} bytes")
