"""The `echo.…` commands in a request's metadata, checked. Pure."""

import re
from collections.abc import Mapping
from typing import Literal, get_args

from msgspec import Struct

from protocol.errors import InvalidValue

MAX_S = 60.0
MAX_TOKENS = 10_000
MAX_CALLS = 100
PREFIX = "echo."
NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
WHOLE_NUMBER = re.compile(r"[0-9]{1,9}")

Fault = Literal["before", "cut", "stall", "empty", "malformed"]
FAULTS = "before:503, cut:K, stall:K, empty, malformed:K"
COMMANDS = ("first_ms", "rate", "tokens", "calls", "fail")


class Fail(Struct, frozen=True):
    """What goes wrong, and after how many tokens."""

    fault: Fault
    after: int = 0


class Commands(Struct, frozen=True, kw_only=True):
    """How a built-in model speaks; bounded by 60 s and 10,000 tokens."""

    first_s: float = 0.0  # before the first frame
    rate: float = 0.0  # tokens per second; 0: unpaced
    tokens: int | None = None  # None: the text once
    calls: int = 1  # tool calls per answer
    fail: Fail | None = None


def read(metadata: Mapping[str, str]) -> Commands:
    """The commands in `metadata`; what does not begin with `echo.` is the caller's own.

    Raises:
        InvalidValue: an unknown command, or a value that it cannot take; `param` names it.
    """
    told = {key.removeprefix(PREFIX): value for key, value in metadata.items() if key.startswith(PREFIX)}
    for name in told.keys() - set(COMMANDS):
        raise _wrong(name, f"no such command; known: {', '.join(COMMANDS)}")
    return Commands(
        first_s=min(_number(told, "first_ms") / 1000, MAX_S),
        rate=_number(told, "rate"),
        tokens=min(_count(told, "tokens"), MAX_TOKENS) if "tokens" in told else None,
        calls=min(_count(told, "calls"), MAX_CALLS) if "calls" in told else 1,
        fail=_fail(told["fail"]) if "fail" in told else None,
    )


def _wrong(name: str, what: str) -> InvalidValue:
    return InvalidValue(f"metadata {PREFIX}{name}: {what}", param=f"metadata.{PREFIX}{name}")


def _number(told: Mapping[str, str], name: str) -> float:
    value = told.get(name, "0")
    if not NUMBER.fullmatch(value):
        raise _wrong(name, f"{value[:40]!r} is no number from 0 on, such as '20' or '0.5'")
    return float(value)


def _count(told: Mapping[str, str], name: str) -> int:
    value = told[name]
    if not WHOLE_NUMBER.fullmatch(value) or int(value) == 0:
        raise _wrong(name, f"{value[:40]!r} is no whole number from 1 on")
    return int(value)


def _fail(value: str) -> Fail:
    fault, colon, after = value.partition(":")
    if fault == "empty" and not colon:
        return Fail("empty")
    if value == "before:503":
        return Fail("before")
    if fault in get_args(Fault) and fault not in ("empty", "before") and WHOLE_NUMBER.fullmatch(after):
        return Fail(fault, int(after))  # type: ignore[arg-type]  # it is one of Fault's
    raise _wrong("fail", f"{value[:40]!r} is none of {FAULTS}")
