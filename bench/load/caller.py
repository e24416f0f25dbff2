"""One connection of the load generator, and the tally that all of them keep."""

import asyncio
import time
from contextlib import suppress
from typing import cast

from bench.load import words
from bench.load.hearing import Hearing
from bench.load.rounds import Api, Heard, spread

EXAMPLES = 5


class Tally:
    """What was heard so far."""

    def __init__(self) -> None:
        self.measuring = False
        self.began_at = self.ended_at = 0.0
        self.first: list[float] = []
        self.gaps: list[float] = []
        self.tokens = 0
        self.streams = 0
        self.heard = Heard()

    def open(self) -> None:
        """From now on it counts."""
        self.measuring = True
        self.began_at = time.monotonic()

    def close(self) -> None:
        """From now on it does not."""
        self.measuring = False
        self.ended_at = time.monotonic()

    def ended(self, hearing: Hearing, tag: str, tokens: int) -> bool:
        """One stream has; whether it came through whole."""
        heard = self.heard
        if hearing.status != 200 or hearing.error:
            heard.errors += 1
            return self.bad(f"{tag}: status {hearing.status} {hearing.error}")
        if not hearing.complete or not hearing.done:
            heard.lost += 1
            return self.bad(f"{tag}: broke off after {hearing.words} of {tokens} words")
        if hearing.text != words.text(tag, tokens):
            heard.wrong += 1
            return self.bad(f"{tag}: {hearing.words} of {tokens} words: {hearing.text[:80]!r} …")
        heard.whole += 1
        self.streams += self.measuring
        return True

    def bad(self, example: str) -> bool:
        """Keep it as an example; False."""
        if len(self.heard.examples) < EXAMPLES:
            self.heard.examples.append(example)
        return False

    def result(self) -> Heard:
        """All of it."""
        heard = self.heard
        heard.seconds = self.ended_at - self.began_at
        heard.first, heard.gap = spread(self.first), spread(self.gaps)
        heard.tokens, heard.streams = self.tokens, self.streams
        return heard


class Caller(asyncio.Protocol):
    """One connection, kept over many turns."""

    def __init__(self, tally: Tally, first_s: float, api: Api = "chat") -> None:
        self._tally = tally
        self._api = api
        self._first_s = first_s  # the wait that was ordered is not counted
        self._transport: asyncio.Transport
        self._hearing: Hearing | None = None
        self._ended: asyncio.Future[None] | None = None
        self._heard_at = 0.0  # the last words, or the request
        self._waits = False  # for the first words
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self.open = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._hearing is not None:
            self._hearing.closed()
        self._end()

    def data_received(self, data: bytes) -> None:
        try:
            if self._hearing is None or self._hearing.feed(data, time.monotonic()):
                self._end()
        except ValueError:  # not HTTP
            self._transport.abort()

    def _content(self, count: int, now: float) -> None:
        tally = self._tally
        if tally.measuring:
            tally.tokens += count
            since = now - self._heard_at
            if self._waits:
                tally.first.append(since - self._first_s)
            else:
                tally.gaps.append(since)
            if count > 1:  # they came in one read
                tally.gaps.extend([0.0] * (count - 1))
        self._waits = False
        self._heard_at = now

    def _end(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    async def turn(self, request: bytes, width: int, timeout_s: float) -> Hearing:
        """Send one request and hear its answer to the end, whatever that is."""
        hearing = self._hearing = Hearing(self._content, width, self._api)
        self._ended = asyncio.get_running_loop().create_future()
        self._waits = True
        self._heard_at = time.monotonic()
        self._transport.write(request)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._ended
        if hearing.closes or not hearing.complete:
            self.hang_up()
        return hearing

    def hang_up(self) -> None:
        """Close the connection."""
        self.open = False
        self._transport.close()
