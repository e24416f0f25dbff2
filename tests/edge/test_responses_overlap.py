"""What a client says once more of the response that it goes on from, as LiveKit's plug-in does."""

from typing import Any

import msgspec
import pytest
from msgspec import Raw

from edge.responses_items import read
from edge.responses_overlap import Told, joined

Items = list[dict[str, Any]]

ASKED = {"role": "user", "content": "Weather? Time?"}
SAID = {"role": "assistant", "id": "msg_ab_0", "content": [{"type": "output_text", "text": "Let me look it up."}]}
WEATHER = {"type": "function_call", "id": "fc_ab_1", "call_id": "c1", "name": "get_weather", "arguments": "{}"}
TIME = {"type": "function_call", "id": "fc_ab_2", "call_id": "c2", "name": "get_time", "arguments": "{}"}
THOUGHT = {"type": "reasoning", "id": "rs_ab_3", "summary": [{"type": "summary_text", "text": "Hm."}]}
MORE = {"role": "assistant", "id": "msg_ab_4", "content": [{"type": "output_text", "text": "It is in the north."}]}
AGAIN = {"role": "user", "content": "And then?"}


def called(call: dict[str, Any]) -> dict[str, Any]:
    """A call as a client has it: without the id of the item."""
    return {name: value for name, value in call.items() if name != "id"}


def result(call: dict[str, Any], text: str = "Rain.") -> dict[str, Any]:
    """What a tool said."""
    return {"type": "function_call_output", "call_id": call["call_id"], "output": text}


def heard(text: str) -> dict[str, Any]:
    """A text as a client has it."""
    return {"role": "assistant", "content": text}


def told(place: str, items: Items) -> list[Told]:
    """Items that were read."""
    raws = [Raw(msgspec.json.encode(item)) for item in items]
    return [Told(f"{place}[{index}]", raw, read(raw, "")) for index, raw in enumerate(raws)]


def together(past: Items, own: Items) -> tuple[Items, Items]:
    """What is left of both."""
    before, new = joined(told("past", past), told("input", own), "resp_ab")
    return [msgspec.json.decode(one.item) for one in before], [msgspec.json.decode(one.item) for one in new]


@pytest.mark.parametrize(
    ("past", "own", "left"),
    [
        ([ASKED, WEATHER], [called(WEATHER), result(WEATHER)], [result(WEATHER)]),
        (
            [ASKED, THOUGHT, SAID, WEATHER, TIME],
            [heard("Let me look it up."), called(WEATHER), called(TIME), result(WEATHER), result(TIME)],
            [result(WEATHER), result(TIME)],
        ),
        (
            [ASKED, WEATHER, TIME],  # each call with its result behind it
            [called(WEATHER), result(WEATHER), called(TIME), result(TIME)],
            [result(WEATHER), result(TIME)],
        ),
        ([ASKED, SAID], [heard("Let me look it up."), AGAIN], [AGAIN]),
        ([ASKED, SAID], [heard(" Let me  look it up.\n"), AGAIN], [AGAIN]),
        ([ASKED, SAID], [SAID, AGAIN], [AGAIN]),  # by its id
        ([ASKED, THOUGHT, SAID], [THOUGHT, SAID, AGAIN], [AGAIN]),
        ([ASKED, SAID, THOUGHT, MORE], [heard("Let me look it up.It is in the north."), AGAIN], [AGAIN]),  # in one
        ([ASKED, SAID, THOUGHT, MORE], [heard("Let me look it up."), heard("It is in the north."), AGAIN], [AGAIN]),
        ([ASKED, SAID], [heard("Let me "), heard("look it up."), AGAIN], [AGAIN]),
        ([ASKED, SAID], [heard("Let me look it up.")], []),  # it is asked for another answer, with nothing new
        (
            [ASKED, SAID],
            [heard("Let me look it up."), heard("Let me look it up."), AGAIN],
            [heard("Let me look it up."), AGAIN],
        ),
        ([ASKED, heard("Good day."), SAID], [heard("Let me look it up."), AGAIN], [AGAIN]),
    ],
)
def test_what_is_stored_already_is_told_once(past: Items, own: Items, left: Items) -> None:
    assert together(past, own) == (past, left)


@pytest.mark.parametrize(
    "cut",
    ["Let", "Let me look", "Let me lo", "Let me look...", "Let me look…", "Let me lo ...", "Let me look it up..."],
)
def test_a_text_that_was_heard_in_part_takes_the_place_of_the_whole(cut: str) -> None:
    part = heard(cut)

    assert together([ASKED, SAID, WEATHER], [part, called(WEATHER), result(WEATHER)]) == (
        [ASKED, part, WEATHER],
        [result(WEATHER)],
    )


def test_what_follows_the_mark_of_a_cut_is_new() -> None:
    assert together([ASKED, SAID], [heard("Let me..."), heard("look it up."), AGAIN]) == (
        [ASKED, heard("Let me...")],
        [heard("look it up."), AGAIN],
    )


@pytest.mark.parametrize(
    ("own", "past"),
    [
        ([heard("Let me look")], [heard("Let me look"), THOUGHT]),
        ([heard("Let me look it up.")], [heard("Let me look it up."), THOUGHT]),
        ([heard("Let me look it up. It is")], [THOUGHT, heard("Let me look it up. It is")]),
        ([heard("Let me look it up."), heard("It is")], [THOUGHT, heard("Let me look it up."), heard("It is")]),
    ],
)
def test_what_was_heard_in_part_takes_the_place_of_several_texts(own: Items, past: Items) -> None:
    """LiveKit makes one text of all that a response says, and a filler and what follows a thought are two."""
    assert together([ASKED, SAID, THOUGHT, MORE], [*own, AGAIN]) == ([ASKED, *past], [AGAIN])


@pytest.mark.parametrize(
    ("past", "own"),
    [
        ([], [ASKED, SAID, WEATHER, result(WEATHER), AGAIN]),  # the whole history
        ([ASKED, SAID], [AGAIN]),
        ([ASKED, WEATHER], [result(WEATHER)]),
        ([ASKED, SAID], [heard("Something else."), AGAIN]),
        ([ASKED, SAID], [heard("Let me look for it"), AGAIN]),  # no beginning of what was said
        ([ASKED, SAID], [heard(""), AGAIN]),
        ([ASKED, SAID], [heard("Let me")]),  # the beginning of the next answer
        ([ASKED, SAID], [AGAIN, heard("Let me look it up.")]),  # said once more, later
        ([ASKED, SAID, AGAIN], [heard("Let me look it up."), ASKED]),  # the answer to that question, not stored
        ([ASKED, SAID], [{**SAID, "content": "Another."}, AGAIN]),  # an id that comes again
        ([ASKED, WEATHER, result(WEATHER)], [called(WEATHER), result(WEATHER)]),  # so does a call's: it was answered
        ([ASKED, WEATHER], [{**called(TIME), "call_id": "c1"}, result(WEATHER)]),
        ([ASKED, SAID], [heard("Let me look it up, then."), AGAIN]),
        ([ASKED, SAID], [{"role": "user", "content": "Let me look it up."}, AGAIN]),  # the caller says the same
        ([ASKED, SAID], [result(WEATHER), heard("Let me look it up."), AGAIN]),
        ([ASKED, SAID], [heard("..."), AGAIN]),
        ([ASKED, heard("Good day.")], [heard("Good day."), AGAIN]),  # it was no part of the response
    ],
)
def test_all_else_is_told_as_it_comes(past: Items, own: Items) -> None:
    assert together(past, own) == (past, own)


REFUSAL = {"type": "refusal", "refusal": "No."}
REFUSED = {"role": "assistant", "id": "msg_ab_0", "content": [REFUSAL]}
SAID_AND_REFUSED = {
    "role": "assistant",
    "id": "msg_ab_0",
    "content": [{"type": "output_text", "text": "Let me look it up."}, REFUSAL],
}


@pytest.mark.parametrize(
    ("said", "own"),
    [
        (REFUSED, [heard("No."), AGAIN]),  # a refusal is not spoken
        (REFUSED, [{"role": "assistant", "content": [REFUSAL]}, AGAIN]),
        ({**SAID, "content": [{"type": "output_text", "text": " "}]}, [heard(" "), AGAIN]),
    ],
)
def test_a_message_that_is_no_text_is_no_text_that_was_heard(said: dict[str, Any], own: Items) -> None:
    assert together([ASKED, said], own) == ([ASKED, said], own)


def test_a_text_that_was_heard_before_a_refusal_is_told_once() -> None:
    past: Items = [ASKED, SAID_AND_REFUSED]

    assert together(past, [heard("Let me look it up."), AGAIN]) == (past, [AGAIN])
