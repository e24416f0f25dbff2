"""What a webhook of ElevenLabs' is about, from its body. Pure.

Source: ElevenLabs' documentation, "Post-call webhooks" (elevenlabs.io/docs/eleven-agents/workflows/post-call-webhooks),
as read in November 2026.
"""

import re

import msgspec
from msgspec import Struct

from edge.identity import CALL_ID
from protocol.codec import DecodeError
from protocol.errors import InvalidJson

AUDIO = "post_call_audio"
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")  # it goes into a header, a metric and a log
HEAD_BYTES = 4096  # in front of the audio stands what it is
FIELD = re.compile(rb'"(type|conversation_id|agent_id)"\s*:\s*"([!#-\[\]-~]{1,200})"')


class Event(Struct, frozen=True):
    """Its kind and whom it concerns, as far as it says so in words that can be shown."""

    type: str = ""
    conversation_id: str | None = None
    agent_id: str | None = None


def event_of(body: bytes) -> Event:
    """A body's, whatever else is in it: a field of another form says nothing, and the others still do.

    Raises:
        InvalidJson: it is no JSON at all.
    """
    try:
        said = msgspec.json.decode(body)
    except DecodeError:
        raise InvalidJson("the body is signed as it should be, but it is no JSON; send the event as JSON") from None
    data = _field(said, "data")
    return _shown(_field(said, "type"), _field(data, "conversation_id"), _field(data, "agent_id"))


def event_at(head: bytes) -> Event:
    """What the beginning of a body says, of which the rest was not kept."""
    found: dict[str, str] = {}
    for name, value in FIELD.findall(head):
        found.setdefault(name.decode(), value.decode())
    return _shown(found.get("type"), found.get("conversation_id"), found.get("agent_id"))


def _field(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _shown(kind: object, conversation_id: object, agent_id: object) -> Event:
    return Event(_fit(kind, NAME) or "", _fit(conversation_id, CALL_ID), _fit(agent_id, CALL_ID))


def _fit(value: object, pattern: re.Pattern[str]) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None
