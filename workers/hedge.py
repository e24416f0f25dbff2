"""When a second target is started beside a slow one, and how often that may be. Pure."""

from collections import deque

SAMPLES = 100  # of a target's answers, the latest
MIN_SAMPLES = 20  # fewer say nothing about the slow ones
SAVED = 100  # turns: what the last ones have saved up for a bad minute, a quiet hour before them has not
WHOLE = 1 - 1e-9  # ten times a tenth, as floating point has it


class Latencies:
    """A target's recent first-content times, in seconds.

    One that was outrun counts with the time after which its hedge was started. Without it each hedge would take a slow
    answer out of the picture, and the percentile would sink until every turn is slow; with the time until it was outrun
    the percentile of a target that is always outrun would grow without end.
    """

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=SAMPLES)

    def add(self, seconds: float) -> None:
        """One more answer has begun, or was outrun."""
        self._recent.append(seconds)

    def percentile(self, share: float) -> float | None:
        """By nearest rank; None: too few are known."""
        if len(self._recent) < MIN_SAMPLES:
            return None
        return sorted(self._recent)[min(int(share * len(self._recent)), len(self._recent) - 1)]


class HedgeBudget:
    """At most a share of a model's turns is hedged: each turn brings that share of a hedge, each hedge takes a whole
    one. It begins with one, so that the first slow turn of a line can be hedged.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self._saved = 1.0 if share else 0.0

    def turn(self) -> None:
        """A turn begins."""
        self._saved = min(self._saved + self.share, max(1.0, self.share * SAVED))

    def has(self) -> bool:
        """Whether one more may be started."""
        return self._saved >= WHOLE

    def draw(self) -> None:
        """One is started."""
        self._saved = max(0.0, self._saved - 1.0)
