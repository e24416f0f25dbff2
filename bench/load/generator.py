"""The load generator, in a process of its own: `python -m bench.load.generator`, with a `Round` as JSON in BENCH_ROUND.

Not among its arguments: a round may carry a key, and everybody can read those. It says on stdout, one JSON line each,
when it begins to measure, when the window is over, and what was heard. All times are `time.monotonic()`: the loop's own
clock is cut to milliseconds.
"""

import asyncio
import gc
import itertools
import os
import sys
from typing import Any
from urllib.parse import urlsplit

import msgspec
import orjson
import uvloop

from bench.load import words
from bench.load.caller import Caller, Tally
from bench.load.rounds import Api, Heard, Round

PATIENCE_S = 30.0
"""Beyond the time that a stream takes: what is silent for longer is lost."""

PAUSE_S = 0.2
"""After a stream that failed: a side that refuses is not hammered."""

GOLDEN = 0.618034
"""The starts fall anywhere within a token's time: multiples of this share of it are never in step."""

HOPELESS = 1000
"""Failed streams after which a round is given up."""

ROUND = "BENCH_ROUND"
PATHS: dict[Api, str] = {"chat": "/chat/completions", "responses": "/responses"}


class Generator:
    """Drives one round."""

    def __init__(self, asked: Round) -> None:
        self._round = asked
        self._tally = Tally()
        self._stop = asyncio.Event()
        self._numbers = itertools.count()
        self._ended = 0
        self._warm = asyncio.Event()
        self._enough = asyncio.Event()

    async def run(self) -> Heard:
        """The whole round."""
        async with asyncio.TaskGroup() as lanes:
            for number in range(self._round.streams):
                lanes.create_task(self._lane(number))
            await self._measure()
        return self._tally.result()

    async def _measure(self) -> None:
        asked = self._round
        if asked.warm_up_turns:
            await self._warm.wait()
        else:
            await asyncio.sleep(asked.warm_up_s)
        self._tally.open()
        say({"event": "measuring"})
        if asked.turns:
            await self._enough.wait()
        else:
            await asyncio.sleep(asked.measure_s)
        self._tally.close()
        say({"event": "measured"})
        self._stop.set()

    async def _lane(self, number: int) -> None:
        """One stream after the other, until it is over."""
        await asyncio.sleep(self._start_s(number))
        caller = self._caller()
        url = urlsplit(self._round.urls[number % len(self._round.urls)])
        while self._goes_on():
            try:
                if not caller.open:
                    loop = asyncio.get_running_loop()
                    _, caller = await loop.create_connection(self._caller, url.hostname or "127.0.0.1", url.port or 80)
                whole = await self._turn(caller, url.netloc, url.path)
            except OSError as error:
                whole = self._unreachable(error)
            self._count()
            if not whole:
                await asyncio.sleep(PAUSE_S)
        if caller.open:
            caller.hang_up()

    def _caller(self) -> Caller:
        return Caller(self._tally, self._round.first_ms / 1000, self._round.api)

    def _start_s(self, number: int) -> float:
        asked = self._round
        period = 1 / asked.rate if asked.rate else 0.0
        return number / asked.streams * asked.spread_s + number * GOLDEN % 1 * period

    def _goes_on(self) -> bool:
        turns = self._round.turns
        if turns and self._tally.heard.began >= self._round.warm_up_turns + turns:
            return False
        return not self._stop.is_set()

    async def _turn(self, caller: Caller, host: str, path: str) -> bool:
        asked = self._round
        tag = f"s{next(self._numbers)}"
        self._tally.heard.began += 1
        hearing = await caller.turn(request(asked, tag, host, path), words.width(tag), asked.stream_s + PATIENCE_S)
        return self._tally.ended(hearing, tag, asked.tokens)

    def _unreachable(self, error: OSError) -> bool:
        self._tally.heard.began += 1
        self._tally.heard.lost += 1
        return self._tally.bad(f"no connection: {error}")

    def _count(self) -> None:
        self._ended += 1
        if self._tally.heard.bad >= HOPELESS:
            for event in (self._warm, self._enough, self._stop):
                event.set()
        if self._ended >= self._round.warm_up_turns:
            self._warm.set()
        if self._ended >= self._round.warm_up_turns + self._round.turns:
            self._enough.set()


def request(asked: Round, tag: str, host: str, path: str) -> bytes:
    """The bytes of one request."""
    message = words.order(tag, tokens=asked.tokens, rate=asked.rate, first_ms=asked.first_ms)
    said = {"role": "user", "content": message}
    own = {"messages": [said]} if asked.api == "chat" else {"input": [said], "store": asked.store}
    body = orjson.dumps({"model": asked.model, "stream": True, **own})
    key = f"Authorization: Bearer {asked.key}\r\n" if asked.key else ""
    head = (
        f"POST {path.rstrip('/')}{PATHS[asked.api]} HTTP/1.1\r\nHost: {host}\r\n{key}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("latin-1") + body


def say(what: dict[str, Any]) -> None:
    """One line on stdout."""
    sys.stdout.write(orjson.dumps(what).decode() + "\n")
    sys.stdout.flush()


async def _main(asked: Round) -> None:
    gc.freeze()  # what is here now stays: the collector need not look at it again
    heard = await Generator(asked).run()
    say({"event": "heard", "heard": msgspec.to_builtins(heard)})


if __name__ == "__main__":
    uvloop.run(_main(msgspec.json.decode(os.environ[ROUND], type=Round)))
