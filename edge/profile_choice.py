"""Which profile a turn has: the one that its path, a header, its API key or its model names, else the one whose
platform is recognised, else the plain one. Pure.

Recognised is what its vendor documents and nobody else sends. Pipecat, AssemblyAI and Deepgram send nothing of the
kind, and Vapi only where its `metadataSendMode` is not `off`: they are named.

Source: LiveKit Agents 1.7, livekit/agents/inference/_utils.py (headers); ElevenLabs documentation, custom LLM and
system tools; Vapi documentation, custom LLM, metadataSendMode; Fish Audio documentation, external LLM; Telnyx SDK,
ExternalLlm.forward_metadata; all read in November 2026.
"""

import math
from collections.abc import Mapping, Set
from typing import Protocol

from msgspec import Struct

from edge.spoken import Spoken
from protocol.errors import InvalidValue
from protocol.messages import Json, OnLost, Tool
from protocol.profiles import PLAIN
from protocol.settings_profiles import Profile
from protocol.settings_types import Model, Settings
from protocol.settings_voice import platform_of

HEADER = "X-Trunkline-Profile"
LIVEKIT, LIVEKIT_AGENT, LIVEKIT_ROOM = "livekit", "LiveKit Agents/", "X-LiveKit-Room-ID"
BY_FIELD = {"elevenlabs_extra_body": "elevenlabs", "fishaudio_extra_body": "fish", "extra_metadata": "telnyx"}
VAPI, VAPI_FIELD, VAPI_MARK = "vapi", "call", b'"orgId"'
ELEVENLABS = "elevenlabs"
SYSTEM_TOOLS = frozenset(
    {
        "end_call",
        "language_detection",
        "transfer_to_agent",
        "transfer_to_number",
        "skip_turn",
        "voicemail_detection",
        "play_keypad_touch_tone",
    }
)
"""ElevenLabs' own. One of them may be anybody's function; two are not, where one of them is of `TELLING`."""
TELLING = frozenset({"skip_turn", "language_detection", "play_keypad_touch_tone"})
"""Names that others do not give to what ends, hands over or screens a call."""
RECOGNISED = frozenset({LIVEKIT, VAPI, ELEVENLABS, *BY_FIELD.values()})

CALL_ID_CURES = {
    "elevenlabs": 'let request_headers have {"X-Conversation-Id": {"variable_name": "system__conversation_id"}}',
    "livekit": "in a job openai.LLM sends X-LiveKit-Job-ID by itself; elsewhere let extra_headers have X-Call-Id, "
    "and give openai.responses.LLM metadata with a call_id",
    "pipecat": "let default_headers of its OpenAILLMService have X-Call-Id",
    "vapi": "let metadataSendMode be variable, its default: the call's id is in the body then",
    "deepgram": "let agent.think.endpoint.headers have X-Call-Id",
    "telnyx": "let forward_metadata be true: call_control_id is in the body then",
    "fish": "it sends session_id by itself; see what lies between it and here",
}
"""How each platform is told to say which call it is."""

ANY_CURE = "let a header, a field of the body or the path /c/CALL/v1/... name it"


class Recognisable(Protocol):
    """Where in a request a platform may show itself."""

    @property
    def extras(self) -> Mapping[str, Json]:
        """What it says of the call."""

    @property
    def tools(self) -> tuple[Tool, ...]:
        """What the model may call."""


class Chosen(Struct, frozen=True):
    """A profile, with what it leaves to [edge] and [turn] filled in; made once, for many turns."""

    name: str
    profile: Profile
    platform: str  # the built-in profile that it rests on
    headers_after_s: float
    ping_s: float  # infinite: no comments
    budget_s: float
    on_lost: OnLost
    spoken: Spoken  # what its turns may bring back in their histories

    @property
    def is_plain(self) -> bool:
        """Whether nothing is to be done for it."""
        return self.name == PLAIN


def complete(name: str, settings: Settings) -> Chosen:
    """One profile of these settings, whole."""
    profile, edge, turn = settings.profiles[name], settings.edge, settings.turn
    ping_s = edge.ping_s if profile.ping_s is None else profile.ping_s
    return Chosen(
        name,
        profile,
        platform_of(name, settings.profiles),
        headers_after_s=profile.headers_after_s or edge.headers_after_s,
        ping_s=ping_s or math.inf,
        budget_s=min(profile.budget_s or turn.budget_s, turn.total_s),
        on_lost=profile.on_lost or turn.on_lost,
        spoken=Spoken(profile, turn.finish_text),
    )


PLAIN_CHOICE = complete(PLAIN, Settings())


class Choice:
    """Chooses among the profiles of one snapshot of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._profiles = {name: complete(name, settings) for name in settings.profiles}
        self._tenants = {name: tenant.profile for name, tenant in settings.tenants.items() if tenant.profile}

    def of(
        self,
        asked: Recognisable,
        *,
        from_path: str | None,
        headers: Mapping[str, str],
        tenant: str,
        model: Model | None,
    ) -> Chosen:
        """The profile of one request.

        Raises:
            InvalidValue: its path or its header names one that there is not.
        """
        if from_path:
            return self.in_path(from_path)
        if from_header := headers.get(HEADER):
            return self._named(from_header, f"the header '{HEADER}'")
        name = self._tenants.get(tenant) or (model.profile if model else None) or recognised(asked, headers)
        return self._profiles[name]

    def in_path(self, name: str) -> Chosen:
        """The profile that a path names. Raises InvalidValue."""
        return self._named(name, "the path")

    def _named(self, name: str, where: str) -> Chosen:
        """What stands in a path may be a secret in a wrong place: it is not repeated."""
        if name not in self._profiles:
            known = ", ".join(sorted(self._profiles))
            raise InvalidValue(f"{where} names a profile that there is not; known: {known}")
        return self._profiles[name]


def recognised(asked: Recognisable, headers: Mapping[str, str]) -> str:
    """The built-in profile of the platform that shows itself, else the plain one."""
    if headers.get("User-Agent", "").startswith(LIVEKIT_AGENT) or LIVEKIT_ROOM in headers:
        return LIVEKIT
    for field, value in asked.extras.items():
        if name := BY_FIELD.get(field):
            return name
        if field == VAPI_FIELD and VAPI_MARK in value:
            return VAPI
    if len(asked.tools) > 1 and _is_elevenlabs({tool.name for tool in asked.tools}):
        return ELEVENLABS
    return PLAIN


def _is_elevenlabs(tools: Set[str]) -> bool:
    return len(tools & SYSTEM_TOOLS) > 1 and not tools.isdisjoint(TELLING)


def call_id_cure(platform: str) -> str:
    """What to do about turns that come without a call id."""
    return CALL_ID_CURES.get(platform, ANY_CURE)
