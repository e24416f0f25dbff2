"""One event of an upstream's response stream, and what it says. Pure.

Liberal in what it takes: every field has any shape, because an event that nobody here knows may use a known name for
something else. What cannot be read counts as absent.

Source: OpenAI's API reference, "Streaming events" of Responses, and the types of openai-python 3.52, read on
2026-11-21.
"""

import contextlib
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from protocol.codec import DecodeError
from protocol.messages import Usage
from workers.targets.answer_events import as_text
from workers.targets.chat_chunk import count_of

_NONE = Raw(b"null")


class Event(Struct, gc=False):
    type: Any = None
    delta: Any = None
    output_index: Any = None
    content_index: Any = None
    summary_index: Any = None
    item_id: Any = None
    text: Any = None
    refusal: Any = None
    arguments: Any = None
    logprobs: Any = None
    item: Any = None
    error: Any = None
    code: Any = None
    message: Any = None
    response: Raw = field(default=_NONE)  # it repeats the request, tools and all: read when it is needed


class Response(Struct, gc=False):
    """The object at the end of a stream, or the whole body."""

    object: Any = None
    status: Any = None
    output: Any = None
    usage: Any = None
    error: Any = None
    incomplete_details: Any = None


_event = msgspec.json.Decoder(Event)
_response = msgspec.json.Decoder(Response)


def decoded(data: bytes) -> Event | None:
    """An event's data; None: it is no object of JSON, or has to be mended first."""
    try:
        return _event.decode(data)
    except DecodeError:
        return None


def mended(data: bytes) -> Event | None:
    """The same of an event that could not be read, without what is no text."""
    return decoded(as_text(data))


def response_of(data: bytes | Raw) -> Response:
    """The response in an event, or in a whole body. What cannot be read says nothing."""
    for told in (bytes(data), as_text(bytes(data))):
        with contextlib.suppress(*DecodeError):
            return _response.decode(told)
    return Response()


def index_of(value: Any) -> int | None:
    """Which one of several an event is about; None: not told."""
    return value if isinstance(value, int) else None


def text(value: Any) -> str:
    """A string; "" for anything else."""
    return value if isinstance(value, str) else ""


def entries(value: Any) -> list[dict[str, Any]]:
    """The objects of a list."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def usage_of(told: Any) -> Usage | None:
    """What a response says of its cost; None: nothing."""
    if not told or not isinstance(told, dict):
        return None
    return Usage(
        prompt=count_of(told, "input_tokens"),
        completion=count_of(told, "output_tokens"),
        cached=count_of(told.get("input_tokens_details"), "cached_tokens"),
        reasoning=count_of(told.get("output_tokens_details"), "reasoning_tokens"),
    )
