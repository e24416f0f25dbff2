"""What answers one model: its targets in order, and what is known of each. The order within a turn is pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from protocol.settings_profiles import Gate
from protocol.settings_types import BreakerSettings, Prices
from workers.breaker import Breaker
from workers.hedge import HedgeBudget, Latencies
from workers.prompts import Prompt
from workers.retries import RetryBudget
from workers.targets import Target

NEVER = BreakerSettings(requests=2**40)

BREAKER_OPEN, UNSUPPORTED = "breaker_open", "unsupported"  # why a target is passed over


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
    gates: Mapping[str, Gate] = MappingProxyType({})  # of tools, by their names: for all models alike
    prompt: Prompt | None = None


def route(
    *choices: Choice,
    hedge_share: float = 0.1,
    retry_share: float = 0.2,
    gates: Mapping[str, Gate] = MappingProxyType({}),
) -> Route:
    """A route of its own."""
    return Route(choices, RetryBudget(retry_share), HedgeBudget(hedge_share), gates)


class Waited(NamedTuple):
    """A target that has said when it wants to be asked again."""

    at: float
    choice: Choice


class Way:
    """Which target of a route comes next in one turn.

    `skip` is told of each that is passed over, and why. `takes` says whether a target can be told the job: it is asked
    where that decides how long another one is waited for, and once of each.
    """

    def __init__(
        self, choices: Sequence[Choice], skip: Callable[[Choice, str], None], takes: Callable[[Choice], bool]
    ) -> None:
        self._left = list(choices)
        self._passed: list[Choice] = []
        self._failed: set[Breaker] = set()
        self._later: list[Waited] = []
        self._waited: set[Choice] = set()
        self._forced = False
        self._skip = skip
        self._takes = takes
        self._able: dict[Choice, bool] = {}  # as far as it was asked

    def goes_on(self, now: float) -> bool:
        """Whether another target may be tried, and can be told the job."""
        return any(choice.breaker.lets(now) and self._is_able(choice) for choice in self._left)

    def next(self, now: float) -> Choice | None:
        """The next target that may be tried, and is not known to be one that cannot be told the job."""
        for at, choice in enumerate(self._left):
            if choice.breaker.lets(now) and self._able.get(choice, True):
                passed, self._left = self._left[:at], self._left[at + 1 :]
                self._pass(passed)
                return choice
        return None

    def last_way_out(self) -> Choice | None:
        """Of those whose breaker is open the one that is ready first, once: better a bad target than none. Not one
        that has failed in this turn.
        """
        if self._forced:
            return None
        rest = [choice for choice in (*self._passed, *self._left) if choice.breaker not in self._failed]
        chosen = min(self._worth_asking(rest), key=lambda choice: choice.breaker.ready_at, default=None)
        self._forced = chosen is not None
        left = self._left
        self._left = [] if chosen is not None else [one for one in left if self._able.get(one, True)]
        self._pass([one for one in left if one is not chosen and one not in self._left])
        return chosen

    def failed(self, choice: Choice, now: float, retry_after_s: float | None) -> None:
        """A target was asked in vain. One that says when to come back may be waited for, once."""
        self._failed.add(choice.breaker)
        if retry_after_s is not None and choice not in self._waited:
            self._later.append(Waited(now + retry_after_s, choice))

    def outrun(self, choice: Choice) -> None:
        """A target was left for a faster one. Should that be lost, it comes next."""
        self._left.insert(0, choice)

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
            self._skip(choice, BREAKER_OPEN if self._able.get(choice, True) else UNSUPPORTED)

    def _worth_asking(self, choices: Sequence[Choice]) -> Sequence[Choice]:
        """Those that can be told the job. Where none can and none was asked, all of them: one has to say why."""
        if len(choices) == 1 and not self._failed:
            return choices
        able = [choice for choice in choices if self._is_able(choice)]
        return able if able or self._failed else choices

    def _is_able(self, choice: Choice) -> bool:
        known = self._able.get(choice)
        if known is None:
            known = self._able[choice] = self._takes(choice)
        return known
