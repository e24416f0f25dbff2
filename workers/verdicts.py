"""What an error of a target means for the turn, for the target and for the caller. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from protocol.errors import (
    ContentFiltered,
    ContextTooLong,
    EmptyAnswer,
    KeyRefused,
    NotReady,
    QuotaGone,
    RateLimited,
    ServiceError,
    TooLarge,
    UnsupportedParameter,
    UnsupportedValue,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)
from workers.targets.upstream_errors import LimitTooLow, SealRefused


class Verdict(NamedTuple):
    """Of one kind of error. `telling`: of several, the caller hears the one with the highest number."""

    next: bool  # another target may do better
    counts: bool  # against the target, in its breaker
    telling: int


VERDICTS: dict[type[ServiceError], Verdict] = {
    UnsupportedParameter: Verdict(next=True, counts=False, telling=0),  # the target was not even asked
    UnsupportedValue: Verdict(next=True, counts=False, telling=0),
    UpstreamTimeout: Verdict(next=True, counts=True, telling=1),
    UpstreamError: Verdict(next=True, counts=True, telling=1),  # no connection, 5xx, an error inside a 200, cut
    EmptyAnswer: Verdict(next=True, counts=True, telling=1),
    TooLarge: Verdict(next=True, counts=True, telling=1),
    KeyRefused: Verdict(next=True, counts=True, telling=1),
    NotReady: Verdict(next=True, counts=True, telling=2),
    QuotaGone: Verdict(next=True, counts=True, telling=2),
    RateLimited: Verdict(next=True, counts=True, telling=3),
    ContentFiltered: Verdict(next=True, counts=False, telling=4),
    ContextTooLong: Verdict(next=True, counts=False, telling=4),
    LimitTooLow: Verdict(next=False, counts=False, telling=5),
    UpstreamRefused: Verdict(next=False, counts=False, telling=5),
    SealRefused: Verdict(next=True, counts=False, telling=5),  # though it was shown none: it is about this target
}
"""From what nobody could do anything about, over what time heals, to what the caller can change."""

ELSE = Verdict(next=False, counts=False, telling=6)


def verdict_of(error: ServiceError) -> Verdict:
    """The row of its class, or of the nearest one that it derives from."""
    return next((VERDICTS[kind] for kind in type(error).__mro__ if kind in VERDICTS), ELSE)


def most_telling(errors: Sequence[ServiceError]) -> ServiceError:
    """What the caller hears when all targets have failed: the error that tells most by the table; of equals the last,
    as what was tried last is what he waited for. Where no target could be asked at all, the first: it is the first
    choice's limit that he met.
    """
    telling = max(verdict_of(error).telling for error in errors)
    equals = [error for error in errors if verdict_of(error).telling == telling]
    return equals[-1] if telling else equals[0]
