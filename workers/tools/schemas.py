"""Arguments, held against the JSON Schema that came with the request. Pure: nothing that a schema names is fetched.

A schema is a stranger's: it is compiled once, as the same ones come again with every turn, and what it may cost is
bounded (`bounds`). One that cannot be read, or would cost too much, checks nothing.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from jsonschema_rs import RegexOptions, ValidationError, Validator, validator_for

from protocol.codec import DecodeError
from protocol.messages import Json
from workers.tools.bounds import MAX_SCHEMA_BYTES, MAX_WORK, MAX_WORK_TOLD, TooMuch, parts_of, steps_of
from workers.tools.dialects import as_json_schema, named_values, without_nulls

MAX_TOLD_CHARS = 200
CACHED = 128  # schemas of one worker

PATTERNS = RegexOptions(size_limit=16 << 10, dfa_size_limit=64 << 10)
"""An engine without backtracking: its time grows with the text and with the pattern's size, which is bounded. It knows
no look-around and no back references: a pattern that needs them is left out, as is a large one; the rest of the schema
is checked.
Source: the documentation of the `regex` crate, "Untrusted input" (read 2026-11).
"""
MAX_PATTERN_CHARS = 100  # of one; a UUID's takes 80
MAX_PATTERNS_CHARS = 256  # of all together: some take time to read before their size is known
MIN_PATTERN_CHARS = 16  # as which a shorter one counts

MASK = "its value"
SOMETHING = "something in them is not as the schema has it"


class Unreadable(Exception):
    """A schema that checks nothing."""


class Readable(NamedTuple):
    """A schema that checks something. `values`: the texts that it names as values."""

    schema: Any
    validator: Validator
    steps: int
    values: frozenset[str]


def fault(schema: Json, arguments: dict[str, Any]) -> str | None:
    """The first thing that is wrong with the arguments, by path and keyword and without what they hold; None: they fit.

    Raises:
        Unreadable: the schema is none, refers to what is not in it, would cost too much, or cannot be compiled.
    """
    read = _read(schema)
    if read is None:
        raise Unreadable
    try:
        work = read.steps * parts_of(arguments)
    except TooMuch as too_much:
        raise Unreadable from too_much
    if work > MAX_WORK:
        raise Unreadable
    if read.validator.is_valid(arguments):
        return None
    given = without_nulls(arguments, read.schema, read.schema)
    return None if read.validator.is_valid(given) else _told(read.validator, given, work)


def values_of(schema: Json) -> frozenset[str]:
    """The texts that a schema names as values; none where it cannot be read."""
    read = _read(schema)
    return frozenset() if read is None else read.values


def _read(schema: Json) -> Readable | None:
    return _compiled(schema) if len(schema) <= MAX_SCHEMA_BYTES else None  # nobody keeps a large one


@lru_cache(CACHED)
def _compiled(schema: Json) -> Readable | None:
    """None: it cannot be, which is known from then on too."""
    try:
        decoded = as_json_schema(msgspec.json.decode(schema), _Patterns().may_stay)
        steps = steps_of(decoded)
    except (*DecodeError, TooMuch):  # a RecursionError is one of the first
        return None
    validator = _validator(decoded)
    return None if validator is None else Readable(decoded, validator, steps, frozenset(named_values(decoded)))


class _Patterns:
    """Those of one schema, in the order in which they come."""

    def __init__(self) -> None:
        self._chars = 0

    def may_stay(self, pattern: str) -> bool:
        """Whether it is short, and the engine can read it."""
        self._chars += max(len(pattern), MIN_PATTERN_CHARS)
        if len(pattern) > MAX_PATTERN_CHARS or self._chars > MAX_PATTERNS_CHARS:
            return False
        return _validator({"pattern": pattern}) is not None


def _validator(schema: Any) -> Validator | None:
    try:
        return validator_for(schema, offline=True, mask=MASK, pattern_options=PATTERNS, validate_formats=False)
    except ValueError:  # a ValidationError of the schema's is one
        return None


def _told(validator: Validator, arguments: dict[str, Any], work: int) -> str:
    """The first error: to look for all of them takes a thousand times as long."""
    if work > MAX_WORK_TOLD:
        return SOMETHING
    try:
        validator.validate(arguments)
    except ValidationError as error:
        return _worded(error)
    return SOMETHING


def _worded(error: ValidationError) -> str:
    path = "/".join(str(step) for step in error.instance_path)
    told = f"{error.message} ({error.kind.name})"
    said = f"'{path}': {told}" if path else told
    return said if len(said) <= MAX_TOLD_CHARS else said[: MAX_TOLD_CHARS - 1] + "…"
