"""How an answer leaves: as a stream of events, or as one body. The relay drives both in the same way."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, cast

from aiohttp import web

from edge.dialect import JSON_TYPE, Delta, Dialect
from edge.errors import body_bytes, headers_for, to_openai
from edge.turn import Turn
from protocol import sse
from protocol.at_once import at_once
from protocol.errors import ServiceError
from protocol.messages import Finished, Usage

STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class Keeper(Protocol):
    """Has an answer kept, in whatever form its dialect keeps it."""

    async def keep(self, frames: Iterable[Delta], last: Finished, usage: Usage) -> None:
        """Return when it is kept, or known not to be: its client reads of the end only then. `frames`: those that no
        stream has taken. Raises nothing.
        """

    async def keep_failed(self, error: ServiceError) -> None:
        """The same of an answer that came to no end, where its dialect keeps such."""


class Answer(Protocol):
    """Writes to one client. Every method may raise ConnectionError: the client is gone."""

    response: web.StreamResponse  # what was, or would be, sent

    async def begin(self) -> None:
        """Send the headers now, though nothing has come yet, and a sign of life."""

    async def say(self, frames: Iterable[Delta], *, ends: bool) -> bool:
        """Frames of the answer, in one write; `ends`: the end follows at once, and they may leave with it. False:
        there was nothing in them to write, and the headers stay where they were.
        """

    def say_now(self, frames: Iterable[Delta]) -> bool:
        """The same in the middle of a stream, without waiting. False: not now; nothing was written."""

    async def ping(self) -> None:
        """A sign of life that no client takes for content."""

    async def finish(self, last: Finished, usage: Usage) -> None:
        """The whole end."""

    async def fail(self, error: ServiceError) -> None:
        """An error: a status while that is still possible, else an event."""

    def abort(self) -> None:
        """Drop the connection, unsent bytes and all."""


def error_response(error: ServiceError, headers: Mapping[str, str], *, retried: bool = False) -> web.Response:
    """The error as a response of its own; `retried` as in `edge.endings`."""
    status, _ = to_openai(error, retried=retried)
    return web.Response(
        status=status,
        body=body_bytes(error),
        content_type=JSON_TYPE,
        headers={**headers, **headers_for(error, retried=retried)},
    )


class EventStream(web.StreamResponse):
    """Its headers leave in one write with the first bytes of its body."""

    _send_headers_immediately = False  # aiohttp's own switch, as its `Response` sets it


class StreamAnswer:
    """Server-sent events. The headers go with the first content: until then every failure is a clean status."""

    def __init__(
        self,
        request: web.Request,
        dialect: Dialect,
        turn: Turn,
        headers: Mapping[str, str],
        keeper: Keeper | None = None,
    ) -> None:
        self._request = request
        self._dialect = dialect
        self._turn = turn
        self._headers = headers
        self._keeper = keeper
        self._held = b""  # what leaves with the end
        self.response: web.StreamResponse = EventStream(headers={**headers, **STREAM_HEADERS})
        self.response.content_type = dialect.content_type
        self.response.charset = "utf-8"

    async def _opening(self) -> bytes:
        """What goes before the next bytes; the headers leave with them."""
        if self._turn.headers_sent:
            return b""
        self._turn.headers_sent = True
        await self.response.prepare(self._request)
        return self._dialect.opening()

    async def begin(self) -> None:
        await self.response.write(await self._opening() + sse.PING)

    async def say(self, frames: Iterable[Delta], *, ends: bool) -> bool:
        said = b"".join(map(self._dialect.delta, frames))
        if not said:
            return False
        data = await self._opening() + said
        if ends:
            self._held += data
        else:
            await self.response.write(data)
        return True

    def say_now(self, frames: Iterable[Delta]) -> bool:
        transport, writer = self._request.transport, cast(Any, self.response._payload_writer)
        if transport is None or writer is None or transport.is_closing() or transport.get_write_buffer_size():
            return False
        data = b"".join(map(self._dialect.delta, frames))
        if data:
            at_once(writer.write(data, drain=False))
        return True

    async def ping(self) -> None:
        await self.response.write(sse.PING)

    async def finish(self, last: Finished, usage: Usage) -> None:
        if self._keeper is not None:
            await self._say_held()
            await self._keeper.keep((), last, usage)
        await self._end(self._dialect.finish(last, usage=usage))

    async def fail(self, error: ServiceError) -> None:
        if self._keeper is not None:
            await self._keeper.keep_failed(error)
        if self._turn.headers_sent:
            await self._end(self._dialect.error(error))
        else:
            told = self._dialect.worded(error)
            self.response = error_response(told, self._headers, retried=self._turn.ending.retried)
            await _send(self._request, self.response)

    def abort(self) -> None:
        abort(self._request)

    async def _say_held(self) -> None:
        """The last words do not wait for what comes between them and the end."""
        held, self._held = self._held, b""
        if data := await self._opening() + held:
            await self.response.write(data)

    async def _end(self, data: bytes) -> None:
        await self.response.write_eof(await self._opening() + self._held + data)


class BodyAnswer:
    """One JSON body. Nothing is written before the whole answer is there."""

    def __init__(
        self,
        request: web.Request,
        dialect: Dialect,
        turn: Turn,
        headers: Mapping[str, str],
        keeper: Keeper | None = None,
    ) -> None:
        self._request = request
        self._dialect = dialect
        self._turn = turn
        self._headers = headers
        self._keeper = keeper
        self.response: web.StreamResponse = web.Response()

    async def begin(self) -> None:
        pass

    async def say(self, frames: Iterable[Delta], *, ends: bool) -> bool:
        return False  # the turn collects them

    def say_now(self, frames: Iterable[Delta]) -> bool:
        return False

    async def ping(self) -> None:
        pass

    async def finish(self, last: Finished, usage: Usage) -> None:
        if self._keeper is not None:
            await self._keeper.keep(self._turn.heard, last, usage)
        body = self._dialect.body(self._turn.heard, last, usage=usage)
        self.response = web.Response(body=body, content_type=JSON_TYPE, headers=self._headers)
        await _send(self._request, self.response)

    async def fail(self, error: ServiceError) -> None:
        if self._keeper is not None:
            await self._keeper.keep_failed(error)
        told = self._dialect.worded(error)
        self.response = error_response(told, self._headers, retried=self._turn.ending.retried)
        await _send(self._request, self.response)

    def abort(self) -> None:
        abort(self._request)


def abort(request: web.Request) -> None:
    """Drop a request's connection."""
    if request.transport is not None:
        request.transport.abort()


async def _send(request: web.Request, response: web.StreamResponse) -> None:
    await response.prepare(request)
    await response.write_eof()
