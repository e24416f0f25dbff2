"""The `chat-completions` dialect: an upstream that speaks OpenAI's `POST /chat/completions`.

Only bytes and time are handled here. What is asked is built in `chat_request`, what comes back is read in
`chat_parser`, refusals are worded in `upstream_errors`.
"""

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from weakref import WeakSet

import msgspec
from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientOSError,
    ClientPayloadError,
    ClientResponse,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    DummyCookieJar,
    ServerDisconnectedError,
    TCPConnector,
)
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from protocol import settings
from protocol.errors import ServiceError, UpstreamError
from protocol.messages import Finished, Frame, Job, Refusal, Text, Timings, ToolCall
from workers.targets import upstream_errors
from workers.targets.chat_parser import ChatParser
from workers.targets.chat_request import request_body
from workers.targets.continuing import Seam, needs_seam
from workers.targets.timers import Deadlines, Watch
from workers.targets.usage import estimated

log = logging.getLogger(__name__)

PATH = "/chat/completions"
MAX_ERROR_BYTES = 64 * 1024
LINGER_S = 0.1  # after [DONE], for the end of the body: then the connection is good for the next turn
KEEPALIVE_S = 60.0  # longer than the pause between two turns of a call
JOINED_CHARS = 16 << 10  # far below what a frame may hold
STRAY_END = (
    "target %s: an answer held </think> in what was said; where the model's template opens the thought, set "
    "[targets.%s] thinks_first = true"
)
AUDIBLE = (Text, Refusal, ToolCall)
NO_TIMEOUT = ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)  # `Deadlines` has them all


def open_session() -> ClientSession:
    """The one HTTP client of a worker: as many connections as there are slots, kept warm, no cookies between callers.

    A context manager; targets share it and never close it.
    """
    return ClientSession(connector=_Connector(limit=0, keepalive_timeout=KEEPALIVE_S), cookie_jar=DummyCookieJar())


_reused = ContextVar("reused", default=False)  # this turn's POST goes out on a connection that an earlier one opened


class _Reader(ResponseHandler):
    """aiohttp resumes its parser after every read: where nothing is paused that is for nothing."""

    def resume_reading(self, resume_parser: bool = True) -> None:
        if self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)


class _Connector(TCPConnector):
    """Tells a new connection from a kept one; aiohttp's own tracing does too, for some per cent of a turn's CPU."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory: Any = functools.partial(_Reader, loop=self._loop)
        self._known: WeakSet[object] = WeakSet()

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout) -> Connection:
        connection = await super().connect(req, traces, timeout)
        _reused.set(connection.protocol in self._known)
        self._known.add(connection.protocol)
        return connection


def endpoint(base_url: str) -> str:
    """The URL to post to: `base_url` may end in a slash, or be that URL already."""
    parts = urlsplit(base_url)
    path = parts.path.rstrip("/")
    return urlunsplit(parts._replace(path=path if path.endswith(PATH) else path + PATH))


def max_tokens_field(base_url: str) -> str:
    """OpenAI's newer models refuse `max_tokens`, most others know only that."""
    host = urlsplit(base_url).hostname or ""
    is_openai = host.endswith((".openai.com", ".openai.azure.com"))
    return "max_completion_tokens" if is_openai else "max_tokens"


class ChatCompletions:
    """One upstream. The key stays in here: it is in no log, no error, no `repr`."""

    def __init__(self, name: str, told: settings.Target, *, session: ClientSession, key: str | None = None) -> None:
        self.name = name
        self._told = told
        self._session = session
        self._key = key
        self._url = endpoint(told.base_url)
        self._max_tokens_field = max_tokens_field(told.base_url)

    @property
    def model(self) -> str:
        """The id that the upstream is asked for."""
        return self._told.model

    def asked_for(self, model: str) -> "ChatCompletions":
        """The same upstream, asked for another of its models."""
        told = msgspec.structs.replace(self._told, model=model)
        return ChatCompletions(self.name, told, session=self._session, key=self._key)

    async def stream(self, job: Job, *, headers: Mapping[str, str]) -> AsyncGenerator[Frame, None]:
        """The answer as frames; see `Target.stream`."""
        told, loop = self._told, asyncio.get_running_loop()
        body = request_body(
            job, model=told.model, prefill=told.prefill, max_tokens_field=self._max_tokens_field, stop=told.stop
        )
        parser = self._parser(job)
        seam = Seam(job.said) if needs_seam(job, prefill=told.prefill) else None
        total_s = min(told.total_s, job.total_ms / 1000)
        start, first_content_ms = loop.time(), None
        deadlines = Deadlines(start, budget_s=job.budget_ms / 1000, stall_s=told.stall_s, total_s=total_s)
        response = await self._post(body, headers, deadlines)
        watch = Watch(loop, response.close)
        try:
            while data := await self._read(response, parser, watch, deadlines):
                speech = parser.speech(data) if seam is None else ""
                if speech:
                    yield Text(speech)
                    now = loop.time()
                    deadlines.progress(now)
                    if deadlines.passed(now, idle=False):
                        raise deadlines.error(self.name)
                    continue
                before = parser.progress
                for frame in _over(seam, parser.feed(data)):
                    if first_content_ms is None and isinstance(frame, AUDIBLE):
                        first_content_ms = (loop.time() - start) * 1000
                    yield frame
                progressed = parser.progress > before and parser.answering
                now = loop.time()
                if progressed:
                    deadlines.progress(now, finished=parser.finished)
                if deadlines.passed(now, idle=not progressed):
                    raise deadlines.error(self.name)
            for frame in _over(seam, parser.end()):
                total_ms = (loop.time() - start) * 1000
                if first_content_ms is None and isinstance(frame, AUDIBLE):
                    first_content_ms = total_ms
                yield self._signed(frame, job, parser, Timings(first_content_ms, total_ms))
            await _linger(response)
        finally:
            watch.stop()
            response.close()  # after a whole body the connection is in the pool already, and stays there
            if parser.skipped:
                log.warning("target %s: skipped %d events that are no chat completion", self.name, parser.skipped)
            if parser.stray_end:
                log.warning(STRAY_END, self.name, self.name)

    def _parser(self, job: Job) -> ChatParser:
        return ChatParser(
            job_id=job.id,
            target=self.name,
            key=self._key,
            may_be_empty=bool(job.said),
            max_calls=1 if job.parallel_tool_calls is False else None,
            thinks_first=self._told.thinks_first and not (job.said and self._told.prefill),
        )

    def _signed(self, frame: Frame, job: Job, parser: ChatParser, timings: Timings) -> Frame:
        """The last frame with this target's name, its clock, and what the answer cost."""
        if not isinstance(frame, Finished):
            return frame
        usage = parser.usage or estimated(job.messages, parser.said_chars, parser.thought_chars)
        return msgspec.structs.replace(frame, usage=usage, target=self.name, timings=timings)

    async def _post(self, body: bytes, headers: Mapping[str, str], deadlines: Deadlines) -> ClientResponse:
        """The response, once its status is a success. Raises ServiceError."""
        try:
            async with asyncio.timeout_at(deadlines.due):
                response = await self._connect(body, headers)
                if 200 <= response.status < 300:
                    return response
                async with response:
                    said = await _bounded(response)
        except TimeoutError:
            raise deadlines.error(self.name) from None
        except (ClientError, OSError) as error:
            log.warning("target %s: %s: %s", self.name, type(error).__name__, error)  # the caller need not see hosts
            raise UpstreamError(f"no answer from target {self.name!r}: {_why(error)}") from None
        raise upstream_errors.from_status(
            response.status, said, response.headers, target=self.name, key=self._key, now=datetime.now(UTC)
        )

    async def _connect(self, body: bytes, headers: Mapping[str, str]) -> ClientResponse:
        """The response's head. A kept connection may have been closed just now by its other end: once, a new one is
        tried, as aiohttp does for GET. Only on such a connection: whoever hangs up on a new one has seen the request.
        """
        _reused.set(False)
        try:
            return await self._send(body, headers)
        except (ServerDisconnectedError, ClientOSError):
            if not _reused.get():
                raise
        return await self._send(body, headers)

    async def _send(self, body: bytes, headers: Mapping[str, str]) -> ClientResponse:
        return await self._session.post(
            self._url,
            data=body,
            headers={**_for_strangers(headers), **self._headers()},
            allow_redirects=False,
            timeout=NO_TIMEOUT,
        )

    def _headers(self) -> dict[str, str]:
        """Compression would hold tokens back."""
        key = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        return {
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": "trunkline",
            **key,
        }

    async def _read(self, response: ClientResponse, parser: ChatParser, watch: Watch, deadlines: Deadlines) -> bytes:
        """The next bytes; none when the answer is over. After a finish reason no way of ending is a failure.

        Raises:
            UpstreamError, UpstreamTimeout: the upstream broke off, or said nothing for too long.
        """
        if parser.done:
            return b""
        watch.waiting(deadlines.due)
        try:
            return await response.content.readany()
        except (ClientError, OSError) as error:
            if parser.finished:
                return b""
            if watch.expired:
                raise deadlines.error(self.name) from None
            raise UpstreamError(f"target {self.name!r} broke off: {_why(error)}") from None
        finally:
            watch.done()


WORDS = (
    (ClientConnectorDNSError, "its name is not known"),
    (ClientConnectorCertificateError, "its certificate is not trusted"),
    (ClientSSLError, "it does not speak TLS as asked"),
    (ClientConnectorError, "it cannot be connected to"),
    (ServerDisconnectedError, "it hung up"),
    (ClientPayloadError, "it hung up in the middle"),
    (ClientOSError, "the connection is lost"),
)
"""What a caller may hear of a failure: no host, no port. The more telling kinds come first."""


def _for_strangers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """The trace context without `tracestate`: that is what a caller's vendors say to each other, or whatever else a
    caller wrote there. The trace goes on without it.
    """
    return {name: value for name, value in headers.items() if name != "tracestate"}


def _why(error: Exception) -> str:
    return next((words for kind, words in WORDS if isinstance(error, kind)), "the connection failed")


def _over(seam: Seam | None, frames: Iterator[Frame]) -> Iterator[Frame]:
    """Frames as they can be passed on: only a continuation has a seam. What was read together is said together."""
    return joined(frames if seam is None else seam.frames(frames))


def joined(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The same frames, with neighbouring texts as one; those with log probabilities stay as they are."""
    text = ""
    try:
        for frame in frames:
            if type(frame) is Text and frame.logprobs is None and len(text) + len(frame.text) <= JOINED_CHARS:
                text += frame.text
                continue
            if text:
                yield Text(text)
                text = ""
            yield frame
    except ServiceError:  # what came before it is said
        if text:
            yield Text(text)
        raise
    if text:
        yield Text(text)


async def _bounded(response: ClientResponse) -> bytes:
    """The body, or its beginning."""
    body = b""
    while len(body) < MAX_ERROR_BYTES and (data := await response.content.readany()):
        body += data
    return body[:MAX_ERROR_BYTES]


async def _linger(response: ClientResponse) -> None:
    """Read to the end of the body, when that is near."""
    if response.content.at_eof():
        return
    with contextlib.suppress(TimeoutError, ClientError, OSError):
        async with asyncio.timeout(LINGER_S):
            while await response.content.readany():
                pass
