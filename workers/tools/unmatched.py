"""Gates that hold nothing back, because they name an argument that the tool does not have. Whoever wrote one believes
that it holds, and no call will ever say otherwise: the log does, as soon as a request offers the tool.
"""

import logging
from collections.abc import Iterable, Mapping
from functools import lru_cache

import msgspec

from protocol.codec import DecodeError
from protocol.messages import Json, Tool
from protocol.settings_profiles import Gate
from workers.tools.bounds import MAX_SCHEMA_BYTES
from workers.tools.branches import branches

log = logging.getLogger(__name__)

MAX_TOLD = 200  # warnings of one process
MAX_LISTED = 20  # of the arguments that there are
MAX_NAME_CHARS = 64
CACHED = 128  # schemas of one worker

_told: set[tuple[str, str]] = set()  # tool and argument, for the life of the process


def warn(tools: Iterable[Tool], gates: Mapping[str, Gate]) -> None:
    """Once for each tool and argument. `tools`: those of a request."""
    if not gates:
        return
    for tool in tools:
        gate = gates.get(tool.name)
        if gate is not None and gate.allowed and (known := arguments_of(tool.parameters)) is not None:
            _warn(tool.name, [argument for argument in gate.allowed if argument not in known], known)


def _warn(tool: str, missing: Iterable[str], known: tuple[str, ...]) -> None:
    for argument in missing:
        if (tool, argument) not in _told and len(_told) < MAX_TOLD:
            _told.add((tool, argument))
            listed = ", ".join(repr(name[:MAX_NAME_CHARS]) for name in known[:MAX_LISTED]) or "none"
            words = "tools.%s.allowed: the tool has no argument %r, so that nothing is held back by it; it has: %s"
            log.warning(words, tool, argument, listed)


@lru_cache(CACHED)
def arguments_of(schema: Json | None) -> tuple[str, ...] | None:
    """The names that a tool's schema has for its arguments; None: it does not tell, or cannot be read."""
    if schema is None:
        return ()
    if len(schema) > MAX_SCHEMA_BYTES:
        return None
    try:
        root = msgspec.json.decode(schema)
        parts = list(branches(root, root, set()))
    except DecodeError:
        return None
    named = [part["properties"] for part in parts if isinstance(part.get("properties"), dict)]
    if not named or any(part.get("patternProperties") for part in parts):
        return None
    return tuple(dict.fromkeys(name for properties in named for name in properties))
