"""What the bench and its load generator say to each other: a round to drive, and what was heard in it."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct, field

from bench.report import percentile

Api = Literal["chat", "responses"]


class Round(Struct, frozen=True, kw_only=True):
    """Streams side by side, each followed by the next one, against one side: the upstream itself or a gateway.

    It is measured for `measure_s` after `warm_up_s`, or, where `turns` is set, from the end of `warm_up_turns` until
    that many more have ended. Streams that run at the end are heard to their end.
    """

    urls: tuple[str, ...]  # up to and with /v1; streams are dealt out to them in turn
    model: str
    key: str = ""
    api: Api = "chat"
    store: bool = False  # of responses: whether they are to be kept
    streams: int
    tokens: int
    rate: float = 0.0  # tokens a second of each stream; 0: as fast as they come
    first_ms: float = 0.0  # the upstream waits this long before the first token
    spread_s: float = 0.0  # the streams' starts are spread over this
    warm_up_s: float = 0.0
    measure_s: float = 0.0
    warm_up_turns: int = 0
    turns: int = 0

    @property
    def stream_s(self) -> float:
        """How long one stream takes when nobody slows it down."""
        return self.first_ms / 1000 + (self.tokens / self.rate if self.rate else 0.0)


class Spread(Struct, frozen=True):
    """Percentiles of values in milliseconds."""

    n: int
    p50: float
    p95: float
    p99: float
    max: float


def spread(values_s: Sequence[float]) -> Spread | None:
    """Of values in seconds; None where there are none."""
    if not values_s:
        return None
    ordered = sorted(value * 1000 for value in values_s)
    p50, p95, p99 = (percentile(ordered, share) for share in (0.5, 0.95, 0.99))
    return Spread(len(ordered), p50, p95, p99, ordered[-1])


class Heard(Struct, kw_only=True):
    """What came back. Times and rates are of the measured window; what went wrong is of the whole round."""

    seconds: float = 0.0
    first: Spread | None = None  # request sent -> first content
    gap: Spread | None = None  # content -> next content
    tokens: int = 0
    streams: int = 0  # that ended whole
    began: int = 0  # in the whole round, as the next ones
    whole: int = 0
    lost: int = 0  # cut, or silent for too long
    errors: int = 0  # refused, or ended with an error that says so
    wrong: int = 0  # text that is not the whole of what was said, in order
    examples: list[str] = field(default_factory=list)  # of what went wrong

    @property
    def bad(self) -> int:
        """Streams that did not come through as they should."""
        return self.lost + self.errors + self.wrong
