"""The bucket of stored responses, as the command line reads it."""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from protocol.streams import STREAM_NOT_FOUND, StreamError
from trunkline.listen import Listener, Stored, StreamInfo
from trunkline.turns.reading import NoStream
from trunkline.turns.wanted import Since

AT_ONCE = 16  # records read side by side: one may have a megabyte


class Kept(NamedTuple):
    """One record as it is stored; `at`: when it was, on the server's clock."""

    tenant: str
    at: datetime
    data: bytes


class Bucket:
    """The responses that a line keeps. Every method raises NoStream, or one of `UNANSWERED`."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._stream = listener.subjects.responses_stream

    async def newest(self, last: int, *, tenant: str | None) -> list[Kept]:
        """At most `last`, newest first."""
        stream = await self._info()
        found: list[Kept] = []
        seen = 0
        for end in range(stream.state.last_seq, stream.first - 1, -AT_ONCE):
            stored = await self._each(range(end, max(stream.first - 1, end - AT_ONCE), -1))
            seen += len(stored)
            found += [kept for kept in map(_kept, stored) if kept.data and tenant in (None, kept.tenant)]
            if len(found) >= last or seen >= stream.state.messages:
                break
        return found[:last]

    async def find(self, response_id: str, *, tenant: str | None) -> list[Kept]:
        """Those of this id: of every tenant that has one, where none is named."""
        subject = self._listener.subjects.response(tenant or "*", response_id)
        stored = [
            await self._listener.stored(self._stream, {"last_by_subj": one}) for one in await self._under(subject)
        ]
        return [kept for kept in map(_kept, filter(None, stored)) if kept.data]

    async def remove(self, tenant: str, response_id: str) -> bool:
        """Whether there was one."""
        return bool(await self._purge({"filter": self._listener.subjects.response(tenant, response_id)}))

    async def remove_all(self, *, tenant: str | None, before: Since | None) -> int:
        """How many of a tenant's, or of all, were stored before that, or at any time."""
        stream = await self._info()
        which: dict[str, object] = {"filter": self._listener.subjects.responses_of(tenant)} if tenant else {}
        if before is not None:
            oldest_to_stay = await self._first_since(before.at(stream.ts or datetime.now().astimezone()), stream)
            if oldest_to_stay <= stream.first:
                return 0  # the server would take it for no bound
            which["seq"] = oldest_to_stay
        return await self._purge(which)

    async def _purge(self, which: dict[str, object]) -> int:
        try:
            said = await self._listener.ask(f"STREAM.PURGE.{self._stream}", which)
        except StreamError as error:
            if error.code == STREAM_NOT_FOUND:
                raise self._missing() from None
            raise
        return int(said.get("purged", 0))

    async def _info(self) -> StreamInfo:
        stream = await self._listener.stream(self._stream)
        if stream is None:
            raise self._missing()
        return stream

    async def _under(self, subject: str) -> list[str]:
        """The subjects of all that is kept under one with wildcards."""
        try:
            said = await self._listener.ask(f"STREAM.INFO.{self._stream}", {"subjects_filter": subject})
        except StreamError as error:
            if error.code == STREAM_NOT_FOUND:
                raise self._missing() from None
            raise
        return sorted(said["state"].get("subjects") or ())

    async def _each(self, numbers: Iterable[int]) -> list[Stored]:
        every = await asyncio.gather(*(self._listener.stored(self._stream, {"seq": number}) for number in numbers))
        return list(filter(None, every))

    async def _first_since(self, moment: datetime, stream: StreamInfo) -> int:
        """The number from which on all were stored at `moment` or later."""
        low, high = stream.first, stream.state.last_seq + 1
        while low < high:
            middle = (low + high) // 2
            stored = await self._listener.stored(self._stream, {"seq": middle, "next_by_subj": ">"})
            if stored is None or stored.time >= moment:
                high = middle
            else:
                low = stored.seq + 1
        return low

    def _missing(self) -> NoStream:
        return NoStream(self._stream, "responses")


def _kept(stored: Stored) -> Kept:
    return Kept(stored.subject.split(".")[-2], stored.time, stored.data)
