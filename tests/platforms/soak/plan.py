"""Who calls, and what happens in each of his turns: drawn beforehand, so that every run of a seed is the same. Pure."""

import random
from collections import Counter
from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from tests.platforms.platforms import PLATFORMS, Platform

SHARES = {"barge-in": 0.30, "slow": 0.10, "empty": 0.02, "failing": 0.05}
"""Of all turns; the others go well."""

RETRIES = 0.05
"""Of all turns, whatever else happens in them: the platform asks once more before it hears an answer."""

SLOW_S = (2.0, 10.0)  # to a target's first word, in the platform's seconds; some are beyond every budget
HEARD_WORDS = (1, 8)  # before the caller speaks again
EMPTY = ("empty", "empty+well")  # for good, or once
FAILING = ("fail:500+well", "fail:503+well", "fail:429+well", "refused+well", "cut+well")
"""The first target fails, the second is well."""

TOOL = "get_hours"


class Planned(Struct, frozen=True):
    """One turn. `acts` are the upstream's, `hear` the words after which the caller speaks again."""

    kind: str
    acts: str
    hear: int | None = None
    posts: int = 1


class PlannedCall(Struct, frozen=True):
    """One call."""

    platform: str
    turns: tuple[Planned, ...]


def plan(calls: int, turns: int, *, pace: float, seed: int) -> list[PlannedCall]:
    """All platforms in turn, each call with as many turns; `pace` is how long a platform's second lasts."""
    dice = random.Random(seed)
    platforms = list(PLATFORMS.values())
    return [_call(platforms[number % len(platforms)], turns, pace, dice) for number in range(calls)]


def kinds(calls: Iterable[PlannedCall]) -> dict[str, float]:
    """What happens in which share of all turns; `again`: asked once more."""
    turns = [turn for call in calls for turn in call.turns]
    found = Counter([turn.kind for turn in turns] + ["again" for turn in turns if turn.posts > 1])
    return {kind: count / len(turns) for kind, count in found.most_common()}


def _call(platform: Platform, turns: int, pace: float, dice: random.Random) -> PlannedCall:
    """A tool is called in one of its turns, and the last one hangs up as the platform has it."""
    drawn = [_turn(turns / (turns - 1), pace, dice) for _ in range(turns - 1)]
    well = [at for at, turn in enumerate(drawn) if turn.kind == "well"]
    if well:
        at = dice.choice(well)
        drawn[at] = replace(drawn[at], kind="tool", acts=TOOL)
    return PlannedCall(platform.name, (*drawn, Planned("end", platform.end_tool)))


def _turn(more: float, pace: float, dice: random.Random) -> Planned:
    """`more` for the last turn, in which nothing happens."""
    shares = {kind: share * more for kind, share in SHARES.items()}
    kind = dice.choices([*shares, "well"], [*shares.values(), 1 - sum(shares.values())])[0]
    posts = 2 if dice.random() < RETRIES * more else 1
    return Planned(kind, _acts(kind, pace, dice), dice.randint(*HEARD_WORDS) if kind == "barge-in" else None, posts)


def _acts(kind: str, pace: float, dice: random.Random) -> str:
    if kind == "slow":
        return f"slow:{dice.uniform(*SLOW_S) * pace * 1000:.0f}"
    return {"barge-in": "long", "empty": dice.choice(EMPTY), "failing": dice.choice(FAILING)}.get(kind, "well")
