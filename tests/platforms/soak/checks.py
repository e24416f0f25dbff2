"""What must hold when all calls are over: of what the callers noticed, and of what the line has written down. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

from msgspec import Struct, field

from protocol.messages import TurnRecord
from tests.broker.otlp_sink import Span
from tests.platforms.soak.calls import Outcome

GROWN_MB = 8.0
"""Of one process between a third of the calls and their end: above what caches and fragments take, below a leak."""

COMPLAINTS = ("repeated", "missing", "unspeakable", "unfit", "twice", "silent")
"""Of a call's verdict."""


class Left(Struct, frozen=True):
    """What the line and its upstream say when all is over."""

    open_upstream: int  # generations that the upstream is still asked for
    live: float  # generations that the workers say they run
    counted: int  # turns, by the edges' metrics
    records: tuple[TurnRecord, ...]
    spans: tuple[Span, ...]
    third_mb: Mapping[str, float]  # each process's memory when a third of the calls was over
    end_mb: Mapping[str, float]


class Row(Struct, frozen=True):
    """One line of the summary. `wrong`: examples of what missed the target."""

    what: str
    measured: str
    target: str = ""
    wrong: tuple[str, ...] = ()

    @property
    def met(self) -> bool:
        return not self.wrong


class Soak(Struct):
    """All of it."""

    kinds: dict[str, float] = field(default_factory=dict)  # of turns, as shares
    proxied: list[Outcome] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    left: Left | None = None


def rows(soak: Soak) -> list[Row]:
    """The summary, with a verdict in every row that has a target."""
    planned = ", ".join(f"{kind} {share:.1%}" for kind, share in soak.kinds.items())
    found = [Row("turns", planned), _on_the_proxy(soak.proxied), *_heard(soak.outcomes)]
    return [*found, *_left(soak.left, soak.outcomes)] if soak.left else found


def _on_the_proxy(outcomes: Sequence[Outcome]) -> Row:
    dropped = Counter(one.platform for one in outcomes if one.dropped)
    wrong = () if dropped else ("these callers hang up on nothing: they show nothing",)
    named = "".join(f", {name} {count}" for name, count in sorted(dropped.items()))
    return Row("calls dropped on a plain proxy", f"{dropped.total()} of {len(outcomes)}{named}", "≥ 1", wrong)


def _heard(outcomes: Sequence[Outcome]) -> Iterable[Row]:
    turns = sum(one.turns for one in outcomes)
    dropped = tuple(f"{one.platform}: {one.dropped}" for one in outcomes if one.dropped)
    yield Row("calls", f"{len(outcomes)}, {turns} turns, {sum(one.cut for one in outcomes)} of them cut by the caller")
    yield Row(
        "longest silence before a first content", f"{max(one.longest_s for one in outcomes):.1f} s of the platform's"
    )
    yield Row("calls dropped", str(len(dropped)), "0", dropped)
    for complaint in COMPLAINTS:
        wrong = tuple(f"{one.platform}: {told}" for one in outcomes for told in getattr(one.verdict, complaint))
        yield Row(TITLES[complaint], str(len(wrong)), "0", wrong)


TITLES = {
    "repeated": "words said twice",
    "missing": "answers with a hole",
    "unspeakable": "answers with something unspeakable",
    "unfit": "tool calls that do not fit",
    "twice": "tools run twice",
    "silent": "turns without a word or a deed",
}


def _left(left: Left, outcomes: Sequence[Outcome]) -> Iterable[Row]:
    running = [f"{left.open_upstream} upstream"] if left.open_upstream else []
    running += [f"{left.live:g} on the workers"] if left.live else []
    yield Row(
        "generations that still run", " + ".join((str(left.open_upstream), f"{left.live:g}")), "0", tuple(running)
    )
    yield _memory(left)
    yield from _written(left, outcomes)


def _memory(left: Left) -> Row:
    grown = {name: left.end_mb[name] - mb for name, mb in left.third_mb.items()}
    shown = ", ".join(f"{name} {left.end_mb[name]:.0f} ({more:+.1f})" for name, more in grown.items())
    wrong = tuple(f"{name} grew by {more:.1f} MB" for name, more in grown.items() if more > GROWN_MB)
    return Row("memory at the end, MB (since a third)", shown, f"≤ +{GROWN_MB:g}", wrong)


def _written(left: Left, outcomes: Sequence[Outcome]) -> Iterable[Row]:
    """Every turn has one record and one whole trace."""
    kept = Counter(record.id for record in left.records)
    asked = set(chain.from_iterable(one.requests for one in outcomes))
    wrong = [f"turn {turn} has {count} records" for turn, count in kept.items() if count != 1]
    wrong += [f"turn {turn} has no record" for turn in asked - kept.keys()]
    if left.counted != len(left.records):
        wrong.append(f"{left.counted} turns were counted")
    yield Row("records", f"{len(left.records)} of {left.counted} turns", "all", tuple(wrong))
    broken = tuple(_broken_traces(left))
    roots = len({record.trace_id for record in left.records})
    yield Row("traces", f"{roots - len(broken)} of {roots} whole, {len(left.spans)} spans", "all", broken)


def _broken_traces(left: Left) -> Iterable[str]:
    """One for each turn whose trace is not whole."""
    traces: dict[str, list[Span]] = {}
    for span in left.spans:
        traces.setdefault(span.trace_id, []).append(span)
    for record in left.records:
        if why := next(
            (why for why, holds in WHOLE.items() if not holds(traces.get(record.trace_id or "", []), record)), ""
        ):
            yield f"turn {record.id} ({record.outcome}): {why}"


def _one_root(spans: Sequence[Span], record: TurnRecord) -> bool:
    return sum(span.kind == "SERVER" for span in spans) == 1


def _parents(spans: Sequence[Span], record: TurnRecord) -> bool:
    known = {span.span_id for span in spans}
    return all(span.parent_id in known for span in spans if span.kind != "SERVER")


def _edge_spans(spans: Sequence[Span], record: TurnRecord) -> bool:
    return any(span.name == "admit" for span in spans)


def _worker_spans(spans: Sequence[Span], record: TurnRecord) -> bool:
    """Of whatever was asked for one span each; a turn that nobody took has none."""
    asked = [attempt for attempt in record.attempts if attempt.outcome != "skipped"]
    return not record.worker or sum(span.kind == "CLIENT" for span in spans) >= len(asked)


WHOLE: dict[str, Callable[[Sequence[Span], TurnRecord], bool]] = {
    "not one root": _one_root,
    "a span whose parent is missing": _parents,
    "no span of its admission": _edge_spans,
    "a target without its span": _worker_spans,
}
