"""Sets a drill up and clears it away: processes, logs, and what must hold after each of them."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.drills.stage import Stage
from bench.line import Line, UpLine, Upstream
from bench.report import Report

SETTLED_S = 1.2  # an edge that has just connected gives nobody up for lost in its first second


@asynccontextmanager
async def a_line(report: Report, **settings: Any) -> AsyncIterator[tuple[Stage, Line]]:
    """A line whose processes the drill may signal. `settings` are those of `Line`."""
    async with _upstream(report) as (directory, upstream):
        line = Line(directory, upstream.url, **settings)
        async with _standing(report, line, upstream) as stage:
            yield stage, line


@asynccontextmanager
async def an_up_line(report: Report, **settings: Any) -> AsyncIterator[tuple[Stage, UpLine]]:
    """A line that `trunkline up` runs. `settings` are those of `UpLine`."""
    async with _upstream(report) as (directory, upstream):
        line = UpLine(directory, upstream.url, **settings)
        async with _standing(report, line, upstream) as stage:
            yield stage, line


@asynccontextmanager
async def _upstream(report: Report) -> AsyncIterator[tuple[Path, Upstream]]:
    """The upstream, and a directory for everything, which the report names."""
    report.logs = tempfile.mkdtemp(prefix=f"trunkline-drill-{report.number}-")
    directory = Path(report.logs)
    upstream = Upstream(directory)
    try:
        await upstream.start()
        yield directory, upstream
    finally:
        report.violations += await upstream.stop()
        report.violations += failures_logged(directory)


@asynccontextmanager
async def _standing(report: Report, line: Line | UpLine, upstream: Upstream) -> AsyncIterator[Stage]:
    await line.start()
    await asyncio.sleep(SETTLED_S)
    stage = Stage(line, upstream)
    try:
        yield stage
        report.violations += [f"afterwards: {wrong}" for wrong in await stage.settle()]
    finally:
        await stage.clear()
        report.violations += [f"afterwards: {wrong}" for wrong in await line.stop()]


def failures_logged(directory: Path) -> list[str]:
    """Bugs that the processes have met: an exception that nobody foresaw is logged with its trace."""
    found = []
    for log in sorted(directory.rglob("*.log")):
        traces = log.read_text(errors="replace").count("Traceback (most recent call last)")
        if traces:
            found.append(f"{log.name}: {traces} exceptions")
    return found
