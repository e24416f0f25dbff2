"""One client's connection, as aiohttp has it, but for what it says of bytes that are no HTTP."""

import asyncio
import logging
from functools import partial
from socket import socket
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError, LineTooLong

from edge.answers import error_response
from protocol.errors import InvalidJson, MethodNotAllowed, ServiceError
from protocol.ids import new_turn_id

log = logging.getLogger(__name__)

METHODS = "DELETE, GET, HEAD, POST"
TLS = "Received HTTPS"  # aiohttp's words for it
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
        error, turn_id = _unreadable(exc), new_turn_id()
        allow = {"Allow": METHODS} if isinstance(error, MethodNotAllowed) else {}
        response = error_response(error, {"x-request-id": turn_id, **allow})
        log.info("refused", extra={"turn": turn_id, "status": response.status, "error": error.code})
        response.force_close()
        return response


def _unreadable(exc: HttpProcessingError) -> ServiceError:
    """What is said of bytes that are no HTTP: by what aiohttp takes them for, in words that quote none of them."""
    if isinstance(exc, BadHttpMethod):
        if TLS in exc.message:
            return InvalidJson("this port takes plain HTTP, and TLS came; write http:// or put a proxy in front")
        return MethodNotAllowed(f"there is no such method; the API takes {METHODS}")
    if isinstance(exc, LineTooLong):
        return InvalidJson("the request's first line or one of its headers is too long; shorten it")
    return InvalidJson("the request is no HTTP that can be read; check its first line, its headers and its chunks")


async def listen(runner: web.AppRunner, bound: socket) -> asyncio.Server:
    """Serve a runner's application on a socket, over connections of ours."""
    loop = asyncio.get_running_loop()
    assert runner.server is not None
    connection = partial(Connection, runner.server, loop=loop, **OPTIONS)
    return await loop.create_server(connection, sock=bound, backlog=BACKLOG)
