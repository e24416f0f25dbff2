"""An upstream as they are commonly built: an aiohttp handler that encodes and writes one token per turn of its loop.

A share of bare streams/s says as much about the upstream as about the line: the cheaper it is, the smaller the share.
So it is told for both, for one that costs next to nothing (`bench.load.upstream`) and for this one.
"""

import asyncio
import socket
import time

import click
import msgspec
import orjson
import uvloop
from aiohttp import web

from bench.load import words
from bench.load.serving import announce
from bench.speech import Asked

_asked = msgspec.json.Decoder(Asked)


async def chat(request: web.Request) -> web.StreamResponse:
    """POST …/chat/completions, as ordered but for pace."""
    asked = _asked.decode(await request.read())
    order = asked.order
    words.check(order)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for index in range(order.tokens):
        await response.write(_event(asked.model, {"content": f"{order.tag}.{words.NUMBERS[index].decode()}"}))
        await asyncio.sleep(0)  # the next token of a model is never there yet
    await response.write(_event(asked.model, {}, "stop") + b"data: [DONE]\n\n")
    await response.write_eof()
    return response


def _event(model: str, delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": int(time.time()), "model": model}
    return b"data: %b\n\n" % orjson.dumps({**head, "choices": [choice]})


@click.command()
def main() -> None:
    """An aiohttp upstream for load, on any free port."""
    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", chat)])
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    announce(listener)
    web.run_app(app, sock=listener, print=None, access_log=None, loop=uvloop.new_event_loop())


if __name__ == "__main__":
    main()
