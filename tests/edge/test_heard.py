"""What the caller has heard of the turn before, as the next one's history shows it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.calls import SAID_KEPT, CallState
from edge.heard import heard
from protocol.messages import Heard, Job, Message, PastCall, TextPart

SAID = "Your parcel left Oslo on Monday. It comes on Friday, before noon."
WORDS = len(SAID.split())
GREETING = Message("assistant", "Hello, what can I do for you?")
ASKED = (Message("system", "Be kind."), GREETING, Message("user", "Where is it?"))
STATE = CallState(turn_id="turn_1", said=SAID, asked=1, interrupted=True)


def job(*history: Message, call_id: str | None = "call-1") -> Job:
    return Job(id="turn_2", model="m", messages=history, budget_ms=1, total_ms=1, tenant="desk", call_id=call_id)


def after(answer: str | None, state: CallState = STATE, *more: Message) -> Heard | None:
    """The history of the next turn, in which `answer` came back, or nothing at all."""
    answers = () if answer is None else (Message("assistant", answer),)
    return heard(state, job(*ASKED, *answers, Message("user", "And when?"), *more))


CUT = {
    "cut between two words": ("Your parcel left Oslo on", 5),
    "cut in the middle of a word": ("Your parcel left Os", 3),
    "cut behind a sentence": ("Your parcel left Oslo on Monday.", 6),
    "trimmed": ("  Your parcel left Oslo  ", 4),
    "with three dots where it was cut": ("Your parcel left Oslo...", 4),
    "with an ellipsis": ("Your parcel left…", 3),
    "with a dash": ("Your parcel left Oslo —", 4),
    "spaced in another way": ("Your\nparcel  left", 3),
    "left out": (None, 0),
}


@pytest.mark.parametrize(("answer", "words"), CUT.values(), ids=CUT)
def test_a_cut_answer_says_how_far_the_caller_has_listened(answer: str | None, words: int) -> None:
    amendment = after(answer)

    assert amendment is not None
    assert (amendment.heard_words, amendment.said_words) == (words, WORDS)
    assert amendment.said_chars == len(SAID)
    assert (amendment.amends, amendment.by, amendment.tenant, amendment.call_id) == (
        "turn_1",
        "turn_2",
        "desk",
        "call-1",
    )


UNKNOWN = {
    "all of it was heard": SAID,
    "all of it, trimmed and respaced": f" {SAID} ".replace(" ", "  "),
    "other words": "I do not know.",
    "its words and others": f"{SAID} Anything else?",
    "words from its middle": "It comes on Friday",
}


@pytest.mark.parametrize("answer", UNKNOWN.values(), ids=UNKNOWN)
def test_what_shows_nothing_amends_nothing(answer: str) -> None:
    assert after(answer) is None


def test_a_turn_that_came_to_its_end_may_have_been_cut_while_it_was_played() -> None:
    amendment = after("Your parcel left", CallState(turn_id="turn_1", said=SAID, asked=1))

    assert amendment is not None
    assert amendment.heard_words == 3


GONE = {
    "of a turn that came to its end, while the greeting is there": CallState(turn_id="turn_1", said=SAID, asked=1),
    "and it ended in a letter": CallState(turn_id="turn_1", said="Your parcel left", asked=1, interrupted=True),
}


@pytest.mark.parametrize("state", GONE.values(), ids=GONE)
def test_of_an_answer_that_is_gone_nothing_was_heard(state: CallState) -> None:
    amendment = after(None, state)

    assert amendment is not None
    assert (amendment.heard_chars, amendment.heard_words) == (0, 0)
    assert amendment.said_words == len(state.said.split())


def test_an_answer_in_parts_counts_as_its_text() -> None:
    parts = Message("assistant", (TextPart("Your parcel"), TextPart(" left")))

    amendment = heard(STATE, job(*ASKED, parts, Message("user", "And when?")))

    assert amendment is not None
    assert amendment.heard_words == 3


def test_a_caller_who_says_more_than_one_thing_has_heard_as_much() -> None:
    amendment = after("Your parcel left", STATE, Message("user", "Hello?"))

    assert amendment is not None
    assert amendment.heard_words == 3


@pytest.mark.parametrize("answer", [None, "Your parcel"])
def test_a_caller_who_is_asked_again_after_silence(answer: str | None) -> None:
    """The same words of the caller's: of an answer that is not there nothing is known, it may be this one."""
    history = ASKED if answer is None else (*ASKED, Message("assistant", answer))

    amendment = heard(STATE, job(*history))

    assert (amendment and amendment.heard_words) == (2 if answer else None)


def test_an_earlier_answer_that_begins_alike_is_not_taken_for_it() -> None:
    history = (Message("user", "Hi"), Message("assistant", "Your parcel"), Message("user", "Where is it?"))
    state = CallState(turn_id="turn_1", said=SAID, asked=2, interrupted=True)

    amendment = heard(state, job(*history, Message("user", "And when?")))

    assert amendment is not None
    assert amendment.heard_words == 0, "its own answer was left out"


def test_a_platform_that_sends_no_answers_says_nothing_by_leaving_one_out() -> None:
    history = (Message("user", "Where is it?"), Message("user", "And when?"))

    assert heard(CallState(turn_id="turn_1", said=SAID, asked=1), job(*history)) is None


def test_a_shortened_history_says_nothing() -> None:
    history = (Message("assistant", "Your parcel"), Message("user", "And when?"))

    assert heard(CallState(turn_id="turn_1", said=SAID, asked=7, interrupted=True), job(*history)) is None


def test_words_before_a_call_are_not_the_answer_behind_it() -> None:
    call = Message("assistant", "Let me look.", tool_calls=(PastCall("1", "lookup", "{}"),))
    history = (*ASKED, call, Message("tool", "Friday", tool_call_id="1"))

    assert heard(STATE, job(*history, Message("user", "And?"))) is None
    answer = Message("assistant", "Your parcel")
    amendment = heard(STATE, job(*history, answer, Message("user", "And?")))
    assert amendment is not None
    assert amendment.heard_words == 2


def test_a_call_without_words_says_nothing() -> None:
    call = Message("assistant", None, tool_calls=(PastCall("1", "lookup", "{}"),))

    assert heard(STATE, job(*ASKED, call, Message("tool", "x", tool_call_id="1"), Message("user", "And?"))) is None


@pytest.mark.parametrize("state", [CallState(), CallState(turn_id="turn_1", asked=1, interrupted=True)])
def test_where_nothing_was_said_nothing_can_be_missed(state: CallState) -> None:
    assert after(None, state) is None


def test_an_answer_that_was_too_long_to_be_kept_is_not_counted() -> None:
    state = CallState(turn_id="turn_1", said="a " * (SAID_KEPT // 2), asked=1, interrupted=True)

    assert after("a a", state) is None


@given(st.text("abc .,", min_size=1, max_size=80), st.integers(0, 80), st.sampled_from(["", "...", "…"]))
def test_any_beginning_of_an_answer_is_found_in_it(said: str, length: int, mark: str) -> None:
    answer = said[:length].strip() + mark

    amendment = after(answer, CallState(turn_id="turn_1", said=said, asked=1, interrupted=True))

    whole = " ".join(said.split())
    if amendment is not None:
        assert 0 <= amendment.heard_chars < amendment.said_chars == len(whole)
        assert 0 <= amendment.heard_words <= amendment.said_words
        assert whole.startswith(" ".join(said[:length].split())[: amendment.heard_chars])
    elif answer.strip(" .…"):
        assert " ".join(answer.removesuffix(mark).split()) == whole or whole.startswith(" ".join(answer.split()))
