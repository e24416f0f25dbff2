"""Many records in one line: how they ended, how long callers waited, what it cost. Pure."""

from collections import Counter
from collections.abc import Iterable

from msgspec import Struct

from protocol.messages import Outcome, TurnRecord, Usage
from trunkline.top.figures import Spread, spread
from trunkline.top.tables import milliseconds


class Summary(Struct, frozen=True, kw_only=True):
    """The total; `cost` None: no target has a price."""

    turns: int
    outcomes: dict[Outcome, int]
    first_content: Spread
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    estimated: int  # turns whose tokens were counted here, or some of them
    cost: float | None
    unheard_tokens: int  # generated, and never sent to a caller who had hung up
    unheard_cost: float | None
    cut: int  # turns of which the caller has not heard all that was sent, as far as histories show
    said_words: int  # of these turns
    heard_words: int


class Tally:
    """Adds up; of each record it keeps a time and no more."""

    def __init__(self) -> None:
        self._outcomes: Counter[Outcome] = Counter()
        self._first_ms: list[float] = []
        self._prompt = self._cached = self._completion = self._estimated = 0
        self._costs: list[float] = []
        self._unheard = self._cut = self._said_words = self._heard_words = 0
        self._unheard_costs: list[float] = []

    def add(self, records: Iterable[TurnRecord]) -> None:
        """Some more."""
        for record in records:
            self._outcomes[record.outcome] += 1
            if record.ttft_ms is not None:
                self._first_ms.append(record.ttft_ms)
            spent = _spent(record)
            self._prompt += sum(usage.prompt for usage in spent)
            self._cached += sum(usage.cached for usage in spent)
            self._completion += sum(usage.completion for usage in spent)
            self._estimated += any(usage.estimated for usage in spent)
            if record.cost is not None:
                self._costs.append(record.cost)
            self._add_unheard(record)

    def _add_unheard(self, record: TurnRecord) -> None:
        self._unheard += record.unheard or 0
        if record.unheard_cost is not None:
            self._unheard_costs.append(record.unheard_cost)
        if record.heard is not None:
            self._cut += 1
            self._said_words += record.heard.said_words
            self._heard_words += record.heard.heard_words

    def summary(self) -> Summary:
        """Of all until now."""
        return Summary(
            turns=self._outcomes.total(),
            outcomes=dict(self._outcomes.most_common()),
            first_content=spread(self._first_ms),
            prompt_tokens=self._prompt,
            cached_tokens=self._cached,
            completion_tokens=self._completion,
            estimated=self._estimated,
            cost=_sum(self._costs),
            unheard_tokens=self._unheard,
            unheard_cost=_sum(self._unheard_costs),
            cut=self._cut,
            said_words=self._said_words,
            heard_words=self._heard_words,
        )


def _sum(costs: list[float]) -> float | None:
    return round(sum(costs), 9) if costs else None


def _spent(record: TurnRecord) -> list[Usage]:
    """Of every target that was tried, as in the cost; a record without attempts knows the answer's alone."""
    return [attempt.usage for attempt in record.attempts] or [record.usage]


def sentence(summary: Summary) -> str:
    """As people read it."""
    ended = ", ".join(f"{count} {outcome}" for outcome, count in summary.outcomes.items())
    turns = f"{summary.turns} turn{'' if summary.turns == 1 else 's'}" + (f": {ended}" if ended else "")
    first = summary.first_content
    waited = f"first content p50 {milliseconds(first.p50_ms)}, p95 {milliseconds(first.p95_ms)}"
    cached = f" ({summary.cached_tokens} cached)" if summary.cached_tokens else ""
    tokens = f"tokens {summary.prompt_tokens} in{cached}, {summary.completion_tokens} out"
    counted = f" (of {summary.estimated} estimated)" if summary.estimated else ""
    cost = "" if summary.cost is None else f"; cost {money(summary.cost)}"
    return f"{turns}; {waited}; {tokens}{counted}{cost}{_unheard(summary)}"


def _unheard(summary: Summary) -> str:
    """What callers who interrupted did not hear, where there is something."""
    cost = "" if summary.unheard_cost is None else f" (cost {money(summary.unheard_cost)})"
    unsent = f"; {summary.unheard_tokens} tokens for callers who had left{cost}" if summary.unheard_tokens else ""
    cut = f"; {summary.heard_words} of {summary.said_words} words heard in {summary.cut} cut" if summary.cut else ""
    return unsent + cut


def money(cost: float) -> str:
    """In the unit of the prices: a turn costs little, so small sums keep their digits."""
    if cost >= 0.01 or not cost:
        return f"{cost:.2f}" if cost >= 100 else f"{cost:.4f}"
    return f"{cost:.9f}".rstrip("0")[:8] if cost >= 0.000001 else "<0.000001"
