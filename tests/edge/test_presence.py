"""Which workers say that they live."""

import pytest

from edge.presence import Presence
from protocol.messages import Here


def here(worker_id: str = "w", *models: str, draining: bool = False) -> Here:
    return Here(worker_id=worker_id, models=models, slots=4, free=2, draining=draining, config="")


@pytest.mark.parametrize(("after_s", "lives"), [(0.0, True), (3.0, True), (3.01, False), (60.0, False)])
def test_a_worker_that_is_silent_for_three_seconds_is_not_there(after_s: float, lives: bool) -> None:
    presence = Presence()
    presence.hear("default", here("w", "m"), 10.0)

    assert presence.serves("default", "m", 10.0 + after_s) is lives


@pytest.mark.parametrize(
    ("models", "asked", "served"),
    [
        (("echo",), "echo", True),
        (("echo",), "echo-tools", False),
        (("openai/*",), "openai/gpt-4.1", True),
        (("openai/*",), "openai/a/b", True),
        (("openai/*",), "gpt-4.1", False),
        (("openai/*",), "other/gpt-4.1", False),
        ((), "echo", False),
    ],
)
def test_a_model_is_served_by_name_or_by_pattern(models: tuple[str, ...], asked: str, served: bool) -> None:
    presence = Presence()
    presence.hear("default", here("w", *models), 0.0)

    assert presence.serves("default", asked, 1.0) is served


def test_a_draining_worker_takes_nothing() -> None:
    presence = Presence()
    presence.hear("default", here("w", "m"), 0.0)

    presence.hear("default", here("w", "m", draining=True), 1.0)

    assert presence.living("default", 1.0) == []


def test_pools_are_told_apart() -> None:
    presence = Presence()
    presence.hear("front", here("w", "m"), 0.0)
    presence.hear("back", here("v", "n"), 0.0)

    assert presence.pools() == ["back", "front"]
    assert not presence.serves("back", "m", 0.0)
    assert not presence.serves("nowhere", "m", 0.0)


def test_whoever_is_long_silent_is_forgotten() -> None:
    presence = Presence()
    presence.hear("default", here("old"), 0.0)
    presence.hear("default", here("new"), 29.0)

    presence.forget_old(31.0)

    assert [entry.worker_id for entry in presence.living("default", 30.0)] == ["new"]
    presence.hear("default", here("old"), 0.5)
    assert {entry.worker_id for entry in presence.living("default", 3.0)} == {"old", "new"}
