"""The timers of one upstream request: when it is due (pure), and what wakes its reader."""

import asyncio
from collections.abc import Callable

from protocol.errors import UpstreamTimeout

FINISH_GRACE_S = 1.0  # after a finish reason: usage and [DONE] come at once, or not at all

LAST_CHANCE_S = (
    0.01  # a process that was frozen wakes to a timer that is due and a socket that is full: read that first
)


class Deadlines:
    """How long a request may be silent. Times are of the event loop's clock, durations in seconds.

    Until content or a tool call begins, the turn's budget counts, and `first_content_s`, which makes room for a next
    target: None where there is none. From then on any progress, reasoning included, buys `stall_s`. `total_s` bounds
    everything.
    """

    def __init__(
        self, start: float, *, budget_s: float, stall_s: float, total_s: float, first_content_s: float | None = None
    ) -> None:
        self._stall_s = stall_s
        self._end = start + total_s
        self._too_late = f"no content within {budget_s:g} s (the turn's budget)"
        if first_content_s is not None and first_content_s < budget_s:
            self._too_late = f"no content within {first_content_s:g} s (first_content_s)"
            budget_s = first_content_s
        self.due = min(start + budget_s, self._end)
        self._begun = False
        self._too_long = f"not at its end within {total_s:g} s (total_s)"

    def progress(self, now: float, *, finished: bool = False) -> None:
        """The answer has begun and goes on."""
        wait_s = min(self._stall_s, FINISH_GRACE_S) if finished else self._stall_s
        self.due = min(now + wait_s, self._end)
        self._begun = True

    def passed(self, now: float, *, idle: bool) -> bool:
        """Whether a busy stream has had its time: all of it or, where it sends nothing of use (`idle`), until `due`."""
        if now >= self._end:
            self.due = self._end
            return True
        return idle and now >= self.due + LAST_CHANCE_S

    def error(self, target: str) -> UpstreamTimeout:
        """What to raise once `due` has passed: it names the timer."""
        why = f"stalled for {self._stall_s:g} s (stall_s)" if self._begun else self._too_late
        return UpstreamTimeout(f"target {target!r}: {self._too_long if self.due >= self._end else why}")


class Watch:
    """Calls `wake` when a reader has waited past its time. One timer handle lasts for many reads: a read only notes
    its time, and the handle, when it fires, looks whether that has moved on.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        self._loop = loop
        self._wake = wake
        self._handle: asyncio.Handle | None = None
        self._fires_at = 0.0  # of the handle: uvloop's do not always know
        self._due: float | None = None  # None: nobody waits
        self._is_last_chance = False
        self.expired = False

    def waiting(self, due: float) -> None:
        """A read begins; `due` on the event loop's clock."""
        self._due = due
        self._is_last_chance = False
        if self._handle is None or self._fires_at > due:
            self._arm(due)

    def done(self) -> None:
        """The read is over. How long its reader then takes is nobody's fault here."""
        self._due = None

    def stop(self) -> None:
        """Nothing fires any more."""
        self._due = None
        self._disarm()

    def _arm(self, at: float) -> None:
        self._disarm()
        self._fires_at = at
        self._handle = self._loop.call_at(at, self._fire)

    def _disarm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        if self._due is None:
            return
        if (now := self._loop.time()) < self._due:
            self._arm(self._due)
        elif not self._is_last_chance:
            self._is_last_chance = True
            self._arm(now + LAST_CHANCE_S)
        else:
            self.expired = True
            self._wake()
