"""One streamed answer, as a platform's client reads it. Pure: bytes in, words and tool calls out."""

import json
from typing import Any, NamedTuple, Protocol

from tests.platforms.platforms import Platform


class ToolCall(NamedTuple):
    """A call that the platform would run."""

    id: str
    name: str
    arguments: str


class Calls(Protocol):
    """Puts tool calls together. `done`: those that are to be run; known once the stream has ended."""

    done: list[ToolCall]

    def feed(self, deltas: list[dict[str, Any]]) -> None: ...

    def close(self, reason: str | None) -> None:
        """The stream has ended, for `reason`."""
        ...


class PlainCalls:
    """Put together by index, as OpenAI's own documentation does."""

    def __init__(self) -> None:
        self._open: dict[int, list[str]] = {}
        self.done: list[ToolCall] = []

    def feed(self, deltas: list[dict[str, Any]]) -> None:
        for delta in deltas:
            told = self._open.setdefault(delta["index"], ["", "", ""])
            function = delta.get("function") or {}
            told[0] = told[0] or delta.get("id") or ""
            told[1] = told[1] or function.get("name") or ""
            told[2] += function.get("arguments") or ""

    def close(self, reason: str | None) -> None:
        self.done = [ToolCall(*told) for _, told in sorted(self._open.items())]


class LiveKitCalls:
    """A call is out when the next one begins or the answer ends as `tool_calls` or `stop`; a name begins it anew.

    Source: livekit-agents 1.7.0, inference/llm.py, _parse_choice.
    """

    def __init__(self) -> None:
        self._index: int | None = None
        self._told = ["", "", ""]
        self.done: list[ToolCall] = []

    def feed(self, deltas: list[dict[str, Any]]) -> None:
        for delta in deltas:
            function = delta.get("function") or {}
            if delta.get("id") and self._index is not None and delta["index"] != self._index:
                self._out()
                self._begin(delta, function)
                return  # what else the chunk holds is not looked at
            if function.get("name"):
                self._begin(delta, function)
            else:
                self._told[2] += function.get("arguments") or ""

    def close(self, reason: str | None) -> None:
        if reason in ("tool_calls", "stop"):
            self._out()

    def _begin(self, delta: dict[str, Any], function: dict[str, Any]) -> None:
        self._index = delta["index"]
        self._told = [delta.get("id") or "", function.get("name") or "", function.get("arguments") or ""]

    def _out(self) -> None:
        if self._told[0]:
            self.done.append(ToolCall(*self._told))
        self._told = ["", "", ""]


class PipecatCalls:
    """Only the first call of a chunk is read, names are joined, and what is no JSON at the end is skipped.

    Source: pipecat-ai 1.7.0, services/openai/base_llm.py.
    """

    def __init__(self) -> None:
        self._index = 0
        self._told: list[list[str]] = [["", "", ""]]
        self.done: list[ToolCall] = []

    def feed(self, deltas: list[dict[str, Any]]) -> None:
        delta = deltas[0]
        if delta["index"] != self._index:
            self._index += 1
            self._told.append(["", "", ""])
        function = delta.get("function") or {}
        told = self._told[-1]
        told[0] = delta.get("id") or told[0]
        told[1] += function.get("name") or ""
        told[2] += function.get("arguments") or ""

    def close(self, reason: str | None) -> None:
        self.done = [ToolCall(*told) for told in self._told if told[1] and _is_json(told[2] or "{}")]


CALLS: dict[str, type[Calls]] = {"plain": PlainCalls, "livekit": LiveKitCalls, "pipecat": PipecatCalls}


class Hearing:
    """What one request brought. `error`: a stream said that it failed, or is none."""

    def __init__(self, platform: Platform) -> None:
        self._calls: Calls = CALLS[platform.calls]()
        self._drops_words_beside_calls = platform.calls == "pipecat"
        self._rest = b""
        self.pieces: list[str] = []  # of content, as they came
        self.chunks: list[dict[str, Any]] = []
        self.comments = 0
        self.has_begun = False  # content has come, a single space counts, or a tool call has begun
        self.begun_at: float | None = None  # by whoever feeds it
        self.reason: str | None = None
        self.done = False
        self.error = ""

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def calls(self) -> list[ToolCall]:
        """What is to be run; known once `close` was called."""
        return self._calls.done

    def feed(self, data: bytes) -> None:
        """Take what was read. Split anywhere, the same is heard."""
        *events, self._rest = (self._rest + data).split(b"\n\n")
        for event in events:
            self._event(event)

    def close(self) -> None:
        """There will be no more."""
        self._calls.close(self.reason)

    def _event(self, event: bytes) -> None:
        if event.startswith(b":"):
            self.comments += 1
            return
        data = event.removeprefix(b"data: ")
        if self.done or data.startswith(b"[DONE]"):
            self.done = True
            return
        told = _read(data)
        if not isinstance(told, dict) or told.get("error"):
            self.error = event.decode(errors="replace")
            return
        self.chunks.append(told)
        for choice in told["choices"][:1]:
            self._choice(choice.get("delta") or {}, choice.get("finish_reason"))

    def _choice(self, delta: dict[str, Any], reason: str | None) -> None:
        deltas = delta.get("tool_calls")
        if deltas:
            self._calls.feed(deltas)
        self.has_begun |= bool(deltas or delta.get("content"))
        if delta.get("content") and not (deltas and self._drops_words_beside_calls):
            self.pieces.append(delta["content"])
        self.reason = reason or self.reason


def _read(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


def _is_json(text: str) -> bool:
    return _read(text.encode()) is not None
