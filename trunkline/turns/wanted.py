"""Which records are asked for. Pure."""

import re
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from protocol.messages import Outcome, TurnRecord
from protocol.settings import SettingsError

NO_ERROR = ("completed", "interrupted")  # a barge-in is an outcome, not an error
UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
DURATION = re.compile(rf"(\d+(?:\.\d+)?)({'|'.join(UNITS_S)})")
LONGEST_S = 3650 * UNITS_S["d"]  # no stream is so old, and dates have an end


class Wanted(Struct, frozen=True, kw_only=True):
    """What a record must be; what is not said does not matter."""

    outcomes: tuple[Outcome, ...] = ()
    model: str | None = None
    tenant: str | None = None
    profile: str | None = None
    call: str | None = None
    target: str | None = None  # tried or passed over; it need not have answered
    slower_than_s: float | None = None  # to the first content, or to the end where none came
    errors: bool = False

    def __call__(self, record: TurnRecord) -> bool:
        """Whether this is one."""
        return (
            (not self.outcomes or record.outcome in self.outcomes)
            and not (self.errors and record.outcome in NO_ERROR)
            and self.model in (None, record.model)
            and self.tenant in (None, record.tenant)
            and self.profile in (None, record.profile)
            and self.call in (None, record.call_id)
            and (self.target is None or self.target in targets_of(record))
            and (self.slower_than_s is None or _waited_ms(record) > self.slower_than_s * 1000)
        )


def targets_of(record: TurnRecord) -> tuple[str, ...]:
    """Everybody who had a part in it, in order, the one that answered too."""
    tried = [attempt.target for attempt in record.attempts]
    return tuple(dict.fromkeys([*tried, *([record.target] if record.target else [])]))


def _waited_ms(record: TurnRecord) -> float:
    return record.total_ms if record.ttft_ms is None else record.ttft_ms


def duration_s(text: str, *, flag: str) -> float:
    """Seconds, from `800ms`, `1.5s`, `10m`, `2h` or `7d`. Raises SettingsError."""
    found = DURATION.fullmatch(text.strip())
    seconds = float(found[1]) * UNITS_S[found[2]] if found else LONGEST_S + 1
    if seconds > LONGEST_S:
        raise SettingsError(f"{flag} {text!r} is no duration of at most 3650 days; give one such as 800ms, 1.5s or 10m")
    return seconds


class Since(Struct, frozen=True):
    """From when on: so long ago, or a moment (aware)."""

    ago_s: float | None = None
    moment: datetime | None = None

    def at(self, now: datetime) -> datetime:
        """The moment, counted from `now` on the clock of whoever stamped the records."""
        return self.moment or now - timedelta(seconds=self.ago_s or 0)


def since(text: str) -> Since:
    """From `10m` or RFC 3339 such as `2026-03-01T08:00:00Z`; a time without a zone is UTC. Raises SettingsError."""
    if DURATION.fullmatch(text.strip()):
        return Since(ago_s=duration_s(text, flag="--since"))
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise SettingsError(
            f"--since {text!r} is neither a duration nor a time; give one such as 10m, 2h or 2026-03-01T08:00:00Z"
        ) from None
    return Since(moment=moment if moment.tzinfo else moment.replace(tzinfo=UTC))
