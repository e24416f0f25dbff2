"""What a barge-in cost: tokens that were generated and never reached the client."""

import pytest

from edge.unheard import unheard_cost, unheard_tokens
from protocol.messages import Usage

BILL = Usage(prompt=100, completion=40, reasoning=10)


@pytest.mark.parametrize(
    ("written", "unwritten", "audible", "tokens"),
    [
        (100, 0, True, 0),
        (100, 50, True, 10),
        (1, 99, True, 30),
        (0, 60, False, 40),
        (0, 0, False, 40),
    ],
    ids=["all was written", "a third was not", "nearly nothing was", "nothing was", "it had only thought"],
)
def test_tokens_by_their_share_of_the_characters(written: int, unwritten: int, audible: bool, tokens: int) -> None:
    assert unheard_tokens(BILL, written=written, unwritten=unwritten, audible=audible) == tokens


def test_their_cost_is_that_of_output() -> None:
    assert unheard_cost(1500, 2.0) == 0.003
    assert unheard_cost(0, 2.0) == 0.0


@pytest.mark.parametrize(("tokens", "price"), [(None, 2.0), (1500, None)])
def test_without_tokens_or_price_there_is_no_cost(tokens: int | None, price: float | None) -> None:
    assert unheard_cost(tokens, price) is None
