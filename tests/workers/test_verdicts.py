"""What an error of a target means for the turn, for the target and for the caller."""

import pytest

from protocol.errors import ContextTooLong, Internal, RateLimited, ServiceError, UnsupportedValue, UpstreamError
from workers.targets.upstream_errors import BY_CODE, BY_STATUS, Fault, LimitTooLow, SealRefused
from workers.verdicts import ELSE, VERDICTS, Verdict, most_telling, verdict_of

RAISED = sorted({*BY_CODE.values(), *BY_STATUS.values()}, key=lambda error: error.__name__)


@pytest.mark.parametrize("error", RAISED)
def test_whatever_an_upstream_answers_has_a_row(error: type[ServiceError]) -> None:
    assert error in VERDICTS


def test_a_kind_of_an_error_has_its_row() -> None:
    assert verdict_of(Fault("too_long", "its answer is longer than anybody talks")) == VERDICTS[UpstreamError]


def test_a_limit_that_is_too_low_is_the_requests_own_fault() -> None:
    verdict = verdict_of(LimitTooLow("its thought used up the limit"))

    assert (verdict.next, verdict.counts) == (False, False)


def test_a_seal_that_is_refused_is_about_one_target_alone() -> None:
    """The next one is shown none of its seals, and it is no reason to pass this one over."""
    verdict = verdict_of(SealRefused("not mine"))

    assert (verdict.next, verdict.counts) == (True, False)


def test_what_is_in_no_row_ends_the_turn_and_is_no_targets_fault() -> None:
    assert verdict_of(Internal("a bug")) == ELSE == Verdict(next=False, counts=False, telling=6)


@pytest.mark.parametrize(
    ("errors", "told"),
    [
        ([UpstreamError("1"), UpstreamError("2")], "2"),
        ([RateLimited("1"), UpstreamError("2")], "1"),
        ([RateLimited("1"), ContextTooLong("2"), RateLimited("3")], "2"),
        ([UnsupportedValue("1"), UnsupportedValue("2")], "1"),
    ],
)
def test_of_several_the_caller_hears_the_most_telling(errors: list[ServiceError], told: str) -> None:
    assert str(most_telling(errors)) == told
