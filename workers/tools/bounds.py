"""What a schema and arguments may cost. Pure.

The check runs on the event loop, beside the voices of other calls, so its worst case may take a few milliseconds. Time
cannot be taken back once it is spent: everything is counted before it is compiled, or held against a value.
"""

from typing import Any
from urllib.parse import unquote

MAX_SCHEMA_BYTES = 16 << 10
MAX_STEPS = 10_000  # of one schema, with references written out: a few lines of them can ask for millions
MAX_BRANCHES = 4  # of `anyOf` in each other: each tries all of those below it
PATTERN_STEPS = 200  # what it may take to hold a text against one

MAX_ARGUMENTS_CHARS = 16 << 10
MAX_DEPTH = 32  # of arguments; nobody's tool is made for more
CHARS_PER_PART = 64
MAX_WORK = 50_000  # steps of a schema times parts of the arguments: each may be held against each
MAX_WORK_TOLD = 5_000  # beyond that nobody looks for what is wrong

REFERENCES = ("$dynamicRef", "$recursiveRef")  # where they lead, only the validator knows; so with `$id` in a part
ASIDE = ("$defs", "definitions")  # they count where they are referred to
VALUES = ("const", "enum", "default", "examples")  # keywords that hold values, no schemas
MAPS = ("properties", "patternProperties", "dependentSchemas", "dependencies", *ASIDE)  # names, and a schema for each
BRANCHES = ("anyOf", "oneOf", "not", "if", "contains", "unevaluatedProperties", "unevaluatedItems")


class TooMuch(Exception):
    """It costs more than it may, or nobody can say what it costs."""


def parts_of(value: Any, depth: int = 0) -> int:
    """How much there is in a value to hold a schema against: values and keys, and long texts in parts.

    Raises:
        TooMuch: values lie too deep in each other.
    """
    if isinstance(value, str):
        return 1 + len(value) // CHARS_PER_PART
    if not isinstance(value, dict | list):
        return 1
    if depth >= MAX_DEPTH:
        raise TooMuch
    inner = value.values() if isinstance(value, dict) else value
    keys = sum(1 + len(key) // CHARS_PER_PART for key in value) if isinstance(value, dict) else 0
    return 1 + keys + sum(parts_of(one, depth + 1) for one in inner)


def steps_of(schema: Any) -> int:
    """How many parts of a schema may look at one and the same value, with references written out.

    Raises:
        TooMuch: they are too many, a part refers to itself, or to what is no pointer into the schema.
    """
    return _Steps(schema).of(schema, 0)


def resolved(root: Any, reference: str) -> Any:
    """The part that a pointer names; None where there is none, which the validator finds out too."""
    node = root
    for step in reference.split("/")[1:]:
        key = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(node, list) and key.isdecimal() and int(key) < len(node):
            node = node[int(key)]
        else:
            node = node.get(key) if isinstance(node, dict) else None
    return node


class _Steps:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._open: set[str] = set()  # references that are being followed
        self._known: dict[tuple[str, int], int] = {}

    def of(self, node: Any, branches: int) -> int:
        """`branches`: how many there are around it."""
        if isinstance(node, list):
            return self._checked(sum(self.of(part, branches) for part in node))
        if not isinstance(node, dict):
            return int(isinstance(node, bool))
        inside = branches + any(key in node for key in BRANCHES)
        has_base = node is not self._root and isinstance(node.get("$id", node.get("id")), str)
        if inside > MAX_BRANCHES or has_base or any(isinstance(node.get(key), str) for key in REFERENCES):
            raise TooMuch
        return self._checked(1 + sum(self._of_keyword(*one, inside) for one in node.items() if one[0] not in ASIDE))

    def _of_keyword(self, key: str, value: Any, branches: int) -> int:
        if key == "$ref" and isinstance(value, str):
            return self._referred(value, branches)
        if key in VALUES:
            return len(value) if isinstance(value, list) else 1
        if key == "pattern":
            return PATTERN_STEPS
        if key in MAPS and isinstance(value, dict):
            patterns = len(value) * PATTERN_STEPS if key == "patternProperties" else 0
            return patterns + sum(self.of(part, branches) for part in value.values())
        return self.of(value, branches)

    def _referred(self, reference: str, branches: int) -> int:
        if not reference.startswith("#/") or reference in self._open:
            raise TooMuch
        if (reference, branches) not in self._known:
            self._open.add(reference)
            self._known[reference, branches] = self.of(resolved(self._root, reference), branches)
            self._open.remove(reference)
        return self._known[reference, branches]

    def _checked(self, steps: int) -> int:
        if steps > MAX_STEPS:
            raise TooMuch
        return steps
