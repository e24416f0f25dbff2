"""Targets for the benches: each path is a target of its own, which answers, is slow at times, or fails in one way.

`POST /<manner>/<name>/v1/chat/completions`; `requests` counts them by name. Nothing is paced after the first word.
"""

import asyncio
import collections
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from bench.client import RESET
from bench.http1 import LAST_CHUNK, Request, take_request
from bench.speech import MODEL, STREAM_HEAD, Asked, Chunks, event, failed

FAST_S, SLOW_S = 0.2, 5.0
SLOW_SHARE = 0.05
SEED = 20  # of who is slow: every run is the same
ASKED = Asked(messages=[], model=MODEL, stream=True)
CHUNKS = Chunks(ASKED, "bench", 1)
WORDS = ("one", " two", " three")
OPENING = STREAM_HEAD + CHUNKS.delta({"role": "assistant", "content": ""})
ANSWER = (
    b"".join(CHUNKS.delta({"content": word}) for word in WORDS)
    + CHUNKS.delta({}, "stop")
    + CHUNKS.usage({"prompt_tokens": 10, "completion_tokens": len(WORDS), "total_tokens": 10 + len(WORDS)})
    + event(b"[DONE]")
    + LAST_CHUNK
)
EMPTY = OPENING + CHUNKS.delta({}, "stop") + event(b"[DONE]") + LAST_CHUNK
ERROR = STREAM_HEAD + event(b'{"error": {"message": "ordered", "type": "server_error"}}') + LAST_CHUNK

Manner = Callable[[asyncio.StreamWriter], Awaitable[None]]
"""What a target does to a request. ConnectionError: it is over with the connection."""


def _says(data: bytes) -> Manner:
    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return say


def refusal(status: int, *headers: bytes) -> bytes:
    """A status with an error object."""
    head, _, body = failed(status, "ordered").partition(b"\r\n")
    return b"\r\n".join([head, *headers, body])


async def _hold(_: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
    raise ConnectionAbortedError


class _Moody:
    """Slow in some turns."""

    def __init__(self) -> None:
        self._random = random.Random(SEED)

    async def __call__(self, writer: asyncio.StreamWriter) -> None:
        writer.write(OPENING)
        await asyncio.sleep(SLOW_S if self._random.random() < SLOW_SHARE else FAST_S)
        if not writer.transport.is_closing():  # it was outrun meanwhile
            writer.write(ANSWER)


MANNERS: dict[str, Manner] = {
    "well": _says(OPENING + ANSWER),
    "silence": _hold,
    "reset": _reset,
    "500": _says(failed(500, "ordered")),
    "503": _says(refusal(503, b"Retry-After: 30")),
    "429": _says(failed(429, "ordered")),
    "empty": _says(EMPTY),
    "error": _says(ERROR),
}


class Targets:
    """All of them, on one port. Each name is served by one manner: one of these, or of a bench's own."""

    def __init__(self, more: Mapping[str, Manner]) -> None:
        self.url = ""
        self._manners = {**MANNERS, **more}
        self.requests: collections.Counter[str] = collections.Counter()
        self._moody: dict[str, Manner] = {}

    def base_url(self, manner: str, name: str) -> str:
        """For a target's settings."""
        return f"{self.url}/{manner}/{name}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection. Who leaves in the middle is not looked for: nothing is held for it but this task."""
        buffer = bytearray()
        try:
            while data := await reader.read(65536):
                buffer += data
                if request := take_request(buffer):
                    await self._answer(request, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        _, manner, name, *_ = request.target.split("/")
        self.requests[name] += 1
        act = self._moody.setdefault(name, _Moody()) if manner == "moody" else self._manners[manner]
        await act(writer)
        if not writer.transport.is_closing():
            await writer.drain()


@asynccontextmanager
async def serving(more: Mapping[str, Manner] = MANNERS) -> AsyncIterator[Targets]:
    """The targets, on a port of their own."""
    targets = Targets(more)
    open_now: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_now.add(task)
        task.add_done_callback(open_now.discard)
        with contextlib.suppress(asyncio.CancelledError):
            await targets.serve(reader, writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=1024)
    targets.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield targets
    finally:
        server.close()
        for task in tuple(open_now):
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)
