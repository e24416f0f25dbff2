"""How much may be asked again, and the window that counts it."""

from hypothesis import given
from hypothesis import strategies as st

from workers.retries import FREE_PER_S, WINDOW_S, RetryBudget
from workers.window import Window

FREE = int(FREE_PER_S * WINDOW_S)


def drawn(budget: RetryBudget, now: float) -> int:
    """How many it gives at once."""
    count = 0
    while budget.draw(now):
        count += 1
    return count


def test_a_quiet_line_may_try_again() -> None:
    assert drawn(RetryBudget(0.0), 100.0) == FREE


def test_a_busy_one_by_its_share() -> None:
    budget = RetryBudget(0.2)

    for _ in range(200):
        budget.turn(100.0)

    assert drawn(budget, 100.0) == FREE + 40


def test_what_was_drawn_comes_back_after_the_window() -> None:
    budget = RetryBudget(0.0)
    drawn(budget, 100.0)

    assert not budget.has(100.0 + WINDOW_S - 1)
    assert drawn(budget, 100.0 + WINDOW_S + 1) == FREE


@given(st.floats(0, 1), st.lists(st.tuples(st.booleans(), st.floats(0, 2)), max_size=200))
def test_in_no_window_is_more_asked_than_its_turns_allow(share: float, acts: list[tuple[bool, float]]) -> None:
    budget, now, retries, turns = RetryBudget(share), 100.0, list[float](), list[float]()
    for is_turn, passes_s in acts:
        now += passes_s
        if is_turn:
            budget.turn(now)
            turns.append(now)
        elif budget.draw(now):
            retries.append(now)
            recent = [at for at in retries if at > now - WINDOW_S * 0.9]
            assert len(recent) <= FREE + share * len([at for at in turns if at > now - WINDOW_S])


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 3), st.integers(0, 3)), max_size=100))
def test_a_window_counts_what_is_in_it(acts: list[tuple[float, int, int]]) -> None:
    window, now, seen = Window(10.0), 100.0, list[tuple[float, int, int]]()
    for passes_s, whole, some in acts:
        now += passes_s
        window.add(now, whole=whole, some=some)
        seen.append((now, whole, some))
    surely = [one for one in seen if one[0] > now - 9.0]
    perhaps = [one for one in seen if one[0] > now - 10.0]

    for at, count in enumerate(window.counts(now), start=1):
        assert sum(one[at] for one in surely) <= count <= sum(one[at] for one in perhaps)


def test_a_window_that_is_cleared_is_empty() -> None:
    window = Window(10.0)
    window.add(100.0, whole=1, some=1)

    window.clear()

    assert window.counts(100.0) == (0, 0)
