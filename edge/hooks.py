"""POST /hooks/elevenlabs: what the platform sends after a call, taken from nobody else, kept, joined by its call.

    body ─parts─▶ Proof (is it theirs?)
      └──────────▶ Held (as much as one message of the bus may have) ─▶ Event ─▶ WEBHOOKS

It is answered when the stream has it: what is not known to be kept is a 503, and the platform may send it again. The
same body again, under whatever signature, is kept once. Of a body nothing but its kind and ids goes into logs and
traces.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Literal, Protocol

import msgspec
from aiohttp import web
from msgspec import Raw, Struct
from opentelemetry.trace import SpanKind

from edge.answer_forms import HookTaken
from edge.answers import error_response
from edge.calls import CallState
from edge.dialect import JSON_TYPE
from edge.hook_event import AUDIO, HEAD_BYTES, Event, event_at, event_of
from edge.metrics import Metrics
from edge.middleware import TURN_ID, Handler
from edge.paths import HOOK
from edge.request_body import PACKED, encoding_of, pour, unpacked_up_to
from edge.signature import HEADER, Proof, Secrets
from protocol import telemetry
from protocol.errors import InvalidSignature, NotKept, ServiceError, TooLarge
from protocol.messages import Hook
from protocol.settings_profiles import HooksSettings
from protocol.settings_voice import DEFAULT_TENANT
from protocol.spans import Span, Spans
from protocol.streams import StreamError
from protocol.wire import Disconnected, NoResponders

log = logging.getLogger(__name__)

PLATFORM = "elevenlabs"
BODY_BYTES = 64 << 20  # fifty minutes of a call's sound: MP3 of 128 kbit/s, in base64
LEFT = 499
AWAY = (StreamError, TimeoutError, NoResponders, Disconnected)
Outcome = Literal["stored", "duplicate", "dropped"]


class Keeper(Protocol):
    """Where hooks are kept: `edge.hook_stream`."""

    @property
    def room_bytes(self) -> int:
        """No longer body is taken."""

    async def keep(self, hook: Hook, msg_id: str) -> bool:
        """True: it was there already. Raises TooLarge, or one of `AWAY`."""


class Calls(Protocol):
    """What is known of calls: `edge.state`."""

    def read(self, tenant: str, call_id: str, told: Callable[[CallState], None]) -> None:
        """Ask for one; `told` gets what is known of it, when that comes, or is never called."""


class Held:
    """A body as far as it is kept: the whole of it, or where it does not fit its beginning."""

    def __init__(self, room_bytes: int) -> None:
        self.size = 0
        self.data = bytearray()
        self._room = room_bytes

    def add(self, part: bytes) -> None:
        """The next bytes."""
        self.size += len(part)
        if self.is_whole or len(self.data) < HEAD_BYTES:
            self.data += part
        if not self.is_whole:
            del self.data[HEAD_BYTES:]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing."""
        return self.size <= self._room


class Seen(Struct):
    """What is known of a request so far. Before its signature holds, nothing is."""

    event: Event = Event()
    size: int = 0
    outcome: str = ""
    turn_trace: str | None = None  # of the call's last turn

    def recall(self, call: CallState) -> None:
        """Take what is known of its call."""
        if call.turns:
            self.turn_trace = call.turns[-1][1]


class Hooks:
    """The webhooks that one edge takes."""

    def __init__(
        self,
        settings: HooksSettings,
        secrets: Secrets,
        keeper: Keeper,
        calls: Calls,
        *,
        tenants: Iterable[str],
        spans: Spans,
        metrics: Metrics,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._secrets = secrets
        self._keeper = keeper
        self._calls = calls
        self._tenants = tuple(tenants) or (DEFAULT_TENANT,)
        self._spans = spans
        self._metrics = metrics
        self._now = now

    def routes(self) -> dict[str, dict[str, Handler]]:
        """Their path -> method -> handler."""
        return {HOOK: {"POST": self.elevenlabs}}

    async def elevenlabs(self, request: web.Request) -> web.Response:
        """POST /hooks/elevenlabs."""
        span = self._span(request)
        headers = {"x-request-id": request[TURN_ID], "x-trace-id": span.trace_id}
        seen = Seen()
        try:
            outcome = await self._take(request, seen, span.trace_id)
        except ServiceError as error:
            seen.outcome = error.code
            response = error_response(error, headers)
        except (asyncio.CancelledError, ConnectionError):
            seen.outcome = "interrupted"
            self._end(request, span, seen, LEFT)
            raise
        else:
            seen.outcome = outcome
            taken = HookTaken(outcome)
            response = web.Response(body=msgspec.json.encode(taken), content_type=JSON_TYPE, headers=headers)
        self._end(request, span, seen, response.status)
        return response

    async def _take(self, request: web.Request, seen: Seen, trace_id: str) -> Outcome:
        """Raises ServiceError."""
        now = self._now()
        signature = ",".join(request.headers.getall(HEADER, []))
        proof = self._secrets.proof(signature, now=now, window_s=self._settings.window_s)
        held = await self._read(request, proof)
        seen.size = held.size
        if not held.is_whole:
            seen.event = event_at(bytes(held.data))
            return self._too_large(seen)
        body = bytes(held.data)
        seen.event = event_of(body)
        if seen.event.type == AUDIO and not self._settings.keep_audio:
            return "dropped"
        hook = Hook(
            platform=PLATFORM,
            received_at=datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds"),
            body=Raw(body),
            type=seen.event.type,
            conversation_id=seen.event.conversation_id,
            agent_id=seen.event.agent_id,
            trace_id=trace_id,
        )
        self._recall(seen)
        return await self._keep(hook, seen)

    async def _read(self, request: web.Request, proof: Proof) -> Held:
        """The body, unpacked where it came packed: what is signed is what came. Raises ServiceError."""
        held = Held(self._keeper.room_bytes)

        def take(part: bytes) -> None:
            proof.add(part)
            held.add(part)

        await pour(request, take, limit_bytes=BODY_BYTES)
        if not proof.holds():
            raise InvalidSignature("the signature is not that of this body under a secret that is known here")
        encoding = encoding_of(request)
        if encoding not in PACKED or not held.is_whole:
            return held
        room_bytes = self._keeper.room_bytes
        plain = Held(room_bytes)
        plain.add(await asyncio.to_thread(unpacked_up_to, room_bytes, bytes(held.data), encoding))
        return plain

    def _recall(self, seen: Seen) -> None:
        """Ask whose call it was, so that its last turn can be named; what comes later than the stream's answer is late.
        A webhook does not say which key its turns came with.
        """
        if seen.event.conversation_id:
            for tenant in self._tenants:
                self._calls.read(tenant, seen.event.conversation_id, seen.recall)

    async def _keep(self, hook: Hook, seen: Seen) -> Outcome:
        try:
            known = await self._keeper.keep(hook, f"{PLATFORM}.{hashlib.sha256(hook.body).hexdigest()}")
        except TooLarge:
            return self._too_large(seen)
        except AWAY as error:
            log.warning("a webhook could not be kept: %s", str(error) or type(error).__name__)
            raise NotKept("the webhook cannot be kept now; send it again in a moment", retry_after_s=1) from None
        return "duplicate" if known else "stored"

    def _too_large(self, seen: Seen) -> Outcome:
        """Sent again, it would fit no better: it is taken, and gone."""
        told = {"type": seen.event.type, "call": seen.event.conversation_id, "bytes": seen.size}
        log.warning("a webhook is dropped: there is room for %d bytes", self._keeper.room_bytes, extra=told)
        return "dropped"

    def _span(self, request: web.Request) -> Span:
        attributes = {telemetry.HTTP_METHOD: "POST", telemetry.HTTP_ROUTE: HOOK}
        context = telemetry.context_of(request.headers)
        return self._spans.start(f"POST {HOOK}", context, kind=SpanKind.SERVER, attributes=attributes)

    def _end(self, request: web.Request, span: Span, seen: Seen, status: int) -> None:
        """Its span, its line in the log, its count."""
        event = seen.event
        attributes = {
            telemetry.CONVERSATION: event.conversation_id,
            telemetry.HOOK_TYPE: event.type or None,
            telemetry.HOOK_BYTES: seen.size or None,
            telemetry.HOOK_OUTCOME: seen.outcome,
            telemetry.HOOK_TURN_TRACE: seen.turn_trace,
            telemetry.HTTP_STATUS: status,
            telemetry.ERROR_TYPE: seen.outcome if status != 200 else None,
        }
        span.set({key: value for key, value in attributes.items() if value is not None})
        if status >= 500:
            span.fail(seen.outcome)
        span.end()
        self._metrics.hook(PLATFORM, seen.outcome)
        about = {"type": event.type or None, "call": event.conversation_id, "turn_trace": seen.turn_trace}
        fields = {**about, "bytes": seen.size or None}
        told = {"turn": request[TURN_ID], "trace": span.trace_id, "outcome": seen.outcome, "status": status}
        log.info("hook", extra={**told, **fields})
