"""One event of an upstream's message stream, and what it says. Pure.

Liberal in what it takes: what cannot be read counts as absent.

Source: Anthropic's API documentation, "Streaming messages"; the event types of anthropic-sdk-python. Read on
2026-11-21.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from protocol.codec import DecodeError
from protocol.messages import Usage
from workers.targets.answer_events import as_text

WHOLE = 2**53  # what a double holds: the bus takes 64 bits


class Delta(Struct, gc=False):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class Block(Struct, gc=False):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None


class Event(Struct, gc=False):
    """Any event; and the whole message of an upstream that ignores `stream`: that has `content` and `stop_reason`."""

    type: str | None = None
    index: int | None = None
    delta: Delta | None = None
    content_block: Block | None = None
    message: Any = None
    usage: Any = None
    error: Any = None
    content: list[Block] | None = None
    stop_reason: str | None = None


_decoder = msgspec.json.Decoder(Event)


def decoded(data: bytes) -> Event | None:
    """An event's data; None: it is none of a message, or has to be mended first."""
    try:
        return _decoder.decode(data)
    except DecodeError:
        return None


def mended(data: bytes) -> Event | None:
    """The same of an event that could not be read, without what is no text."""
    return decoded(as_text(data))


def only_text(event: Event) -> str:
    """The text of an event that carries nothing else, as nearly every one does; else nothing."""
    delta = event.delta
    if event.type != "content_block_delta" or event.error or delta is None or delta.type != "text_delta":
        return ""
    return delta.text or ""


def usage_in(told: object) -> dict[str, Any]:
    """The figures of a `usage` object. They only grow: some upstreams end with a prompt of 0."""
    return {name: value for name, value in told.items() if value} if isinstance(told, dict) else {}


def usage_of(told: Mapping[str, Any], *, whole: bool) -> Usage | None:
    """What the figures say of the cost; None: nothing. Not `whole`: the answer is still to come, and not counted.

    `input_tokens` are those that were neither read from the cache nor written to it.
    """
    if not told:
        return None
    cached = _count(told, "cache_read_input_tokens")
    return Usage(
        prompt=_count(told, "input_tokens") + _count(told, "cache_creation_input_tokens") + cached,
        completion=_count(told, "output_tokens") if whole else 0,
        cached=cached,
        reasoning=_count(told.get("output_tokens_details"), "thinking_tokens") if whole else 0,
    )


def _count(told: object, name: str) -> int:
    """A number of tokens; 0 where there is none."""
    value = told.get(name) if isinstance(told, Mapping) else None
    return int(value) if isinstance(value, int | float) and 0 <= value < WHOLE else 0
