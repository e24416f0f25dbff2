"""The stream of turn records, read by its numbers: each comes once and in order, whatever NATS does meanwhile."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime

from protocol.messages import TurnRecord
from trunkline.listen import AT_ONCE, UNANSWERED, Listener, StreamInfo
from trunkline.turns.wanted import Since, Wanted

POLL_S = 0.25

Batches = AsyncIterator[list[TurnRecord]]


class NoStream(Exception):
    """The line keeps nothing of a kind, or has not yet."""

    def __init__(self, stream: str, kind: str = "turn records") -> None:
        super().__init__(f"this NATS keeps no {kind} (stream {stream})")


class Reading:
    """Where a reader of the stream stands. Every method may raise one of `UNANSWERED`, but for `follow`."""

    def __init__(self, listener: Listener, wanted: Wanted) -> None:
        self._listener = listener
        self._wanted = wanted
        self._next = 1

    async def newest(self, last: int, since: Since | None) -> list[TurnRecord]:
        """At most `last` of those that are wanted, oldest first. Raises NoStream."""
        stream = await self._stream()
        moment = _moment(since, stream)
        batches: list[list[TurnRecord]] = []
        count = 0
        for end in range(stream.state.last_seq, stream.first - 1, -AT_ONCE):
            kept = await self._listener.kept(range(max(stream.first, end - AT_ONCE + 1), end + 1))
            recent = [one.record for one in kept if moment is None or one.at >= moment]
            batches.insert(0, [record for record in recent if self._wanted(record)])
            count += len(batches[0])
            if count >= last or len(recent) < len(kept):
                break
        self._next = stream.state.last_seq + 1
        return [record for batch in batches for record in batch][-last:]

    async def all_since(self, since: Since | None) -> Batches:
        """Every one that is wanted, oldest first. Raises NoStream."""
        stream = await self._stream()
        moment = _moment(since, stream)
        first, last = stream.first, stream.state.last_seq
        self._next = first if moment is None else await self._first_since(moment, first, last)
        async for batch in self._up_to(last, moment):
            yield batch

    async def follow(self, stop: asyncio.Event) -> Batches:
        """Every one that is wanted from here on, until `stop` is set; after each look an empty batch, also while nobody
        answers.
        """
        while not stop.is_set():
            with contextlib.suppress(NoStream, *UNANSWERED):
                stream = await self._stream()
                if stream.state.last_seq + 1 < self._next:  # it was made anew
                    self._next = stream.first
                async for batch in self._up_to(stream.state.last_seq):
                    yield batch
            yield []
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await stop.wait()

    async def _stream(self) -> StreamInfo:
        stream = await self._listener.stream(self._listener.subjects.turns)
        if stream is None:
            raise NoStream(self._listener.subjects.turns)
        return stream

    async def _up_to(self, last: int, since: datetime | None = None) -> Batches:
        while self._next <= last:
            end = min(self._next + AT_ONCE, last + 1)
            kept = await self._listener.kept(range(self._next, end))
            self._next = end
            recent = [one.record for one in kept if since is None or one.at >= since]
            if found := [record for record in recent if self._wanted(record)]:
                yield found

    async def _first_since(self, moment: datetime, low: int, high: int) -> int:
        """A number from which on nothing is missed; where none was removed, that of the first record."""
        while low < high:
            middle = (low + high) // 2
            kept = await self._listener.kept(range(middle, middle + 1))
            if kept and kept[0].at < moment:
                low = middle + 1
            else:
                high = middle
        return low


def _moment(since: Since | None, stream: StreamInfo) -> datetime | None:
    """By the server's clock, which stamps the records."""
    return None if since is None else since.at(stream.ts or datetime.now().astimezone())
