"""What becomes of measured values: medians, what is added, verdicts."""

import json
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console

from bench.load.figures import AGAINST, CHAT, DIRECT, GATEWAY, LINE, UNSTORED, Measured, Run, of_side
from bench.load.meter import Reading
from bench.load.rig import Taken
from bench.load.rounds import Heard, Spread, spread
from bench.load.scenarios import LOSSLESS, SCENARIOS, Scenario, Target
from bench.load.table import show, to_json

PACED = Scenario(
    form="a test of {streams} streams",
    streams=10,
    tokens=5,
    rate=50.0,
    measure_s=2.0,
    targets=(
        Target("first_p50_ms", "≤", 4.0, added=True),
        Target("gap_p99_ms", "≤", 40.0),
        Target("cpu_us_per_token", "≤", 60.0),
        LOSSLESS,
    ),
)


def heard(first_ms: float = 1.0, gap_ms: float = 20.0, **more: Any) -> Heard:
    first, gap = (Spread(100, value, value, value, value) for value in (first_ms, gap_ms))
    return Heard(**{"seconds": 2.0, "first": first, "gap": gap, "tokens": 1000, "streams": 20, "began": 30, **more})


def taken(heard: Heard, busy: float = 50.0, **cpu_s: float) -> Taken:
    """A round whose processes used that much CPU, and 1 MB each."""
    before = {name: Reading(rss_bytes=50_000_000) for name in cpu_s}
    after = {name: Reading(user_s=used, rss_bytes=51_000_000) for name, used in cpu_s.items()}
    return Taken(heard=heard, before=before, after=after, busy_percent=busy)


def measured(*rounds: tuple[Taken, Taken], scenario: Scenario = PACED) -> Measured:
    """Runs of direct access and the line."""
    whole = Measured("test", scenario)
    for direct, line in rounds:
        run = Run()
        run.add(DIRECT, direct, scenario)
        run.add(LINE, line, scenario)
        whole.runs.append(run)
    return whole


def verdicts(whole: Measured) -> dict[str, str]:
    return {row.figure: row.verdict for row in whole.rows if row.target}


def line_of(first_ms: float = 1.0, gap_ms: float = 20.0, busy: float = 50.0, **more: Any) -> Taken:
    return taken(heard(first_ms, gap_ms, **more), busy, edge=0.02, worker=0.02, nats=0.01)


DIRECT_ROUND = taken(heard())


def test_a_spread_has_values_that_were_measured() -> None:
    assert spread([number / 1000 for number in range(1, 101)]) == Spread(100, 50.0, 95.0, 99.0, 100.0)
    assert spread([]) is None


def test_what_the_line_adds_is_its_difference_to_direct_access_in_the_same_run() -> None:
    whole = measured(
        (DIRECT_ROUND, line_of(2.0)),
        (taken(heard(10.0)), line_of(15.0)),  # a slow moment for both
        (DIRECT_ROUND, line_of(4.5)),
    )

    row = next(row for row in whole.rows if row.figure == "first_p50_ms")

    assert row.sides == {DIRECT: 1.0, LINE: 4.5}
    assert row.added == 3.5  # the median of 1, 5 and 3.5
    assert whole.passed


def test_cpu_is_told_per_token_together_and_apart() -> None:
    figures = of_side(line_of(), PACED)

    assert figures["cpu_us_per_token"] == pytest.approx(50.0)
    assert [figures[f"cpu_{tier}_us"] for tier in ("edge", "worker", "nats")] == pytest.approx([20.0, 20.0, 10.0])
    assert (figures["tokens_per_s"], figures["streams_per_s"]) == (500.0, 10.0)


def test_a_figure_beyond_its_limit_is_missed() -> None:
    whole = measured((DIRECT_ROUND, line_of(5.5, 41.0)))

    assert verdicts(whole) == {
        "first_p50_ms": "missed",
        "gap_p99_ms": "missed",
        "cpu_us_per_token": "passed",
        "bad": "passed",
    }
    assert not whole.passed


@pytest.mark.parametrize(("busy", "verdict"), [(85.0, "passed"), (85.1, "not valid")])
def test_a_gap_on_a_machine_that_is_too_busy_is_not_valid(busy: float, verdict: str) -> None:
    whole = measured((DIRECT_ROUND, line_of(busy=busy)))

    assert verdicts(whole)["gap_p99_ms"] == verdict
    assert whole.passed is (verdict == "passed")


def test_of_several_runs_those_on_a_busy_machine_do_not_count_for_the_gap() -> None:
    whole = measured((DIRECT_ROUND, line_of(gap_ms=90.0, busy=99.0)), (DIRECT_ROUND, line_of(gap_ms=25.0)))

    row = next(row for row in whole.rows if row.figure == "gap_p99_ms")

    assert (row.sides[LINE], row.verdict) == (25.0, "passed")


def test_one_lost_stream_in_any_run_is_a_loss() -> None:
    lossy = line_of(lost=1, examples=["s3: broke off after 2 of 5 words"])
    whole = measured((DIRECT_ROUND, line_of()), (DIRECT_ROUND, lossy), (DIRECT_ROUND, line_of()))

    assert verdicts(whole)["bad"] == "missed"
    assert whole.examples == ["line, s3: broke off after 2 of 5 words"]


def test_an_exception_in_the_logs_fails_a_scenario_however_fast_it_was() -> None:
    whole = measured((DIRECT_ROUND, line_of()))
    assert whole.passed

    whole.failures.append("edge-0.log: 1 exceptions")

    assert not whole.passed


def test_what_was_not_measured_does_not_pass() -> None:
    whole = measured((DIRECT_ROUND, line_of(first=None)))

    assert not whole.passed


def test_a_rate_that_is_not_held_is_missed_however_cheap_its_tokens_were() -> None:
    lagging = replace(PACED, targets=(Target("rate_held", "≥", 0.95),))

    assert verdicts(measured((DIRECT_ROUND, line_of(tokens=960)), scenario=lagging)) == {"rate_held": "passed"}
    assert verdicts(measured((DIRECT_ROUND, line_of(tokens=940)), scenario=lagging)) == {"rate_held": "missed"}


def test_unpaced_streams_are_told_as_a_share_of_direct_access() -> None:
    unpaced = replace(PACED, rate=0.0, targets=(Target("share_of_direct", "≥", 0.35),))

    whole = measured(
        (DIRECT_ROUND, line_of(streams=6)),
        (DIRECT_ROUND, line_of(streams=8)),
        (DIRECT_ROUND, line_of(streams=9)),
        scenario=unpaced,
    )

    assert next(row for row in whole.rows if row.figure == "share_of_direct").sides[LINE] == 0.4
    assert verdicts(whole) == {"share_of_direct": "passed"}


def test_waiting_streams_are_told_by_the_memory_of_edge_and_worker() -> None:
    waiting = replace(PACED, wait_s=5.0, streams=100)

    figures = of_side(line_of(), waiting)

    assert figures["rss_kb_per_stream"] == pytest.approx(2_000_000 / 100 / 1000)
    assert "cpu_us_per_token" not in figures


def test_a_report_is_shown_and_kept_with_the_other_gateway_beside() -> None:
    whole = measured((DIRECT_ROUND, line_of(2.0, busy=90.0)))
    whole.runs[0].add(AGAINST, taken(heard(7.0), **{GATEWAY: 0.3}), PACED)
    console = Console(record=True, width=160)

    show([whole], console, against="http://127.0.0.1:4000/v1")

    shown = console.export_text()
    for expected in (
        "test: a test of 10 streams; one run",
        "127.0.0.1:4000",
        "7.00 ms",
        "300.0 µs",
        "not valid",
        "added ≤ 4.00 ms",
        "50.0 → 51.0 MB",
    ):
        assert expected in shown
    kept = json.loads(to_json([whole]))
    row = next(row for row in kept["scenarios"][0]["figures"] if row["figure"] == "first_p50_ms")
    assert row == {
        "figure": "first_p50_ms",
        "direct": 1.0,
        "line": 2.0,
        "against": 7.0,
        "added": 1.0,
        "target": "≤ 4",
        "verdict": "passed",
    }
    assert kept["passed"] is False
    assert kept["machine"]["cores"]


def test_responses_are_held_against_chat_and_against_those_that_nobody_keeps() -> None:
    run = Run()
    run.add(CHAT, line_of(), SCENARIOS["responses"])
    run.add(UNSTORED, line_of(1.25, lost=1), SCENARIOS["responses"])
    stored = taken(heard(1.5, wrong=2), edge=0.03, worker=0.02, nats=0.01)
    run.add(LINE, stored, SCENARIOS["responses"])

    assert run.value(LINE, "cpu_of_chat") == pytest.approx(1.2)
    assert run.value(LINE, "first_of_unstored_ms") == pytest.approx(0.25)
    assert run.value(LINE, "bad") == 3


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_every_target_is_of_a_figure_that_its_scenario_measures(scenario: Scenario) -> None:
    run = Run()
    run.add(DIRECT, DIRECT_ROUND, scenario)
    for beside in (CHAT, UNSTORED):
        run.add(beside, line_of(), scenario)
    run.add(LINE, line_of(), scenario)

    missing = [
        target.figure
        for target in scenario.targets
        if (run.added(target.figure) if target.added else run.value(LINE, target.figure)) is None
    ]

    assert missing == []
