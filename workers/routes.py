"""What answers one model: its targets in order, and what is known of each. The order within a turn is pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from protocol.settings_types import BreakerSettings, Prices
from workers.breaker import Breaker
from workers.hedge import HedgeBudget, Latencies
from workers.retries import RetryBudget
from workers.targets import Target

NEVER = BreakerSettings(requests=2**40)


@dataclass(slots=True, eq=False)
class Choice:
    """One target of a model. Where it stands twice in the list, both share what is known of it."""

    target: Target
    breaker: Breaker = field(default_factory=lambda: Breaker(NEVER))
    latencies: Latencies = field(default_factory=Latencies)
    hedge_after_s: float | None = None
    hedge_percentile: float | None = None
    prices: Prices | None = None

    @property
    def hedge_s(self) -> float | None:
        """Without content for so long, the next target is started beside it; None: never."""
        known = None if self.hedge_percentile is None else self.latencies.percentile(self.hedge_percentile)
        return self.hedge_after_s if known is None else known


class Route(NamedTuple):
    """A model's targets in order, and what its turns may spend together."""

    choices: tuple[Choice, ...]
    retries: RetryBudget
    hedges: HedgeBudget


def route(*choices: Choice, hedge_share: float = 0.1, retry_share: float = 0.2) -> Route:
    """A route of its own."""
    return Route(choices, RetryBudget(retry_share), HedgeBudget(hedge_share))


class Waited(NamedTuple):
    """A target that has said when it wants to be asked again."""

    at: float
    choice: Choice


class Way:
    """Which target of a route comes next in one turn. `skip` is told of each that is passed over."""

    def __init__(self, choices: Sequence[Choice], skip: Callable[[Choice], None]) -> None:
        self._left = list(choices)
        self._passed: list[Choice] = []
        self._failed: set[Breaker] = set()
        self._later: list[Waited] = []
        self._waited: set[Choice] = set()
        self._forced = False
        self._skip = skip

    def goes_on(self, now: float) -> bool:
        """Whether another target may be tried."""
        return any(choice.breaker.lets(now) for choice in self._left)

    def next(self, now: float) -> Choice | None:
        """The next target that may be tried."""
        for at, choice in enumerate(self._left):
            if choice.breaker.lets(now):
                passed, self._left = self._left[:at], self._left[at + 1 :]
                self._pass(passed)
                return choice
        return None

    def last_way_out(self) -> Choice | None:
        """Of those whose breaker is open the one that is ready first, once: better a bad target than none. Not one
        that has failed in this turn.
        """
        able = [choice for choice in (*self._passed, *self._left) if choice.breaker not in self._failed]
        if self._forced or not able:
            return None
        self._forced = True
        chosen = min(able, key=lambda choice: choice.breaker.ready_at)
        left, self._left = self._left, []
        self._pass([choice for choice in left if choice is not chosen])
        return chosen

    def failed(self, choice: Choice, now: float, retry_after_s: float | None) -> None:
        """A target was asked in vain. One that says when to come back may be waited for, once."""
        self._failed.add(choice.breaker)
        if retry_after_s is not None and choice not in self._waited:
            self._later.append(Waited(now + retry_after_s, choice))

    def wait(self, until: float) -> Waited | None:
        """The target that wants to be asked again first, where that is before `until`."""
        soonest = min(self._later, key=lambda one: one.at, default=None)
        if soonest is None or soonest.at >= until:
            return None
        self._later.remove(soonest)
        self._waited.add(soonest.choice)
        return soonest

    def _pass(self, choices: Sequence[Choice]) -> None:
        self._passed += choices
        for choice in choices:
            self._skip(choice)
