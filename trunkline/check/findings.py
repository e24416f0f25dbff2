"""What a check has found, and what follows for its exit code."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

Level = Literal["ok", "warn", "fail"]
LEVELS: tuple[Level, ...] = ("ok", "warn", "fail")
FINE, WRONG, NOT_SEEN = 0, 1, 2


class Finding(Struct, frozen=True):
    """One thing that was looked at. Whatever is not `ok` has a cure. Not `seen`: it could not be looked at."""

    section: str
    name: str
    level: Level
    text: str
    cure: str = ""
    seen: bool = True


def ok(section: str, name: str, text: str) -> Finding:
    """As it should be."""
    return Finding(section, name, "ok", text)


def warn(section: str, name: str, text: str, cure: str) -> Finding:
    """It works, and somebody should know."""
    return Finding(section, name, "warn", text, cure)


def fail(section: str, name: str, text: str, cure: str) -> Finding:
    """It does not work, or it will not."""
    return Finding(section, name, "fail", text, cure)


def unseen(section: str, name: str, text: str, cure: str) -> Finding:
    """It could not be looked at, so nothing is known about what lies behind it."""
    return Finding(section, name, "fail", text, cure, seen=False)


def told(section: str, name: str, level: Level, sentence: str, otherwise: str) -> Finding:
    """From a sentence of ours, `what is wrong; the cure`. `otherwise`: the cure where the sentence has none apart."""
    text, _, cure = sentence.partition("; ")
    return Finding(section, name, level, text, cure or otherwise)


def counts(findings: Sequence[Finding]) -> dict[Level, int]:
    """How many there are of each level."""
    counted = Counter(finding.level for finding in findings)
    return {level: counted[level] for level in LEVELS}


def exit_code(findings: Sequence[Finding]) -> int:
    """2 goes over 1: where something could not be looked at, what is wrong is not all known."""
    if not all(finding.seen for finding in findings):
        return NOT_SEEN
    return WRONG if counts(findings)["fail"] else FINE


def document(findings: Sequence[Finding], version: str) -> dict[str, Any]:
    """For machines. Fields are only ever added."""
    return {
        "version": version,
        "exit_code": exit_code(findings),
        "complete": all(finding.seen for finding in findings),
        "counts": counts(findings),
        "findings": [
            {key: getattr(finding, key) for key in ("section", "name", "level", "text", "cure")} for finding in findings
        ],
    }
