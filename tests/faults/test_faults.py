"""Every fault in every API over a real line: what the caller hears, whom it costs what, and that nothing is left of it.

All turns are taken once, side by side; each test looks at one of them, or at what all of them left.
"""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bench.polling import until
from protocol import telemetry
from tests.broker.line_fixture import RealLine
from tests.faults.faults import FAULTS
from tests.faults.line import BUDGET_S, FIRST_CONTENT_S, KEY, faults_line
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.faults.turns import SETTLE_S, Result, take
from tests.faults.upstream import FaultUpstream
from tests.faults.verdict import wrong

pytestmark = pytest.mark.asyncio(loop_scope="module")

MEMORY_MB = 96
"""What a worker may grow by, over a gzip bomb of 128 MB and lines of 10 MB."""

KINDS = {
    "after_its_end",
    "cut",
    "line_too_long",
    "no_http",
    "no_text",
    "redirect",
    "second_finish",
    "skipped",
    "tool_call",
}

SLACK_S = 2.0
"""On a machine that is busy with other tests."""


class Taken:
    """All turns, and the line while it still stands."""

    def __init__(self, line: RealLine, upstream: FaultUpstream) -> None:
        self.line = line
        self.upstream = upstream
        self.results: dict[str, Result] = {}
        self.grown_mb = 0.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def taken(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Taken]:
    async with faults_line(tmp_path_factory.mktemp("line")) as (line, upstream):
        taken = Taken(line, upstream)
        before = _most_mb(line)
        taken.results = await take(line, upstream, SCENARIOS)
        taken.grown_mb = _most_mb(line) - before
        yield taken
        await line.idle()


def _most_mb(line: RealLine) -> float:
    """The most memory that the worker has had."""
    status = Path(f"/proc/{line.workers[0].process.pid}/status").read_text()
    [most] = [told.split()[1] for told in status.splitlines() if told.startswith("VmHWM:")]
    return int(most) / 1024


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_a_fault_has_the_outcome_that_the_table_says(taken: Taken, scenario: Scenario) -> None:
    assert wrong(taken.results[scenario.name]) == []


async def test_where_there_is_a_next_target_nobody_waits_for_the_whole_budget(taken: Taken) -> None:
    """A second target has answered by then, unless words of the first were heard."""
    waited = [
        result for result in taken.results.values() if result.scenario.way == "next" and result.answer.finish_reason
    ]

    assert len(waited) > len(FAULTS)
    assert {r.scenario.name for r in waited if r.silence_ms > (FIRST_CONTENT_S + SLACK_S) * 1000} == set()
    assert FIRST_CONTENT_S + SLACK_S < BUDGET_S


async def test_every_connection_that_was_kept_open_is_closed_by_us(taken: Taken) -> None:
    """A model that speaks to nobody costs money."""

    async def still_open() -> list[str]:
        every = (result for result in taken.results.values())
        return [r.scenario.name for r in every for seen in r.seen for one in seen if one.holds and one.closed is None]

    assert await until(still_open, lambda left: not left, SETTLE_S) == []


async def test_nobody_follows_a_redirect(taken: Taken) -> None:
    assert taken.upstream.strayed == []


async def test_a_worker_stays_small(taken: Taken) -> None:
    assert taken.grown_mb < MEMORY_MB


async def test_what_no_upstream_should_send_is_counted_by_kind(taken: Taken) -> None:
    metrics = await taken.line.workers[0].metrics()

    assert set(re.findall(rf'^{telemetry.UPSTREAM_FAULTS}_total{{kind="(\w+)"', metrics, re.MULTILINE)) >= KINDS


async def test_keys_and_words_are_in_no_log(taken: Taken) -> None:
    logs = taken.line.logs()

    assert KEY not in logs
    assert "Count to four" not in logs
    assert "one two" not in logs
