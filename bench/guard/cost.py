"""The model is in time: `elevenlabs`, where each stream is a call of its own, against `openai`, on the same line.

The rounds of both follow each other in turn, so that a machine that slows down slows both.
"""

from collections.abc import Sequence

from msgspec import Struct, field

from bench.load.rig import Rig, Side, Taken
from bench.load.rounds import Round

TITLE = "a model that is in time"
PLAIN, GUARDED = "openai", "elevenlabs"
STREAMS, TOKENS, RATE = 50, 100, 50.0
WARM_UP_S, MEASURE_S = 2.0, 5.0
SPREAD_S = 1.5  # of the streams' starts
ROUNDS = 5
ADDED_MS = 1.0
"""To the first content's median. A call's record is read beside the offer and never waited for, yet shares its core."""

TIERS = ("edge", "worker", "nats")


class Rounds(Struct):
    """What one profile's rounds brought, one value each."""

    first_p50_ms: list[float] = field(default_factory=list)
    first_p99_ms: list[float] = field(default_factory=list)
    us_per_token: list[float] = field(default_factory=list)
    edge_us: list[float] = field(default_factory=list)
    worker_us: list[float] = field(default_factory=list)
    busy_percent: list[float] = field(default_factory=list)  # of all cores
    bad: int = 0  # streams that were lost, refused or wrong
    examples: list[str] = field(default_factory=list)

    def add(self, taken: Taken) -> None:
        """One more."""
        heard, cpu = taken.heard, taken.us_per_token(*TIERS)
        if heard.first and cpu is not None:
            self.first_p50_ms.append(heard.first.p50)
            self.first_p99_ms.append(heard.first.p99)
            self.us_per_token.append(cpu)
            self.edge_us.append(taken.us_per_token("edge") or 0.0)
            self.worker_us.append(taken.us_per_token("worker") or 0.0)
            self.busy_percent.append(taken.busy_percent)
        self.bad += heard.bad
        self.examples += heard.examples


class Cost(Struct):
    """Both, side by side."""

    plain: Rounds = field(default_factory=Rounds)
    guarded: Rounds = field(default_factory=Rounds)

    @property
    def bad(self) -> int:
        return self.plain.bad + self.guarded.bad


async def measure(rig: Rig, rounds: int = ROUNDS, *, measure_s: float = MEASURE_S, streams: int = STREAMS) -> Cost:
    """Round after round, each profile first in every second one.

    Raises:
        StartFailed: a process did not come up, or broke.
    """
    cost = Cost()
    async with rig.line(await rig.base_url(ordinary=False), slots=2 * streams, env={}) as line:
        for number in range(rounds):
            order = [(PLAIN, cost.plain), (GUARDED, cost.guarded)]
            for profile, found in order if number % 2 == 0 else reversed(order):
                asked = asked_of(line, profile, number, streams=streams, measure_s=measure_s)
                found.add(await rig.drive(asked).taken(line.groups))
    return cost


def asked_of(line: Side, profile: str, number: int, *, streams: int, measure_s: float) -> Round:
    """One round of a profile. Both name the call, so that both are parsed and written down alike."""
    return Round(
        urls=urls_of(line.urls, profile, [f"{profile}-{number}-{stream}" for stream in range(streams)]),
        model=line.model,
        streams=streams,
        tokens=TOKENS,
        rate=RATE,
        spread_s=SPREAD_S,
        warm_up_s=WARM_UP_S,
        measure_s=measure_s,
    )


def urls_of(urls: Sequence[str], profile: str, calls: Sequence[str]) -> tuple[str, ...]:
    """A URL for each call, dealt out to the edges."""
    bases = [url.removesuffix("/v1") for url in urls]
    return tuple(f"{bases[at % len(bases)]}/p/{profile}/c/{call}/v1" for at, call in enumerate(calls))
