"""The built-in profiles hold what a file's must, and leave a margin to the clocks that they are made for."""

import pytest

from protocol.profiles import BUILT_IN, BYTE_CLOCK_S, CONTENT_CLOCK_S, FILLERS, SENTENCES
from protocol.settings import parse
from protocol.settings_types import EdgeSettings, TurnSettings

VOICES = sorted(BUILT_IN.keys() - {"openai"})
MARGIN_S = 0.75  # for the way there and back, and a slow moment of either end
LONG_CHARS = 60


@pytest.mark.parametrize("name", VOICES)
def test_a_built_in_profile_would_be_read_from_a_file_too(name: str) -> None:
    """Every check of a file's profiles is passed by those that come along."""
    profiles = parse(f"[profiles.own]\nbase = '{name}'\n", {}).profiles

    assert profiles["own"].fillers == BUILT_IN[name].fillers
    assert BUILT_IN[name].guard_s < (BUILT_IN[name].budget_s or TurnSettings().budget_s)


@pytest.mark.parametrize("name", CONTENT_CLOCK_S)
def test_the_guard_speaks_before_a_content_clock_runs_out(name: str) -> None:
    profile = BUILT_IN[name]

    assert profile.guard
    assert profile.guard_s + MARGIN_S < CONTENT_CLOCK_S[name]


@pytest.mark.parametrize("name", BYTE_CLOCK_S)
def test_bytes_come_before_a_byte_clock_runs_out(name: str) -> None:
    profile, edge = BUILT_IN[name], EdgeSettings()

    assert (profile.headers_after_s or edge.headers_after_s) + MARGIN_S < BYTE_CLOCK_S[name]
    assert 0 < (profile.ping_s or edge.ping_s) <= 5


def test_what_is_spoken_is_short_and_ends_as_it_should() -> None:
    """A filler is gone on with, a sentence is at its end."""
    fillers = [filler for known in FILLERS.values() for filler in known]

    assert all(len(set(known)) >= 2 for known in FILLERS.values())
    assert all(filler[-1].isalpha() and len(filler) < LONG_CHARS / 2 for filler in fillers)
    assert all(sentence[-1] in ".?!" and len(sentence) < LONG_CHARS for sentence in SENTENCES.values())
