"""When a target counts as slow, and how often that may have consequences."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.hedge import MIN_SAMPLES, SAMPLES, SAVED, HedgeBudget, Latencies

SECONDS = st.floats(0, 100)


@given(st.lists(SECONDS, max_size=3 * SAMPLES), st.floats(0.01, 0.99))
def test_a_percentile_is_one_of_the_latest_times_and_as_high_as_its_share(times: list[float], share: float) -> None:
    latencies = Latencies()
    for seconds in times:
        latencies.add(seconds)
    recent = times[-SAMPLES:]

    found = latencies.percentile(share)

    if len(recent) < MIN_SAMPLES:
        assert found is None
    else:
        assert found in recent
        assert sum(seconds <= found for seconds in recent) >= share * len(recent)


def test_the_95th_of_a_hundred() -> None:
    latencies = Latencies()
    for seconds in range(100):
        latencies.add(float(seconds))

    assert latencies.percentile(0.95) == 95.0


@pytest.mark.parametrize(("share", "hedges"), [(0.0, 0), (0.05, 6), (0.1, 11), (1.0, 100)])
def test_a_share_of_a_hundred_turns_and_one_to_begin_with(share: float, hedges: int) -> None:
    budget, started = HedgeBudget(share), 0
    for _ in range(100):
        budget.turn()
        if budget.has():
            budget.draw()
            started += 1

    assert started == hedges


@given(st.floats(0, 1), st.lists(st.booleans(), max_size=500))
def test_never_more_than_the_share(share: float, wants: list[bool]) -> None:
    budget, started = HedgeBudget(share), 0
    for turns, wanted in enumerate(wants, start=1):
        budget.turn()
        if wanted and budget.has():
            budget.draw()
            started += 1
        assert started <= math.floor(share * turns + 1 + 1e-6)


def test_a_quiet_hour_saves_up_no_more_than_a_hundred_turns_do() -> None:
    budget, started = HedgeBudget(0.1), 0
    for _ in range(10_000):
        budget.turn()

    while budget.has():
        budget.draw()
        started += 1

    assert started == SAVED * 0.1
