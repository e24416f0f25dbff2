"""A fast stand-in for an OpenAI-compatible upstream. Each request tells it what to do: see `bench.orders`.

It runs in a process of its own (`python -m bench.upstream`) and watches its own sockets, so that a hang-up is
seen when it arrives there, even while nothing is being said.

    POST   …/chat/completions   as ordered
    GET    …/models             one model, `fake`
    GET    /events?tag=&tag=    what was seen, as a list of `Generation`
    GET    /stats               counts
    DELETE /events              forget what is over
"""

import asyncio
import itertools
import json
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import cast
from urllib.parse import parse_qs, urlsplit

import click
import msgspec
import uvloop

from bench.http1 import Request, take_request
from bench.orders import Generation, Order
from bench.speech import MODEL, Asked, Speech, failed, plain

_asked = msgspec.json.Decoder(Asked)


class Records:
    """Every generation, by tag."""

    def __init__(self) -> None:
        self.by_tag: dict[str, list[Generation]] = {}
        self.connections = 0

    def open(self, order: Order, trace_id: str) -> Generation:
        """A new generation, with the next number of its tag."""
        same = self.by_tag.setdefault(order.tag, [])
        generation = Generation(
            tag=order.tag, number=len(same) + 1, order=order, received=time.monotonic(), trace_id=trace_id
        )
        same.append(generation)
        return generation

    def of(self, tags: Sequence[str]) -> list[Generation]:
        """Those of some tags, or, where none is named, all."""
        groups = (self.by_tag.get(tag, []) for tag in tags) if tags else self.by_tag.values()
        return list(itertools.chain.from_iterable(groups))

    def forget(self) -> None:
        """Drop what is over; what still speaks keeps its number."""
        kept = {tag: same for tag, same in self.by_tag.items() if any(one.open for one in same)}
        self.by_tag = kept

    def stats(self) -> dict[str, int]:
        every = self.of([])
        return {
            "connections": self.connections,
            "generations": len(every),
            "open": sum(one.open for one in every),
            "finished": sum(one.finished is not None for one in every),
            "closed": sum(one.closed is not None for one in every),
        }


class Connection(asyncio.Protocol):
    """One socket. What it sees of the other side's leaving is written down before anything else."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._buffer = bytearray()
        self._speech: Speech | None = None
        self._generation: Generation | None = None
        self._transport: asyncio.Transport
        self.full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._records.connections += 1

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._speech is None:
            self._serve()

    def eof_received(self) -> None:
        self._left()

    def connection_lost(self, exc: Exception | None) -> None:
        self._left()
        self._records.connections -= 1

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        if self._speech:
            self._speech.go_on()

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def close(self) -> None:
        """Leave in the middle: no last chunk."""
        self._transport.close()

    def next(self) -> None:
        """The answer is out: the connection is free for another request."""
        self._speech = self._generation = None
        if self._buffer:
            asyncio.get_running_loop().call_soon(self._serve)

    def _left(self) -> None:
        if self._generation is not None and self._generation.closed is None:
            self._generation.closed = time.monotonic()
        if self._speech:
            self._speech.stop()

    def _serve(self) -> None:
        try:
            request = take_request(self._buffer)
        except ValueError as error:
            self.write(failed(411, str(error)))
            self.close()
            return
        if request is not None:
            self._answer(request)

    def _answer(self, request: Request) -> None:
        url = urlsplit(request.target)
        if request.method == "POST" and url.path.endswith("/chat/completions"):
            self._speak(request)
        elif request.method == "GET" and url.path.endswith("/models"):
            model = {"id": MODEL, "object": "model", "created": 1_700_000_000, "owned_by": "bench"}
            self.write(plain(200, {"object": "list", "data": [model]}))
        elif request.method == "GET" and url.path == "/events":
            tags = parse_qs(url.query).get("tag", [])
            self.write(plain(200, msgspec.to_builtins(self._records.of(tags))))
        elif request.method == "GET" and url.path == "/stats":
            self.write(plain(200, self._records.stats()))
        elif request.method == "DELETE" and url.path == "/events":
            self._records.forget()
            self.write(plain(200, self._records.stats()))
        else:
            self.write(failed(404, f"no {request.method} {url.path} here"))

    def _speak(self, request: Request) -> None:
        try:
            asked = _asked.decode(request.body)
            order = asked.order
        except (msgspec.DecodeError, ValueError) as error:
            self.write(failed(400, str(error)))
            return
        trace_id = request.headers.get("traceparent", "--").split("-")[1]
        self._generation = self._records.open(order, trace_id)
        self._speech = Speech(self, asked, self._generation)
        self._speech.start()


async def serve(port: int) -> None:
    """Serve on loopback until SIGINT or SIGTERM. The first line on stdout says where."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    records = Records()
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    server = await loop.create_server(lambda: Connection(records), sock=listener)
    bound = listener.getsockname()[1]
    sys.stdout.write(json.dumps({"event": "ready", "port": bound, "url": f"http://127.0.0.1:{bound}/v1"}) + "\n")
    sys.stdout.flush()
    await stop.wait()
    server.close()


@click.command()
@click.option("--port", default=0, show_default=True, help="0: any free one.")
def main(port: int) -> None:
    """A fake OpenAI-compatible upstream that does as the last user message says."""
    uvloop.run(serve(port))


if __name__ == "__main__":
    main()
