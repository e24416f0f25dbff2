"""One request to the scripted upstream, and the stream that answers it."""

import asyncio
import json
import re
from typing import Any

from aiohttp import web
from msgspec import Struct

from workers.targets.continuing import NUDGE

WORDS = 6
BAD = "call_bad"  # how the ids of calls begin that no tool takes
HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_741_570_283, "model": "scripted-1"}

ARGUMENTS: dict[str, dict[str, Any]] = {
    "end_call": {"reason": "done", "message": "Goodbye."},
    "endCall": {},
    "transfer_to_agent": {"agent_number": 1},
    "transferCall": {"destination": "+15550100"},
    "language_detection": {"reason": "asked", "language": "es"},
    "get_hours": {"day": "monday"},
    "skip_turn": {},
}


def asked(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is to be answered, where a worker has a half answer continued: that one comes after it, and a nudge."""
    return messages[:-2] if messages[-1].get("content") == NUDGE else messages


class Generation(Struct):
    """One request, and what has become of it."""

    call: str
    turn: int
    act: str
    open: bool = True
    closed: bool = False  # by the other side, before its end
    words: int = 0


class Exchange:
    """One request, and the stream that answers it."""

    def __init__(self, request: web.Request, body: dict[str, Any], generation: Generation, figure: int) -> None:
        self.request = request
        self.generation = generation
        self.figure = figure
        self.answer: web.StreamResponse = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        self._asks_usage = (body.get("stream_options") or {}).get("include_usage")
        self._messages: list[dict[str, Any]] = body["messages"]
        self._tools = {tool["function"]["name"]: tool["function"]["parameters"] for tool in body.get("tools") or ()}
        self._asked = asked(self._messages)
        self._follows = self._asked[-1]["role"] == "tool" and not self.was_told_off
        self._name = f"{generation.turn}{'b' if self._follows else ''}"

    @property
    def was_told_off(self) -> bool:
        """The last call was answered by its not being taken."""
        last = next((m for m in reversed(self._asked) if m.get("tool_calls")), None)
        if last is None or self._asked[-1]["role"] == "user":
            return False
        return str(last["tool_calls"][0]["id"]).startswith(BAD)

    @property
    def follows(self) -> bool:
        """It is the request with a tool's result."""
        return self._follows

    async def send(self, data: object) -> None:
        if not self.answer.prepared:
            await self.answer.prepare(self.request)
        await self.answer.write(b"data: %b\n\n" % (data if isinstance(data, bytes) else json.dumps(data).encode()))

    async def delta(self, delta: dict[str, Any], reason: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        await self.send({**HEAD, "choices": [choice]})

    async def text(self, text: str) -> None:
        await self.delta({"content": text})

    async def words(self, count: int = WORDS, pause_s: float = 0.0) -> None:
        """The next words of this turn's answer."""
        said = re.findall(rf"(?<![\w-]){self._name}-(\d+)", json.dumps(self._messages))
        first = max(map(int, said), default=0) + self.generation.words + 1
        for number in range(first, max(count, first) + 1):
            await self.text(f"{self._name}-{number} ")
            self.generation.words += 1
            await asyncio.sleep(pause_s)

    def arguments(self, name: str) -> str:
        """Ours for a tool; what its schema wants beside them, as strict ones want everything, is null."""
        wanted = self._tools.get(name, {}).get("required", ())
        return json.dumps({**dict.fromkeys(wanted), **ARGUMENTS[name]})

    async def call(self, name: str, arguments: str, index: int = 0, mark: str = "call") -> None:
        """A tool call in pieces."""
        uid = f"{mark}_{self.generation.call}_{self._name}_{index}_{id(self):x}"
        begun = {"index": index, "id": uid, "type": "function", "function": {"name": name, "arguments": ""}}
        await self.delta({"tool_calls": [begun]})
        for piece in (arguments[:5], arguments[5:]):
            await self.delta({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})

    async def end(self, reason: str = "stop") -> None:
        await self.delta({}, reason)
        if self._asks_usage:
            usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
            await self.send({**HEAD, "choices": [], "usage": usage})
        await self.send(b"[DONE]")
        await self.answer.write_eof()

    def cut(self) -> None:
        """Leave in the middle."""
        if self.request.transport:
            self.request.transport.close()
