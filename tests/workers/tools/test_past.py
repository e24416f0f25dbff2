"""What a history says of the tools that were called."""

import pytest

from protocol.messages import Message, PastCall, TextPart
from protocol.tool_results import Result
from workers.tools.past import Past, same_arguments


def assistant(*calls: PastCall) -> Message:
    return Message("assistant", tool_calls=calls)


def test_calls_are_found_with_their_turn_and_their_results() -> None:
    past = Past(
        (
            Message("user", "hi"),
            assistant(PastCall("c", "look_up", '{"a": 1}'), PastCall("d", "end_call", "{}")),
            Message("tool", "error", tool_call_id="d"),
            Message("tool", (TextPart("found"),), tool_call_id="c"),
            Message("user", "and now?"),
            assistant(PastCall("c", "look_up", '{"a": 2}')),
        )
    )

    assert [(one.name, one.arguments, one.turn, one.result) for one in past.calls] == [
        ("look_up", '{"a": 1}', 1, Result.DONE),
        ("end_call", "{}", 1, Result.FAILED),
        ("look_up", '{"a": 2}', 2, Result.UNKNOWN),
    ]
    assert past.turn == 2
    assert past.has_done("look_up")
    assert not past.has_done("end_call")
    assert past.may_have_done("end_call") == []
    assert len(past.may_have_done("look_up")) == 2


SAME = [
    ('{"a": 1, "b": [true]}', '{"b":[true],"a":1.0}'),
    ("", "{}"),
    ('{"a": "é"}', '{"a": "\\u00e9"}'),
    ("no json", "no json"),
]
OTHERS = [
    ('{"a": 1}', '{"a": true}'),
    ('{"a": 1}', '{"a": "1"}'),
    ("[1, 2]", "[2, 1]"),
    ('{"a": null}', "{}"),
    ("x", "y"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_arguments_are_the_same_as_json_values(one: str, other: str) -> None:
    assert same_arguments(one, other)


@pytest.mark.parametrize(("one", "other"), OTHERS)
def test_arguments_differ_as_json_values(one: str, other: str) -> None:
    assert not same_arguments(one, other)
