"""One event of an upstream chat completion, and what it says. Pure.

Liberal in what it takes: bytes that are no UTF-8 become U+FFFD, and what cannot be read counts as absent.
"""

from typing import Any

import msgspec
from msgspec import Struct

from protocol.codec import DecodeError
from protocol.messages import TokenLogprob, Usage
from workers.targets.answer_events import as_text
from workers.targets.logprobs import logprobs_of


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


_decoder = msgspec.json.Decoder(Chunk)


def decoded(data: bytes) -> Chunk | None:
    """An event's data; None: it is no chat completion, or has to be mended first."""
    try:
        return _decoder.decode(data)
    except DecodeError:
        return None


def mended(data: bytes) -> Chunk | None:
    """The same of an event that could not be read, without what is no text."""
    return decoded(as_text(data))


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
        prompt=count_of(told, "prompt_tokens"),
        completion=count_of(told, "completion_tokens"),
        cached=count_of(told.get("prompt_tokens_details"), "cached_tokens"),
        reasoning=count_of(told.get("completion_tokens_details"), "reasoning_tokens"),
    )


def count_of(told: Any, name: str) -> int:
    """A number of tokens; 0 where there is none."""
    value = told.get(name) if isinstance(told, dict) else None
    is_count = isinstance(value, int | float) and 0 <= value < 2**53  # what a double holds: the bus takes 64 bits
    return int(value) if is_count and value is not None else 0


def likely(told: Any) -> tuple[TokenLogprob, ...]:
    """A choice's log probabilities; none where they cannot be read."""
    return logprobs_of(told.get("content")) if isinstance(told, dict) else ()
