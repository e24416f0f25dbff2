"""What a whole call came to. Pure.

The upstream numbers its words, `7-1 7-2 …` in turn 7, so that whoever hears them knows what is missing and what came
twice.
"""

import re
from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from tests.platforms.clients import Turn
from tests.platforms.hearing import ToolCall

NUMBERED = re.compile(r"(?<![\w-])(\d+b?)-(\d+)(?![\w-])")
UNSPEAKABLE = re.compile(r"[<>{}\[\]|`\\]|[a-z]_[a-z]|\bponder", re.IGNORECASE)
"""Marks, JSON, names of functions, and what the upstream thinks."""
ONCE = {"end_call", "endCall", "transfer_to_agent", "transfer_to_number", "transferCall"}
"""What a caller notices twice, whatever the arguments."""


class Verdict(Struct, frozen=True):
    """What the caller would complain about, turn by turn; the call's own end is `Call.dropped`."""

    repeated: tuple[str, ...] = ()  # words that were spoken twice
    missing: tuple[str, ...] = ()  # turns in which words are missing in the middle, or in the wrong order
    unspeakable: tuple[str, ...] = ()
    unfit: tuple[ToolCall, ...] = ()  # executed with arguments that do not fit
    twice: tuple[str, ...] = ()  # tools that were executed again: with the same arguments in a turn, ONCE in a call
    silent: tuple[str, ...] = ()


FLAWLESS = Verdict()


def verdict(turns: Sequence[Turn]) -> Verdict:
    """Judge a call."""
    words = Counter(match[0] for turn in turns for match in NUMBERED.finditer(turn.heard))
    executed = Counter(
        (call.name, "") if call.name in ONCE else (call.name, f"{number} {call.arguments}")
        for number, turn in enumerate(turns)
        for call in turn.executed
    )
    return Verdict(
        repeated=tuple(word for word, count in words.items() if count > 1),
        missing=tuple(turn.heard for turn in turns if not _is_in_order(turn.heard)),
        unspeakable=tuple(turn.heard for turn in turns if UNSPEAKABLE.search(turn.heard)),
        unfit=tuple(call for turn in turns for call in turn.unfit),
        twice=tuple(name for (name, _), count in executed.items() if count > 1),
        silent=tuple(turn.said for turn in turns if turn.silent and not turn.cut),
    )


def _is_in_order(heard: str) -> bool:
    """Each answer's words count from 1 on, one by one."""
    numbers: dict[str, list[int]] = {}
    for match in NUMBERED.finditer(heard):
        numbers.setdefault(match[1], []).append(int(match[2]))
    return all(found == list(range(1, len(found) + 1)) for found in numbers.values())
