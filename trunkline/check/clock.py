"""How far this machine's clock is from another's. Pure.

No turn depends on it, but traces and records of several machines lie beside each other, and certificates and tokens
have an end.
"""

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

from msgspec import Struct

from trunkline.check.findings import Finding, ok, warn

SECTION = "clock"
TOLERATED_S = 2.0  # an HTTP date has whole seconds


class Reading(Struct, frozen=True):
    """Whose clock said what, and when we asked and heard by our own; all aware."""

    whose: str
    said: datetime
    asked: datetime
    heard: datetime

    @property
    def ahead_s(self) -> float:
        """How far our clock is ahead; 0 where the answer fits between question and answer."""
        if self.said < self.asked:
            return (self.asked - self.said).total_seconds()
        return min(0.0, (self.heard - self.said).total_seconds())


def http_reading(whose: str, date: str | None, asked: datetime, heard: datetime) -> Reading | None:
    """From a `Date` header: any moment of the second that it names. None: there is none, or it is no date."""
    try:
        said = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    if said.tzinfo is None:
        return None
    return Reading(whose, said, asked - timedelta(seconds=1), heard)


def judge(reading: Reading) -> Finding:
    """Whether the two agree."""
    off_s = reading.ahead_s
    if abs(off_s) <= TOLERATED_S:
        return ok(SECTION, reading.whose, f"within {TOLERATED_S:g} s of this machine's")
    way = "ahead of" if off_s > 0 else "behind"
    return warn(
        SECTION,
        reading.whose,
        f"this machine's clock is {abs(off_s):.1f} s {way} it: certificates may be refused, traces do not line up",
        "let both machines keep time by NTP",
    )
