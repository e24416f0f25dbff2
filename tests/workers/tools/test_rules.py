"""What speaks against a tool call."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.messages import Message, PastCall, Tool, ToolCall
from protocol.settings_profiles import Gate
from tests.workers.target_jobs import job, user
from workers.tools.objections import REASONS, Objection
from workers.tools.rules import Rules

REASONED = b'{"type": "object", "properties": {"reason": {"type": "string"}}, "required": ["reason"]}'
TOOLS = (
    Tool("end_call", parameters=REASONED),
    Tool("transfer_to_number", parameters=b'{"type": "object", "required": ["transfer_number"]}'),
    Tool("transfer_to_agent"),
    Tool("look_up", parameters=b'{"type": "object", "properties": {"id": {"type": "integer"}}}'),
    Tool("odd", parameters=b'{"type": "nonsense"}'),
)


def call(name: str, index: int = 0, /, **arguments: Any) -> ToolCall:
    return ToolCall(index, f"call_{index}", name, json.dumps(arguments))


def past(name: str, result: str | None = "done", **arguments: Any) -> tuple[Message, ...]:
    """One call of the history, with its result."""
    called = Message("assistant", tool_calls=(PastCall("c", name, json.dumps(arguments)),))
    return (called,) if result is None else (called, Message("tool", result, tool_call_id="c"))


def told(
    made: ToolCall,
    *,
    history: tuple[Message, ...] = (),
    out: tuple[ToolCall, ...] = (),
    gates: Mapping[str, Gate] | None = None,
    **fields: Any,
) -> str:
    """The reason; "" where nothing speaks against it."""
    fields = {"tools": TOOLS, "call_id": "conv-1", "messages": (user("hi"), *history), **fields}
    objection = Rules(job(**fields), gates or {}, lambda: None).against(made, out)
    return objection.reason if objection else ""


def test_a_call_that_fits_goes_out() -> None:
    assert told(call("end_call", reason="goodbye")) == ""
    assert told(call("transfer_to_agent", agent_number=1)) == ""  # no schema: nothing is known of its arguments
    assert told(call("odd", whatever=1)) == ""


INVALID: dict[str, ToolCall] = {
    "a tool that was not offered": call("look_down"),
    "a field is missing": call("end_call"),
    "of another type": call("look_up", id="seven"),
    "no object": ToolCall(0, "c", "look_up", "[1]"),
    "no JSON": ToolCall(0, "c", "look_up", "{"),
    "nested too deep": ToolCall(0, "c", "transfer_to_agent", '{"a":' + "[" * 40 + "]" * 40 + "}"),
    "far too long": call("transfer_to_agent", reason="x" * 17_000),
}


@pytest.mark.parametrize("made", INVALID.values(), ids=INVALID)
def test_a_call_that_nobody_can_run_is_invalid(made: ToolCall) -> None:
    assert told(made) == "invalid"


def test_where_no_tools_were_offered_nobody_knows_their_names() -> None:
    assert told(call("look_down"), tools=()) == ""


def test_a_schema_that_checks_nothing_is_counted() -> None:
    counted: list[None] = []
    rules = Rules(job(tools=TOOLS), {}, lambda: counted.append(None))

    assert [rules.against(call(name, reason="x"), ()) for name in ("odd", "end_call", "odd")] == [None, None, None]
    assert len(counted) == 2


REPEATED: dict[str, tuple[ToolCall, dict[str, Any], str]] = {
    "a second end_call in the history": (
        call("end_call", reason="again"),
        {"history": (*past("end_call", reason="bye"), user("hello?"))},
        "repeated",
    ),
    "one that failed": (
        call("end_call", reason="again"),
        {"history": (*past("end_call", "error", reason="bye"), user("hello?"))},
        "",
    ),
    "one of which nobody knows": (
        call("transfer_to_number", transfer_number="1"),
        {"history": (*past("transfer_to_number", None), user("hello?"))},
        "repeated",
    ),
    "one in the running turn": (
        call("transfer_to_agent", agent_number=2),
        {"out": (call("transfer_to_agent", agent_number=1),)},
        "repeated",
    ),
    "end_call after a transfer": (call("end_call", reason="x"), {"history": past("transfer_to_agent")}, ""),
    "the same in this turn": (call("look_up", id=1), {"history": past("look_up", id=1.0)}, "repeated"),
    "the same, which failed": (call("look_up", id=1), {"history": past("look_up", "error", id=1)}, ""),
    "the same, under way": (call("look_up", id=1), {"history": past("look_up", "IN_PROGRESS", id=1)}, "repeated"),
    "with other arguments": (call("look_up", id=1), {"history": past("look_up", id=2)}, ""),
    "the same in an earlier turn": (call("look_up", id=1), {"history": (*past("look_up", id=1), user("again"))}, ""),
    "twice in one answer": (call("look_up", id=1), {"out": (call("look_up", id=1),)}, "repeated"),
    "two in one answer": (call("look_up", id=1), {"out": (call("look_up", id=2),)}, ""),
    "a gate that lets a tool be called at will": (
        call("look_up", id=1),
        {"history": past("look_up", id=1), "gates": {"look_up": Gate(once="off")}},
        "",
    ),
    "a gate that lets it be called once": (
        call("look_up", id=1),
        {"history": (*past("look_up", id=2), user("again")), "gates": {"look_up": Gate(once="call")}},
        "repeated",
    ),
    "a gate that lets a transfer be made in every turn": (
        call("transfer_to_agent", agent_number=1),
        {"history": (*past("transfer_to_agent"), user("back")), "gates": {"transfer_to_agent": Gate(once="turn")}},
        "",
    ),
    "a caller who is waited for again": (call("skip_turn"), {"history": past("skip_turn"), "tools": ()}, ""),
    "the same key again": (
        call("play_keypad_touch_tone", dtmf_tones="1"),
        {"history": past("play_keypad_touch_tone", dtmf_tones="1"), "tools": ()},
        "",
    ),
    "a gate that lets keys be pressed once": (
        call("dtmf", keys="1"),
        {"history": past("dtmf", keys="1"), "tools": (), "gates": {"dtmf": Gate(once="turn")}},
        "repeated",
    ),
    "back to an earlier language": (
        call("language_detection", language="de"),
        {
            "history": (*past("language_detection", language="de"), *past("language_detection", language="en")),
            "tools": (),
        },
        "repeated",
    ),
    "back to an earlier language, asked for again": (
        call("language_detection", language="de"),
        {"history": (*past("language_detection", language="de"), user("wieder")), "tools": ()},
        "",
    ),
    "money that is transferred twice": (
        call("transfer_funds", amount=5),
        {"history": (*past("transfer_funds", amount=3), user("and 5 more")), "tools": ()},
        "",
    ),
    "a transfer that nobody took": (
        call("transfer_to_number", transfer_number="1"),
        {"history": (*past("transfer_to_number", '{"status": "no_answer"}'), user("try again"))},
        "",
    ),
    "a transfer that was cancelled": (
        call("transfer_to_number", transfer_number="1"),
        {"history": (*past("transfer_to_number", "CANCELLED"), user("try again"))},
        "",
    ),
    "a transfer that says nothing of itself": (
        call("transfer_to_number", transfer_number="1"),
        {"history": (*past("transfer_to_number", ""), user("try again"))},
        "repeated",
    ),
    "where the conversation has no id": (
        call("end_call", reason="again"),
        {"history": past("end_call"), "call_id": None},
        "",
    ),
}


ONCE = ("end_call", "transfer_to_agent", "transfer_to_number", "endCall", "transferCall", "transfer_call", "handoff")


@pytest.mark.parametrize("name", [*ONCE, "hangup"])
def test_what_ends_a_call_or_hands_it_over_is_once_whatever_its_arguments(name: str) -> None:
    assert told(call(name, to="b"), history=(*past(name, to="a"), user("again")), tools=()) == "repeated"


@pytest.mark.parametrize(("made", "where", "reason"), REPEATED.values(), ids=REPEATED)
def test_what_was_done_is_not_done_again(made: ToolCall, where: dict[str, Any], reason: str) -> None:
    assert told(made, **where) == reason


def test_gates_hold_for_the_tool_of_their_name() -> None:
    gates = {"end_call": Gate(not_before_turn=2), "look_up": Gate(allowed={"id": ("1", "2")})}

    assert told(call("end_call", reason="bye"), gates=gates) == "too_early"
    assert told(call("end_call", reason="bye"), history=(user("bye"),), gates=gates) == ""
    assert told(call("look_up", id=3), gates=gates) == "not_allowed"
    assert told(call("look_up", id="3"), gates=gates) == "invalid"  # the schema comes first


def test_what_acts_at_once_has_no_placeholders_even_without_a_gate() -> None:
    assert told(call("end_call", reason="{{reason}}")) == "placeholder"
    assert told(call("transfer_to_number", transfer_number="+1XXXXXXXXXX")) == "placeholder"
    assert told(call("end_call", reason="placeholder"), gates={"end_call": Gate(placeholders=True)}) == ""
    assert told(call("transfer_to_agent", agent="<agent>")) == "placeholder"
    assert told(call("look_up", who="<phone>")) == ""
    assert told(call("look_up", who="<phone>"), gates={"look_up": Gate()}) == "placeholder"


def test_an_objection_has_a_reason_of_ours_and_says_what_to_do() -> None:
    gates = {"end_call": Gate(not_before_turn=9), "look_up": Gate(after=("end_call",)), "odd": Gate()}
    rules = Rules(job(tools=TOOLS, call_id="c"), gates, lambda: None)
    made = [call("end_call"), call("look_up"), call("odd", a="<a>"), call("x"), call("transfer_to_number")]

    objections = [rules.against(one, ()) for one in made]

    assert all(isinstance(one, Objection) and one.reason in REASONS for one in objections)
    assert all(one is not None and one.words.startswith("This call was not carried out: ") for one in objections)


NAMES = st.sampled_from(["look_up", "book", "end_call", "skip_turn", "play_keypad_touch_tone"])
VALUES = st.none() | st.booleans() | st.integers(-9, 9) | st.text(alphabet="abc ", max_size=8)


@given(NAMES, st.dictionaries(st.text(max_size=4), VALUES, max_size=4))
def test_a_call_that_fits_its_schema_is_never_stopped_where_no_gate_is_set(
    name: str, arguments: dict[str, Any]
) -> None:
    tools = (Tool(name, parameters=b'{"type": "object"}'),)

    assert told(call(name, **arguments), tools=tools) == ""


NAMED = b'{"properties": {"transfer_number": {"enum": ["TBD", "sales"]}, "reason": {"type": "string"}}}'
PLACEHOLDERS: dict[str, tuple[ToolCall, dict[str, Any], str]] = {
    "a number that nobody knows": (call("transfer_to_number", transfer_number="TBD"), {}, "placeholder"),
    "a value that the schema names": (
        call("transfer_to_number", transfer_number="TBD"),
        {"tools": (Tool("transfer_to_number", parameters=NAMED),)},
        "",
    ),
    "a value that the gate names": (
        call("look_up", code="N/A"),
        {"gates": {"look_up": Gate(allowed={"code": ("N/A",)})}},
        "",
    ),
    "another argument beside it": (
        call("look_up", code="N/A", who="TODO"),
        {"gates": {"look_up": Gate(allowed={"code": ("N/A",)})}},
        "placeholder",
    ),
    "no reason": (call("end_call", reason="N/A"), {}, ""),
    "no message": (call("transfer_to_number", transfer_number="1", client_message="string"), {}, ""),
    "a template for a message": (call("transfer_to_agent", agent_number=1, reason="{{why}}"), {}, "placeholder"),
    "a tool without a gate": (call("look_up", who="TODO"), {}, ""),
}


@pytest.mark.parametrize(("made", "where", "reason"), PLACEHOLDERS.values(), ids=PLACEHOLDERS)
def test_a_placeholder_is_looked_for_where_it_does_harm(made: ToolCall, where: dict[str, Any], reason: str) -> None:
    assert told(made, **where) == reason


def test_a_name_that_nobody_offered_is_recorded_as_unknown() -> None:
    rules = Rules(job(tools=TOOLS), {"book": Gate()}, lambda: None)

    names = ("look_up", "book", "end_call", "my_card_is_4111")
    assert [rules.recorded(name) for name in names] == ["look_up", "book", "end_call", "unknown"]


def test_a_tool_is_meant_also_with_the_module_before_its_name() -> None:
    rules = Rules(job(tools=(*TOOLS, Tool("a.look_up"))), {}, lambda: None)

    assert rules.meant("functions.look_up") == "look_up"
    assert rules.meant("a.look_up") == "a.look_up"
    assert rules.meant("functions.look_down") == "functions.look_down"
