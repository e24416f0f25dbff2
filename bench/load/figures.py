"""From what was taken to what is said: the figures of a run, their medians, and the verdict. Pure."""

import statistics
from collections.abc import Sequence
from typing import Any

from msgspec import Struct, field

from bench.load.meter import PERCENT_BUSY
from bench.load.rig import Taken
from bench.load.scenarios import Scenario, Target

DIRECT, LINE, AGAINST = "direct", "line", "against"
CHAT, UNSTORED = "chat", "unstored"
"""What a scenario with responses has beside them, on the same line."""

GATEWAY = "gateway"
TIERS = ("edge", "worker", "nats")
Figures = dict[str, float]

KINDS: dict[str, tuple[str, str]] = {  # figure -> what it is called, and how it is written
    "first_p50_ms": ("first content p50", "{:.2f} ms"),
    "first_p95_ms": ("first content p95", "{:.2f} ms"),
    "first_p99_ms": ("first content p99", "{:.2f} ms"),
    "chat_first_p50_ms": ("first content p50, chat", "{:.2f} ms"),
    "unstored_first_p50_ms": ("first content p50, not stored", "{:.2f} ms"),
    "first_of_unstored_ms": ("first content p50, more than not stored", "{:+.2f} ms"),
    "gap_p99_ms": ("gap between tokens p99", "{:.2f} ms"),
    "tokens_per_s": ("tokens/s", "{:,.0f}"),
    "rate_held": ("tokens/s, share of what was asked for", "{:.1%}"),
    "streams_per_s": ("streams/s", "{:,.1f}"),
    "share_of_direct": ("streams/s, share of direct", "{:.1%}"),
    "cpu_us_per_token": ("CPU per token", "{:.1f} µs"),
    "chat_cpu_us_per_token": ("CPU per token, chat", "{:.1f} µs"),
    "unstored_cpu_us_per_token": ("CPU per token, not stored", "{:.1f} µs"),
    "cpu_of_chat": ("CPU per token, as a multiple of chat's", "{:.3f}"),
    "cpu_edge_us": ("  of it edge", "{:.1f} µs"),
    "cpu_worker_us": ("  of it worker", "{:.1f} µs"),
    "cpu_nats_us": ("  of it NATS", "{:.1f} µs"),
    "rss_edge_mb": ("memory, edge", "{:.1f} MB"),
    "rss_edge_grown_mb": ("memory grown, edge", "{:+.1f} MB"),
    "rss_worker_mb": ("memory, worker", "{:.1f} MB"),
    "rss_worker_grown_mb": ("memory grown, worker", "{:+.1f} MB"),
    "rss_nats_mb": ("memory, NATS", "{:.1f} MB"),
    "rss_nats_grown_mb": ("memory grown, NATS", "{:+.1f} MB"),
    "rss_gateway_mb": ("memory, gateway", "{:.1f} MB"),
    "rss_gateway_grown_mb": ("memory grown, gateway", "{:+.1f} MB"),
    "rss_kb_per_stream": ("memory per stream, edge and worker", "{:.1f} KB"),
    "busy_percent": ("how busy the machine was", "{:.0f} %"),
    "yardstick_ms": ("a fixed piece of work", "{:.2f} ms"),
    "turns": ("streams", "{:,.0f}"),
    "bad": ("lost, failed or wrong", "{:,.0f}"),
}
COMPARED = {"first_p50_ms", "first_p95_ms", "first_p99_ms", "gap_p99_ms"}
"""What the line adds to direct access is their difference."""

NEEDS_IDLE = {"gap_p99_ms"}
"""Not valid above `PERCENT_BUSY`."""


def of_side(taken: Taken, scenario: Scenario) -> Figures:
    """What one round says."""
    heard = taken.heard
    figures: Figures = {}
    if heard.first:
        figures |= {"first_p50_ms": heard.first.p50, "first_p95_ms": heard.first.p95, "first_p99_ms": heard.first.p99}
    if heard.gap and scenario.rate:
        figures["gap_p99_ms"] = heard.gap.p99
    if heard.seconds and not scenario.wait_s:
        figures |= {"tokens_per_s": heard.tokens / heard.seconds, "streams_per_s": heard.streams / heard.seconds}
        figures |= _cpu(taken)
    if scenario.rate and "tokens_per_s" in figures:
        figures["rate_held"] = figures["tokens_per_s"] / (scenario.streams * scenario.rate)
    figures |= _memory(taken)
    if scenario.wait_s:
        groups = [taken.used[name] for name in ("edge", "worker", GATEWAY) if name in taken.used]
        if groups:
            figures["rss_kb_per_stream"] = sum(used.rss_bytes for used in groups) / scenario.streams / 1000
    figures |= {"busy_percent": taken.busy_percent, "yardstick_ms": taken.yardstick_ms}
    return figures | {"turns": heard.began, "bad": heard.bad}


def _cpu(taken: Taken) -> Figures:
    figures = {
        "cpu_us_per_token": taken.us_per_token(*TIERS, GATEWAY),
        **{f"cpu_{tier}_us": taken.us_per_token(tier) for tier in TIERS},
    }
    return {name: value for name, value in figures.items() if value is not None}


def _memory(taken: Taken) -> Figures:
    figures = {}
    for group, before in taken.before.items():
        figures[f"rss_{group}_mb"] = before.rss_bytes / 1e6
        figures[f"rss_{group}_grown_mb"] = taken.used[group].rss_bytes / 1e6
    return figures


def _beside(stored: Figures, chat: Figures, unstored: Figures) -> Figures:
    """What responses cost more than chat, and storing them more than not doing so; what went wrong, of all of them."""
    cpu, first = "cpu_us_per_token", "first_p50_ms"
    figures = {
        f"{name}_{key}": side[key] for name, side in ((CHAT, chat), (UNSTORED, unstored)) for key in (cpu, first)
    }
    figures["cpu_of_chat"] = stored[cpu] / chat[cpu]
    figures["first_of_unstored_ms"] = stored[first] - unstored[first]
    return figures | {"bad": stored["bad"] + chat["bad"] + unstored["bad"]}


class Run(Struct):
    """The figures of every side in one run."""

    sides: dict[str, Figures] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)  # of what went wrong

    def add(self, side: str, taken: Taken, scenario: Scenario) -> None:
        self.sides[side] = of_side(taken, scenario)
        if taken.heard.examples:
            self.examples[side] = taken.heard.examples
        direct = self.sides.get(DIRECT, {}).get("streams_per_s")
        if side != DIRECT and direct and not scenario.rate:
            self.sides[side]["share_of_direct"] = self.sides[side]["streams_per_s"] / direct
        if scenario.beside_chat and side == LINE:
            self.sides[side] |= _beside(self.sides[side], self.sides[CHAT], self.sides[UNSTORED])

    def value(self, side: str, figure: str) -> float | None:
        """None: not measured, or on a machine too busy for it to say anything."""
        figures = self.sides.get(side, {})
        if figure in NEEDS_IDLE and figures.get("busy_percent", 0.0) > PERCENT_BUSY:
            return None
        return figures.get(figure)

    def added(self, figure: str) -> float | None:
        """By the line, to direct access in the same run."""
        direct, line = self.value(DIRECT, figure), self.value(LINE, figure)
        return None if direct is None or line is None or figure not in COMPARED else line - direct


class Row(Struct):
    """One figure over all runs: medians."""

    figure: str
    sides: dict[str, float | None]
    added: float | None = None
    measured: bool = True  # False: only while the machine was too busy
    target: Target | None = None

    @property
    def judged(self) -> float | None:
        """What is held against the target."""
        return self.added if self.target and self.target.added else self.sides.get(LINE)

    @property
    def verdict(self) -> str:
        """Nothing measured is nothing shown: it does not pass."""
        if self.target is None:
            return ""
        if self.judged is None:
            return "not measured" if self.measured else "not valid"
        return "passed" if self.target.met(self.judged) else "missed"


class Measured(Struct):
    """One scenario, over all runs."""

    name: str
    scenario: Scenario
    runs: list[Run] = field(default_factory=list)
    took_s: float = 0.0
    spans: int = 0  # that the sink has taken meanwhile
    failures: list[str] = field(default_factory=list)  # what makes the figures worth nothing

    @property
    def rows(self) -> list[Row]:
        sides = [side for side in (DIRECT, LINE, AGAINST) if any(side in run.sides for run in self.runs)]
        present = [
            figure for figure in KINDS if any(figure in run.sides[side] for run in self.runs for side in run.sides)
        ]
        return [self._row(figure, sides) for figure in present]

    def _row(self, figure: str, sides: Sequence[str]) -> Row:
        over = max if figure == "bad" else statistics.median
        values = {side: _over([run.value(side, figure) for run in self.runs], over) for side in sides}
        measured = values.get(LINE) is not None or not any(figure in run.sides.get(LINE, {}) for run in self.runs)
        target = next((one for one in self.scenario.targets if one.figure == figure), None)
        return Row(figure, values, _over([run.added(figure) for run in self.runs], over), measured, target)

    @property
    def passed(self) -> bool:
        """Every target has its figure, and is met."""
        verdicts = {row.figure: row.verdict for row in self.rows}
        return not self.failures and all(verdicts.get(one.figure) == "passed" for one in self.scenario.targets)

    @property
    def examples(self) -> list[str]:
        """What went wrong."""
        wrong = [f"{side}, {one}" for run in self.runs for side, found in run.examples.items() for one in found]
        return [*self.failures, *wrong]

    def as_json(self) -> dict[str, Any]:
        rows = [
            {
                "figure": row.figure,
                **row.sides,
                "added": row.added,
                "target": None if row.target is None else f"{row.target.sense} {row.target.limit:g}",
                "verdict": row.verdict or None,
            }
            for row in self.rows
        ]
        runs = [{"sides": run.sides, "examples": run.examples} for run in self.runs]
        head = {"scenario": self.name, "title": self.scenario.title, "passed": self.passed}
        return {
            **head,
            "took_s": round(self.took_s, 1),
            "spans": self.spans,
            "failures": self.failures,
            "figures": rows,
            "runs": runs,
        }


def _over(values: Sequence[float | None], function: Any) -> float | None:
    known = [value for value in values if value is not None]
    return function(known) if known else None


def written(figure: str, value: float | None) -> str:
    """A value as people read it."""
    return "–" if value is None else KINDS[figure][1].format(value)
