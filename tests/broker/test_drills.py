"""A short form of every drill: real processes, three moments each, outcome and order, never speed.

`python -m bench drills` runs the same steps many times and holds them against the targets.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bench.drills import churn, drain, edge_lost, hang_up, nats_away, queue_full, state_kept, store_lost, worker_lost
from bench.drills.hang_up import When
from bench.drills.nats_away import Absence
from bench.drills.scene import failures_logged
from bench.drills.stage import Moment, Stage, State
from bench.drills.worker_lost import Loss
from bench.line import Line, Upstream

SLOTS = 4
LIVE = 6
SHORT_SPEECH = "first_ms=300 rate=30 tokens=40"
ENV = {"TRUNKLINE_JOBS__MAX_MSGS": str(queue_full.QUEUE), "TRUNKLINE_EDGE__LAME_S": str(drain.LAME_S)}

at_three_moments = pytest.mark.parametrize("moment", [Moment(state) for state in State], ids=lambda m: m.state.value)


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    upstream = Upstream(tmp_path_factory.mktemp("upstream"))
    asyncio.run(upstream.start())
    yield upstream
    asyncio.run(upstream.stop())


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the processes of the line write."""
    return tmp_path_factory.mktemp("line")


@pytest.fixture(scope="module")
def line(logs: Path, upstream: Upstream) -> Iterator[Line]:
    """One line for all drills: each leaves it whole."""
    line = Line(logs, upstream.url, edges=2, workers=2, slots=SLOTS, env=ENV)
    asyncio.run(line.start())
    yield line
    left = asyncio.run(line.stop())
    assert left == []
    assert failures_logged(logs) == []


@pytest.fixture
async def stage(line: Line, upstream: Upstream) -> AsyncIterator[Stage]:
    """What every drill must leave: empty job streams, free slots, one record per turn."""
    stage = Stage(line, upstream)
    yield stage
    await stage.clear()
    assert await stage.settle() == []


@at_three_moments
async def test_a_killed_worker_costs_only_those_who_had_heard_something(
    stage: Stage, line: Line, moment: Moment
) -> None:
    run = await worker_lost.lose(stage, line, moment, Loss.KILLED)

    assert run.violations == []


@at_three_moments
async def test_what_a_frozen_worker_says_when_it_wakes_reaches_nobody(stage: Stage, line: Line, moment: Moment) -> None:
    run = await worker_lost.lose(stage, line, moment, Loss.FROZEN)

    assert run.violations == []


@at_three_moments
async def test_a_killed_edge_stops_its_models_and_its_waiting_jobs_never_begin(
    stage: Stage, line: Line, moment: Moment
) -> None:
    run = await edge_lost.lose(stage, line, moment)

    assert run.violations == []


async def test_jobs_of_a_killed_edge_never_begin_in_slots_that_strangers_held(stage: Stage, line: Line) -> None:
    run = await edge_lost.lose(stage, line, Moment(State.QUEUED, share=0.4))

    assert run.violations == []


@pytest.mark.parametrize("when", When, ids=lambda when: when.value)
async def test_a_caller_who_hangs_up_stops_the_model(stage: Stage, when: When) -> None:
    for reset in (False, True):
        run = await hang_up.leave(stage, when, 0.6, reset=reset)

        assert run.violations == []


@at_three_moments
@pytest.mark.parametrize(
    "absence", [Absence(signal.SIGKILL, 0.2), Absence(signal.SIGSTOP, 2.0)], ids=["killed", "frozen"]
)
async def test_nats_goes_away_and_every_stream_ends_explicitly(
    stage: Stage, line: Line, moment: Moment, absence: Absence
) -> None:
    run = await nats_away.away(stage, line, moment, absence, live=LIVE, speech=SHORT_SPEECH)

    assert run.violations == []


@at_three_moments
async def test_no_stream_is_cut_when_both_tiers_drain(stage: Stage, line: Line, moment: Moment) -> None:
    run = await drain.drain(stage, line, moment)

    assert run.violations == []


@at_three_moments
async def test_a_full_queue_refuses_and_serves_what_it_holds(stage: Stage, moment: Moment) -> None:
    run = await queue_full.overflow(stage, moment)

    assert run.violations == []


@at_three_moments
async def test_workers_killed_one_after_the_other_fail_no_turn_before_it_is_heard(
    stage: Stage, line: Line, moment: Moment
) -> None:
    run = await churn.one_after_the_other(stage, line, moment)

    assert run.violations == []


async def test_conversations_outlive_every_process_of_the_line(stage: Stage, line: Line) -> None:
    run = await state_kept.lose_everything(stage, line, conversations=4)

    assert run.violations == []


async def test_what_is_said_to_be_kept_is_there_though_nats_was_killed_in_a_write(stage: Stage, line: Line) -> None:
    run = await store_lost.under_writes(stage, line, turns=24, at_once=6, kills=1)

    assert run.violations == []
    assert run.values[store_lost.MISSING] == [0]
