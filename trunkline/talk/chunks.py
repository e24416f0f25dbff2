"""A chat completions stream, read: the data of an event -> pieces of the answer. Pure.

Any OpenAI-compatible server may be at the other end, so tool calls are put together here though the line sends them
whole, and reasoning is taken under both of its usual names.
"""

import msgspec
from msgspec import Struct

from protocol.sse import DONE
from trunkline.talk.failure import Failure

END_MARK = DONE.removeprefix(b"data: ").strip()


class Said(Struct, frozen=True):
    """Spoken content; never empty."""

    text: str


class Thought(Struct, frozen=True):
    """Reasoning, which nobody hears."""

    text: str


class Declined(Struct, frozen=True):
    """The model declines, in its own words."""

    text: str


class Function(Struct, frozen=True):
    """What a tool call asks for; `arguments` is JSON text."""

    name: str
    arguments: str


class Call(Struct, frozen=True):
    """One whole tool call, as the history sends it back."""

    id: str
    function: Function
    type: str = "function"


class Called(Struct, frozen=True):
    """Every tool call of the answer."""

    calls: tuple[Call, ...]


class Spent(Struct, frozen=True):
    """Tokens of the answer, its reasoning not counted."""

    tokens: int


class Ended(Struct, frozen=True):
    """The answer came to its end."""

    reason: str


Piece = Said | Thought | Declined | Called | Spent | Ended


class _FunctionDelta(Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class _CallDelta(Struct, frozen=True):
    index: int = 0
    id: str | None = None
    function: _FunctionDelta = _FunctionDelta()


class _Delta(Struct, frozen=True):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: tuple[_CallDelta, ...] | None = None


class _Choice(Struct, frozen=True):
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class _Details(Struct, frozen=True):
    reasoning_tokens: int | None = None


class _Usage(Struct, frozen=True):
    completion_tokens: int = 0
    completion_tokens_details: _Details | None = None


class Trouble(Struct, frozen=True):
    """OpenAI's error object."""

    message: str | None = None
    code: str | int | None = None


class _Chunk(Struct, frozen=True):
    choices: tuple[_Choice, ...] = ()
    usage: _Usage | None = None
    error: Trouble | str | None = None


_decode = msgspec.json.Decoder(_Chunk).decode


class ChunkReader:
    """Reads one answer. `done`: it came to its end, so that whatever closes the stream now cuts nothing off."""

    def __init__(self) -> None:
        self._calls: dict[int, Call] = {}
        self._reason: str | None = None
        self.done = False

    def read(self, data: bytes) -> list[Piece]:
        """What one event says.

        Raises:
            Failure: the answer breaks off with an error, or this is no chat completion.
        """
        if data.strip() == END_MARK:
            return self.end()
        try:
            chunk = _decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise Failure("the answer holds an event that is no chat completion chunk; is it such an API?") from None
        if chunk.error is not None:
            raise Failure(f"the answer broke off: {sentence_of(chunk.error)}")
        pieces: list[Piece] = []
        for choice in chunk.choices:
            pieces += self._delta(choice.delta)
            self._reason = choice.finish_reason or self._reason
        return pieces + _spent(chunk.usage)

    def end(self) -> list[Piece]:
        """The stream is over. Raises Failure: in the middle of the answer."""
        if self.done:
            return []
        if self._reason is None:
            raise Failure("the answer broke off: its stream ended without a finish reason")
        self.done = True
        called: list[Piece] = [Called(tuple(self._calls.values()))] if self._calls else []
        return [*called, Ended(self._reason)]

    def _delta(self, delta: _Delta) -> list[Piece]:
        for call in delta.tool_calls or ():
            self._collect(call)
        thoughts = delta.reasoning_content or delta.reasoning
        told = ((Thought, thoughts), (Said, delta.content), (Declined, delta.refusal))
        return [kind(text) for kind, text in told if text]

    def _collect(self, delta: _CallDelta) -> None:
        """Put the pieces of a call together."""
        known = self._calls.get(delta.index, Call("", Function("", "")))
        function = Function(
            known.function.name or delta.function.name or "",
            known.function.arguments + (delta.function.arguments or ""),
        )
        self._calls[delta.index] = Call(known.id or delta.id or f"call_{delta.index}", function)


def sentence_of(trouble: Trouble | str) -> str:
    """An error object in words, with the code by which documentation names it."""
    if isinstance(trouble, str):
        return trouble
    code = f" ({trouble.code})" if trouble.code else ""
    return f"{trouble.message or 'the other end says no more'}{code}"


def _spent(usage: _Usage | None) -> list[Piece]:
    if usage is None:
        return []
    details = usage.completion_tokens_details
    return [Spent(usage.completion_tokens - ((details.reasoning_tokens or 0) if details else 0))]
