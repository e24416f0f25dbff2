"""One client's connection, as aiohttp has it, but for what it says of bytes that are no HTTP."""

import asyncio
from functools import partial
from socket import socket
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from edge.answers import error_response
from protocol.errors import InvalidJson
from protocol.ids import new_turn_id

BACKLOG = 128
KEEPALIVE_S = 200.0  # longer than the clients' own: they keep idle connections for 120 s and more
OPTIONS: dict[str, Any] = {"access_log": None, "auto_decompress": False, "keepalive_timeout": KEEPALIVE_S}


class Connection(web.RequestHandler):
    """Answers what cannot be read with the contract's error object."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """aiohttp would quote the bytes, to their sender and in the log: a key may be among them."""
        if not isinstance(exc, HttpProcessingError) or request.writer.output_size:
            return super().handle_error(request, status, exc, message)
        error = InvalidJson("the request is no HTTP that can be read; check its first line and its headers")
        response = error_response(error, {"x-request-id": new_turn_id()})
        response.force_close()
        return response


async def listen(runner: web.AppRunner, bound: socket) -> asyncio.Server:
    """Serve a runner's application on a socket, over connections of ours."""
    loop = asyncio.get_running_loop()
    assert runner.server is not None
    connection = partial(Connection, runner.server, loop=loop, **OPTIONS)
    return await loop.create_server(connection, sock=bound, backlog=BACKLOG)
