"""Tools to offer: two examples, or those of a JSON file. Nobody runs them but the person at the keyboard."""

import re
from pathlib import Path

import msgspec
from msgspec import Raw, Struct

from trunkline.talk.failure import Failure

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
FORM = 'write [{"type": "function", "function": {"name": …, "parameters": {…}}}]'

EXAMPLES = b"""[
    {"type": "function", "function": {
        "name": "order_status", "description": "Where an order is",
        "parameters": {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}}},
    {"type": "function", "function": {
        "name": "transfer_call", "description": "Put the caller through to a person",
        "parameters": {"type": "object", "properties": {
            "department": {"type": "string", "enum": ["sales", "support"]}}, "required": ["department"]}}}
]"""


class _Function(Struct, frozen=True):
    name: str


class _Tool(Struct, frozen=True):
    function: _Function


class Tools(Struct, frozen=True):
    """A set of tools: what they are called, and what is sent, byte for byte."""

    names: tuple[str, ...] = ()
    sent: tuple[Raw, ...] = ()


def parse(text: bytes, *, source: str) -> Tools:
    """Tools in OpenAI's form. Raises Failure: `source` holds none."""
    try:
        sent = msgspec.json.decode(text, type=tuple[Raw, ...])
        names = tuple(msgspec.json.decode(one, type=_Tool).function.name for one in sent)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Failure(f"{source} is no JSON list of tools ({error}); {FORM}") from None
    if not names:
        raise Failure(f"{source} has no tool in it; {FORM}")
    for name in names:
        if not NAME.fullmatch(name):
            raise Failure(f"{source}: a tool's name has up to 64 letters, digits, _ and -, and {name[:80]!r} has not")
    return Tools(names, sent)


def load(path: str) -> Tools:
    """The tools of a file. Raises Failure."""
    try:
        return parse(Path(path).expanduser().read_bytes(), source=path)
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}; name a JSON file of tools") from None


def examples() -> Tools:
    """The built-in ones."""
    return parse(EXAMPLES, source="the examples")
