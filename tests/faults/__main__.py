"""`python -m tests.faults`: take all scenarios over a real line and write docs/faults.md. Exit code 1: one came out
otherwise than its table has it; then nothing is written.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from bench.processes import ROOT
from tests.faults.doc import page
from tests.faults.line import BUDGET_S, CONNECT_S, FIRST_CONTENT_S, STALL_S, faults_line
from tests.faults.scenarios import SCENARIOS
from tests.faults.turns import QUIETLY, Result, take
from tests.faults.verdict import wrong

PAGE = ROOT / "docs" / "faults.md"
TIMERS = {"first_content_s": FIRST_CONTENT_S, "stall_s": STALL_S, "connect_s": CONNECT_S, "budget_s": BUDGET_S}


async def results() -> list[Result]:
    """Of all scenarios."""
    with tempfile.TemporaryDirectory(prefix="trunkline-faults-") as directory:
        async with faults_line(Path(directory)) as (line, upstream):
            return list((await take(line, upstream, SCENARIOS, QUIETLY)).values())


def main() -> int:
    """Write the page."""
    taken = asyncio.run(results())
    failures = [f"{result.scenario.name}: {why}" for result in taken for why in wrong(result)]
    for failure in failures:
        print(failure, file=sys.stderr)
    if not failures:
        PAGE.write_text(page(taken, TIMERS), encoding="utf-8")
        print(f"{len(taken)} turns, {PAGE.relative_to(ROOT)} written")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
