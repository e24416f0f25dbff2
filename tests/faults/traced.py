"""Models whose turns try several targets, start one beside another, and pass one over; and what their traces show."""

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from protocol import telemetry
from tests.broker.otlp_sink import Span, Tree
from tests.broker.turn_trees import Turn, whole
from tests.faults.faults import WELL
from tests.faults.upstream import FaultUpstream
from tests.faults.voices import PROMPT_TOKENS, WORDS

INPUT_PRICE, OUTPUT_PRICE = 1.0, 4.0
COST = (PROMPT_TOKENS * INPUT_PRICE + len(WORDS) * OUTPUT_PRICE) / 1_000_000
OPENS_AFTER = 2
"""Failures that open a breaker here."""


class Shown(Struct, frozen=True):
    """One target's span."""

    target: str
    outcome: str
    reason: str | None = None
    hedge: bool | None = None
    tokens: tuple[int | None, int | None] = (0, 0)  # in and out
    cost: float | None = 0.0
    failed: bool = False


def answered(target: str, *, hedge: bool | None = None) -> Shown:
    return Shown(target, "answered", hedge=hedge, tokens=(PROMPT_TOKENS, len(WORDS)), cost=COST)


TRIED = (Shown("tried-500", "upstream_error", failed=True), answered("tried-well"))
HEDGED = (Shown("hedged-opening", "outrun"), answered("hedged-well", hedge=True))
SKIPPED = (Shown("tried-500", "skipped", "breaker_open", tokens=(None, None), cost=None), answered("tried-well"))

TARGETS = {"tried": ("500", WELL), "hedged": ("opening", WELL)}
"""What the targets of each model do."""


def write_config(upstream: FaultUpstream, path: Path) -> None:
    """The models above. The first target of `hedged` says nothing."""
    tables = [f"[breaker]\nrequests = {OPENS_AFTER}\nwindow_s = 60.0\nopen_s = 60.0\n"]
    for model, faults in TARGETS.items():
        names = [f"{model}-{fault}" for fault in faults]
        tables.append(f"[models.{model}]\ntargets = {names}\nhedge_share = 1.0\nretry_share = 1.0\n")
        for number, (name, fault) in enumerate(zip(names, faults, strict=True)):
            hedge = "hedge_after_s = 0.1" if (model, number) == ("hedged", 0) else ""
            tables.append(
                f"""
                [targets.{name}]
                base_url = "{upstream.base_url(fault, model)}"
                model = "faults-1"
                prices = {{ input = {INPUT_PRICE}, output = {OUTPUT_PRICE} }}
                {hedge}
                """
            )
    path.write_text("\n".join(tables))


def body(model: str) -> dict[str, object]:
    return {"model": model, "stream": True, "messages": [{"role": "user", "content": "Count to four."}]}


async def turns(url: str) -> list[tuple[Turn, str, Sequence[Shown]]]:
    """Turns of every kind: each with its model, and the targets that its trace must show."""
    tried = [await Turn.taken(url, body("tried")) for _ in range(OPENS_AFTER)]
    skipped = await Turn.taken(url, body("tried"))
    hedged = await Turn.taken(url, body("hedged"))
    return [*((one, "tried", TRIED) for one in tried), (skipped, "tried", SKIPPED), (hedged, "hedged", HEDGED)]


def shape(model: str, targets: Sequence[Shown]) -> list[str]:
    """The tree of a turn with a span for each of these."""
    spans = whole(model)
    return sorted([*spans, *(span for span in spans if span.startswith("CLIENT") for _ in targets[1:])])


def shown(tree: Tree) -> list[Shown]:
    """What a tree tells of its targets, in the order of their start."""
    return [_shown(span) for span in tree.named("chat")]


def _shown(span: Span) -> Shown:
    told = span.attributes.get
    outrun = told(telemetry.ATTEMPT_OUTCOME) == "outrun"  # what it cost is counted, not told
    return Shown(
        str(told(telemetry.TARGET)),
        str(told(telemetry.ATTEMPT_OUTCOME)),
        told(telemetry.ATTEMPT_REASON),
        told(telemetry.ATTEMPT_HEDGE),
        (0, 0) if outrun else (told(telemetry.INPUT_TOKENS), told(telemetry.OUTPUT_TOKENS)),
        0.0 if outrun else told(telemetry.COST),
        span.failed,
    )


def cost_of_the_turn(tree: Tree) -> tuple[float | None, float]:
    """As its root tells it, and as its targets' spans add up."""
    costs = [span.attributes.get(telemetry.COST, 0.0) for span in tree.named("chat")]
    return tree.one("POST").attributes.get(telemetry.COST), sum(costs)
