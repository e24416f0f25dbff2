"""The figures of `trunkline top`: what was heard goes in, what is shown comes out. No clock, no terminal."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from protocol.messages import Here, Outcome, TurnRecord, Usage
from trunkline.top.figures import EdgeRow, Figures, Spread, spread
from trunkline.top.seen import ERRORS, Line

AT = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def here(worker_id: str = "one", *, slots: int = 4, free: int = 4, draining: bool = False) -> Here:
    return Here(worker_id=worker_id, models=("echo",), slots=slots, free=free, draining=draining, config="c")


def record(turn_id: str, *, outcome: Outcome = "completed", model: str = "echo", **more: object) -> TurnRecord:
    fields = {"tenant": "default", "started_at": "2030-01-02T03:04:04.500+00:00", "total_ms": 250.0, **more}
    return TurnRecord(id=turn_id, model=model, outcome=outcome, **fields)  # type: ignore[arg-type]


def test_a_worker_shows_what_its_breakers_pass_over() -> None:
    seen = line()
    seen.hear(
        "default", Here(worker_id="one", models=(), slots=4, free=4, draining=False, config="c", open=("x",)), 1.0
    )

    assert [worker.open for worker in look(seen, 1.5).workers] == [("x",)]


def line(*, window_s: float = 60.0) -> Line:
    """One whose history is known."""
    made = Line("127.0.0.1:4222", window_s=window_s, now=0.0)
    made.known_from(-1000.0)
    return made


def look(seen: Line, now: float) -> Figures:
    return seen.figures(now, AT)


def states(seen: Line, now: float) -> dict[str, str]:
    return {worker.id: worker.state for worker in look(seen, now).workers}


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], Spread()),
        ([None, None], Spread()),
        ([7.0], Spread(1, 7.0, 7.0)),
        ([2.0, 1.0], Spread(2, 1.0, 2.0)),
        ([3.0, None, 1.0, 2.0], Spread(3, 2.0, 3.0)),
        ([float(n) for n in range(20, 0, -1)], Spread(20, 10.0, 19.0)),
        ([float(n) for n in range(1, 101)], Spread(100, 50.0, 95.0)),
    ],
)
def test_a_percentile_is_the_smallest_time_that_so_many_do_not_exceed(
    times: Sequence[float | None], expected: Spread
) -> None:
    assert spread(times) == expected


@pytest.mark.parametrize(("now", "turns"), [(10.0, 3), (60.9, 3), (61.1, 2), (65.1, 1), (70.1, 0)])
def test_the_window_slides(now: float, turns: int) -> None:
    seen = line()
    for turn_id, at in (("a", 1.0), ("b", 5.0), ("c", 10.0)):
        seen.record(record(turn_id, ttft_ms=at), at)

    figures = look(seen, now)

    assert (figures.turns, figures.outcomes["completed"], figures.first_content.count) == (turns, turns, turns)


def test_rates_are_of_the_last_ten_seconds() -> None:
    seen = line()
    for number in range(40):
        seen.record(record(f"turn-{number}", usage=Usage(completion=5)), 60.0 + number / 2)

    figures = look(seen, 79.9)

    assert (figures.turns, figures.rate_s) == (40, 10.0)
    assert (figures.turns_per_s, figures.tokens_per_s) == (2.0, 10.0)


def test_what_is_not_known_is_not_counted_as_silence() -> None:
    """Two turns in the two seconds that were watched are one per second, not two per minute."""
    seen = Line("nats", window_s=60.0, now=100.0)
    seen.record(record("a"), 101.0)
    seen.record(record("b"), 102.0)

    figures = look(seen, 102.0)

    assert (figures.turns, figures.window_s, figures.turns_per_s) == (2, 2.0, 1.0)


def test_a_turn_that_is_told_twice_counts_once() -> None:
    seen = line()
    for at in (1.0, 3.0, 0.5):
        seen.record(record("a"), at)
        seen.record(record("b", outcome="deadline"), at)

    assert (look(seen, 5.0).turns, len(look(seen, 5.0).errors)) == (2, 1)


def test_outcomes_are_counted_and_a_barge_in_is_no_error() -> None:
    seen = line()
    told: list[Outcome] = ["completed", "interrupted", "interrupted", "shed", "worker_lost"]
    for number, outcome in enumerate(told):
        seen.record(record(f"turn-{number}", outcome=outcome, cancel_ms=4.0 if outcome == "interrupted" else None), 1.0)

    figures = look(seen, 2.0)

    assert figures.outcomes == {
        "completed": 1,
        "interrupted": 2,
        "shed": 1,
        "deadline": 0,
        "upstream_error": 0,
        "worker_lost": 1,
        "internal": 0,
    }
    assert figures.cancel == Spread(2, 4.0, 4.0)
    assert {row.outcome for row in figures.errors} == {"shed", "worker_lost"}


def test_the_last_errors_outlive_the_window_and_the_newest_comes_first() -> None:
    seen = line()
    for number in range(3 * ERRORS):
        seen.record(record(f"turn-{number}", outcome="internal", error="internal", trace_id=f"{number}"), number)
    seen.record(record("old", outcome="internal"), -500.0)

    figures = look(seen, 10_000.0)

    assert figures.turns == 0
    assert [row.trace_id for row in figures.errors] == [f"{n}" for n in range(3 * ERRORS - 1, 2 * ERRORS - 1, -1)]
    assert figures.errors[0].ended_at == datetime(2030, 1, 2, 3, 4, 4, 750_000, tzinfo=UTC)


@pytest.mark.parametrize("started_at", ["", "yesterday", "9999-12-31T23:59:59.999+00:00", "0001-01-01T00:00:00+00:00"])
def test_an_error_without_a_sensible_time_is_shown_without_one(started_at: str) -> None:
    seen = line()
    seen.record(record("a", outcome="internal", started_at=started_at, total_ms=1e12), 1.0)

    (row,) = look(seen, 2.0).errors

    assert row.ended_at is None or row.ended_at.year < 1000


@pytest.mark.parametrize(
    ("says_that_it_drains", "now", "state"),
    [
        (False, 12.9, "up"),
        (False, 13.1, "silent"),
        (False, 39.9, "silent"),
        (False, 40.1, None),
        (True, 12.9, "draining"),
        (True, 13.1, "left"),
        (True, 40.1, None),
    ],
)
def test_a_worker_that_is_not_heard_for_three_seconds_is_marked_and_after_thirty_gone(
    says_that_it_drains: bool, now: float, state: str | None
) -> None:
    seen = line()
    seen.hear("default", here(draining=says_that_it_drains), 10.0)

    assert states(seen, now).get("one") == state


def test_live_is_what_the_workers_that_are_heard_run() -> None:
    seen = line()
    seen.hear("default", here("lost", free=0), 1.0)
    seen.hear("default", here("one", free=1), 8.0)
    seen.hear("fast", here("one", free=1), 8.0)  # in both its pools, with the same slots
    seen.hear("default", here("two", free=2, draining=True), 8.0)

    figures = look(seen, 9.0)

    assert (figures.live, figures.slots) == (5, 8)
    assert [(row.id, row.busy, row.pools) for row in figures.workers] == [
        ("lost", 4, ("default",)),
        ("two", 2, ("default",)),
        ("one", 3, ("default", "fast")),
    ]


def test_while_nats_is_away_everything_stands_still_and_nobody_is_silent() -> None:
    seen = line()
    seen.hear("default", here(free=1), 10.0)
    seen.record(record("a"), 10.0)
    seen.bus(False, 11.0)

    figures = look(seen, 200.0)

    assert figures.away_s == 189.0
    assert (figures.turns, figures.live, figures.workers[0].state) == (1, 3, "up")


@pytest.mark.parametrize(("now", "state"), [(202.9, "up"), (203.1, "silent")])
def test_a_worker_has_three_seconds_again_once_nats_is_back(now: float, state: str) -> None:
    seen = line()
    seen.hear("default", here(), 10.0)
    seen.bus(False, 11.0)
    seen.bus(True, 200.0)

    assert look(seen, now).away_s is None
    assert states(seen, now) == {"one": state}


def test_models_are_told_apart_and_the_busiest_comes_first() -> None:
    seen = line()
    for number in range(3):
        seen.record(record(f"echo-{number}", ttft_ms=10.0 * number), 1.0)
    seen.record(record("other", model="other", outcome="deadline"), 1.0)

    rows = look(seen, 2.0).models

    assert [(row.name, row.turns, row.failed, row.first_content) for row in rows] == [
        ("echo", 3, 0, Spread(3, 10.0, 20.0)),
        ("other", 1, 1, Spread()),
    ]


def test_queues_and_edges_are_shown_as_they_were_told() -> None:
    seen = line()
    edge = EdgeRow(url="http://127.0.0.1:9090", state="ready", live=2)
    assert look(seen, 1.0).queued is None

    seen.queue({"default": 3, "fast": 0})
    seen.edges([edge])

    assert look(seen, 2.0).queued == {"default": 3, "fast": 0}
    assert look(seen, 2.0).edges == (edge,)
    assert look(seen, 2.0).at == AT
