"""What the scripted upstream can do to a turn: each act by the name that a caller orders it by."""

import asyncio
import json
from collections.abc import Awaitable, Callable

from aiohttp import web

from tests.platforms.exchange import ARGUMENTS, BAD, Exchange

LONG = 500  # words: nobody hears so many
PACE_S, DRIBBLE_S = 0.01, 0.06
FOR_EVER_S = 60.0
LOOPS = "loops"  # a model that calls the same tool again, whatever it was told

Act = Callable[[Exchange], Awaitable[None]]


async def well(exchange: Exchange) -> None:
    await exchange.delta({"role": "assistant", "content": ""})
    await exchange.words()
    await exchange.end()


async def long(exchange: Exchange) -> None:
    """It goes on until the caller speaks."""
    await exchange.words(LONG, PACE_S)
    await exchange.end()


async def dribble(exchange: Exchange) -> None:
    await exchange.words(pause_s=DRIBBLE_S)
    await exchange.end()


async def slow(exchange: Exchange) -> None:
    """The head at once, the first word late."""
    await exchange.delta({"role": "assistant", "content": ""})
    await asyncio.sleep(exchange.figure / 1000)
    await well(exchange)


async def late(exchange: Exchange) -> None:
    """Nothing at all, and then an answer."""
    await asyncio.sleep(exchange.figure / 1000)
    await well(exchange)


async def hang(exchange: Exchange) -> None:
    await asyncio.sleep(FOR_EVER_S)


async def empty(exchange: Exchange) -> None:
    await exchange.delta({"role": "assistant", "content": ""})
    await exchange.end()


async def refused(exchange: Exchange) -> None:
    exchange.cut()


async def cut(exchange: Exchange) -> None:
    await exchange.words(3)
    exchange.cut()


async def stall(exchange: Exchange) -> None:
    await exchange.words(2)
    await asyncio.sleep(FOR_EVER_S)


async def fail(exchange: Exchange) -> None:
    """The status that the order names."""
    error = {"error": {"message": "told so", "type": "server_error", "param": None, "code": None}}
    exchange.answer = web.Response(
        status=exchange.figure, body=json.dumps(error).encode(), content_type="application/json"
    )


async def thinks(exchange: Exchange) -> None:
    """Its thoughts in tags, within the content, split anywhere."""
    for piece in ("<th", "ink>I ponder ", "on it</thi", "nk>"):
        await exchange.text(piece)
    await well(exchange)


async def reasons(exchange: Exchange) -> None:
    await exchange.delta({"reasoning_content": "I ponder on it"})
    await well(exchange)


async def leaks(exchange: Exchange) -> None:
    """Marks of its own template in the content."""
    for piece in ("<|im_", "start|>assi", "stant\n"):
        await exchange.text(piece)
    await exchange.words()
    await exchange.text("<|im_end|>")
    await exchange.end()


async def leaked_call(exchange: Exchange) -> None:
    """A tool call, as text."""
    told = f'<tool_call>\n{{"name": "get_hours", "arguments": {json.dumps(ARGUMENTS["get_hours"])}}}\n</tool_call>'
    for at in range(0, len(told), 7):
        await exchange.text(told[at : at + 7])
    await exchange.end()


def calls(name: str, *, says: bool = False, arguments: str | None = None, mark: str = "call") -> Act:
    """A tool is called, after some words where it `says` something."""

    async def act(exchange: Exchange) -> None:
        if says:
            await exchange.words(3)
        await exchange.call(name, exchange.arguments(name) if arguments is None else arguments, mark=mark)
        await exchange.end("tool_calls")

    return act


async def repeats_and_calls(exchange: Exchange) -> None:
    """What a model does that was told that its call was none: it begins from the beginning."""
    for number in range(1, 4):
        await exchange.text(f"{exchange.generation.turn}-{number} ")
    await calls("get_hours")(exchange)


async def muses(exchange: Exchange) -> None:
    """It thinks, and has nothing to say."""
    await exchange.delta({"reasoning_content": "I ponder on it"})
    await exchange.end()


async def says_and_cuts_call(exchange: Exchange) -> None:
    """Some words, and a call that breaks off."""
    await exchange.words(3)
    begun = {"index": 0, "id": "call_cut", "type": "function", "function": {"name": "get_hours", "arguments": '{"da'}}
    await exchange.delta({"tool_calls": [begun]})
    exchange.cut()


async def two_calls(exchange: Exchange) -> None:
    """Two in one answer, the second of another day."""
    await exchange.call("get_hours", json.dumps({"day": "monday"}))
    await exchange.call("get_hours", json.dumps({"day": "sunday"}), 1)
    await exchange.end("tool_calls")


LATE = (slow, late, hang, dribble, stall)
BROKEN = (empty, muses, refused, cut, says_and_cuts_call, fail)
ODD = (repeats_and_calls, thinks, reasons, leaks, leaked_call, two_calls)
ACTS: dict[str, Act] = {act.__name__: act for act in (well, long, *LATE, *BROKEN, *ODD)}
ACTS |= {name: calls(name) for name in ARGUMENTS}
ACTS |= {
    "says_and_calls": calls("get_hours", says=True),
    "no_json": calls("get_hours", arguments='{"day": ', mark=BAD),
    "says_and_calls_unfit": calls("get_hours", says=True, arguments='{"week": 3}', mark=BAD),
    "unfit": calls("get_hours", arguments='{"week": 3}', mark=BAD),
}

MENDS = {"says_and_calls_unfit": "repeats_and_calls"}
"""What is done after a call that was none; else only a good one is made."""
