"""A model's API that does to each turn what the caller's words order, over chat completions.

What a caller says ends in `(<call>/<turn> <acts>)`, such as `What are your hours? (c3/7 empty+well)`: the first request
of turn 7 gets the first act, the next one the second, and the last act is for all further ones. Words without an order
are answered well. An order may carry a figure: `slow:900` waits 900 ms. The words of an answer are numbered, `7-1 7-2`
in turn 7, and `7b-1` where the last message is a tool's result; an answer goes on where the messages end.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.platforms.acts import ACTS, LOOPS, MENDS
from tests.platforms.exchange import Exchange, Generation, asked
from tests.platforms.serving import serving

ORDER = re.compile(r"\((\S+)/(\d+) ([\w+:]+)\)")


class Scripted:
    """The upstream. `generations` are in the order in which they were asked for."""

    def __init__(self) -> None:
        self.url = ""
        self.generations: list[Generation] = []
        self.histories: dict[str, list[dict[str, Any]]] = {}  # by call, as it came last
        self._asked: dict[tuple[str, int], int] = {}

    def of(self, call: str, turn: int | None = None) -> list[Generation]:
        return [one for one in self.generations if one.call == call and turn in (None, one.turn)]

    @property
    def running(self) -> list[Generation]:
        return [one for one in self.generations if one.open]

    async def serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if _has_orphans(body["messages"]):
            return web.json_response({"error": {"message": "a tool call without its result"}}, status=400)
        call, turn, acts = _order(body["messages"])
        generation = Generation(call, turn, "")
        self.generations.append(generation)
        self.histories[call] = body["messages"]
        exchange = Exchange(request, body, generation, 0)
        generation.act = MENDS.get(acts[0], "get_hours") if exchange.was_told_off else "well"
        if acts == [LOOPS]:
            generation.act = "get_hours"
        elif not exchange.follows and not exchange.was_told_off:
            number = self._asked[call, turn] = self._asked.get((call, turn), -1) + 1
            generation.act = acts[min(number, len(acts) - 1)]
        name, _, figure = generation.act.partition(":")
        exchange.figure = int(figure or 0)
        try:
            await ACTS[name](exchange)
        except (asyncio.CancelledError, ConnectionError):
            generation.closed = True
            raise
        finally:
            generation.open = False
        return exchange.answer


def _order(messages: list[dict[str, Any]]) -> tuple[str, int, list[str]]:
    """Call, turn and acts, of what the caller said last."""
    said = next((m["content"] for m in reversed(asked(messages)) if m["role"] == "user"), "")
    found = list(ORDER.finditer(said if isinstance(said, str) else json.dumps(said)))
    return (found[-1][1], int(found[-1][2]), found[-1][3].split("+")) if found else ("", 0, ["well"])


def _has_orphans(messages: list[dict[str, Any]]) -> bool:
    """A call whose result does not follow, or a result without its call: OpenAI's API refuses such a history."""
    wanted: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in wanted:
                return True
            wanted.discard(message["tool_call_id"])
        elif wanted:
            return True
        wanted |= {call["id"] for call in message.get("tool_calls") or ()}
    return bool(wanted)


@asynccontextmanager
async def scripted_upstream() -> AsyncIterator[Scripted]:
    """One on a port of its own; `url` is its base URL."""
    upstream = Scripted()
    routes = [web.post("/v1/chat/completions", upstream.serve)]
    async with serving(routes) as url:
        upstream.url = f"{url}/v1"
        yield upstream
