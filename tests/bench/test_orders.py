import pytest

from bench.orders import Order, arguments, parse, text


@pytest.mark.parametrize(
    ("said", "order"),
    [
        ("hello", Order()),
        ("", Order()),
        ("#a", Order(tag="a")),
        ("#a first_ms=200 rate=50 tokens=40", Order(tag="a", first_ms=200, rate=50, tokens=40)),
        ("#b tool=1 reasoning=2 fail=cut:5", Order(tag="b", tool=1, reasoning=2, fail="cut:5")),
    ],
)
def test_the_last_user_message_is_the_order(said: str, order: Order) -> None:
    assert parse(said) == order


@pytest.mark.parametrize("said", ["#a speed=3", "#a tokens=many", "#a tokens"])
def test_an_order_that_nobody_understands_is_refused(said: str) -> None:
    with pytest.raises(ValueError):
        parse(said)


def test_a_failure_has_a_name_and_a_number() -> None:
    assert Order(fail="cut:5").failure == ("cut", 5)
    assert Order(fail="empty").failure == ("empty", 0)
    assert Order().failure == ("", 0)


def test_every_word_tells_its_generation_and_its_place() -> None:
    assert text(3, 2) == "g3.0 g3.1 "
    assert arguments(1, 1) == '{"text": "g1.0 "}'
