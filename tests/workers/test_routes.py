"""Which target of a route comes next in one turn."""

import pytest

from protocol.settings_types import BreakerSettings
from tests.workers.cascade_turns import target
from workers.breaker import Breaker
from workers.hedge import MIN_SAMPLES
from workers.routes import Choice, Waited, Way

NOW = 100.0


def choice(name: str, *, ready_at: float | None = None) -> Choice:
    """A target, open until then."""
    made = Choice(target(name, []), Breaker(BreakerSettings()))
    if ready_at is not None:
        made.breaker.failed(made.breaker.begin(NOW), NOW, ready_at - NOW)
    return made


def way(*choices: Choice, deaf: tuple[Choice, ...] = ()) -> tuple[Way, list[Choice]]:
    skipped: list[Choice] = []

    def skip(choice: Choice, reason: str) -> None:
        assert reason == ("unsupported" if choice in deaf else "breaker_open")
        skipped.append(choice)

    return Way(choices, skip, lambda choice: choice not in deaf), skipped


def test_targets_come_in_their_order() -> None:
    one, two = choice("one"), choice("two")
    going, skipped = way(one, two)

    assert [going.next(NOW), going.next(NOW), going.next(NOW)] == [one, two, None]
    assert skipped == []


def test_an_open_one_is_passed_over_and_told() -> None:
    one, two, three = choice("one", ready_at=130.0), choice("two"), choice("three", ready_at=130.0)
    going, skipped = way(one, two, three)

    assert going.next(NOW) is two
    assert skipped == [one]
    assert not going.goes_on(NOW)
    assert going.goes_on(130.0)


def test_the_last_way_out_is_the_one_that_is_ready_first_and_there_is_one() -> None:
    one, two = choice("one", ready_at=130.0), choice("two", ready_at=120.0)
    going, skipped = way(one, two)

    assert going.next(NOW) is None
    assert going.last_way_out() is two
    assert going.last_way_out() is None
    assert skipped == [one]


def test_of_those_that_are_ready_together_the_first_is_the_last_way_out() -> None:
    one, two = choice("one", ready_at=130.0), choice("two", ready_at=130.0)

    assert way(one, two)[0].last_way_out() is one


def test_what_has_failed_in_this_turn_is_no_way_out() -> None:
    one = choice("one")
    again = Choice(one.target, one.breaker)
    going, _ = way(one, again)
    assert going.next(NOW) is one
    one.breaker.failed(one.breaker.begin(NOW), NOW, 30.0)

    going.failed(one, NOW, None)

    assert going.next(NOW) is None
    assert going.last_way_out() is None


def test_no_room_is_made_for_a_target_that_cannot_be_told_the_job() -> None:
    one, deaf, two = choice("one"), choice("deaf"), choice("two")
    going, skipped = way(one, deaf, two, deaf=(deaf,))

    assert going.next(NOW) is one
    assert going.goes_on(NOW)
    assert going.next(NOW) is two
    assert not going.goes_on(NOW)
    assert skipped == [deaf]


def test_of_open_ones_that_which_can_be_told_the_job_is_the_last_way_out() -> None:
    deaf, one = choice("deaf", ready_at=120.0), choice("one", ready_at=130.0)

    assert way(deaf, one, deaf=(deaf,))[0].last_way_out() is one


def test_where_none_can_be_told_the_job_the_last_way_out_says_why_and_only_then() -> None:
    one, deaf = choice("one"), choice("deaf", ready_at=130.0)
    assert way(deaf, deaf=(deaf,))[0].last_way_out() is deaf
    going, skipped = way(one, deaf, deaf=(deaf,))
    assert going.next(NOW) is one

    going.failed(one, NOW, None)

    assert going.last_way_out() is None
    assert skipped == [deaf]


def test_a_target_that_was_outrun_comes_next() -> None:
    one, two, three = choice("one"), choice("two"), choice("three")
    going, _ = way(one, two, three)
    assert (going.next(NOW), going.next(NOW)) == (one, two)

    going.outrun(one)

    assert (going.next(NOW), going.next(NOW)) == (one, three)


def test_whoever_wants_to_be_asked_again_first_is_waited_for_once() -> None:
    one, two, three = choice("one"), choice("two"), choice("three")
    going, _ = way(one, two, three)
    going.failed(one, NOW, 3.0)
    going.failed(two, NOW, 2.0)
    going.failed(three, NOW, None)

    assert going.wait(NOW + 2.5) == Waited(NOW + 2.0, two)
    assert going.wait(NOW + 2.5) is None
    going.failed(two, NOW, 0.1)
    assert going.wait(NOW + 8.0) == Waited(NOW + 3.0, one)
    assert going.wait(NOW + 8.0) is None


@pytest.mark.parametrize(
    ("after_s", "percentile", "samples", "hedge_s"),
    [
        (None, None, MIN_SAMPLES, None),
        (0.5, None, MIN_SAMPLES, 0.5),
        (None, 0.9, MIN_SAMPLES - 1, None),
        (0.5, 0.9, MIN_SAMPLES - 1, 0.5),
        (0.5, 0.9, MIN_SAMPLES, 0.2),
    ],
)
def test_when_a_target_is_hedged(
    after_s: float | None, percentile: float | None, samples: int, hedge_s: float | None
) -> None:
    made = Choice(target("t", []), hedge_after_s=after_s, hedge_percentile=percentile)
    for _ in range(samples):
        made.latencies.add(0.2)

    assert made.hedge_s == hedge_s


def test_a_target_without_settings_is_never_passed_over() -> None:
    made = Choice(target("echo", []))

    for _ in range(1000):
        made.breaker.failed(made.breaker.begin(NOW), NOW)

    assert made.breaker.lets(NOW)
