"""One upstream, over HTTP. Only bytes and time are handled here: how it is asked and how its answer is read is its
dialect's, and a refusal is worded in `upstream_errors`.

What an upstream sends is untrusted: whatever it is, memory stays bounded, other turns go on, and there is one outcome.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime

import msgspec
from aiohttp import (
    ClientError,
    ClientOSError,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    ServerDisconnectedError,
)

from protocol import settings
from protocol.errors import ServiceError, UpstreamError, UpstreamTimeout
from protocol.messages import Finished, Frame, Job, Refusal, Text, Timings, ToolCall, Usage
from workers.targets import NOTHING, Patience, upstream_errors
from workers.targets.connections import NO_TIMEOUT, reused, wants_new, why
from workers.targets.continuing import Seam, needs_seam
from workers.targets.dialect import Dialect, Parser
from workers.targets.markup import Markup, needs_cleaning
from workers.targets.seals import without_seals
from workers.targets.timers import Deadlines, Watch
from workers.targets.upstream_errors import Fault, SealRefused

log = logging.getLogger(__name__)

MAX_ERROR_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 32 * 1024 * 1024  # an hour of speech, log probabilities included
READ_BYTES = 16 << 10  # at a time: a flood is read in pieces, and between them other turns go on
LINGER_S = 0.1  # after [DONE], for the end of the body: then the connection is good for the next turn
JOINED_CHARS = 16 << 10  # far below what a frame may hold
STRAY_END = (
    "target %s: an answer held </think> in what was said; where the model's template opens the thought, set "
    "[targets.%s] thinks_first = true"
)
AUDIBLE = (Text, Refusal, ToolCall)


def _nobody(target: str, kind: str) -> None:
    """Faults are not counted."""


class Upstream:
    """One upstream in one dialect. The key stays in here: it is in no log, no error, no `repr`.

    `on_fault` is called with the target's name and a kind, once for each kind in an answer: for what no upstream
    should send, whether or not the answer survived it.
    """

    def __init__(
        self,
        name: str,
        told: settings.Target,
        dialect: Dialect,
        *,
        session: ClientSession,
        key: str | None = None,
        on_fault: Callable[[str, str], None] = _nobody,
    ) -> None:
        self.name = name
        self._told = told
        self._dialect = dialect
        self._session = session
        self._key = key
        self._on_fault = on_fault
        self._url = dialect.url(told)
        self._headers = dialect.headers(told, key)
        self._connect_timeout = ClientTimeout(total=None, connect=told.connect_s, sock_connect=None, sock_read=None)

    @property
    def model(self) -> str:
        """The id that the upstream is asked for."""
        return self._told.model

    def asked_for(self, model: str) -> "Upstream":
        """The same upstream, asked for another of its models."""
        told = msgspec.structs.replace(self._told, model=model)
        return Upstream(self.name, told, self._dialect, session=self._session, key=self._key, on_fault=self._on_fault)

    def takes(self, job: Job) -> bool:
        """See `Target.takes`."""
        try:
            self._dialect.body(job, self._told)
        except ServiceError:
            return False
        return True

    async def stream(self, job: Job, *, headers: Mapping[str, str], patience: Patience) -> AsyncGenerator[Frame, None]:
        """The answer as frames; see `Target.stream`."""
        told, loop = self._told, asyncio.get_running_loop()
        body = self._dialect.body(job, told)
        markup = Markup(job, target=self.name) if needs_cleaning(job) else None
        seam = Seam(job.said) if needs_seam(job, prefill=told.prefill) else None
        start, first_content_ms = loop.time(), None
        deadlines = self._deadlines(start, patience)
        while True:  # twice, where it refuses sealed thoughts before it has said anything
            parser = self._dialect.parser(job, told, name=self.name, key=self._key)
            try:
                response = await self._post(body, headers, deadlines, patience)
                watch = Watch(loop, response.close)
                try:
                    while data := await self._read(response, parser, watch, deadlines):
                        speech = parser.speech(data) if seam is None else ""
                        if speech and (markup is None or markup.plain(speech)):
                            yield Text(speech)
                            now = loop.time()
                            deadlines.progress(now)
                            if deadlines.passed(now, idle=False):
                                raise deadlines.error(self.name)
                            continue
                        before = parser.progress - len(speech)
                        frames = iter((Text(speech),)) if speech else parser.feed(data)
                        for frame in _over(markup, seam, frames):
                            if first_content_ms is None and isinstance(frame, AUDIBLE):
                                first_content_ms = (loop.time() - start) * 1000
                            yield frame
                        progressed = parser.progress > before and parser.answering
                        now = loop.time()
                        if progressed:
                            deadlines.progress(now, finished=parser.finished)
                        if deadlines.passed(now, idle=not progressed):
                            raise deadlines.error(self.name)
                    for frame in _over(markup, seam, parser.end()):
                        total_ms = (loop.time() - start) * 1000
                        if first_content_ms is None and isinstance(frame, AUDIBLE):
                            first_content_ms = total_ms
                        yield self._signed(frame, Timings(first_content_ms, total_ms))
                    if await _linger(response):
                        parser.faults.add("after_its_end")
                except Fault as fault:
                    self._on_fault(self.name, fault.kind)
                    raise
                finally:
                    watch.stop()
                    response.close()  # after a whole body the connection is in the pool already, and stays there
                    if parser.usage is not None:
                        patience.told(parser.usage)
                    self._report(parser, markup)
                return
            except SealRefused:
                job, refused = without_seals(job), body
                body = self._dialect.body(job, told)
                if parser.progress or body == refused:
                    raise
                log.warning("target %s: it refuses sealed thoughts; asked again without", self.name)
                patience.told(Usage())  # the refusal has cost `NOTHING`; what comes now may

    def _deadlines(self, start: float, patience: Patience) -> Deadlines:
        """Of one turn, in seconds from `start` on; its second request has the same."""
        told = self._told
        return Deadlines(
            start,
            budget_s=patience.budget_s,
            stall_s=told.stall_s,
            total_s=min(told.total_s, patience.total_s),
            first_content_s=None if patience.last else told.first_content_s,
        )

    def _report(self, parser: Parser, markup: Markup | None) -> None:
        """What was wrong with an answer."""
        if markup is not None and markup.leaked:
            self._on_fault(self.name, "leaked")
        for kind in parser.faults:
            self._on_fault(self.name, kind)
        if parser.skipped:
            self._on_fault(self.name, "skipped")
            log.warning("target %s: skipped %d events that nobody can read", self.name, parser.skipped)
        if parser.stray_end:
            log.warning(STRAY_END, self.name, self.name)

    def _signed(self, frame: Frame, timings: Timings) -> Frame:
        """The last frame with this target's name and its clock."""
        if not isinstance(frame, Finished):
            return frame
        return msgspec.structs.replace(frame, target=self.name, timings=timings)

    async def _post(
        self, body: bytes, headers: Mapping[str, str], deadlines: Deadlines, patience: Patience
    ) -> ClientResponse:
        """The response, once its status is a success. Raises ServiceError."""
        response = None
        try:
            async with asyncio.timeout_at(deadlines.due):
                response = await self._connect(body, headers, NO_TIMEOUT if patience.last else self._connect_timeout)
                if _is_success(response):
                    return response
                async with response:
                    said = await _bounded(response)
        except ConnectionTimeoutError:
            raise UpstreamTimeout(
                f"target {self.name!r}: not connected within {self._told.connect_s:g} s (connect_s)"
            ) from None
        except TimeoutError:
            raise deadlines.error(self.name) from None
        except (ClientError, OSError, UnicodeError) as error:
            log.warning("target %s: %s: %s", self.name, type(error).__name__, error)  # the caller need not see hosts
            if isinstance(error, ClientResponseError):
                self._on_fault(self.name, "no_http")
            raise UpstreamError(f"no answer from target {self.name!r}: {why(error)}") from None
        finally:
            if not _may_bill(response):
                patience.told(NOTHING)
        if 300 <= response.status < 400:
            self._on_fault(self.name, "redirect")
        raise upstream_errors.from_status(
            response.status, said, response.headers, target=self.name, key=self._key, now=datetime.now(UTC)
        )

    async def _connect(self, body: bytes, headers: Mapping[str, str], timeout: ClientTimeout) -> ClientResponse:
        """The response's head. A kept connection may have been closed just now by its other end: once, a new one is
        tried, as aiohttp does for GET. Only where it has carried a request before: whoever hangs up on a new one, or on
        one that was opened in advance, has seen this one.
        """
        try:
            return await self._send(body, headers, timeout)
        except (ServerDisconnectedError, ClientOSError):
            if not reused.get():
                raise
        wants_new.set(True)  # others may have been closed with it
        try:
            return await self._send(body, headers, timeout)
        finally:
            wants_new.set(False)

    async def _send(self, body: bytes, headers: Mapping[str, str], timeout: ClientTimeout) -> ClientResponse:
        reused.set(None)
        return await self._session.post(
            self._url,
            data=body,
            headers={**_for_strangers(headers), **self._headers},
            allow_redirects=False,
            timeout=timeout,
        )

    async def _read(self, response: ClientResponse, parser: Parser, watch: Watch, deadlines: Deadlines) -> bytes:
        """The next bytes; none when the answer is over. After a finish reason no way of ending is a failure.

        Raises:
            UpstreamError, UpstreamTimeout: the upstream broke off, said too much, or said nothing for too long.
        """
        if parser.done:
            return b""
        content = response.content
        watch.waiting(deadlines.due)
        try:
            data = await content.read(READ_BYTES)
        except (ClientError, OSError) as error:
            if parser.finished:
                return b""
            if watch.expired:
                raise deadlines.error(self.name) from None
            raise Fault("cut", f"target {self.name!r} broke off: {why(error)}") from None
        finally:
            watch.done()
        if content.total_bytes > MAX_ANSWER_BYTES:
            raise Fault("too_long", f"target {self.name!r}: its answer is longer than {MAX_ANSWER_BYTES} bytes")
        if len(data) == READ_BYTES:
            await asyncio.sleep(0)
        return data


def _may_bill(response: ClientResponse | None) -> bool:
    """Whether the upstream was asked, and has not refused."""
    return reused.get() is not None and (response is None or _is_success(response))


def _is_success(response: ClientResponse) -> bool:
    return 200 <= response.status < 300


def _for_strangers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """The trace context without `tracestate`: that is what a caller's vendors say to each other, or whatever else a
    caller wrote there. The trace goes on without it.
    """
    return {name: value for name, value in headers.items() if name != "tracestate"}


def _over(markup: Markup | None, seam: Seam | None, frames: Iterator[Frame]) -> Iterator[Frame]:
    """Frames as they can be passed on: without what a model leaks, where that is asked for; only a continuation has a
    seam. What was read together is said together.
    """
    frames = frames if markup is None else markup.frames(frames)
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
    while len(body) < MAX_ERROR_BYTES and (data := await response.content.read(MAX_ERROR_BYTES)):
        body += data
    return body[:MAX_ERROR_BYTES]


async def _linger(response: ClientResponse) -> bool:
    """Read to the end of the body, when that is near. Whether something came that is more than blank."""
    content, came = response.content, False
    if content.at_eof():
        return False
    with contextlib.suppress(TimeoutError, ClientError, OSError):
        async with asyncio.timeout(LINGER_S):
            while data := await content.read(READ_BYTES):
                came |= not data.isspace()
                if len(data) == READ_BYTES:
                    break  # no end is near
    return came
