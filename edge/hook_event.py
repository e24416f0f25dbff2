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


class _Data(Struct):
    conversation_id: str | None = None
    agent_id: str | None = None


class _Body(Struct):
    type: str | None = None
    data: _Data | None = None


_body = msgspec.json.Decoder(_Body)


def event_of(body: bytes) -> Event:
    """A body's. One that is JSON of another form is of no kind.

    Raises:
        InvalidJson: it is no JSON at all.
    """
    try:
        said = _body.decode(body)
    except msgspec.ValidationError:
        return Event()
    except DecodeError:
        raise InvalidJson("the body is signed as it should be, but it is no JSON; send the event as JSON") from None
    data = said.data or _Data()
    return _shown(said.type, data.conversation_id, data.agent_id)


def event_at(head: bytes) -> Event:
    """What the beginning of a body says, of which the rest was not kept."""
    found: dict[str, str] = {}
    for name, value in FIELD.findall(head):
        found.setdefault(name.decode(), value.decode())
    return _shown(found.get("type"), found.get("conversation_id"), found.get("agent_id"))


def _shown(kind: str | None, conversation_id: str | None, agent_id: str | None) -> Event:
    return Event(
        kind if kind and NAME.fullmatch(kind) else "",
        conversation_id if conversation_id and CALL_ID.fullmatch(conversation_id) else None,
        agent_id if agent_id and CALL_ID.fullmatch(agent_id) else None,
    )
