"""An upstream that costs next to nothing per token, so that a line is measured and not what stands behind it.

The same orders as `bench.upstream`, of which it knows `tokens`, `rate` and `first_ms`, and nothing fails. One timer
serves all paced streams; the bytes of a chunk are made once per stream. What is not paced leaves one token after the
other, each in a write of its own, as a model says them: never a whole answer in one segment.

    POST …/chat/completions   as ordered, streaming only
    GET  …/models             one model, `fake`
    GET  /stats               counts: open and finished streams, hang-ups, tokens
"""

import asyncio
import time
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

import click
import msgspec
from msgspec import Struct

from bench.http1 import LAST_CHUNK, Request, take_request
from bench.load import words
from bench.load.serving import Factory, run_server
from bench.speech import MODEL, STREAM_HEAD, Asked, Chunks, event, failed, plain

TICK_S = 0.001
"""The finest that uvloop's timers can do."""

ROOM_BYTES = 4 << 20
"""Unsent bytes per connection before writing would pause: more than the longest answer."""

_asked = msgspec.json.Decoder(Asked)


class Stats(Struct):
    """What was seen so far."""

    connections: int = 0
    open: int = 0
    finished: int = 0
    hung_up: int = 0  # the other side left in the middle of a stream
    tokens: int = 0


class Stream:
    """One answer on its way out."""

    __slots__ = ("_connection", "_head", "_last", "_tail", "_write", "due", "left", "period", "said")

    def __init__(self, connection: "Connection", asked: Asked, number: int, now: float) -> None:
        order = asked.order
        words.check(order)
        chunks = Chunks(asked, order.tag, number)
        model_chunk = chunks.delta({"content": (words.opening(order.tag) + words.NUMBERS[0]).decode()})
        self._head, _, self._tail = model_chunk.partition(words.NUMBERS[0])
        self._last = _ending(asked, chunks, order.tokens)
        self._connection = connection
        self._write = connection.write
        self.said = 0
        self.left = order.tokens
        self.period = 1 / order.rate if order.rate else 0.0
        self.due = now + order.first_ms / 1000
        self._write(STREAM_HEAD + chunks.delta({"role": "assistant", "content": ""}))

    @property
    def over(self) -> bool:
        """Said to its end, or nobody listens."""
        return self.left == 0

    def say(self) -> None:
        """One token; with the last, the end."""
        if self.left:
            self._write(self._head + words.NUMBERS[self.said] + self._tail)
            self.said += 1
            self.left -= 1
            self.due += self.period
            if not self.left:
                self._write(self._last)
                self._connection.finished(self.said)

    def stop(self) -> None:
        """Nobody listens any more."""
        self.left = 0


def _ending(asked: Asked, chunks: Chunks, tokens: int) -> bytes:
    costs = {"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens}
    usage = chunks.usage(costs) if asked.wants_usage else b""
    return chunks.delta({}, "stop") + usage + event(b"[DONE]") + LAST_CHUNK


class Clock:
    """Lets every stream speak in its time, with one timer for all of them."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._by_tick: dict[int, list[Stream]] = {}
        self._eager: list[Stream] = []
        self._tick_now = 0
        self._ticking = False

    def take(self, stream: Stream) -> None:
        """From now on it speaks."""
        if stream.due > time.monotonic():
            self._wait(stream)
        else:
            self._speak(stream)

    def _pour_soon(self, stream: Stream) -> None:
        if not self._eager:
            self._loop.call_soon(self._pour)
        self._eager.append(stream)

    def _pour(self) -> None:
        """One token of every stream that nothing paces; the sockets get their turn in between."""
        for stream in self._eager:
            stream.say()
        self._eager = [stream for stream in self._eager if not stream.over]
        if self._eager:
            self._loop.call_soon(self._pour)

    def _wait(self, stream: Stream) -> None:
        if not self._ticking:
            self._ticking = True
            self._tick_now = int(time.monotonic() / TICK_S) - 1
            self._loop.call_later(TICK_S, self._tick)
        tick = max(self._tick_now + 1, int(stream.due / TICK_S) + 1)
        self._by_tick.setdefault(tick, []).append(stream)

    def _tick(self) -> None:
        """What has become due since the last one, in its order."""
        now = int(time.monotonic() / TICK_S)
        while self._tick_now < now:
            self._tick_now += 1
            for stream in self._by_tick.pop(self._tick_now, ()):
                self._speak(stream)
        self._ticking = bool(self._by_tick)
        if self._ticking:
            self._loop.call_later(TICK_S, self._tick)

    def _speak(self, stream: Stream) -> None:
        if not stream.over:
            stream.say()
        if stream.over:
            return
        if stream.period:
            self._wait(stream)
        else:
            self._pour_soon(stream)


class Connection(asyncio.Protocol):
    """One socket; one answer at a time."""

    def __init__(self, stats: Stats, clock: Clock) -> None:
        self._stats = stats
        self._clock = clock
        self._buffer = bytearray()
        self._stream: Stream | None = None
        self._transport: asyncio.Transport
        self.write: Callable[[bytes], None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._transport.set_write_buffer_limits(ROOM_BYTES)
        self.write = self._transport.write
        self._stats.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._stats.connections -= 1
        if self._stream is not None:
            self._stream.stop()
            self._stats.open -= 1
            self._stats.hung_up += 1
            self._stats.tokens += self._stream.said
            self._stream = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._stream is None:
            self._serve()

    def finished(self, tokens: int) -> None:
        """The answer is out: the connection is free for another request."""
        self._stream = None
        self._stats.open -= 1
        self._stats.finished += 1
        self._stats.tokens += tokens
        if self._buffer:
            self._serve()

    def _serve(self) -> None:
        try:
            request = take_request(self._buffer)
            if request is not None:
                self._answer(request)
        except (msgspec.DecodeError, ValueError) as error:
            self.write(failed(400, str(error)))

    def _answer(self, request: Request) -> None:
        path = urlsplit(request.target).path
        if request.method == "POST" and path.endswith("/chat/completions"):
            self._speak(request)
        elif request.method == "GET" and path.endswith("/models"):
            self.write(plain(200, {"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "bench"}]}))
        elif request.method == "GET" and path == "/stats":
            self.write(plain(200, msgspec.to_builtins(self._stats)))
        else:
            self.write(failed(404, f"no {request.method} {path} here"))

    def _speak(self, request: Request) -> None:
        asked = _asked.decode(request.body)
        if not asked.stream:
            raise ValueError("this upstream streams only")
        self._stream = Stream(self, asked, self._stats.finished, time.monotonic())
        self._stats.open += 1
        self._clock.take(self._stream)


@click.command()
@click.option("--port", default=0, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
def main(port: int) -> None:
    """A cheap OpenAI-compatible upstream for load. Not for drills: nothing fails here."""

    run_server(port, connections)


def connections() -> Factory:
    """What makes them; they share one count and one clock."""
    stats, clock = Stats(), Clock()
    return lambda: Connection(stats, clock)


if __name__ == "__main__":
    main()
