"""When a failing target is passed over. Pure: the clock is given, in seconds.

Closed: everything goes through. Open: nothing does, for `open_s` or as long as a `Retry-After` said. Then half-open:
one turn at a time probes the target, and what becomes of it closes the breaker or opens it again. Who asks an open
target all the same, because no other is left, has proven as much as a probe.

A request counts once, when its fate is known: at its end. A first word proves nothing, not even a probe's: an answer
that is cut in the middle is a failure.
"""

from collections.abc import Callable
from typing import NamedTuple

from protocol.settings_types import BreakerSettings
from workers.window import Window

MAX_OBEYED_S = 60.0  # who is told to come back in an hour looks once a minute


def _unheard(_: bool) -> None:
    """Nobody asks."""


class Ticket(NamedTuple):
    """One request that a breaker knows of."""

    opening: int  # after which of its openings it began: what began before proves nothing
    probe: bool


class Breaker:
    """Of one target in one worker. `changed` is told when it opens or closes."""

    def __init__(self, told: BreakerSettings, changed: Callable[[bool], None] = _unheard) -> None:
        self._told = told
        self._changed = changed
        self._window = Window(told.window_s)
        self._until: float | None = None  # None: closed
        self._opening = 0
        self._probed = False

    @property
    def is_open(self) -> bool:
        """It is not known to be well again; half-open is open too."""
        return self._until is not None

    @property
    def ready_at(self) -> float:
        """From when on it may be probed."""
        return 0.0 if self._until is None else self._until

    def lets(self, now: float) -> bool:
        """Whether a request may go through, as a probe where it is half-open."""
        return self._until is None or (now >= self._until and not self._probed)

    def begin(self, now: float) -> Ticket:
        """A request goes out, whether it was let through or not."""
        probe = self._until is not None and self.lets(now)
        self._probed |= probe
        return Ticket(self._opening, probe)

    def succeeded(self, ticket: Ticket, now: float) -> None:
        """It was answered, to its end or until its caller left."""
        if self._until is None:
            self._window.add(now, whole=1)
        elif ticket.opening == self._opening:
            self._until = None
            self._probed = False
            self._window.clear()
            self._changed(False)

    def failed(self, ticket: Ticket, now: float, retry_after_s: float | None = None) -> None:
        """It was not, and the target is to blame. `retry_after_s`: it does not want to be asked before."""
        if retry_after_s:
            self._open(max(now + min(retry_after_s, MAX_OBEYED_S), self.ready_at))
        elif self._until is None:
            self._window.add(now, whole=1, some=1)
            requests, failures = self._window.counts(now)
            if requests >= self._told.requests and failures >= self._told.failures * requests:
                self._open(now + self._told.open_s)
        elif ticket.opening == self._opening:
            self._open(max(now + self._told.open_s, self.ready_at))

    def left(self, ticket: Ticket) -> None:
        """It is over. Where it was a probe that proved nothing, the next turn may probe."""
        if ticket.probe and ticket.opening == self._opening:
            self._probed = False

    def retire(self) -> None:
        """Another one has taken its place: what turns that still run make of this one is told to nobody."""
        self._changed = _unheard

    def _open(self, until: float) -> None:
        was_open = self.is_open
        self._until = until
        self._opening += 1
        self._probed = False
        if not was_open:
            self._changed(True)
