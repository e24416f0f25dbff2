"""When the clock asks something of a turn: its deadlines, a word of the guard's, a sign of life. Pure.

Every time is in seconds, by the clock of `began`.
"""

import math
from typing import Protocol

from edge.guard import Guard
from protocol.messages import Job

SOONEST_S = 0.001  # what is due already has this much time left


class Pace(Protocol):
    """The timers of a stream in which nothing is said, in seconds; an infinite one never fires."""

    @property
    def headers_after_s(self) -> float: ...

    @property
    def ping_s(self) -> float: ...


class Due:
    """One turn's. Signs of life and words of the guard's go into a stream alone."""

    def __init__(self, job: Job, *, began: float, pace: Pace, stream: bool, guard: Guard | None = None) -> None:
        self.has_content = False  # of any offer
        self.answers = False  # the first content of the last offer has come
        self.wrote_at = began
        self._budget_s = job.budget_ms / 1000
        self._budget_at = began + self._budget_s
        self._total_at = began + job.total_ms / 1000
        self._headers_at = began + pace.headers_after_s if stream else math.inf
        self._ping_s = pace.ping_s
        self._guard = guard if stream else None

    @property
    def deadline(self) -> float:
        """Of the last offer's first content, then of the end."""
        return self._total_at if self.answers else min(self._budget_at, self._total_at)

    def sign_at(self, *, headers_sent: bool) -> float:
        """When a sign of life is due that no client takes for content."""
        return self.wrote_at + self._ping_s if headers_sent else self._headers_at

    def wake_at(self, *, headers_sent: bool) -> float:
        """Whatever comes first."""
        guard_at = math.inf if self.guard is None else self.guard.due_at
        return min(self.deadline, self.sign_at(headers_sent=headers_sent), guard_at)

    @property
    def guard(self) -> Guard | None:
        """What speaks while no content comes."""
        return None if self.has_content else self._guard

    def content(self, now: float) -> None:
        """Content is about to be written."""
        self.wrote_at = now
        self.has_content = self.answers = True

    def offered(self, now: float) -> tuple[float, float]:
        """Seconds to the first content and to the end, for one more offer. After content it has a new budget: whoever
        listens waits again as long as for a first word.
        """
        if self.has_content:
            self._budget_at = now + self._budget_s
        self.answers = False
        return max(min(self._budget_at, self._total_at) - now, SOONEST_S), max(self._total_at - now, SOONEST_S)
