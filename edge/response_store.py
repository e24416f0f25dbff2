"""Stored responses, in a key-value bucket that all edges of a line share: what a conversation goes on from.

A record has the effective items that led to its response, so that one read is enough to go on. It is acknowledged
before the response's client reads of the end; where it cannot be kept, the response says so. What could not be written
in time is written later, and is known to this edge until then.

Source: NATS architecture decision record 8 (key-value buckets), and 31 (direct get).
"""

import asyncio
import logging
import re
from typing import Literal, NoReturn, Protocol, get_args

import msgspec
from msgspec import Raw, Struct

from edge.late_records import LateRecords
from protocol import streams
from protocol.codec import DecodeError
from protocol.errors import StoreAway
from protocol.streams import JobLimits, ResponseLimits, StreamError, Streams
from protocol.subjects import Subjects
from protocol.wire import Disconnected, NoResponders, Wire

log = logging.getLogger(__name__)

ANSWER_S = 1.0  # a caller waits in silence for a read, and for its last event while a record is written
AWAY_S = 2.0  # after that was not enough, one request in so long finds out whether the store is back
LATE_EVERY_S = 1.0  # so often a record that is late is tried again
HEADERS_BYTES = 512  # more than a message has beside a record
MADE = re.compile(r"resp_[0-9a-f]{1,64}")
DELETED = {"KV-Operation": "DEL"}
NO_BUCKET = "the bucket of responses is not there"
NOT_ANSWERED = (StreamError, TimeoutError, NoResponders, Disconnected)

Kept = Literal["kept", "too_large", "away", "refused", "late"]
Read = Literal["found", "missing", "unreadable", "away"]
KEPT: tuple[Kept, ...] = get_args(Kept)
READ: tuple[Read, ...] = get_args(Read)


class StoredResponse(Struct, frozen=True, omit_defaults=True):
    """One record. `items`: all that led to the response, oldest first, each with an id; its output is in itself."""

    response: Raw
    items: tuple[Raw, ...] = ()


class Observer(Protocol):
    """Who counts what the store does."""

    def response_kept(self, outcome: Kept) -> None:
        """A response was to be kept. `late`: one that was `away` is kept after all."""

    def response_read(self, outcome: Read) -> None:
        """A stored response was asked for."""


class ResponseStore(Protocol):
    """One edge's way to the bucket."""

    async def read(self, tenant: str, response_id: str) -> StoredResponse | None:
        """None: this tenant has none of that id. Raises StoreAway: nobody knows."""

    async def write(self, tenant: str, response_id: str, record: StoredResponse) -> bool:
        """Whether it is kept: acknowledged, in time. Raises nothing."""

    async def delete(self, tenant: str, response_id: str) -> bool:
        """Whether there was one. Raises StoreAway."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(StoredResponse).decode


def is_made_here(response_id: str) -> bool:
    """Whether an id has the form of ours; any other is nobody's."""
    return MADE.fullmatch(response_id) is not None


class KeptResponses:
    """A `ResponseStore`. Where its bucket is gone, whoever finds that makes it again."""

    def __init__(
        self, wire: Wire, subjects: Subjects, limits: ResponseLimits, *, max_response_bytes: int, observer: Observer
    ) -> None:
        self._wire = wire
        self._subjects = subjects
        self._limits = limits
        self._max_bytes = max_response_bytes
        self._observer = observer
        self._streams = Streams(self._ask, subjects, JobLimits())
        self._loop = asyncio.get_running_loop()
        self._heard_at = 0.0
        self._silent_at: float | None = None  # since when nothing has answered in time
        self._ask_at = 0.0  # not before: what was asked last has not been answered
        self._late = LateRecords()
        self._is_late = asyncio.Event()
        self._too_large_for: set[str] = set()  # tenants of whom it was said
        self._refusal = ""  # what was said last of why nothing is kept

    async def open(self) -> None:
        """Find the bucket, or make it. Turns go on without it."""
        try:
            await self._make()
        except NOT_ANSWERED as error:
            self._say(f"{NO_BUCKET}: {error}")

    async def run(self) -> None:
        """Write what is late, as soon as that is possible again; for ever."""
        while True:
            await self._is_late.wait()
            await asyncio.sleep(LATE_EVERY_S)
            try:
                await self._write_late()
            except Exception:  # a bug in here must not end the edge
                log.exception("what is late could not be written")

    async def _write_late(self) -> None:
        for subject, data in self._late.waiting(self._loop.time()):
            try:
                # The first try may have come through unheard, and its response have been deleted since, on any edge.
                refused = await self._publish(subject, data, streams.ONLY_THE_FIRST)
            except NOT_ANSWERED:
                return
            if self._late.pop(subject):  # else it was deleted meanwhile
                self._observer.response_kept("refused" if refused else "late")
            else:
                await self._forget(subject)
        if not self._late:
            self._is_late.clear()

    async def read(self, tenant: str, response_id: str) -> StoredResponse | None:
        """See `ResponseStore`."""
        if not is_made_here(response_id):
            return None
        data = await self._found(tenant, response_id)
        if not data:  # without data: somebody has deleted it
            self._observer.response_read("missing")
            return None
        try:
            record = _decode(data)
        except DecodeError as error:
            log.warning("a stored response that is none: %s", error)
            self._observer.response_read("unreadable")
            return None
        self._observer.response_read("found")
        return record

    async def write(self, tenant: str, response_id: str, record: StoredResponse) -> bool:
        """See `ResponseStore`."""
        outcome = await self._written(tenant, response_id, record)
        self._observer.response_kept(outcome)
        return outcome == "kept"

    async def delete(self, tenant: str, response_id: str) -> bool:
        """See `ResponseStore`."""
        if not is_made_here(response_id) or not await self._found(tenant, response_id):
            return False
        subject = self._subjects.response(tenant, response_id)
        self._late.pop(subject)
        if not await self._forget(subject):  # one that is late may be there all the same
            self._is_away()
        return True

    async def _forget(self, subject: str) -> bool:
        """Whether the bucket has done so."""
        try:
            return await self._publish(subject, b"", DELETED) is None
        except NOT_ANSWERED:
            return False

    async def _found(self, tenant: str, response_id: str) -> bytes:
        """Its record as it was written; empty: there is none. Raises StoreAway."""
        subject = self._subjects.response(tenant, response_id)
        if late := self._late.get(subject):
            return late
        where = streams.direct_get(self._subjects.responses_stream, subject)
        try:
            return await self._request(where, b"")
        except NOT_ANSWERED:
            self._is_away()

    def _is_away(self) -> NoReturn:
        self._observer.response_read("away")
        raise StoreAway("stored responses cannot be reached now; try again in a moment", retry_after_s=1) from None

    async def _written(self, tenant: str, response_id: str, record: StoredResponse) -> Kept:
        room = min(self._max_bytes, self._wire.max_payload - HEADERS_BYTES)
        if _size_of(record) > room or len(data := _encode(record)) > room:
            self._say_too_large(tenant, room)
            return "too_large"
        subject = self._subjects.response(tenant, response_id)
        try:
            error = await self._publish(subject, data)
        except NOT_ANSWERED:
            self._late.put(subject, data, self._loop.time())
            self._is_late.set()
            return "away"
        if error is None:
            return "kept"
        self._say(f"a response is not kept: {error}")
        return "refused"

    def _say(self, refusal: str) -> None:
        """Once: each response would be refused for the same."""
        if refusal != self._refusal:
            self._refusal = refusal
            log.warning("%s", refusal)

    def _say_too_large(self, tenant: str, room: int) -> None:
        """Once of each tenant."""
        if tenant not in self._too_large_for:
            self._too_large_for.add(tenant)
            log.warning(
                "a response is not kept: it is over %d bytes with all that led to it; responses.max_response_bytes is "
                "its limit, and what the bus takes in one message",
                room,
                extra={"tenant": tenant},
            )

    async def _publish(self, subject: str, data: bytes, headers: dict[str, str] | None = None) -> str | None:
        """What the bucket says against it; None: it is kept. Raises one of `NOT_ANSWERED`."""
        answer = await self._request(subject, data, headers)
        try:
            ack = streams.parse_pub_ack(answer)
        except DecodeError as error:
            return f"its acknowledgement cannot be read: {error}"
        return ack.error or ("the bucket is full" if ack.full else None)

    async def _request(self, subject: str, data: bytes, headers: dict[str, str] | None = None) -> bytes:
        """The answer, in time. Raises one of `NOT_ANSWERED`, at once where nothing has answered lately."""
        self._wait_no_more()
        asked_at = self._loop.time()
        try:
            async with asyncio.timeout(ANSWER_S):
                try:
                    answer = await self._wire.request(subject, data, timeout_s=ANSWER_S, headers=headers)
                except NoResponders:  # nobody keeps this subject: the bucket is gone
                    await self._make()
                    answer = await self._wire.request(subject, data, timeout_s=ANSWER_S, headers=headers)
        except StreamError as error:  # there is no bucket, and none can be made: not soon, either
            self._silent_at = self._loop.time()
            self._say(f"{NO_BUCKET}: {error}")
            raise
        except TimeoutError:
            if asked_at > max(self._heard_at, self._wire.connected_at):  # else it was lost with a connection
                self._silent_at = self._loop.time()
            raise
        self._heard_at, self._silent_at = self._loop.time(), None
        return answer

    def _wait_no_more(self) -> None:
        """Of many turns that meet a silent store one waits, and finds out for the others. Raises TimeoutError."""
        if self._silent_at is None or self._wire.connected_at > self._silent_at:
            return
        now = self._loop.time()
        if now < max(self._ask_at, self._silent_at + AWAY_S):
            raise TimeoutError
        self._ask_at = now + AWAY_S

    async def _make(self) -> None:
        await self._streams.responses(self._limits)

    async def _ask(self, subject: str, data: bytes, timeout_s: float) -> bytes:
        return await self._wire.request(subject, data, timeout_s=timeout_s)


def _size_of(record: StoredResponse) -> int:
    """At least so many bytes, without encoding it."""
    return sum(len(memoryview(part)) for part in (record.response, *record.items))


def store_for(
    wire: Wire, subjects: Subjects, limits: ResponseLimits, *, max_response_bytes: int, observer: Observer
) -> KeptResponses:
    """The store of one edge."""
    return KeptResponses(wire, subjects, limits, max_response_bytes=max_response_bytes, observer=observer)
