"""[tools.<name>]: when a tool may be called, and with what."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.messages import Message, PastCall
from protocol.settings_profiles import Gate
from workers.tools.gates import MAX_PLACEHOLDER_CHARS, is_placeholder, too_soon, wrong_value
from workers.tools.objections import Objection
from workers.tools.past import Past


def history(*results: str, users: int = 1) -> Past:
    """So many messages of the user's, then `look_up` once with each result."""
    calls = [PastCall(f"c{at}", "look_up", "{}") for at in range(len(results))]
    told = [Message("tool", result, tool_call_id=f"c{at}") for at, result in enumerate(results)]
    return Past((*[Message("user", "hm")] * users, Message("assistant", tool_calls=tuple(calls)), *told))


def reason(objection: Objection | None) -> str:
    return objection.reason if objection else ""


@pytest.mark.parametrize(("users", "told"), [(0, "too_early"), (2, "too_early"), (3, ""), (9, "")])
def test_a_tool_may_wait_for_a_turn_of_the_callers(users: int, told: str) -> None:
    objection = too_soon(Gate(not_before_turn=3), "end_call", history(users=users))

    assert reason(objection) == told
    assert objection is None or "too early in the conversation for 'end_call'" in objection.words


AFTER: dict[str, tuple[list[str], str]] = {
    "never": ([], "not_after"),
    "with success": (["found"], ""),
    "in vain": (["error: nothing there"], "not_after"),
    "in vain, then with success": (["error", "found"], ""),
    "under way": (["IN_PROGRESS"], "not_after"),
    "cancelled": (["CANCELLED"], "not_after"),
    "with no answer": ([""], "not_after"),
    "with null": (["null"], "not_after"),
    "without success": (["Verification failed: wrong pin"], "not_after"),
    "about something that failed": (['{"order": {"status": "delivery_failed"}}'], ""),
}


@pytest.mark.parametrize(("results", "told"), AFTER.values(), ids=AFTER)
def test_a_tool_may_wait_for_the_success_of_another(results: list[str], told: str) -> None:
    objection = too_soon(Gate(after=("look_up",)), "book", history(*results))

    assert reason(objection) == told
    assert objection is None or objection.words.endswith("Call 'look_up' first.")


NUMBERS = Gate(allowed={"transfer_number": ("+1 555 0100", "sip:desk@example.com"), "agent_number": ("0", "2")})
VALUES: dict[str, tuple[dict[str, Any], bool]] = {
    "as it is written": ({"transfer_number": "+1 555 0100"}, True),
    "without spaces": ({"transfer_number": "+15550100"}, True),
    "with dashes and brackets": ({"transfer_number": "+1 (555) 01-00"}, True),
    "another number": ({"transfer_number": "+15550101"}, False),
    "without its plus": ({"transfer_number": "15550100"}, False),
    "an address": ({"transfer_number": "sip:desk@example.com"}, True),
    "another address": ({"transfer_number": "sip:desk-@example.com"}, False),
    "nothing": ({"transfer_number": ""}, False),
    "a number of JSON's": ({"agent_number": 2}, True),
    "a whole number as a float": ({"agent_number": 2.0}, True),
    "another one": ({"agent_number": 1}, False),
    "true is no 1": ({"agent_number": True}, False),
    "a list of them": ({"agent_number": [0, 2]}, True),
    "a list with another": ({"agent_number": [0, 1]}, False),
    "null": ({"transfer_number": None}, True),
    "left out": ({"reason": "asked"}, True),
}


@pytest.mark.parametrize(("arguments", "fits"), VALUES.values(), ids=VALUES)
def test_an_argument_may_have_the_values_that_are_listed(arguments: dict[str, Any], fits: bool) -> None:
    objection = wrong_value(NUMBERS, arguments)

    assert reason(objection) == ("" if fits else "not_allowed")


EXACT: list[tuple[str, Any, bool]] = [
    ("15", 15, True),
    ("15", "15", True),
    ("15", 1.5, False),
    ("15", "1.5", False),
    ("15", -15, False),
    ("15", "-15", False),
    ("100", "1.00", False),
    ("2", "(2)", False),
    ("0049 555 0100", "00495550100", True),
    ("555-0100", "5550100", True),
    ("555-010", "555010", False),
    ("true", True, True),
    ("1", True, False),
    ('{"a": 1}', {"a": 1.0}, True),
]


@pytest.mark.parametrize(("allowed", "value", "fits"), EXACT)
def test_only_telephone_numbers_are_compared_without_their_separators(allowed: str, value: Any, fits: bool) -> None:
    objection = wrong_value(Gate(allowed={"value": (allowed,)}), {"value": value})

    assert reason(objection) == ("" if fits else "not_allowed")


def test_the_model_hears_which_values_there_are_and_not_which_it_had() -> None:
    objection = wrong_value(NUMBERS, {"transfer_number": "+19005550199"})

    assert objection is not None
    assert "It may be: +1 555 0100, sip:desk@example.com." in objection.words
    assert "9005550199" not in objection.words


PLACEHOLDERS = (
    *("placeholder", "Placeholder", " string ", "TODO", "N/A", "{{number}}", "{{ customer.name }}", "{number}"),
    *("${phone}", "<phone>", "<caller's name>".replace("'", ""), "[caller name]", "+1XXXXXXXXXX", "+1-XXX-XXX-XXXX"),
    *("555-XXX-XXXX", "xxxxxxxx", "your_number_here"),
)
TEXTS = (
    *(
        "",
        "string of pearls",
        "a placeholder",
        "The caller said <nothing>",
        "+15550100",
        "exxon",
        "XX",
        "x",
        "{}",
        "[]",
    ),
    *("[1, 2]", "<3", "todo list", "a {curly} word", "none", "goodbye", "sip:x@example.com", '{"a": 1}'),
)


@pytest.mark.parametrize("text", PLACEHOLDERS)
def test_a_placeholder_is_known(text: str) -> None:
    assert is_placeholder(text)


@pytest.mark.parametrize("text", TEXTS)
def test_what_looks_similar_is_none(text: str) -> None:
    assert not is_placeholder(text)


@given(st.text(alphabet="xX+1 ()-.{}<>[]$ab", max_size=200))
def test_white_space_around_makes_no_placeholder_and_a_longer_text_is_none(text: str) -> None:
    short = text[: MAX_PLACEHOLDER_CHARS - 2]

    assert is_placeholder(f" {short} ") == is_placeholder(short)
    assert not is_placeholder(text.ljust(MAX_PLACEHOLDER_CHARS + 1, "X"))


def test_a_placeholder_is_found_wherever_it_stands_unless_it_may_be_there() -> None:
    arguments = {"who": {"lines": ["home", "<phone>"]}}

    objection = wrong_value(Gate(), arguments)

    assert reason(objection) == "placeholder"
    assert objection is not None
    assert "'who/lines/1'" in objection.words
    assert wrong_value(Gate(placeholders=True), arguments) is None
