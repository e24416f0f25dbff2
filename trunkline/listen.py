"""What a line says of itself on NATS, for those who look on: `check`, `talk`, `top`, `turns`, `calls`, `responses`.

Only reads: no stream or consumer is made, changed or deleted, and nothing is published but questions to JetStream. What
`responses rm` asks of it removes messages.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import nats.aio.client
from msgspec import Struct
from msgspec.structs import replace

from protocol import codec
from protocol.messages import Heard, Here, TurnRecord
from protocol.profiles import PLAIN
from protocol.settings import Settings
from protocol.streams import API_TIMEOUT_S, STREAM_NOT_FOUND, StreamError
from protocol.subjects import Subjects, last_token
from protocol.wire import Arrived, Disconnected, NatsWire, NoResponders, Subscription
from trunkline.run_file import join

log = logging.getLogger(__name__)

DEFAULT_URL = "nats://127.0.0.1:4222"
WAIT_S = 2.0  # a server that runs answers in milliseconds
AT_ONCE = 64  # records read side by side
MESSAGE_NOT_FOUND = 10037
SWITCHED_OFF = (10039, 10076)  # JetStream's answer where an account, or the server, has none

UNANSWERED = (StreamError, TimeoutError, NoResponders, Disconnected)
"""All that a question to JetStream may raise; NoResponders: it is switched off."""


class Server(Struct, frozen=True):
    """What the NATS server says of itself to whoever connects."""

    version: str = ""
    jetstream: bool = False
    max_payload: int = 0  # bytes, headers counted
    headers: bool = False
    server_name: str = ""
    address: str = ""  # host:port, as we have reached it


class StreamState(Struct, frozen=True):
    """What a stream holds."""

    messages: int = 0
    bytes: int = 0
    first_seq: int = 0
    last_seq: int = 0


class StreamInfo(Struct, frozen=True):
    """A stream as JetStream describes it; the depth of a queue is `state.messages`."""

    config: dict[str, Any]
    state: StreamState
    ts: datetime | None = None  # when it was described, on the server's clock

    @property
    def name(self) -> str:
        return str(self.config["name"])

    @property
    def first(self) -> int:
        """The number of its first message, or the next one's; an empty stream that is new says 0, which is none."""
        return max(1, self.state.first_seq)


class Stored(Struct, frozen=True):
    """One message of a stream; `time`: when it was stored, on the server's clock."""

    time: datetime
    data: bytes = b""
    seq: int = 0
    subject: str = ""


class KeptRecord(NamedTuple):
    """A turn record in its stream; `at`: when it was stored, on the server's clock."""

    at: datetime
    record: TurnRecord


class _StoredAnswer(Struct, frozen=True):
    message: Stored


@asynccontextmanager
async def listen(settings: Settings, *, wait_s: float = WAIT_S) -> AsyncIterator["Listener"]:
    """A connection to the line's NATS: where the settings say, else that of the `up` which runs here.

    Afterwards it reconnects for ever, as the line's own processes do.

    Raises:
        Disconnected: no server within `wait_s` seconds, or it turns us away; the sentence says where and why.
    """
    clients: list[Any] = []  # the last one counts: a server that turns us away later makes the wire begin anew

    def new_client() -> Any:
        clients.append(nats.aio.client.Client())
        return clients[-1]

    settings = await join(settings)
    wire = NatsWire(new_client, settings.nats.url or DEFAULT_URL, name="trunkline listener", wait_s=wait_s)
    async with wire:
        at = clients[-1].connected_url
        server = msgspec.convert({**clients[-1]._server_info, "address": f"{at.hostname}:{at.port}"}, Server)
        yield Listener(wire, Subjects(settings.nats.prefix), server)


class Listener:
    """Hears workers and turns, and asks JetStream. `server` is as it was at the first connect."""

    def __init__(self, wire: NatsWire, subjects: Subjects, server: Server) -> None:
        self._wire = wire
        self.subjects = subjects
        self.server = server

    @property
    def connected(self) -> bool:
        """Whether the server is there right now."""
        return self._wire.connected

    @property
    def connected_at(self) -> float:
        """Since when, on the event loop's clock: another number after each reconnect."""
        return self._wire.connected_at

    async def here(self, callback: Callable[[str, Here], None]) -> Subscription:
        """Call back with pool and `Here` whenever a worker says that it lives: once a second and at every change."""

        def hear(arrived: Arrived) -> None:
            if (here := _decoded(codec.decode_here, arrived)) is not None:
                callback(last_token(arrived.subject), here)

        return await self._wire.subscribe(self.subjects.here("*"), hear)

    async def turns(self, callback: Callable[[TurnRecord], None]) -> Subscription:
        """Call back with the record of every turn that finishes from now on."""

        def hear(arrived: Arrived) -> None:
            if (record := _decoded(codec.decode_record, arrived)) is not None:
                callback(record)

        return await self._wire.subscribe(self.subjects.all_turns, hear)

    async def flush(self) -> None:
        """Return once the server knows our subscriptions. Raises TimeoutError, Disconnected."""
        await self._wire.flush()

    async def records(self, *, last: int, since: datetime | None = None) -> list[TurnRecord]:
        """The newest turn records, oldest first: at most `last`, none that was stored before `since` (aware).

        Raises one of `UNANSWERED`; a line that has no record yet has none.
        """
        return [kept.record for kept in await self.kept_records(last=last, since=since)]

    async def kept_records(self, *, last: int, since: datetime | None = None) -> list[KeptRecord]:
        """The same, each with the time at which it was stored."""
        stream = await self.stream(self.subjects.turns)
        newest = stream.state.last_seq if stream else 0
        oldest = max(stream.first if stream else 1, newest - last + 1)
        found: list[KeptRecord] = []
        for end in range(newest, oldest - 1, -AT_ONCE):
            kept = await self.kept(range(max(oldest, end - AT_ONCE + 1), end + 1))
            recent = [one for one in kept if since is None or one.at >= since]
            found[:0] = recent
            if len(recent) < len(kept):
                break
        return found

    async def kept(self, numbers: range) -> list[KeptRecord]:
        """The records that the stream still keeps under these numbers, with their amendments; asked for side by side.
        Raises as `records`.
        """
        stored = await asyncio.gather(*(self.stored(self.subjects.turns, {"seq": number}) for number in numbers))
        found = [record for one in stored if one and (record := _record(one))]
        return await asyncio.gather(*map(self._amended, found))

    async def _amended(self, kept: KeptRecord) -> KeptRecord:
        """The same with what its caller has heard, where the stream knows."""
        record = kept.record
        if record.call_id is None or record.profile == PLAIN:  # these have none
            return kept
        which = {"last_by_subj": self.subjects.heard(record.tenant, record.id)}
        stored = await self.stored(self.subjects.turns, which)
        heard = _heard(stored) if stored else None
        return kept._replace(record=replace(record, heard=heard)) if heard else kept

    async def kept_under(self, stream: str, subject: str) -> list[bytes]:
        """All that a stream keeps under one subject, oldest first; a stream that is not there keeps nothing. Raises one
        of `UNANSWERED`.
        """
        found: list[Stored] = []
        while True:
            where = {"seq": found[-1].seq + 1 if found else 1, "next_by_subj": subject}
            try:
                said = await self.ask(f"STREAM.MSG.GET.{stream}", where)
            except StreamError as error:
                if error.code in (MESSAGE_NOT_FOUND, STREAM_NOT_FOUND):
                    return [one.data for one in found]
                raise
            found.append(msgspec.convert(said, _StoredAnswer).message)

    async def has_streams(self) -> None:
        """Raises StreamError, NoResponders: it never will have. A cluster that does not answer now may later."""
        try:
            await self.ask("INFO")
        except TimeoutError:
            return
        except StreamError as error:
            if error.code in SWITCHED_OFF:
                raise

    async def queues(self) -> dict[str, StreamInfo]:
        """The job stream of every pool that has one. Raises one of `UNANSWERED`."""
        found: dict[str, StreamInfo] = {}
        root = self.subjects.jobs_stream("")
        for stream in await self._all_streams(self.subjects.jobs("*")):
            if stream.name.startswith(root):
                found[stream.name.removeprefix(root)] = stream
        return found

    async def stream(self, name: str) -> StreamInfo | None:
        """One stream; None: there is none of that name. Raises one of `UNANSWERED`."""
        try:
            return msgspec.convert(await self.ask(f"STREAM.INFO.{name}"), StreamInfo)
        except StreamError as error:
            if error.code == STREAM_NOT_FOUND:
                return None
            raise

    async def stored(self, stream: str, which: dict[str, Any]) -> Stored | None:
        """One message of a stream; None: it keeps none such. Raises one of `UNANSWERED`."""
        try:
            said = await self.ask(f"STREAM.MSG.GET.{stream}", which)
        except StreamError as error:
            if error.code == MESSAGE_NOT_FOUND:
                return None  # removed since we looked
            raise
        return msgspec.convert(said, _StoredAnswer).message

    async def consumers(self, stream: str) -> list[dict[str, Any]]:
        """The settings of a stream's consumers: those of the first 256, and ours have one. Raises as `stream`."""
        said = await self.ask(f"CONSUMER.LIST.{stream}")
        return [consumer["config"] for consumer in said.get("consumers") or []]

    async def ask(self, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """JetStream's answer to one question. Raises one of `UNANSWERED`."""
        data = msgspec.json.encode(body) if body is not None else b""
        said: dict[str, Any] = msgspec.json.decode(
            await self._wire.request(f"$JS.API.{verb}", data, timeout_s=API_TIMEOUT_S)
        )
        if error := said.get("error"):
            raise StreamError(int(error.get("err_code", 0)), str(error.get("description", "unknown error")))
        return said

    async def _all_streams(self, subject: str) -> list[StreamInfo]:
        found: list[StreamInfo] = []
        while True:
            said = await self.ask("STREAM.LIST", {"subject": subject, "offset": len(found)})
            page = said.get("streams") or []
            found += msgspec.convert(page, list[StreamInfo])
            if not page or len(found) >= said.get("total", 0):
                return found


def _decoded(decode: Callable[[bytes], Any], arrived: Arrived) -> Any:
    """What arrived; None: it is none of ours, or of a version that we do not know."""
    try:
        return decode(arrived.data)
    except codec.DecodeError as error:
        log.debug("%s: %s", arrived.subject, error)
        return None


def _heard(stored: Stored) -> Heard | None:
    try:
        return codec.decode_heard(stored.data)
    except codec.DecodeError:
        return None


def _record(stored: Stored) -> KeptRecord | None:
    try:
        return KeptRecord(stored.time, codec.decode_record(stored.data))
    except codec.DecodeError:
        return None
