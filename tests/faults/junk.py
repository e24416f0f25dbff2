"""What no upstream should send, as acts of the fault upstream."""

import asyncio
import functools
import itertools
import zlib

from tests.faults.upstream import STREAM_HEAD, Act, Exchange

BIG_LINE_BYTES = 10_000_000
FLOOD_CHUNKS, FLOOD_TICKS = 20_000, 20  # 1,000 chunks every 10 ms: 100,000 a second
FLOOD_WORD = "x"
BOMB_BYTES = 128 << 20
DRIP_S = 0.01
CALL_TOKENS = 12


async def _between(junk: bytes, exchange: Exchange) -> None:
    """A whole answer, with something else in its middle."""
    await exchange.opened()
    await exchange.words(0, 2)
    await exchange.say(junk)
    await exchange.words(2)
    await exchange.closed()


malformed = functools.partial(_between, b'data: {"choices": [{"delta": {"con\n\n')


async def nonsense(exchange: Exchange) -> None:
    """Nothing but."""
    await exchange.begin()
    await exchange.say(b"data: {nonsense\n\ndata: 7\n\ndata: []\n\n\xff\x00\n\n")
    await exchange.end()


def one_word(said: bytes) -> Act:
    """An answer whose third word is these bytes, inside its JSON."""

    async def act(exchange: Exchange) -> None:
        await exchange.opened()
        await exchange.words(0, 2)
        await exchange.say(exchange.voice.word("@@").replace(b"@@", said))
        await exchange.words(3)
        await exchange.closed()

    return act


async def split_pair(exchange: Exchange) -> None:
    """One character as two events, half a surrogate pair each."""
    await exchange.opened()
    await exchange.words(0, 2)
    for half in (rb"\ud83d", rb"\ude00"):
        await exchange.say(exchange.voice.word("@@").replace(b"@@", half))
    await exchange.closed()


async def big_line(exchange: Exchange) -> None:
    await exchange.opened()
    await exchange.say(b"data: ")
    for _ in range(BIG_LINE_BYTES // 100_000):
        await exchange.say(b"x" * 100_000)
    await exchange.say(b"\n\n")
    await exchange.words()
    await exchange.closed()


async def flood(exchange: Exchange) -> None:
    """A whole answer, 100,000 chunks a second."""
    await exchange.opened()
    word = exchange.voice.word(FLOOD_WORD)
    some = b"%x\r\n%b\r\n" % (len(word), word) * (FLOOD_CHUNKS // FLOOD_TICKS)
    for _ in range(FLOOD_TICKS):
        await exchange.raw(some)
        exchange.seen.sent += FLOOD_CHUNKS // FLOOD_TICKS
        await asyncio.sleep(0.01)
    await exchange.closed()


@functools.cache
def packed_zeros() -> bytes:
    """A comment of zeros, packed."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    some = b"0" * (1 << 20)
    return packer.compress(b": ") + b"".join(packer.compress(some) for _ in range(BOMB_BYTES >> 20)) + packer.flush()


async def bomb(exchange: Exchange) -> None:
    """A little that unpacks to an eighth of a gigabyte, though nobody has asked for anything packed."""
    packed = packed_zeros()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    await exchange.raw(head % len(packed) + packed)
    exchange.cut()


async def endless_head(exchange: Exchange) -> None:
    await exchange.raw(b"HTTP/1.1 200 OK\r\n")
    for number in itertools.count():
        await exchange.raw(b"X-%d: %b\r\n" % (number, b"x" * 4000))


async def dripping_head(exchange: Exchange) -> None:
    """A byte now and then."""
    await exchange.raw(b"HTTP/1.1 200 OK\r\nX-A: ")
    while True:
        await exchange.raw(b"x")
        await asyncio.sleep(DRIP_S)


async def no_http(exchange: Exchange) -> None:
    await exchange.raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    exchange.cut()


def chunk_of(size: bytes, data: bytes = b"data: {}\n\n") -> Act:
    """A chunk that is not as long as it says."""

    async def lie(exchange: Exchange) -> None:
        await exchange.raw(size + b"\r\n" + data + b"\r\n")
        exchange.cut()

    return lie


# --- tools -----------------------------------------------------------------------------------------


def calls(arguments: str, *, index: int = 0) -> Act:
    """A tool call."""

    async def act(exchange: Exchange) -> None:
        await exchange.opened()
        await exchange.say(exchange.voice.call(arguments, index=index))
        await exchange.say(exchange.voice.finish((), "tool_calls", tokens=CALL_TOKENS) + exchange.voice.last)
        await exchange.end()

    return act


def begins(data: bytes) -> Act:
    """A stream whose body begins so."""

    async def act(exchange: Exchange) -> None:
        await exchange.raw(STREAM_HEAD + data)
        exchange.cut()

    return act
