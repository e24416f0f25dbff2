"""A raw streaming client for load and drills: it reads HTTP and SSE itself and notes when everything happened.

All times are `time.monotonic()`, so they can be set beside the upstream's and the drills' own.
"""

import asyncio
import socket
import struct
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Self, cast
from urllib.parse import urlsplit

import orjson

from bench.http1 import ResponseReader

RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close() sends RST in place of FIN


class End(Enum):
    """How an answer ended, as far as the connection tells."""

    OPEN = "open"
    COMPLETE = "complete"  # the body came to its own end
    CUT = "cut"  # the connection closed before that
    HUNG_UP = "hung up"  # by this client


@dataclass(slots=True, kw_only=True)
class Answer:
    """What came back for one request."""

    started: float
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    end: End = End.OPEN
    head_at: float | None = None
    chunk_at: list[float] = field(default_factory=list)  # one for each event that was heard: content, whole tool calls
    hung_up_at: float | None = None
    ended_at: float | None = None
    words: list[str] = field(default_factory=list)
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    usages: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str | None = None
    error: dict[str, Any] | None = None
    done: bool = False
    malformed: int = 0  # data lines that are no JSON object

    @property
    def text(self) -> str:
        return "".join(self.words)

    @property
    def audible(self) -> bool:
        """Whether anything was said, or a tool called."""
        return bool(self.words or self.tool_calls)

    @property
    def first_at(self) -> float | None:
        """When the first of it came."""
        return self.chunk_at[0] if self.chunk_at else None

    @property
    def request_id(self) -> str | None:
        return self.headers.get("x-request-id")


class Call(asyncio.Protocol):
    """One request and its answer. `started` says when its last byte was handed to the socket."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self._reader = ResponseReader()
        self._lines = bytearray()
        self._transport: asyncio.Transport
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def place(
        cls, url: str, body: dict[str, Any] | None, *, headers: dict[str, str] | None = None, method: str = "POST"
    ) -> Self:
        """Connect and send. `body` None sends none.

        Raises:
            OSError: nobody listens there.
        """
        parts = urlsplit(url)
        loop = asyncio.get_running_loop()
        _, call = await loop.create_connection(
            lambda: cls(Answer(started=time.monotonic())), parts.hostname or "127.0.0.1", parts.port or 80
        )
        data = b"" if body is None else orjson.dumps(body)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        call._send(f"{method} {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n", headers or {}, data)
        return call

    def _send(self, head: str, headers: dict[str, str], data: bytes) -> None:
        named = {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        self.answer.started = time.monotonic()
        self._transport.write(f"{head}{lines}\r\n".encode("latin-1") + data)

    # --- what a drill waits for and does --------------------------------------------------------------

    async def heard(self, count: int = 1) -> bool:
        """Wait until that many pieces were heard; False: the answer ended before."""
        if len(self.answer.chunk_at) < count and not self._ended.done():
            heard = asyncio.get_running_loop().create_future()
            self._waiters.append((count, heard))
            await heard
        return len(self.answer.chunk_at) >= count

    async def ended(self, timeout_s: float = 30.0) -> Answer:
        """The whole answer.

        Raises:
            TimeoutError: it has not ended by then. The call hangs up.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._ended)
        except TimeoutError:
            self.hang_up()
            raise
        return self.answer

    def hang_up(self, *, reset: bool = False) -> None:
        """Leave: with a FIN, or with a RST."""
        if self._ended.done():
            return
        if reset:
            raw = self._transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.answer.hung_up_at = time.monotonic()
        if reset:
            self._transport.abort()
        else:
            self._transport.close()
        self._end(End.HUNG_UP)

    # --- what the connection says ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        if self._ended.done():
            return
        headless = self._reader.status is None
        body = self._reader.feed(data)
        if headless and self._reader.status is not None:
            self.answer.head_at = time.monotonic()
            self.answer.status, self.answer.headers = self._reader.status, self._reader.headers
        if body:
            self._read(body)
        if self._reader.complete:
            self._end(End.COMPLETE)
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(End.CUT)

    def _end(self, end: End) -> None:
        if self._ended.done():
            return
        self.answer.end = end
        self.answer.ended_at = time.monotonic()
        if self._lines and not self._streams:
            self._data(bytes(self._lines))
        self._ended.set_result(None)
        self._wake(None)

    def _wake(self, count: int | None) -> None:
        """Wake who waits for `count` pieces or fewer; None: everybody."""
        for wanted, future in self._waiters:
            if not future.done() and (count is None or wanted <= count):
                future.set_result(None)
        self._waiters = [waiter for waiter in self._waiters if not waiter[1].done()]

    # --- what the body says ---------------------------------------------------------------------------

    @property
    def _streams(self) -> bool:
        return self.answer.headers.get("content-type", "").startswith("text/event-stream")

    def _read(self, body: bytes) -> None:
        self._lines += body
        if not self._streams:
            return
        *lines, rest = self._lines.split(b"\n")
        self._lines = bytearray(rest)
        for line in lines:
            if line.startswith(b"data:"):
                self._data(bytes(line[5:]).strip())

    def _data(self, data: bytes) -> None:
        if data == b"[DONE]":
            self.answer.done = True
            return
        try:
            self._object(orjson.loads(data))
        except (ValueError, AttributeError):
            self.answer.malformed += 1

    def _object(self, said: dict[str, Any]) -> None:
        """One chunk, one whole answer, or an error."""
        answer = self.answer
        if said.get("error"):
            answer.error = said["error"]
        if said.get("usage"):
            answer.usages.append(said["usage"])
        for choice in said.get("choices") or ():
            answer.finish_reason = choice.get("finish_reason") or answer.finish_reason
            self._choice(choice.get("delta") or choice.get("message") or {})

    def _choice(self, delta: dict[str, Any]) -> None:
        answer = self.answer
        if delta.get("content"):
            answer.words.append(delta["content"])
        for call in delta.get("tool_calls") or ():
            _add_call(answer.tool_calls, call)
        if delta.get("content") or delta.get("tool_calls"):
            answer.chunk_at.append(time.monotonic())
            self._wake(len(answer.chunk_at))


def _add_call(calls: list[dict[str, Any]], delta: dict[str, Any]) -> None:
    """A tool call, or a later part of its arguments."""
    function = delta.get("function") or {}
    index = delta.get("index", len(calls))
    if index >= len(calls):
        calls.append({"id": delta.get("id"), "name": function.get("name"), "arguments": ""})
    calls[index]["arguments"] += function.get("arguments") or ""


async def fetch(url: str, *, method: str = "GET", timeout_s: float = 5.0) -> tuple[int, bytes]:
    """Status and body of a small answer.

    Raises:
        OSError: nobody listens, or the connection broke.
        TimeoutError: nothing came in time.
    """
    parts = urlsplit(url)
    reader = ResponseReader()
    body = b""
    async with asyncio.timeout(timeout_s):
        incoming, outgoing = await asyncio.open_connection(parts.hostname, parts.port or 80)
        try:
            target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
            outgoing.write(f"{method} {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode("latin-1"))
            while not reader.complete and (data := await incoming.read(65536)):
                body += reader.feed(data)
        finally:
            outgoing.close()
    if reader.status is None:
        raise ConnectionResetError(f"{url}: no answer")
    return reader.status, body
