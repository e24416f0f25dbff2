"""Hears one streamed answer at the least cost per token: nothing is parsed that the figures do not need.

Pure but for the time, which the caller gives: split anywhere, the same is heard.
"""

import re
from collections.abc import Callable

from bench.http1 import headers_of
from bench.load.rounds import Api

CONTENT: dict[Api, re.Pattern[bytes]] = {
    "chat": re.compile(rb'"content":\s*"([^"]*)"'),
    "responses": re.compile(rb'"delta":\s*"([^"]*)"'),
}
"""The words of the upstream have no quotes and no escapes; `reasoning_content` does not match."""
FAILURE: dict[Api, bytes] = {"chat": b'"error"', "responses": b'"response.failed"'}

ERROR_BYTES = 300


class Hearing:
    """One answer, in words of `width` bytes each.

    `on_content(count, now)` is called after each read that brought content: how many words are whole now that were not,
    and the moment of the read. A gateway may put several words into one event, or end one within a word.
    """

    def __init__(self, on_content: Callable[[int, float], None], width: int, api: Api = "chat") -> None:
        self._on_content = on_content
        self._width = width
        self._words, self._failure = CONTENT[api], FAILURE[api]
        self._heard = 0  # bytes of content
        self._rest = b""  # bytes that are no whole chunk yet
        self._line = b""  # of the body, up to a line's end that is still to come
        self._chunked = False
        self._left: int | None = None  # of a body with a length
        self._said = b""  # what a failure says
        self.status = 0
        self.content: list[bytes] = []
        self.done = False  # [DONE] was read
        self.complete = False  # the body came to its own end
        self.closes = False  # the other side closes the connection after it

    @property
    def words(self) -> int:
        """How many are whole."""
        return self._heard // self._width

    @property
    def text(self) -> bytes:
        """All content."""
        return b"".join(self.content)

    @property
    def error(self) -> str:
        """What a refusal, or an error within the stream, says; empty where there is none."""
        return self._said.decode(errors="replace") if self._said else ""

    def feed(self, data: bytes, now: float) -> bool:
        """Take what was read; True when the answer is complete.

        Raises:
            ValueError: not HTTP.
        """
        if self._rest:
            data, self._rest = self._rest + data, b""
        if not self.status:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._rest = data
                return False
            self._head(data[:end])
            data = data[end + 4 :]
        pieces, heard = len(self.content), self._heard
        if self._chunked:
            self._chunks(data)
        else:
            self._plain(data)
        if len(self.content) > pieces:
            self._heard += sum(map(len, self.content[pieces:]))
            self._on_content(self._heard // self._width - heard // self._width, now)
        return self.complete

    def closed(self) -> None:
        """The connection was: that is the end of a body without chunks and length."""
        if self.status and not self._chunked and self._left is None:
            self.complete = True

    def _head(self, head: bytes) -> None:
        first, headers = headers_of(head)
        self.status = int(first.split(" ", 2)[1])
        self._chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        length = headers.get("content-length")
        self._left = None if length is None else int(length)
        self.closes = headers.get("connection", "").lower() == "close"

    def _chunks(self, data: bytes) -> None:
        at = 0
        while True:
            end = data.find(b"\r\n", at)
            if end < 0:
                break
            size = int(data[at:end].split(b";")[0], 16)
            after = end + 2 + size
            if len(data) < after + 2:
                break
            if size == 0:
                self.complete = True
                return
            self._body(data[end + 2 : after])
            at = after + 2
        self._rest = data[at:]

    def _plain(self, data: bytes) -> None:
        if data:
            self._body(data)
        if self._left is not None:
            self._left -= len(data)
            self.complete = self._left <= 0

    def _body(self, body: bytes) -> None:
        if self.status != 200:
            self._said = (self._said + body)[:ERROR_BYTES]
            return
        if self._line:
            body = self._line + body
            self._line = b""
        if not body.endswith(b"\n"):
            cut = body.rfind(b"\n") + 1
            body, self._line = body[:cut], body[cut:]
        found = self._words.findall(body)
        if found:
            self.content += filter(None, found)
        self.done |= b"[DONE]" in body
        if self._failure in body:
            self._said = body.strip()[:ERROR_BYTES]
