"""What a platform says of a call beside the turn itself: its extra bodies, as one table. Pure.

Their values are a caller's, or whoever's: they are bounded, and nothing here makes them safe to be read as text.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from protocol.codec import DecodeError
from protocol.messages import Json

CALL = "call"  # Vapi's object, which is kept apart
VARIABLES = "dynamic_variables"  # a body's own table of them: ElevenLabs' and Telnyx' word
MAX_BODY_BYTES = 256 << 10  # a longer one says nothing
MAX_TEXT = 4000  # characters of one value
MAX_ITEMS = 100  # of one list or object
MAX_DEPTH = 8
MAX_SHOWN = 200  # characters of a value on a trace

_object = msgspec.json.Decoder(dict[str, Any])


def union(extras: Mapping[str, Json]) -> dict[str, Any]:
    """All bodies but the call as one table: where two say the same name, the first counts. Variables that a body has in
    a table of their own are there by that name, and by their own where nothing else has it.
    """
    said: dict[str, Any] = {}
    for name, body in extras.items():
        if name != CALL:
            said = object_of(body) | said
    variables = said.get(VARIABLES)
    return variables | said if isinstance(variables, dict) else said


def shown(extras: Mapping[str, Json], names: Iterable[str]) -> dict[str, str | int | float]:
    """The texts and numbers that the bodies have under these names, cut short."""
    said = union(extras) if extras else {}
    values = {name: said[name] for name in names if isinstance(said.get(name), str | int | float)}
    return {name: value[:MAX_SHOWN] if isinstance(value, str) else value for name, value in values.items()}


def object_of(body: Json) -> dict[str, Any]:
    """A body's values, cut to their bounds; nothing where it cannot be read, or is too long."""
    if len(body) > MAX_BODY_BYTES:
        return {}
    try:
        return {key: bounded(value) for key, value in list(_object.decode(body).items())[:MAX_ITEMS]}
    except DecodeError:
        return {}


def bounded(value: Any, depth: int = 1) -> Any:
    """A JSON value, as far as it is within bounds; what lies too deep is null."""
    match value:
        case str():
            return value[:MAX_TEXT]
        case dict() | list() if depth > MAX_DEPTH:
            return None
        case dict():
            return {key[:MAX_TEXT]: bounded(one, depth + 1) for key, one in list(value.items())[:MAX_ITEMS]}
        case list():
            return [bounded(one, depth + 1) for one in value[:MAX_ITEMS]]
    return value
