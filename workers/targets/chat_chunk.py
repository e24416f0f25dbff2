"""One event of an upstream chat completion, and what it says. Pure.

Liberal in what it takes: bytes that are no UTF-8 become U+FFFD, and what cannot be read counts as absent.
"""

from typing import Any

import msgspec
from msgspec import Struct

from protocol.codec import DecodeError
from protocol.messages import TokenLogprob, Usage


class Function(Struct, gc=False):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class Call(Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Delta(Struct, gc=False):
    content: str | list[Any] | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None
    function_call: Function | None = None


class Choice(Struct, gc=False):
    index: int | None = None
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    logprobs: Any = None


class Chunk(Struct, gc=False):
    choices: list[Choice] | None = None
    usage: Any = None
    error: Any = None


class _Logprob(Struct, gc=False):
    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None
    top_logprobs: tuple["_Logprob", ...] | None = None


class _Logprobs(Struct, gc=False):
    content: tuple[_Logprob, ...] | None = None


_decoder = msgspec.json.Decoder(Chunk)


def decoded(data: bytes) -> Chunk | None:
    """An event's data; None: it is no chat completion."""
    try:
        return _decoder.decode(data)
    except UnicodeDecodeError:
        return decoded(data.decode("utf-8", "replace").encode())
    except DecodeError:
        return None


def only_text(chunk: Chunk) -> str:
    """The text of a chunk that carries nothing else, as nearly every one does; else nothing."""
    choices = chunk.choices
    if not choices or len(choices) > 1 or chunk.usage or chunk.error:
        return ""
    choice, delta = choices[0], choices[0].delta
    if delta is None or choice.index or choice.finish_reason or choice.logprobs:
        return ""
    if delta.reasoning_content or delta.reasoning or delta.refusal or delta.tool_calls or delta.function_call:
        return ""
    return delta.content if isinstance(delta.content, str) else ""


def content_of(content: str | list[Any] | None) -> tuple[str, str]:
    """What is thought and what is said. Mistral's reasoning models send both as a list of parts."""
    if not isinstance(content, list):
        return "", content or ""
    parts = [part for part in content if isinstance(part, dict)]
    thoughts = [part.get("thinking") for part in parts if part.get("type") == "thinking"]
    thought = "".join(content_of(inner if isinstance(inner, list | str) else None)[1] for inner in thoughts)
    return thought, "".join(text for part in parts if isinstance(text := part.get("text"), str))


def usage_of(told: Any) -> Usage | None:
    """What a chunk says of the cost; None: nothing."""
    if not told or not isinstance(told, dict):
        return None
    return Usage(
        prompt=_count(told, "prompt_tokens"),
        completion=_count(told, "completion_tokens"),
        cached=_count(told.get("prompt_tokens_details"), "cached_tokens"),
        reasoning=_count(told.get("completion_tokens_details"), "reasoning_tokens"),
    )


def _count(told: Any, name: str) -> int:
    """A number of tokens; 0 where there is none."""
    value = told.get(name) if isinstance(told, dict) else None
    is_count = isinstance(value, int | float) and 0 <= value < 2**53  # what a double holds: the bus takes 64 bits
    return int(value) if is_count and value is not None else 0


def logprobs_of(told: Any) -> tuple[TokenLogprob, ...]:
    """A choice's log probabilities; none where they cannot be read."""
    try:
        entries = msgspec.convert(told, _Logprobs).content or ()
    except msgspec.ValidationError:
        return ()
    return tuple(_logprob(entry) for entry in entries)


def _logprob(entry: _Logprob) -> TokenLogprob:
    likeliest = tuple(_logprob(top) for top in entry.top_logprobs or ())
    return TokenLogprob(entry.token, entry.logprob, entry.bytes, likeliest)


def of_the_end(text: str, entries: tuple[TokenLogprob, ...]) -> tuple[TokenLogprob, ...]:
    """Those of the last tokens that are this text, exactly, else none: what precedes it was thought, or a tag."""
    first, rest = len(entries), text.encode(errors="replace")
    while first and rest and rest.endswith(token := _bytes_of(entries[first - 1])):
        first -= 1
        rest = rest.removesuffix(token)
    return () if rest else entries[first:]


def _bytes_of(entry: TokenLogprob) -> bytes:
    """A token may be a part of a character: its bytes count, where they are told."""
    told = entry.bytes
    return bytes(told) if told and all(0 <= byte < 256 for byte in told) else entry.token.encode(errors="replace")
