"""The fault upstream: a raw HTTP/1.1 server that does to each request what its path names, in any of the three APIs.

A target's base URL is `<url>/<fault>/<scenario>/v1`. What it was asked for, what it sent, and when the other side
closed the connection is kept by scenario and fault.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from msgspec import Struct

from bench.http1 import LAST_CHUNK, Request, chunk, take_request
from tests.faults.voices import VOICES, WORDS, Voice
from tests.tcp import listening

STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"


class Seen(Struct):
    """One request. Times are `time.monotonic()`."""

    body: bytes
    headers: dict[str, str]
    received: float
    sent: int = 0  # words
    holds: bool = False  # the connection stays open until the other side closes it
    closed: float | None = None  # by the other side, while it was being answered

    def said_before(self) -> int:
        """How many words of the answer the question holds already: it is to be continued from there."""
        whole = [i for i in range(1, len(WORDS) + 1) if b'"%b"' % "".join(WORDS[:i]).encode() in self.body]
        return max(whole, default=0)


class Exchange:
    """One request, and the connection to answer it on."""

    def __init__(self, request: Request, number: int, writer: asyncio.StreamWriter) -> None:
        self.number = number  # of this scenario's requests for this fault, from 1
        self.voice = _voice(request.target)
        self.seen = Seen(request.body, request.headers, time.monotonic())
        self.left = asyncio.Event()  # the other side has closed
        self.writer = writer

    async def raw(self, data: bytes) -> None:
        """Raises ConnectionError: nobody listens any more."""
        if self.left.is_set():
            raise ConnectionResetError
        self.writer.write(data)
        await self.writer.drain()

    async def begin(self) -> None:
        """A stream's head."""
        await self.raw(STREAM_HEAD)

    async def say(self, data: bytes) -> None:
        """One piece of a chunked body; an empty one would be its end."""
        if data:
            await self.raw(chunk(data))

    async def words(self, first: int = 0, last: int = len(WORDS)) -> None:
        """Some words of the answer, each by itself, after each other."""
        for word in WORDS[first:last]:
            await self.say(self.voice.word(word))
            self.seen.sent += 1

    async def opened(self) -> None:
        """All that comes before the first word."""
        await self.begin()
        await self.say(self.voice.opening)

    async def closed(self, words: tuple[str, ...] = WORDS) -> None:
        """All that comes after the last word."""
        await self.say(self.voice.finish(words))
        await self.say(self.voice.last)
        await self.end()

    async def end(self) -> None:
        await self.raw(LAST_CHUNK)

    async def plain(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """A whole answer that is no stream."""
        told = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        await self.raw(f"HTTP/1.1 {status} -\r\n{lines}\r\n".encode() + body)

    async def hold(self) -> None:
        """Keep the connection and say nothing, until the other side leaves."""
        self.seen.holds = True
        await self.left.wait()

    def cut(self) -> None:
        """Leave in the middle."""
        self.writer.close()


Act = Callable[[Exchange], Awaitable[None]]


def _voice(target: str) -> Voice:
    path = target.partition("?")[0]
    return next(voice for voice in VOICES if path.endswith(voice.path))


class FaultUpstream:
    """Does as the path says, and remembers."""

    def __init__(self, acts: Mapping[str, Act]) -> None:
        self.url = ""
        self.seen: dict[tuple[str, str], list[Seen]] = {}
        self.strayed: list[str] = []  # paths that no target has: somebody followed a redirect
        self._acts = acts

    def of(self, scenario: str, fault: str) -> list[Seen]:
        """The requests that a scenario has made to a target."""
        return self.seen.get((scenario, fault), [])

    def base_url(self, fault: str, scenario: str) -> str:
        """For a target's settings."""
        return f"{self.url}/{fault}/{scenario}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request: what a fault leaves on a connection is not for the next turn, which would ask
        again on another one.
        """
        buffer = bytearray()
        try:
            if request := await _next(reader, buffer):
                await self._answer(request, reader, writer, buffer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _answer(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, buffer: bytearray
    ) -> None:
        _, fault, scenario, *_ = [*request.target.split("/"), "", ""]
        if fault not in self._acts:
            self.strayed.append(request.target)
            return
        same = self.seen.setdefault((scenario, fault), [])
        exchange = Exchange(request, len(same) + 1, writer)
        same.append(exchange.seen)
        watching = asyncio.create_task(_watch(reader, exchange, buffer))
        try:
            await self._acts[fault](exchange)
        except ConnectionError:
            exchange.left.set()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        if exchange.left.is_set():
            exchange.seen.closed = exchange.seen.closed or time.monotonic()


async def _next(reader: asyncio.StreamReader, buffer: bytearray) -> Request | None:
    """The next request; None: there is none."""
    while (request := take_request(buffer)) is None:
        data = await reader.read(65536)
        if not data:
            return None
        buffer.extend(data)
    return request


async def _watch(reader: asyncio.StreamReader, exchange: Exchange, buffer: bytearray) -> None:
    """Notice that the other side leaves. What it sends is kept for the next request."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            buffer.extend(data)
    exchange.seen.closed = time.monotonic()
    exchange.left.set()


@asynccontextmanager
async def fault_upstream(acts: Mapping[str, Act]) -> AsyncIterator[FaultUpstream]:
    """One on a port of its own."""
    upstream = FaultUpstream(acts)
    async with listening(upstream.serve) as port:
        upstream.url = f"http://127.0.0.1:{port}"
        yield upstream
