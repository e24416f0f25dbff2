"""What a caller who hangs up leaves behind: a free slot, and a line in the log that says why."""

from bench.polling import until
from tests.broker.line_fixture import SETTLE_S, RealLine


def interrupted(line: RealLine) -> int:
    """How many turns have ended so, until now."""
    return sum(turn["outcome"] == "interrupted" for turn in line.turn_lines())


async def freed_by_hanging_up(line: RealLine, before: int) -> None:
    """Wait until no slot is taken and one turn more has been interrupted. Raises AssertionError."""
    await line.idle()

    async def count() -> int:
        return interrupted(line)

    assert await until(count, lambda now: now > before, SETTLE_S) == before + 1
