"""What is measured, and what must come out: the figures to reach on two cores with everything on one machine."""

from typing import Literal

import msgspec
from msgspec import Struct

Sense = Literal["≤", "≥"]


class Target(Struct, frozen=True):
    """A limit for the median of one figure (`bench.load.figures`): the line's, or what it adds to direct access."""

    figure: str
    sense: Sense
    limit: float
    added: bool = False

    def met(self, value: float) -> bool:
        return value <= self.limit if self.sense == "≤" else value >= self.limit


class Scenario(Struct, frozen=True, kw_only=True):
    """One kind of load. Every run of it stands for itself; medians over the runs are held against the targets."""

    form: str  # of its title
    streams: int
    tokens: int
    rate: float = 0.0
    measure_s: float = 0.0
    warm_up_s: float = 0.0  # the streams' starts are spread over it
    turns: int = 0  # in place of a time
    warm_up_turns: int = 0
    wait_s: float = 0.0  # all streams wait together for that long
    runs: int = 3
    direct: bool = True  # the bare upstream is measured beside the line
    beside_chat: bool = False  # responses, and on the same line chat, and responses that nobody keeps
    ordinary: bool = False  # the upstream is `bench.load.ordinary`
    targets: tuple[Target, ...] = ()

    @property
    def title(self) -> str:
        """What it does, with its numbers as they are now."""
        return self.form.format(**msgspec.structs.asdict(self))

    @property
    def slots(self) -> int:
        """Enough for all of them on one worker, and for those that overlap."""
        return max(64, self.streams + 64)


LOSSLESS = Target("bad", "≤", 0)
HELD = Target("rate_held", "≥", 0.95)
"""All but the pauses between two streams of one caller. A line that lags behind also costs less per token."""

STATE_MS = 0.5
"""The machine's own noise: a response is stored when its words are out, and that costs the first ones nothing."""

FULL_TURNS = 100_000
SHORT_TURNS = 10_000
ARRIVALS_PER_S = 200.0
"""How fast the streams of `waiting` arrive: the wait is measured, not the rush."""

SCENARIOS: dict[str, Scenario] = {
    "paced": Scenario(
        form="{streams:,} streams × {rate:g} tokens/s",
        streams=50,
        tokens=150,
        rate=50.0,
        warm_up_s=4.0,
        measure_s=10.0,
        targets=(
            Target("first_p50_ms", "≤", 4.0, added=True),
            Target("first_p99_ms", "≤", 20.0, added=True),
            LOSSLESS,
        ),
    ),
    "many": Scenario(
        form="{streams:,} streams × {rate:g} tokens/s",
        streams=300,
        tokens=150,
        rate=50.0,
        warm_up_s=4.0,
        measure_s=10.0,
        targets=(HELD, Target("cpu_us_per_token", "≤", 60.0), Target("gap_p99_ms", "≤", 40.0), LOSSLESS),
    ),
    "unpaced": Scenario(
        form="{tokens}-token answers, {streams} at a time",
        streams=10,
        tokens=31,
        warm_up_s=0.5,
        measure_s=2.0,
        runs=7,
        targets=(Target("share_of_direct", "≥", 0.35), LOSSLESS),
    ),
    "ordinary": Scenario(
        form="the same, before an aiohttp upstream",
        streams=10,
        tokens=31,
        warm_up_s=0.5,
        measure_s=2.0,
        runs=7,
        ordinary=True,
        targets=(LOSSLESS,),
    ),
    "responses": Scenario(
        form="{streams:,} streams × {rate:g} tokens/s, stored responses beside chat",
        streams=200,
        tokens=150,
        rate=50.0,
        warm_up_s=4.0,
        measure_s=10.0,
        direct=False,
        beside_chat=True,
        targets=(
            HELD,
            Target("cpu_of_chat", "≤", 1.25),
            Target("first_of_unstored_ms", "≤", STATE_MS),
            LOSSLESS,
        ),
    ),
    "waiting": Scenario(
        form="{streams:,} streams wait {wait_s:g} s together",
        streams=2000,
        tokens=3,
        wait_s=5.0,
        runs=1,
        direct=False,
        targets=(Target("rss_kb_per_stream", "≤", 100.0), LOSSLESS),
    ),
    "flat": Scenario(
        form="{turns:,} turns, {streams} at a time",
        streams=16,
        tokens=8,
        turns=SHORT_TURNS,
        warm_up_turns=10_000,
        runs=1,
        direct=False,
        targets=(Target("rss_edge_grown_mb", "≤", 4.0), Target("rss_worker_grown_mb", "≤", 4.0), LOSSLESS),
    ),
}
