"""What the edge says while no content comes, and when: a space that nobody hears, or a filler. Pure.

Three clocks watch a stream, see `protocol.profiles`. Where it is content that is watched, a single space stops the
clock; where a person listens, words do.

Source: ElevenLabs, custom LLM, buffer words (they end in an ellipsis and a space); Vapi, flush syntax.
"""

import math
from typing import NamedTuple

from edge.language import in_this_language
from protocol.messages import Job
from protocol.settings_profiles import Profile

SPACE = " "
ELLIPSIS = "... "
FLUSH = "<flush />"
TRAILING = " \t\n.…,;:-"  # of a filler as it is configured: the ellipsis takes its place


class Said(NamedTuple):
    """What goes out, and the filler in it as it is configured; none in a space."""

    text: str
    filler: str = ""


def wording(filler: str, *, flush: bool = False) -> str:
    """A filler as it is spoken: the space at its end keeps what follows apart, for the reader and for the voice."""
    words = bare(filler)
    return f"{words}...{FLUSH} " if flush else words + ELLIPSIS


def bare(filler: str) -> str:
    """A filler without what it ends in, so that two can be compared however they were written."""
    return filler.rstrip().removesuffix(FLUSH).rstrip(TRAILING)


def fillers_of(profile: Profile, language: str) -> tuple[str, ...]:
    """Those of one language, each once; words in another one would be worse than a silence."""
    known = in_this_language(profile.fillers, language) or ()
    return tuple({bare(filler): filler for filler in known}.values())


def guard_for(profile: Profile, job: Job, *, began: float, speaks: bool) -> "Guard | None":
    """The guard of a turn that streams. `speaks`: plain text; before JSON there may be a space, and no more. None: its
    profile has none.
    """
    if not profile.guard:
        return None
    turn = sum(message.role == "user" for message in job.messages)
    fillers = fillers_of(profile, job.language or profile.language)
    if not speaks or (job.tools and not profile.fillers_beside_tools):
        fillers = ()
    return Guard(profile, fillers, first=turn * profile.fillers_per_turn, began=began)


class Guard:
    """One turn's. `first` is where the rotation begins in a call of which nothing is known.

    The last entry of the profile's `guard` is said again and again. Where a filler is due and none is left, nothing
    more is said, or a space where nothing was said yet.
    """

    def __init__(self, profile: Profile, fillers: tuple[str, ...], *, first: int, began: float) -> None:
        self.due_at = began + profile.guard_s  # by the clock of `began`; infinity: never again
        self._profile = profile
        self._fillers = fillers
        self._first = first
        self._spent = 0  # fillers, in the call's earlier turns
        self._last = ""
        self._said: list[Said] = []

    def know(self, *, fillers: int, last_filler: str) -> None:
        """What was said in the call's earlier turns; it may come late, or never."""
        self._spent = fillers
        self._last = last_filler

    def next(self, now: float) -> Said | None:
        """What to say at `due_at`; None: nothing more."""
        said = self._next()
        if said is not None:
            self._said.append(said)
        self.due_at = math.inf if said is None else now + self._profile.again_s
        return said

    def _next(self) -> Said | None:
        steps = self._profile.guard
        step = steps[min(len(self._said), len(steps) - 1)]
        filler = self._filler() if step == "filler" else None
        if filler is not None:
            return Said(wording(filler, flush=self._profile.flush), filler)
        return None if step == "filler" and self._said else Said(SPACE)

    def _filler(self) -> str | None:
        spoken = [said.filler for said in self._said if said.filler]
        profile = self._profile
        if len(spoken) >= profile.fillers_per_turn or self._spent + len(spoken) >= profile.fillers_per_call:
            return None
        return self._after(spoken[-1]) if spoken else self._opening()

    def _opening(self) -> str | None:
        """The first of the turn. One that is alone may be the last turn's too: an answer stands between them."""
        if not self._fillers:
            return None
        if self._last:
            return self._after(self._last) or self._fillers[0]
        return self._fillers[self._first % len(self._fillers)]

    def _after(self, last: str) -> str | None:
        """The next one in the rotation; None: there is no other."""
        known = [bare(filler) for filler in self._fillers]
        if bare(last) not in known:  # the call's language has changed, or the settings have
            return self._fillers[self._first % len(known)]
        following = self._fillers[(known.index(bare(last)) + 1) % len(known)]
        return None if bare(following) == bare(last) else following
