"""An upstream on a loopback socket that says exactly what a test tells it to, and sees its connections close."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any

from tests.tcp import listening

SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
DONE = "data: [DONE]\n\n"


def chunk(delta: dict[str, Any] | None = None, *, finish: str | None = None, **more: Any) -> str:
    """One event of a chat completion."""
    told = {"choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}], **more}
    return f"data: {json.dumps(told)}\n\n"


def says(*texts: str) -> str:
    """A whole answer."""
    return "".join(chunk({"content": text}) for text in texts) + chunk(finish="stop") + DONE


class Exchange:
    """One request, and the connection to answer it on. `gone` is set when the other end closes."""

    def __init__(self, head: str, body: bytes, writer: asyncio.StreamWriter, connection: int) -> None:
        self.path = head.split(" ")[1]
        lines = [line.partition(": ") for line in head.split("\r\n")[1:] if line]
        self.headers = {name.lower(): value for name, _, value in lines}
        self.body = body
        self.connection = connection
        self.gone = asyncio.Event()
        self._writer = writer

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    async def begin(self) -> None:
        await self.raw(SSE_HEAD)

    async def send(self, text: str) -> None:
        """One piece of a chunked body."""
        data = text.encode()
        await self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        await self.raw(b"0\r\n\r\n")

    async def plain(self, status: int, body: str = "", *headers: str) -> None:
        head = [f"HTTP/1.1 {status} Because", f"Content-Length: {len(body.encode())}", *headers]
        await self.raw("\r\n".join([*head, "", body]).encode())

    async def raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def half_close(self) -> None:
        """Say that nothing more comes, and go on listening."""
        self._writer.write_eof()

    def cut(self) -> None:
        """Close the connection in the middle of it."""
        self._writer.close()


Answer = Callable[[Exchange], Awaitable[None]]


class FakeUpstream:
    """Answers every request with `answer`, and remembers them all."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.exchanges: asyncio.Queue[Exchange] = asyncio.Queue()
        self.seen: list[Exchange] = []
        self.connections = 0
        self.open = 0  # of them
        self.changed = asyncio.Condition()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = self.connections
        await self._count(1)
        try:
            while True:
                exchange = await self._read(reader, writer, connection)
                answering = asyncio.create_task(self._answer(exchange))
                peeked = asyncio.create_task(reader.read(1)) if exchange.headers.get("x-watch") else None
                if peeked is not None:
                    assert await peeked == b"", "the other end closes, or says nothing"
                    exchange.gone.set()
                await answering
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            for exchange in self.seen:
                if exchange.connection == connection:
                    exchange.gone.set()
            writer.close()
            await self._count(-1)

    async def _count(self, change: int) -> None:
        async with self.changed:
            self.open += change
            self.changed.notify_all()

    async def has_open(self, count: int) -> None:
        """Wait until so many connections are open, no more and no fewer."""
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: self.open == count)

    async def _answer(self, exchange: Exchange) -> None:
        try:
            await self.answer(exchange)
        except ConnectionError:
            exchange.gone.set()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> Exchange:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        exchange = Exchange(head, b"", writer, connection)
        exchange.body = await reader.readexactly(int(exchange.headers.get("content-length", "0")))
        self.seen.append(exchange)
        self.exchanges.put_nowait(exchange)
        return exchange


@asynccontextmanager
async def upstream(answer: Answer, tls: SSLContext | None = None) -> AsyncIterator[FakeUpstream]:
    """A server for the length of a test."""
    fake = FakeUpstream(answer)
    async with listening(fake.serve, tls) as port:
        fake.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/v1"
        yield fake
