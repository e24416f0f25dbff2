"""What a webhook says of its call, as far as it is shown. What was said in the call only where it is asked for. Pure.

Source: ElevenLabs' documentation, "Post-call webhooks" (elevenlabs.io/docs/eleven-agents/workflows/post-call-webhooks),
as read in November 2026: `data.metadata`, `data.transcript`, `data.failure_reason`.
"""

import msgspec
from msgspec import Struct

from protocol.codec import DecodeError
from protocol.messages import Hook


class Said(Struct, frozen=True, omit_defaults=True):
    """One entry of a transcript."""

    role: str = ""
    message: str | None = None
    time_in_call_secs: float | None = None


class Told(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One webhook."""

    type: str
    received_at: str
    agent_id: str | None = None
    trace_id: str | None = None
    bytes: int = 0
    status: str | None = None
    duration_s: float | None = None
    cost: float | None = None  # in the platform's unit
    ended: str | None = None  # why, in the platform's words
    transcript: tuple[Said, ...] | None = None


class _Metadata(Struct):
    call_duration_secs: float | None = None
    cost: float | None = None
    termination_reason: str | None = None


class _Data(Struct):
    status: str | None = None
    failure_reason: str | None = None
    metadata: _Metadata | None = None
    transcript: list[Said] | None = None


class _Body(Struct):
    data: _Data | None = None


_body = msgspec.json.Decoder(_Body)


def told(hook: Hook, *, transcript: bool) -> Told:
    """What one says; a body of another form says nothing but its kind."""
    try:
        data = _body.decode(hook.body).data or _Data()
    except DecodeError:
        data = _Data()
    metadata = data.metadata or _Metadata()
    return Told(
        type=hook.type,
        received_at=hook.received_at,
        agent_id=hook.agent_id,
        trace_id=hook.trace_id,
        bytes=len(bytes(hook.body)),
        status=data.status,
        duration_s=metadata.call_duration_secs,
        cost=metadata.cost,
        ended=data.failure_reason or metadata.termination_reason or None,
        transcript=tuple(data.transcript or ()) if transcript else None,
    )
