"""HTTP/1.1 messages, bytes in and values out: just what the fake upstream and the client need of it."""

from typing import NamedTuple


class Request(NamedTuple):
    """One request. Header names are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


def headers_of(head: bytes) -> tuple[str, dict[str, str]]:
    """The first line and the headers of a message, without its blank line."""
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first, {name.strip().lower(): value.strip() for name, _, value in pairs}


def take_request(buffer: bytearray) -> Request | None:
    """The first whole request of `buffer`, which loses it; None while it is incomplete.

    Raises:
        ValueError: a body without `Content-Length`.
    """
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, headers = headers_of(bytes(buffer[:end]))
    if "transfer-encoding" in headers:
        raise ValueError("a request body needs Content-Length here")
    whole = end + 4 + int(headers.get("content-length", 0))
    if len(buffer) < whole:
        return None
    body = bytes(buffer[end + 4 : whole])
    del buffer[:whole]
    method, target, _ = first.split(" ", 2)
    return Request(method, target, headers, body)


def chunk(data: bytes) -> bytes:
    """One piece of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


class ResponseReader:
    """One response, fed as it arrives.

    `status` and `headers` are set when the head is complete; `complete` when the body has come to its own end.
    """

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.complete = False
        self._buffer = bytearray()
        self._chunked = False
        self._left: int | None = 0  # of the body, or of the open chunk; None: the body ends with the connection

    def feed(self, data: bytes) -> bytes:
        """The bytes of the body that `data` completes.

        Raises:
            ValueError: not HTTP.
        """
        self._buffer += data
        if self.status is None and not self._head():
            return b""
        return self._chunks() if self._chunked else self._plain()

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        first, self.headers = headers_of(bytes(self._buffer[:end]))
        del self._buffer[: end + 4]
        self.status = int(first.split(" ", 2)[1])
        self._chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        length = self.headers.get("content-length")
        self._left = None if length is None else int(length)
        return True

    def _plain(self) -> bytes:
        body = bytes(self._buffer)
        self._buffer.clear()
        if self._left is not None:
            self._left -= len(body)
            self.complete = self._left <= 0
        return body

    def _chunks(self) -> bytes:
        body = bytearray()
        while not self.complete:
            end = self._buffer.find(b"\r\n")
            if end < 0:
                break
            size = int(self._buffer[:end].split(b";")[0], 16)
            if len(self._buffer) < end + 2 + size + 2:
                break
            body += self._buffer[end + 2 : end + 2 + size]
            del self._buffer[: end + 2 + size + 2]
            self.complete = size == 0
        return bytes(body)
