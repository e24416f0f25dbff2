"""A turn for each fault, API and way: what a line is configured with, what is held, what `docs/faults.md` shows."""

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from tests.faults.faults import FAULTS, WELL, Fault, Heard
from tests.faults.voices import VOICES

Way = Literal["alone", "next", "goes on"]
"""One target; a second one that is well; the same, and a turn that goes on after a target was lost."""


class Outcome(Struct, frozen=True):
    """What becomes of one turn. `asked`: requests per target, in order."""

    heard: Heard
    asked: tuple[int, ...]


class Scenario(Struct, frozen=True):
    """One turn: a fault, in one API, alone or with a next target. The next one speaks another API."""

    fault: str
    voice: str
    way: Way

    @property
    def name(self) -> str:
        """Of the model, too."""
        return f"{self.fault}-{self.voice}-{self.way}".replace(" ", "-")

    @property
    def told(self) -> Fault:
        return FAULTS[self.fault]

    @property
    def targets(self) -> list[tuple[str, str]]:
        """What each target does, and in which API."""
        first = (self.fault, self.voice)
        names = [voice.name for voice in VOICES]
        after = names[(names.index(self.voice) + 1) % len(names)]
        return [first] if self.way == "alone" else [first, (WELL, after)]

    @property
    def outcome(self) -> Outcome:
        """What must become of it."""
        told = self.told
        if self.way == "alone":
            return Outcome(told.alone, (told.asked,))
        if self.way == "goes on" and told.goes_on:
            return Outcome(told.goes_on, (1, 1))
        asks_next = told.then != told.alone if told.asks_next is None else told.asks_next
        return Outcome(told.then, (1, int(asks_next)))


def _scenarios() -> Iterator[Scenario]:
    for name, fault in FAULTS.items():
        ways: tuple[Way, ...] = ("alone", "next", "goes on") if fault.goes_on else ("alone", "next")
        for way in ways:
            for voice in fault.voices:
                yield Scenario(name, voice, way)


SCENARIOS: tuple[Scenario, ...] = tuple(_scenarios())
