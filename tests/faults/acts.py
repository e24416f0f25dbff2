"""What a fault upstream can do to a request. Each act speaks whatever API it was asked in."""

import asyncio
import contextlib
import itertools
import socket
import struct

import orjson

from tests.faults.upstream import Act, Exchange
from tests.faults.voices import WORDS

NO_TIME_TO_LINGER = struct.pack("ii", 1, 0)  # close() sends RST in place of FIN
HEARD_S = 0.05  # what was sent before a reset is read by then
LATE_S = 20.0
DRIP_S = 0.01

# --- it answers ------------------------------------------------------------------------------------


async def well(exchange: Exchange) -> None:
    """The whole answer; or, where the question holds its beginning, the rest."""
    first = exchange.seen.said_before()
    await exchange.opened()
    await exchange.words(first)
    await exchange.closed(WORDS[first:])


async def cut_after(words: int, exchange: Exchange) -> None:
    """So many words, and the connection closes."""
    await exchange.opened()
    await exchange.words(0, words)
    exchange.cut()


async def then(end: Act, exchange: Exchange) -> None:
    """Two words, and something else."""
    await exchange.opened()
    await exchange.words(0, 2)
    await end(exchange)


async def at_once(end: Act, exchange: Exchange) -> None:
    """A stream begins, and something else comes before a word."""
    await exchange.opened()
    await end(exchange)


# --- it refuses ------------------------------------------------------------------------------------


def refuses(status: int, kind: str = "", **headers: str) -> Act:
    """A status, with the API's own error."""

    async def refuse(exchange: Exchange) -> None:
        body = orjson.dumps(exchange.voice.refusal(status, kind))
        await exchange.plain(status, body, {name.replace("_", "-"): value for name, value in headers.items()})

    return refuse


def refuses_once(status: int, **headers: str) -> Act:
    """A status at the first request, an answer at the next."""
    refuse = refuses(status, **headers)

    async def act(exchange: Exchange) -> None:
        await (refuse if exchange.number == 1 else well)(exchange)

    return act


async def redirect(exchange: Exchange) -> None:
    """To where nobody may be sent: what follows it is seen there."""
    host = exchange.seen.headers["host"]
    await exchange.plain(307, b"", {"Location": f"http://{host}/elsewhere"})


async def error_body(exchange: Exchange) -> None:
    """An error as the whole body of a success."""
    await exchange.plain(200, orjson.dumps(exchange.voice.refusal(500, "")))


# --- it hangs up, or says nothing ------------------------------------------------------------------


async def cut(exchange: Exchange) -> None:
    exchange.cut()


async def reset(exchange: Exchange) -> None:
    """RST."""
    await asyncio.sleep(HEARD_S)
    exchange.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_TIME_TO_LINGER)
    exchange.writer.transport.abort()


async def silence(exchange: Exchange) -> None:
    await exchange.hold()


async def only_headers(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.hold()


async def late(exchange: Exchange) -> None:
    """The first word comes when nobody waits for it any more."""
    await exchange.opened()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LATE_S):
            await exchange.hold()
    await exchange.words()
    await exchange.closed()


async def alive_for_ever(exchange: Exchange) -> None:
    """Signs of life, and never a word."""
    while True:
        await exchange.say(exchange.voice.alive)
        await asyncio.sleep(DRIP_S)


async def thinks_for_ever(exchange: Exchange) -> None:
    while True:
        await exchange.say(exchange.voice.thought("hm "))
        await asyncio.sleep(DRIP_S)


async def speaks_for_ever(exchange: Exchange) -> None:
    await exchange.opened()
    for number in itertools.count():
        await exchange.say(exchange.voice.word(WORDS[number % len(WORDS)]))
        exchange.seen.sent += 1
        await asyncio.sleep(DRIP_S)


async def half_close(exchange: Exchange) -> None:
    """It will say nothing more, and goes on listening."""
    exchange.writer.write_eof()
    await exchange.hold()


# --- it ends oddly ---------------------------------------------------------------------------------


async def ends(exchange: Exchange) -> None:
    """The body ends as if all were well."""
    await exchange.end()


async def says_last(exchange: Exchange) -> None:
    """The mark of the end, without a reason."""
    await exchange.say(exchange.voice.last)
    await exchange.end()


async def errs(exchange: Exchange) -> None:
    await exchange.say(exchange.voice.error())
    await exchange.end()


async def filters(exchange: Exchange) -> None:
    sent = WORDS[: exchange.seen.sent]
    await exchange.say(exchange.voice.finish(sent, "content_filter") + exchange.voice.last)
    await exchange.end()


async def is_empty(exchange: Exchange) -> None:
    await exchange.closed(())


async def no_last(exchange: Exchange) -> None:
    """A reason, and then the body ends without its mark."""
    await exchange.opened()
    await exchange.words()
    await exchange.say(exchange.voice.finish(WORDS))
    await exchange.end()


async def cut_after_reason(exchange: Exchange) -> None:
    await exchange.opened()
    await exchange.words()
    await exchange.say(exchange.voice.finish(WORDS))
    exchange.cut()


async def two_reasons(exchange: Exchange) -> None:
    await exchange.opened()
    await exchange.words()
    await exchange.say(exchange.voice.finish(WORDS) + exchange.voice.finish(WORDS, "length") + exchange.voice.last)
    await exchange.end()


async def more_after_last(exchange: Exchange) -> None:
    await exchange.opened()
    await exchange.words()
    await exchange.say(exchange.voice.finish(WORDS) + exchange.voice.last)
    with contextlib.suppress(ConnectionError):  # whoever has heard the end may leave
        await exchange.say(exchange.voice.word(" five") * 100)
        await exchange.end()
    exchange.cut()
