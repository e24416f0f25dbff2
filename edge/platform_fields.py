"""What voice platforms add to a request's body, in either dialect: who calls, and what is known of the call. Pure.

Source: the facts on voice platforms; each field is tolerated in any shape.
"""

from msgspec import Raw, Struct, field

from edge import carried
from edge.identity import CALL_ID
from protocol.messages import Json

MAX_PAIRS, MAX_KEY, MAX_VALUE = 16, 64, 512  # of metadata, as OpenAI bounds it
EXTRA_BODIES = ("elevenlabs_extra_body", "fishaudio_extra_body", "extra_metadata", "context")
CALL_ID_KEYS = ("conversation_id", "call_id", "system__conversation_id", "call_control_id")  # the last: Telnyx's


class PlatformFields(Struct, kw_only=True):
    """The fields of a body that platforms fill in."""

    metadata: Raw = field(default_factory=Raw)
    user_id: Raw = field(default_factory=Raw)
    elevenlabs_extra_body: Raw = field(default_factory=Raw)
    fishaudio_extra_body: Raw = field(default_factory=Raw)
    extra_metadata: Raw = field(default_factory=Raw)  # Telnyx
    context: Raw = field(default_factory=Raw)  # Agora
    call: Raw = field(default_factory=Raw)  # Vapi
    session_id: Raw = field(default_factory=Raw)


def metadata_of(form: PlatformFields) -> dict[str, str]:
    """The pairs of strings in its metadata, as far as they are within bounds."""
    pairs = carried.strings(form.metadata).items()
    fitting = [(key, text) for key, text in pairs if len(key) <= MAX_KEY and len(text) <= MAX_VALUE]
    return dict(fitting[:MAX_PAIRS])


def extras_of(form: PlatformFields) -> dict[str, Json]:
    """What a platform says of the call, as it came."""
    given = {name: bytes(getattr(form, name)) for name in (*EXTRA_BODIES, "call")}
    return {name: value for name, value in given.items() if value.startswith(b"{")}


def call_id_in(form: PlatformFields) -> str | None:
    """The call's id, where a field of the body names it."""
    said = {name: carried.strings(value) for name, value in extras_of(form).items()}
    metadata = carried.strings(form.metadata)
    candidates = [
        *(said[name].get(key) for name in EXTRA_BODIES if name in said for key in CALL_ID_KEYS),
        said["call"].get("id") if "call" in said else None,
        carried.text(form.session_id),
        *(metadata.get(key) for key in ("call_id", "conversation_id")),
    ]
    return next((given for given in candidates if given and CALL_ID.fullmatch(given)), None)


def user_of(form: PlatformFields, user: str | None) -> str | None:
    """Whom the request is for; a platform's own word for it stands in."""
    return user or carried.text(form.user_id)
