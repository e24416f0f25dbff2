"""[tools.<name>]: when a tool may be called, and with what. Pure."""

import re
from collections.abc import Container, Iterator
from typing import Any

import msgspec

from protocol.settings_profiles import Gate
from workers.tools.objections import NOT_AFTER, NOT_ALLOWED, PLACEHOLDER, TOO_EARLY, Objection, objection
from workers.tools.past import Past, same_arguments

MAX_LISTED = 20  # of what may be called, and with what: a model need not read a telephone book

MAX_PLACEHOLDER_CHARS = 100

TELEPHONE = re.compile(r"[+\d(). -]+")
MIN_DIGITS = 7  # of a telephone number; in anything shorter a dot or a dash may say something
TO_READ_WELL = re.compile(r"[(). -]")

WORDS = frozenset(("placeholder", "string", "todo", "tbd", "n/a", "phone_number", "your_number_here", "insert_here"))
TEMPLATE = re.compile(r"\{\{.*\}\}", re.DOTALL)  # {{number}}: nobody filled it in
FORMS = re.compile(
    r"\$?\{[a-z][\w .-]*\}"  # {number}, ${number}
    r"|<[a-z][\w .-]*>"  # <phone>
    r"|\[[a-z][\w .-]*\]"  # [caller name]
    r"|\+?[\d\s()./-]*+x{3}[\d\s()./x-]*+",  # +1XXXXXXXXXX, 555-XXX-XXXX
    re.IGNORECASE,
)
"""What models write where they know no value: all of it, never a part of a longer text."""

FREE_TEXT = re.compile(r"(.*_)?(reason|message|notes?|summary|comments?|description|text)", re.IGNORECASE)
"""Names of arguments in which people write what they like, "N/A" too; a template is none of that."""

LATER = "Go on with the conversation instead."
ASK = "Ask the caller for what is not known, or go on without the call."


def too_soon(gate: Gate, name: str, past: Past) -> Objection | None:
    """What speaks against a call now, whatever its arguments."""
    if past.turn < gate.not_before_turn:
        return objection(TOO_EARLY, f"it is too early in the conversation for '{name}'", LATER)
    missing = ", ".join(f"'{tool}'" for tool in gate.after if not past.has_done(tool))
    if missing:
        return objection(NOT_AFTER, f"{missing} has to be called before it, with success", f"Call {missing} first.")
    return None


def wrong_value(gate: Gate, arguments: dict[str, Any], named: Container[str] = ()) -> Objection | None:
    """What speaks against arguments that fit their schema. `named`: the values that the schema itself names."""
    for argument, allowed in gate.allowed.items():
        value = arguments.get(argument)  # null is nothing
        if value is not None and not _is_allowed(value, allowed):
            listed = ", ".join(allowed[:MAX_LISTED])
            return objection(NOT_ALLOWED, f"'{argument}' may not have that value", f"It may be: {listed}.")
    if gate.placeholders:
        return None
    looked_at = {name: value for name, value in arguments.items() if name not in gate.allowed}
    found = next((path for path, name, text in _texts(looked_at) if text not in named and _is_bare(name, text)), None)
    if found is not None:
        return objection(PLACEHOLDER, f"'{found}' holds a placeholder instead of a value", ASK)
    return None


def is_placeholder(text: str) -> bool:
    """Whether a model wrote it where it knew no value."""
    written = text.strip() if len(text) <= MAX_PLACEHOLDER_CHARS else ""
    return written.casefold() in WORDS or is_template(written) or FORMS.fullmatch(written) is not None


def is_template(text: str) -> bool:
    """Whether nobody filled it in."""
    return len(text) <= MAX_PLACEHOLDER_CHARS and TEMPLATE.fullmatch(text.strip()) is not None


def _is_bare(name: str, text: str) -> bool:
    return is_template(text) if FREE_TEXT.fullmatch(name) else is_placeholder(text)


def _is_allowed(value: Any, allowed: tuple[str, ...]) -> bool:
    if isinstance(value, list):
        return all(_is_allowed(one, allowed) for one in value)
    return any(_is_same(value, one) for one in allowed)


def _is_same(value: Any, allowed: str) -> bool:
    """As text, as a JSON value, or as a telephone number, whatever people put in it to read it well."""
    if not isinstance(value, str):
        return same_arguments(msgspec.json.encode(value).decode(), allowed)
    return value == allowed or (
        _is_telephone(value) and _is_telephone(allowed) and _dialled(value) == _dialled(allowed)
    )


def _is_telephone(text: str) -> bool:
    return TELEPHONE.fullmatch(text) is not None and sum(map(str.isdigit, text)) >= MIN_DIGITS


def _dialled(number: str) -> str:
    return TO_READ_WELL.sub("", number)


def _texts(value: Any, path: str = "", name: str = "") -> Iterator[tuple[str, str, str]]:
    """Each with its path and the name of the argument that it is in."""
    if isinstance(value, str):
        yield path, name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, f"{path}/{key}" if path else key, key)
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _texts(inner, f"{path}/{at}", name)
