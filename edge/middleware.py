"""What every request passes on its way to a handler: an id, its place, and errors told in the contract's form.

One route of aiohttp's takes every request: for a path that its table does not know it would make up an answer, and
wrap it anew, at the cost of a tenth of a turn on the edge.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import HttpVersion11, web

from edge import paths
from edge.answers import error_response
from edge.cors import Cors
from edge.paths import Place
from edge.request_body import too_large
from edge.websockets import NoWebSockets
from protocol.errors import Internal, InvalidJson, MethodNotAllowed, ServiceError, UnknownPath
from protocol.ids import new_turn_id

log = logging.getLogger(__name__)

TURN_ID = web.RequestKey("turn_id", str)
PLACE = web.RequestKey("place", Place)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def contract(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every answer carries a request id; every failure is the contract's error object."""
    turn_id = request[TURN_ID] = new_turn_id()
    headers = {"x-request-id": turn_id}
    try:
        response = await handler(request)
    except ServiceError as error:
        return _refused(error, request, headers)
    except web.HTTPMethodNotAllowed as error:
        allow = ", ".join(sorted(error.allowed_methods))
        refused = MethodNotAllowed(f"'{_shown(request)}' does not take {error.method}; it takes {allow}")
        return _refused(refused, request, {**headers, "Allow": allow})
    except web.HTTPException as error:
        return _refused(_from_http(error, request), request, headers)
    except ConnectionError:
        raise
    except Exception:
        log.exception("request failed", extra={"turn": turn_id})
        return error_response(Internal("something went wrong here; the log says more under this request id"), headers)
    if not response.prepared:
        response.headers.setdefault("x-request-id", turn_id)
    return response


def _refused(error: ServiceError, request: web.Request, headers: Mapping[str, str]) -> web.Response:
    """The answer, and a line in the log: of a platform that was told a wrong URL or key nothing else is to be seen."""
    response = error_response(error, headers)
    told = {"path": _shown(request), "method": request.method, "status": response.status, "error": error.code}
    log.info("refused", extra={"turn": request[TURN_ID], **told})
    return response


def get(handler: Handler) -> dict[str, Handler]:
    """The methods of what is read alone."""
    return {"GET": handler, "HEAD": handler}


def by_place(routes: Mapping[str, Mapping[str, Handler]], cors: Cors | None) -> web.RouteDef:
    """Takes every request to its handler: the API's paths in any form, others as they are."""
    sockets = NoWebSockets()
    webhooks = f"; webhooks are taken at {paths.HOOK}" if paths.HOOK in routes else ""

    async def route(request: web.Request) -> web.StreamResponse:
        sockets.refuse(request)
        path = request.rel_url.raw_path
        place = paths.read(path) or paths.other(path, routes)
        if place is None or place.route not in routes:
            raise UnknownPath(f"{_unknown(request)}{webhooks}")
        request[PLACE] = place
        methods = routes[place.route]
        if request.method in methods:
            return await methods[request.method](request)
        if cors and request.method == "OPTIONS" and (allowed := cors.preflight(request.headers, methods)):
            return web.Response(status=204, headers=allowed)
        raise web.HTTPMethodNotAllowed(request.method, list(methods))

    return web.route("*", "/{path:.*}", route, expect_handler=_expected)


async def _expected(request: web.Request) -> None:
    """Lets a client that asks before it sends its body send it. Any other expectation may be ignored, and is.

    Source: RFC 9110, section 10.1.1.
    """
    if request.version == HttpVersion11 and request.headers["Expect"].lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # as in aiohttp's own: that was no part of the answer


def with_cors(cors: Cors) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Adds the headers of CORS to every response before its own leave."""

    async def add(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(cors.headers(request.headers.get("Origin")))

    return add


def _from_http(error: web.HTTPException, request: web.Request) -> ServiceError:
    if error.status == 413:
        return too_large()
    if error.status == 404:
        return UnknownPath(_unknown(request))
    return InvalidJson(f"the request cannot be read: {error.reason}")


def _unknown(request: web.Request) -> str:
    return f"no such path: '{_shown(request)}'; the API is at /v1/chat/completions, /v1/responses and /v1/models"


def _shown(request: web.Request) -> str:
    """The request's path, with nothing in it that may be a secret."""
    place = request.get(PLACE)
    return place.route if place else paths.shown(request.rel_url.raw_path)
