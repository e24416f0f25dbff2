"""The seam between what the caller heard and what the model says next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.messages import Finished, Format, Reasoning, Text, TokenLogprob, ToolCall
from tests.workers.target_jobs import job
from workers.targets.continuing import Seam, needs_seam

SEAMS: dict[str, tuple[str, str, str]] = {
    "no overlap": ("Your table is booked", " for eight o'clock.", " for eight o'clock."),
    "the last words again": ("Your table is booked", "is booked for eight.", " for eight."),
    "with a space before them": ("Your table is booked", " is booked for eight.", " for eight."),
    "all of it again": ("Your table is booked", "Your table is booked for eight.", " for eight."),
    "all of it and no more": ("Your table is booked", "Your table is booked", ""),
    "save for white space at its end": ("Your table is ", "Your table is", ""),
    "cut inside a word": ("I can certainly hel", "I can certainly help you.", "p you."),
    "the longest one counts": ("one two one two", "one two one two three", " three"),
    "a longer one begins and comes to nothing": ("alpha beta gamma alpha beta", "alpha beta delta", " delta"),
    "only once": ("please hold on", "please hold on please hold on", " please hold on"),
    "one word": ("Your reservation", "reservation is booked", "reservation is booked"),
    "under 8 characters": ("so it is", "it is so", "it is so"),
    "five five five": ("The number is five five five", "five five five six", "five five five six"),
    "five, Five, five.": ("The number is five, Five, five.", "five, Five, five. Six", "five, Five, five. Six"),
    "not at a word's beginning": ("I saw another one", "other one was here", "other one was here"),
    "not at the end of what was said": ("one moment please, sir", "one moment please again", "one moment please again"),
    "nothing was said": ("", "one moment please", "one moment please"),
    "nothing comes": ("one moment please", "", ""),
}


def joined(said: str, pieces: list[str]) -> str:
    seam = Seam(said)
    return "".join([*(seam.push(piece) for piece in pieces), seam.flush()])


@pytest.mark.parametrize(("said", "text", "expected"), SEAMS.values(), ids=SEAMS)
def test_an_overlap_is_dropped_once_however_the_text_comes(said: str, text: str, expected: str) -> None:
    for size in (1, 3, 7, 100):
        assert joined(said, [text[at : at + size] for at in range(0, len(text), size)]) == expected


@given(st.text("ab "), st.lists(st.text("ab "), max_size=8))
def test_only_a_beginning_that_repeats_the_end_is_ever_dropped(said: str, pieces: list[str]) -> None:
    text = "".join(pieces)
    kept = joined(said, pieces)
    assert text.endswith(kept)
    dropped = text.removesuffix(kept) if kept else text
    assert dropped.strip() in said


def test_text_is_held_back_only_while_it_may_be_an_overlap() -> None:
    seam = Seam("Your table is booked")
    assert [seam.push(piece) for piece in ("is ", "boo", "st", "ed")] == ["", "", "is boost", "ed"]


def test_a_frame_that_is_not_touched_passes_as_it_is() -> None:
    frame = Text("quite", (TokenLogprob("quite", -1.0),))
    assert list(Seam("Your table is booked").frames([frame])) == [frame]


def test_what_is_held_back_comes_before_whatever_ends_the_text() -> None:
    """Reasoning is no text and ends none."""
    call, thought, last = ToolCall(0, "c", "f", "{}"), Reasoning("hm"), Finished("tool_calls")
    frames = Seam("Your table is booked").frames([Text("is "), thought, Text("boo"), call, last])
    assert list(frames) == [thought, Text("is boo"), call, last]


def test_only_spoken_text_without_prefill_has_a_seam() -> None:
    assert needs_seam(job(said="a"), prefill=False)
    assert needs_seam(job(said="a", response_format=Format("text")), prefill=False)
    assert not needs_seam(job(said="a"), prefill=True)
    assert not needs_seam(job(), prefill=False)
    assert not needs_seam(job(said="{", response_format=Format("json_object")), prefill=False)
