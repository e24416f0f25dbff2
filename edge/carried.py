"""What a body carries or is looked into, and is not typed: JSON values as they came. Pure."""

from collections.abc import Iterable

import msgspec
from msgspec import Raw

from edge.body import wrong_type
from protocol.codec import DecodeError
from protocol.messages import Json

_object = msgspec.json.Decoder(dict[str, Raw])
_string = msgspec.json.Decoder(str)


def absent(value: Raw | Json) -> bool:
    """Not there, or null."""
    return bytes(value) in (b"", b"null")


def json_object(value: Raw, path: str) -> Json | None:
    """A JSON object as it came, byte for byte."""
    if absent(value):
        return None
    carried = bytes(value)
    if not carried.startswith(b"{"):
        raise wrong_type(path, "object")
    return carried


def strings(value: Raw | Json) -> dict[str, str]:
    """The non-empty strings of a JSON object; nothing of any other value."""
    if absent(value):
        return {}  # an exception would cost more
    try:
        entries = _object.decode(value)
    except DecodeError:
        return {}
    return {key: found for key, entry in entries.items() if (found := text(entry))}


def objects(value: Raw | Json, names: Iterable[str]) -> list[Json]:
    """The objects that a JSON object holds under these names, as they came."""
    if not any(name.encode() in bytes(value) for name in names):
        return []
    try:
        entries = _object.decode(value)
    except DecodeError:
        return []
    found = [bytes(entries[name]) for name in names if name in entries]
    return [entry for entry in found if entry.startswith(b"{")]


def text(value: Raw) -> str | None:
    """A JSON string; None for any other value, and for the empty one."""
    if absent(value):
        return None
    try:
        return _string.decode(value) or None
    except DecodeError:
        return None
