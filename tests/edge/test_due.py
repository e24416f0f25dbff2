"""When the clock asks something of a turn."""

import math
from typing import NamedTuple

import pytest

from edge.due import Due
from edge.guard import Guard
from protocol.messages import Job
from protocol.settings_profiles import Profile

JOB = Job(id="t", model="m", messages=(), budget_ms=8_000, total_ms=60_000)
GUARD = Profile(guard=("space",), guard_s=3.0, again_s=1.0)


class Timers(NamedTuple):
    headers_after_s: float = 2.0
    ping_s: float = 5.0


USUAL = Timers()


def due(*, pace: Timers = USUAL, stream: bool = True, guarded: bool = False, job: Job = JOB) -> Due:
    guard = Guard(GUARD, (), first=0, began=100.0) if guarded else None
    return Due(job, began=100.0, pace=pace, stream=stream, guard=guard)


def test_the_deadline_is_the_first_contents_and_then_the_ends() -> None:
    made = due()
    assert made.deadline == 108.0

    made.content(101.0)

    assert made.deadline == 160.0


def test_a_budget_longer_than_the_whole_is_the_whole() -> None:
    assert due(job=Job(id="t", model="m", messages=(), budget_ms=9_000, total_ms=1_000)).deadline == 101.0


def test_headers_are_due_once_and_then_comments_after_each_silence() -> None:
    made = due()
    assert made.wake_at(headers_sent=False) == 102.0
    assert made.wake_at(headers_sent=True) == 105.0

    made.wrote_at = 104.0

    assert made.sign_at(headers_sent=True) == 109.0
    assert made.wake_at(headers_sent=True) == 108.0, "the deadline comes first"


def test_the_guard_is_heard_before_later_signs_of_life_and_never_after_content() -> None:
    made = due(guarded=True, pace=Timers(headers_after_s=60.0))
    assert made.wake_at(headers_sent=False) == 103.0

    made.content(101.0)

    assert made.guard is None
    assert made.wake_at(headers_sent=False) == 160.0


@pytest.mark.parametrize("headers_sent", [False, True])
def test_where_there_are_no_comments_only_the_deadline_is_waited_for(headers_sent: bool) -> None:
    assert due(pace=Timers(math.inf, math.inf)).wake_at(headers_sent=headers_sent) == 108.0


def test_into_a_body_nothing_goes_before_its_end() -> None:
    made = due(stream=False, guarded=True)

    assert made.guard is None
    assert made.wake_at(headers_sent=False) == 108.0


def test_one_more_offer_has_what_is_left_of_the_budget_and_after_content_a_new_one() -> None:
    made = due()

    assert made.offered(100.0) == (8.0, 60.0)
    assert made.offered(105.0) == (3.0, 55.0)
    made.content(106.0)
    assert made.offered(120.0) == (8.0, 40.0)
    assert made.offered(158.0) == (2.0, 2.0)
    assert made.offered(170.0) == (0.001, 0.001)


def test_an_offer_after_content_that_nobody_takes_is_late_after_its_own_budget_and_not_at_the_end() -> None:
    made = due(guarded=True)
    made.content(101.0)

    made.offered(110.0)

    assert made.deadline == 118.0
    assert made.guard is None, "the caller has heard the model"
    made.content(112.0)
    assert made.deadline == 160.0
