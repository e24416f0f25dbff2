"""What the bus itself tells about a line: how many jobs wait, and the record of every finished turn."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from protocol.codec import decode_record
from protocol.messages import TurnRecord

AT_ONCE = 64
"""Records read side by side."""


class Witness:
    """Reads beside the line, over connections of its own that last one question each."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._read = 0
        self._records: list[TurnRecord] = []

    async def waiting(self) -> dict[str, int]:
        """How many jobs each job stream holds."""
        async with self._jetstream() as jetstream:
            streams = await jetstream.streams_info()
            return {
                str(stream.config.name): stream.state.messages
                for stream in streams
                if "JOBS_" in str(stream.config.name)
            }

    async def records(self) -> list[TurnRecord]:
        """The records of every turn so far."""
        async with self._jetstream() as jetstream:
            for stream in await jetstream.streams_info():
                name = str(stream.config.name)
                if name.endswith("TURNS"):
                    await self._catch_up(jetstream, name, stream.state.last_seq)
        return self._records

    async def by_trace(self) -> Counter[str]:
        """How many records each trace has."""
        return Counter(record.trace_id or "" for record in await self.records())

    async def _catch_up(self, jetstream: JetStreamContext, name: str, last: int) -> None:
        for start in range(self._read + 1, last + 1, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, last + 1))
            self._records += filter(None, await asyncio.gather(*(_record(jetstream, name, seq) for seq in numbers)))
        self._read = max(self._read, last)

    @asynccontextmanager
    async def _jetstream(self) -> AsyncIterator[JetStreamContext]:
        connection = await nats.connect(self._url, max_reconnect_attempts=5, reconnect_time_wait=0.05)
        try:
            yield connection.jetstream(timeout=5.0)
        finally:
            await connection.close()


async def _record(jetstream: JetStreamContext, stream: str, number: int) -> TurnRecord | None:
    """None: it was removed, or is the amendment to another one."""
    try:
        message = await jetstream.get_msg(stream, number)
    except NotFoundError:
        return None
    is_heard = ".heard." in (message.subject or "")
    return None if is_heard else decode_record(message.data or b"")
