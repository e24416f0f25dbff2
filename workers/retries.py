"""How much may be asked again. Pure: the clock is given, in seconds.

Without a bound an outage is multiplied: every turn that fails at one target falls upon the next, and the next. So the
second and later requests of a model's turns, continuations and hedges among them, are bounded by a share of its turns,
and a few a second are free, or a quiet line could never try twice.
Source: Finagle's `RetryBudget` (twitter.github.io/finagle, "Clients", read 2026-11): a share of 0.2 and a free minimum
per second, over 10 s.
"""

from workers.window import Window

WINDOW_S = 10.0
FREE_PER_S = 3  # of one model in one worker; Finagle's 10 are meant for services with far more requests


class RetryBudget:
    """Of one model in one worker."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._window = Window(WINDOW_S)  # turns, and further requests

    def turn(self, now: float) -> None:
        """A turn begins: its share goes in."""
        self._window.add(now, whole=1)

    def has(self, now: float) -> bool:
        """Whether one more request could go out."""
        turns, more = self._window.counts(now)
        return more + 1 <= FREE_PER_S * WINDOW_S + self._share * turns

    def draw(self, now: float) -> bool:
        """One more request goes out; False: it may not."""
        allowed = self.has(now)
        if allowed:
            self._window.add(now, some=1)
        return allowed
