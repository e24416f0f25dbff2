"""What a call's record is after one more turn."""

import msgspec
import pytest

from edge.calls import SAID_KEPT, TURNS_KEPT, CallState, Ended, after, kind_of
from edge.guard import SPACE, wording
from protocol.messages import Message, PastCall
from protocol.profiles import SENTENCES

HISTORY = (Message("system", "Be kind."), Message("user", "Hi"), Message("assistant", "Yes?"), Message("user", "Well"))


def ended(
    number: int = 1,
    *spoken: str,
    said: str = "",
    history: tuple[Message, ...] = (),
    fillers: tuple[str, ...] = (),
    interrupted: bool = False,
) -> Ended:
    return Ended(
        turn_id=f"turn_{number}",
        trace_id=f"trace_{number}",
        said=said,
        history=history,
        spoken=spoken,
        fillers=fillers,
        interrupted=interrupted,
    )


def test_a_new_call_has_its_first_turn() -> None:
    state = after(CallState(), ended(1, said="It is five.", history=HISTORY))

    assert state == CallState(turn_id="turn_1", said="It is five.", asked=2, turns=(("turn_1", "trace_1"),))


def test_fillers_are_counted_over_the_call_and_the_last_one_is_known() -> None:
    two, flushed = (wording("One moment"), wording("Let me see")), wording("One moment", flush=True)
    first = after(CallState(), ended(1, SPACE, *two, fillers=two))
    second = after(first, ended(2, SPACE, SENTENCES["en"]))
    third = after(second, ended(3, flushed, fillers=(flushed,)))

    assert (first.fillers, first.last_filler) == (2, "Let me see... ")
    assert (second.fillers, second.last_filler) == (2, "Let me see... ")
    assert (third.fillers, third.last_filler) == (3, "One moment...<flush /> ")
    assert second.spoken == (SPACE, SENTENCES["en"])


def test_a_sentence_that_ends_like_a_filler_is_none() -> None:
    state = after(CallState(), ended(1, "Sorry, once more... "))

    assert (state.fillers, state.last_filler) == (0, "")


def test_a_barge_in_is_known_to_the_next_turn() -> None:
    assert after(CallState(), ended(1, said="It", interrupted=True)).interrupted
    assert not after(CallState(interrupted=True), ended(2, said="It")).interrupted


def test_functions_that_were_called_are_known_once_each() -> None:
    calls = tuple(PastCall(str(number), name, "{}") for number, name in enumerate(["lookup", "book", "lookup"]))

    state = after(CallState(tools=("greet", "book")), ended(history=(Message("assistant", tool_calls=calls),)))

    assert state.tools == ("greet", "book", "lookup")


def test_a_long_call_has_a_record_of_bounded_size() -> None:
    state = CallState()
    for number in range(3 * TURNS_KEPT):
        names = (Message("assistant", tool_calls=(PastCall("1", f"{number}" * 30, "{}"),)),)
        state = after(state, ended(number, "x" * 80, said="ä" * 3 * SAID_KEPT, history=names))

    assert state.turns[-1] == (f"turn_{3 * TURNS_KEPT - 1}", f"trace_{3 * TURNS_KEPT - 1}")
    assert len(state.turns) == TURNS_KEPT
    assert len(state.said) == SAID_KEPT
    assert len(msgspec.json.encode(state)) < 64 << 10


@pytest.mark.parametrize(
    ("spoken", "kind"),
    [
        (SPACE, "space"),
        (wording("One moment"), "filler"),
        (wording("Okay.", flush=True), "filler"),
        (SENTENCES["en"], "sentence"),
        (f" {SENTENCES['en']}", "sentence"),
        ("Wie bitte...", "sentence"),
    ],
)
def test_what_the_edge_says_is_of_one_kind(spoken: str, kind: str) -> None:
    assert kind_of(spoken) == kind
