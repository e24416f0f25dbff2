"""When a failing target is passed over."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.settings_types import BreakerSettings
from workers.breaker import MAX_OBEYED_S, Breaker, Ticket

TOLD = BreakerSettings(window_s=10.0, requests=4, failures=0.5, open_s=5.0)


def fail(breaker: Breaker, now: float, times: int = 1, retry_after_s: float | None = None) -> None:
    for _ in range(times):
        breaker.failed(breaker.begin(now), now, retry_after_s)


def succeed(breaker: Breaker, now: float, times: int = 1) -> None:
    for _ in range(times):
        breaker.succeeded(breaker.begin(now), now)


def opened(now: float = 100.0) -> Breaker:
    breaker = Breaker(TOLD)
    fail(breaker, now, TOLD.requests)
    assert breaker.is_open
    return breaker


def test_it_opens_at_its_share_of_failures_and_not_before() -> None:
    breaker = Breaker(TOLD)
    succeed(breaker, 100.0, 3)

    fail(breaker, 100.0, 2)
    assert not breaker.is_open
    fail(breaker, 100.0)

    assert breaker.is_open
    assert not breaker.lets(100.0)


def test_few_requests_say_nothing() -> None:
    breaker = Breaker(TOLD)

    fail(breaker, 100.0, TOLD.requests - 1)

    assert breaker.lets(100.0)


def test_what_is_older_than_the_window_is_forgotten() -> None:
    breaker = Breaker(TOLD)

    fail(breaker, 100.0, 3)
    fail(breaker, 111.0)

    assert not breaker.is_open


def test_after_its_time_one_probe_at_a_time_goes_through() -> None:
    breaker = opened()
    assert not breaker.lets(104.9)
    assert breaker.lets(105.0)

    breaker.begin(105.0)

    assert not breaker.lets(105.0)
    assert breaker.is_open


ENDS: dict[str, tuple[Callable[[Breaker, Ticket], None], bool, bool]] = {  # then: open? lets another one?
    "answered": (lambda breaker, ticket: breaker.succeeded(ticket, 106.0), False, True),
    "failed": (lambda breaker, ticket: breaker.failed(ticket, 106.0), True, False),
    "hung up": (lambda breaker, ticket: breaker.left(ticket), True, True),
}


@pytest.mark.parametrize(("end", "is_open", "lets"), ENDS.values(), ids=ENDS)
def test_what_becomes_of_a_probe(end: Callable[[Breaker, Ticket], None], is_open: bool, lets: bool) -> None:
    breaker = opened()

    end(breaker, breaker.begin(105.0))

    assert (breaker.is_open, breaker.lets(106.0)) == (is_open, lets)
    assert breaker.lets(111.0)


def test_who_was_asked_before_it_opened_closes_nothing() -> None:
    breaker = Breaker(TOLD)
    early = breaker.begin(99.0)
    fail(breaker, 100.0, TOLD.requests)

    breaker.succeeded(early, 101.0)

    assert breaker.is_open


def test_who_is_asked_all_the_same_proves_as_much_as_a_probe() -> None:
    breaker = opened()

    succeed(breaker, 101.0)

    assert not breaker.is_open


def test_failures_from_before_it_closed_are_forgotten() -> None:
    breaker = opened()
    succeed(breaker, 105.0)

    fail(breaker, 105.0, TOLD.requests - 1)

    assert not breaker.is_open


@pytest.mark.parametrize(("said_s", "until"), [(2.0, 102.0), (20.0, 120.0), (3600.0, 100.0 + MAX_OBEYED_S)])
def test_retry_after_is_obeyed_and_bounded(said_s: float, until: float) -> None:
    breaker = Breaker(TOLD)

    fail(breaker, 100.0, retry_after_s=said_s)

    assert not breaker.lets(until - 0.1)
    assert breaker.lets(until)
    assert breaker.ready_at == until


def test_a_later_failure_does_not_shorten_what_retry_after_said() -> None:
    breaker = Breaker(TOLD)
    fail(breaker, 100.0, retry_after_s=30.0)

    fail(breaker, 101.0)
    fail(breaker, 102.0, retry_after_s=1.0)

    assert breaker.ready_at == 130.0


def test_it_tells_when_it_opens_and_closes_and_nothing_else() -> None:
    told: list[bool] = []
    breaker = Breaker(TOLD, told.append)

    fail(breaker, 100.0, 10)
    fail(breaker, 106.0)
    succeed(breaker, 112.0, 3)

    assert told == [True, False]


ACTS = st.lists(st.tuples(st.sampled_from(["begin", "ok", "bad", "leave", "wait"]), st.integers(0, 5)), max_size=60)


@given(ACTS)
def test_whatever_happens_it_lets_somebody_through_in_the_end(acts: list[tuple[str, int]]) -> None:
    """And never two probes at once."""
    breaker, now, live = Breaker(TOLD), 100.0, list[Ticket]()
    for what, which in acts:
        if what == "wait":
            now += which
        elif what == "begin":
            if breaker.lets(now):
                live.append(breaker.begin(now))
        elif live:
            ticket = live.pop(which % len(live))
            if what == "ok":
                breaker.succeeded(ticket, now)
            elif what == "bad":
                breaker.failed(ticket, now)
            breaker.left(ticket)
        if breaker.is_open:
            assert not (breaker.lets(now) and now < breaker.ready_at)
    for ticket in live:
        breaker.left(ticket)
    assert breaker.lets(now + TOLD.open_s)
