"""One generation of the fake upstream: what it says, in which bytes, and when each of them leaves."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

import orjson
from msgspec import Struct

from bench.http1 import LAST_CHUNK, chunk
from bench.orders import Generation, Order, parse, token

MODEL = "fake"
BURST = 256
"""Deltas that leave in one turn of the loop when nothing paces them: others get their turn between bursts."""


class Outlet(Protocol):
    """Where the bytes go."""

    full: bool

    def write(self, data: bytes) -> None: ...

    def close(self) -> None:
        """Leave in the middle: no last chunk."""

    def next(self) -> None:
        """The answer is out: there may be another request."""


class Asked(Struct):
    """What is read of a request's body."""

    messages: list[dict[str, Any]]
    model: str = MODEL
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None

    @property
    def order(self) -> Order:
        """Raises ValueError as `parse` does."""
        said = [message.get("content") for message in self.messages if message.get("role") == "user"]
        last = said[-1] if said else ""
        if isinstance(last, list):
            last = " ".join(part.get("text", "") for part in last)
        return parse(last or "")

    @property
    def wants_usage(self) -> bool:
        return bool((self.stream_options or {}).get("include_usage"))

    @property
    def tool(self) -> str | None:
        """The name of the first tool offered."""
        return self.tools[0]["function"]["name"] if self.tools else None


class Deltas:
    """What one generation says, delta by delta, and how it ends."""

    def __init__(self, asked: Asked, order: Order, number: int) -> None:
        self._order = order
        self._number = number
        self._tool = asked.tool if order.tool else None
        said = order.tool * order.tokens if self._tool else order.tokens
        self.count = 0 if order.failure[0] == "empty" else order.reasoning + said
        self.usage = {"prompt_tokens": _words(asked), "completion_tokens": self.count}
        self.usage["total_tokens"] = sum(self.usage.values())
        self.finish_reason = "tool_calls" if self._tool else "stop"

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index < self._order.reasoning:
            return {"reasoning_content": f"r{self._number}.{index} "}
        index -= self._order.reasoning
        return {"tool_calls": [self._fragment(index)]} if self._tool else {"content": token(self._number, index)}

    def _fragment(self, index: int) -> dict[str, Any]:
        """A part of a call's arguments, which are `{"text": "<words>"}` once whole."""
        call, at = divmod(index, self._order.tokens)
        opening = '{"text": "' if at == 0 else ""
        closing = '"}' if at == self._order.tokens - 1 else ""
        function: dict[str, Any] = {"arguments": f"{opening}{token(self._number, at)}{closing}"}
        if at:
            return {"index": call, "function": function}
        function["name"] = self._tool
        return {"index": call, "id": f"call_{self._number}_{call}", "type": "function", "function": function}


def _words(asked: Asked) -> int:
    return sum(len(str(message.get("content") or "").split()) for message in asked.messages)


class Chunks:
    """The bytes of one streamed answer."""

    def __init__(self, asked: Asked, tag: str, number: int) -> None:
        head = {"id": f"chatcmpl-{tag}-{number}", "object": "chat.completion.chunk", "created": int(time.time())}
        self._head = orjson.dumps({**head, "model": asked.model})[:-1]
        self._usage = b',"usage":null' if asked.wants_usage else b""

    def delta(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        """One chunk with a choice."""
        body = b'%b,"choices":[{"index":0,"delta":%b,"logprobs":null,"finish_reason":%b}]%b}' % (
            self._head,
            orjson.dumps(delta),
            orjson.dumps(finish_reason),
            self._usage,
        )
        return event(body)

    def usage(self, usage: dict[str, int]) -> bytes:
        """The chunk that carries the usage."""
        return event(b'%b,"choices":[],"usage":%b}' % (self._head, orjson.dumps(usage)))


def event(data: bytes) -> bytes:
    """One server-sent event as one piece of a chunked body."""
    return chunk(b"data: %b\n\n" % data)


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


def plain(status: int, body: Any) -> bytes:
    """A whole JSON answer."""
    data = orjson.dumps(body)
    head = b"HTTP/1.1 %d -\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(data))
    return head + data


def failed(status: int, message: str) -> bytes:
    """An answer with OpenAI's error object."""
    return plain(status, {"error": {"message": message, "type": "server_error", "param": None, "code": None}})


class Speech:
    """One generation on its way out: every delta leaves at its time, none before the socket has room."""

    def __init__(self, outlet: Outlet, asked: Asked, generation: Generation) -> None:
        self._outlet = outlet
        self._asked = asked
        self._generation = generation
        self._order = generation.order
        self._failure = generation.order.failure
        self._deltas = Deltas(asked, self._order, generation.number)
        self._chunks = Chunks(asked, generation.tag, generation.number)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """The status line, now or when it was ordered."""
        if self._failure[0] == "before":
            self._at(self._order.head_ms / 1000, self._refuse)
        elif self._order.head_ms:
            self._at(self._order.head_ms / 1000, self._open)
        else:
            self._open()

    def stop(self) -> None:
        """The other side is gone."""
        if self._timer:
            self._timer.cancel()

    def go_on(self) -> None:
        """Say what is due; called again when the socket has room."""
        if self._timer:
            self._timer.cancel()
        while self._generation.sent < min(self._deltas.count, self._due()):
            if self._outlet.full or self._fails():
                return
            self._say(self._generation.sent)
            if self._generation.sent % BURST == 0:
                break
        if self._fails():
            return
        if self._generation.sent < self._deltas.count:
            self._at(self._time_of(self._generation.sent), self.go_on)
        else:
            self._finish()

    def _at(self, seconds: float, step: Callable[[], None]) -> None:
        """Do `step` that long after the receipt. The loop's clock is `time.monotonic()`."""
        wait = self._generation.received + seconds - time.monotonic()
        self._timer = self._loop.call_later(max(0.0, wait), step)

    def _time_of(self, index: int) -> float:
        paced = index / self._order.rate if self._order.rate else 0.0
        return self._order.first_ms / 1000 + paced

    def _due(self) -> int:
        """How many deltas should have left by now."""
        waited = time.monotonic() - self._generation.received - self._order.first_ms / 1000
        if waited < 0:
            return 0
        return int(waited * self._order.rate) + 1 if self._order.rate else self._deltas.count

    def _open(self) -> None:
        if self._asked.stream:
            self._outlet.write(STREAM_HEAD + self._chunks.delta({"role": "assistant", "content": ""}))
        self._at(self._order.first_ms / 1000, self.go_on)

    def _say(self, index: int) -> None:
        if self._generation.first is None:
            self._generation.first = time.monotonic()
        if self._asked.stream:
            self._outlet.write(self._chunks.delta(self._deltas[index]))
        self._generation.sent = index + 1

    def _fails(self) -> bool:
        """Whether the ordered failure is due. What is malformed is only skipped over, once."""
        kind, after = self._failure
        if kind not in {"cut", "stall", "malformed", "error"} or self._generation.sent < after:
            return False
        self._failure = ("", 0)
        if kind == "cut":
            self._outlet.close()
        elif kind == "malformed":
            self._outlet.write(event(b'{"choices": [{"delta": {"con'))
        elif kind == "error":
            self._outlet.write(event(b'{"error": {"message": "ordered", "type": "server_error"}}') + LAST_CHUNK)
            self._over()
        return kind != "malformed"

    def _refuse(self) -> None:
        self._outlet.write(failed(self._failure[1], "ordered"))
        self._over()

    def _finish(self) -> None:
        if self._asked.stream:
            usage = self._chunks.usage(self._deltas.usage) if self._asked.wants_usage else b""
            last = self._chunks.delta({}, self._deltas.finish_reason)
            self._outlet.write(last + usage + event(b"[DONE]") + LAST_CHUNK)
        else:
            self._outlet.write(plain(200, self._whole()))
        self._over()

    def _whole(self) -> dict[str, Any]:
        message = {"role": "assistant", "content": self._generation.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        head = {"id": f"chatcmpl-{self._generation.tag}", "object": "chat.completion", "created": int(time.time())}
        return {**head, "model": self._asked.model, "choices": [choice], "usage": self._deltas.usage}

    def _over(self) -> None:
        self._generation.finished = time.monotonic()
        self._outlet.next()
