"""POST /v1/responses, body -> ResponsesRequest -> Job: what is accepted, and what a bad body is told."""

from typing import Any

import pytest

from edge import responses_form
from edge.responses_body import parse
from protocol.errors import ServiceError
from protocol.messages import Message
from tests.edge.responses_bodies import CALL, RESULT, SCHEMA, TOOL, USER, body, read, refusal, told

# --- bodies that are no request --------------------------------------------------------------------

HEAD = b'{"model":"echo","input":[{"role":"user","content":"hello"}]'

NO_JSON = {
    "empty": b"",
    "a list": b"[]",
    "null": b"null",
    "truncated": HEAD[:-1],
    "trailing": HEAD + b"} x",
    "invalid UTF-8 in an item": b'{"model":"m","input":[{"role":"user","content":"\xff"}]}',
    "invalid UTF-8 in a skipped field of an item": b'{"model":"m","input":[{"role":"user","content":"x","y":"\xff"}]}',
    "a bad number in a skipped field of an item": b'{"model":"m","input":[{"role":"user","content":"x","y":01}]}',
    "a bad word instead of an item": b'{"model":"m","input":[tru]}',
    "100,000 brackets": b'{"model":"m","input":' + b"[" * 100_000,
    "100,000 closed brackets": b'{"model":"m","input":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a wrong type, then truncated": b'{"model":5,"input":[',
}


@pytest.mark.parametrize("data", NO_JSON.values(), ids=NO_JSON.keys())
def test_what_is_no_json_object_is_a_400_without_a_field(data: bytes) -> None:
    assert refusal(data) == (400, None, None)


def test_an_empty_body_is_told_what_to_send() -> None:
    with pytest.raises(ServiceError, match="the body is empty: send an object with 'model' and 'input'"):
        parse(b"")


def test_half_an_emoji_costs_no_turn_wherever_it_stands() -> None:
    """Platforms cut texts where they like."""
    item = b'{"role":"user","content":"hi \\ud83d","other":"\\udc00","id":"m\\ud800"}'

    request = parse(b'{"model":"m","instructions":"be \\ude00","input":[%b]}' % item)

    assert request.messages == (Message("system", "be "), Message("user", "hi "))
    assert b"\\ud" not in bytes(request.items[0])


# --- bodies with a fault in one field --------------------------------------------------------------

MISSING, TYPE, VALUE, EMPTY = "missing_required_parameter", "invalid_type", "invalid_value", "empty_array"
PARAMETER, UNSUPPORTED = "unsupported_parameter", "unsupported_value"


def user(*parts: Any) -> bytes:
    return told({"role": "user", "content": list(parts)})


FAULTS: list[tuple[bytes, str, str]] = [
    # the required fields
    (b"{}", MISSING, "model"),
    (b'{"model":"m"}', MISSING, "input"),
    (b'{"input":"x"}', MISSING, "model"),
    (body(model=None), TYPE, "model"),
    (body(model=""), VALUE, "model"),
    (body(input=None), MISSING, "input"),
    (body(input=5), TYPE, "input"),
    (body(input={}), TYPE, "input"),
    (body(input=[]), EMPTY, "input"),
    (body(input=None, previous_response_id=""), MISSING, "input"),
    (told({"type": "reasoning", "id": "rs_1", "summary": []}), VALUE, "input"),
    # items
    (told(None), TYPE, "input[0]"),
    (told("hello"), TYPE, "input[0]"),
    (told([]), TYPE, "input[0]"),
    (told({}), MISSING, "input[0].role"),
    (told(USER, {"content": "x"}), MISSING, "input[1].role"),
    (told({"type": "message", "content": "x"}), MISSING, "input[0].role"),
    (told({"role": "tool", "content": "x"}), VALUE, "input[0].role"),
    (told({"role": 1, "content": "x"}), TYPE, "input[0].role"),
    (told(USER, {"type": "web_search_call", "id": "ws_1"}), VALUE, "input[1].type"),
    (told({"type": "computer_call_output", "output": {"type": "computer_screenshot"}}), VALUE, "input[0].type"),
    (told({"type": "robot"}), VALUE, "input[0].type"),
    (told({"type": 5}), TYPE, "input[0].type"),
    (told({"type": "message", "id": 5, **USER}), TYPE, "input[0].id"),
    (told({"type": "item_reference"}), MISSING, "input[0].id"),
    (told({"type": "item_reference", "id": ""}), VALUE, "input[0].id"),
    # content
    (told({"role": "user"}), MISSING, "input[0].content"),
    (told({"role": "user", "content": None}), TYPE, "input[0].content"),
    (told(USER, USER, {"role": "user", "content": 7}), TYPE, "input[2].content"),
    (told({"role": "user", "content": {"type": "input_text", "text": "x"}}), TYPE, "input[0].content"),
    (told({"role": "user", "content": []}), EMPTY, "input[0].content"),
    (told({"role": "system", "content": []}), EMPTY, "input[0].content"),
    (user("x"), TYPE, "input[0].content[0]"),
    (user({}), MISSING, "input[0].content[0].type"),
    (user({"type": "video"}), VALUE, "input[0].content[0].type"),
    (user({"type": 1}), TYPE, "input[0].content[0].type"),
    (user({"type": "input_text"}), MISSING, "input[0].content[0].text"),
    (user({"type": "output_text", "text": 1}), TYPE, "input[0].content[0].text"),
    (user({"type": "input_text", "text": "x"}, {"type": "input_image"}), MISSING, "input[0].content[1].image_url"),
    (user({"type": "input_image", "image_url": {"url": "u"}}), TYPE, "input[0].content[0].image_url"),
    (user({"type": "input_image", "file_id": "f"}), UNSUPPORTED, "input[0].content[0].file_id"),
    (user({"type": "input_file"}), MISSING, "input[0].content[0].file_data"),
    (user({"type": "input_file", "filename": "a.pdf"}), MISSING, "input[0].content[0].file_data"),
    (user({"type": "input_audio"}), MISSING, "input[0].content[0].input_audio"),
    (user({"type": "input_audio", "input_audio": "x"}), TYPE, "input[0].content[0].input_audio"),
    (told({"role": "system", "content": [{"type": "input_image"}]}), VALUE, "input[0].content[0].type"),
    (told({"role": "developer", "content": [{"type": "refusal", "refusal": ""}]}), VALUE, "input[0].content[0].type"),
    # calls and results
    (told({"type": "function_call", "name": "f"}), MISSING, "input[0].call_id"),
    (told({"type": "function_call", "call_id": "", "name": "f"}), VALUE, "input[0].call_id"),
    (told({"type": "function_call", "call_id": "c"}), MISSING, "input[0].name"),
    (told({"type": "function_call", "call_id": "c", "name": ""}), VALUE, "input[0].name"),
    (told({**CALL, "arguments": {}}), TYPE, "input[0].arguments"),
    (told({"type": "function_call_output", "output": "x"}), MISSING, "input[0].call_id"),
    (told({"type": "function_call_output", "call_id": "c"}), MISSING, "input[0].output"),
    (told({**RESULT, "output": None}), TYPE, "input[0].output"),
    (told({**RESULT, "output": {"a": 1}}), TYPE, "input[0].output"),
    (told({**RESULT, "output": [{"type": "input_text"}]}), MISSING, "input[0].output[0].text"),
    # state
    (body(previous_response_id=5), TYPE, "previous_response_id"),
    (body(store="yes"), TYPE, "store"),
    (body(background=True), PARAMETER, "background"),
    (body(background="yes"), TYPE, "background"),
    (body(conversation="conv_1"), PARAMETER, "conversation"),
    (body(conversation={"id": "conv_1"}), PARAMETER, "conversation"),
    (body(prompt={"id": "pmpt_1"}), PARAMETER, "prompt"),
    # numbers and words
    (body(instructions=5), TYPE, "instructions"),
    (body(instructions=[USER]), TYPE, "instructions"),
    (body(stream="true"), TYPE, "stream"),
    (body(temperature="hot"), TYPE, "temperature"),
    (body(temperature=2.1), "decimal_above_max_value", "temperature"),
    (body(temperature=-0.1), "decimal_below_min_value", "temperature"),
    (body(top_p=1.5), "decimal_above_max_value", "top_p"),
    (body(presence_penalty=-3), "decimal_below_min_value", "presence_penalty"),
    (body(frequency_penalty=3), "decimal_above_max_value", "frequency_penalty"),
    (body(max_output_tokens="10"), TYPE, "max_output_tokens"),
    (body(max_output_tokens=1.5), TYPE, "max_output_tokens"),
    (body(max_output_tokens=2**31), "integer_above_max_value", "max_output_tokens"),
    (body(max_tool_calls=0), "integer_below_min_value", "max_tool_calls"),
    (body(max_tool_calls=2**63), "integer_above_max_value", "max_tool_calls"),
    (body(max_tool_calls=1.5), TYPE, "max_tool_calls"),
    (body(top_logprobs=21), "integer_above_max_value", "top_logprobs"),
    (body(top_logprobs=-1), "integer_below_min_value", "top_logprobs"),
    (body(include="reasoning.encrypted_content"), TYPE, "include"),
    (body(include=[5]), TYPE, "include[0]"),
    (body(reasoning="low"), TYPE, "reasoning"),
    (body(reasoning={"effort": 5}), TYPE, "reasoning.effort"),
    (body(truncation="yes"), VALUE, "truncation"),
    (body(service_tier="gold"), VALUE, "service_tier"),
    (body(user=1), TYPE, "user"),
    (body(safety_identifier=1), TYPE, "safety_identifier"),
    (body(prompt_cache_key=1), TYPE, "prompt_cache_key"),
    # tools
    (body(tools={}), TYPE, "tools"),
    (body(tools=["get_weather"]), TYPE, "tools[0]"),
    (body(tools=[TOOL, {"type": "function"}]), MISSING, "tools[1].name"),
    (body(tools=[{"type": "function", "function": {"name": "f"}}]), MISSING, "tools[0].name"),
    (body(tools=[{"type": "function", "name": ""}]), VALUE, "tools[0].name"),
    (body(tools=[{"name": "f", "parameters": "none"}]), TYPE, "tools[0].parameters"),
    (body(tools=[{"name": "f", "strict": "yes"}]), TYPE, "tools[0].strict"),
    (body(tools=[TOOL, {"type": "web_search"}]), PARAMETER, "tools[1].type"),
    (body(tools=[{"type": "mcp", "server_label": "a", "server_url": "u"}]), PARAMETER, "tools[0].type"),
    (body(tools=[{"type": "custom", "name": "f"}]), PARAMETER, "tools[0].type"),
    (body(tools=[{"type": "robot"}]), VALUE, "tools[0].type"),
    (body(tool_choice=5), TYPE, "tool_choice"),
    (body(tool_choice="always", tools=[TOOL]), VALUE, "tool_choice"),
    (body(tool_choice="required"), VALUE, "tool_choice"),
    (body(tool_choice={"type": "function"}, tools=[TOOL]), MISSING, "tool_choice.name"),
    (body(tool_choice={"type": "function", "name": "other"}, tools=[TOOL]), VALUE, "tool_choice"),
    (body(tool_choice={"type": "web_search_preview"}, tools=[TOOL]), PARAMETER, "tool_choice.type"),
    (body(tool_choice={"type": "robot"}, tools=[TOOL]), VALUE, "tool_choice.type"),
    (body(tool_choice={"type": "allowed_tools"}, tools=[TOOL]), MISSING, "tool_choice.mode"),
    (body(tool_choice={"type": "allowed_tools", "mode": "auto"}, tools=[TOOL]), MISSING, "tool_choice.tools"),
    (body(tool_choice={"type": "allowed_tools", "mode": "auto", "tools": []}, tools=[TOOL]), VALUE, "tool_choice"),
    (body(tool_choice={"type": "allowed_tools", "mode": "any", "tools": []}), VALUE, "tool_choice.mode"),
    (
        body(tool_choice={"type": "allowed_tools", "mode": "auto", "tools": [TOOL, {"type": "mcp"}]}, tools=[TOOL]),
        PARAMETER,
        "tool_choice.tools[1].type",
    ),
    (body(parallel_tool_calls="no"), TYPE, "parallel_tool_calls"),
    # text
    (body(text="json"), TYPE, "text"),
    (body(text={"verbosity": 1}), TYPE, "text.verbosity"),
    (body(text={"format": {}}), MISSING, "text.format.type"),
    (body(text={"format": {"type": "grammar"}}), VALUE, "text.format.type"),
    (body(text={"format": {"type": "json_schema"}}), MISSING, "text.format.name"),
    (body(text={"format": {"type": "json_schema", "name": "n"}}), MISSING, "text.format.schema"),
    (body(text={"format": {**SCHEMA, "schema": None}}), MISSING, "text.format.schema"),
    (body(text={"format": {**SCHEMA, "schema": []}}), TYPE, "text.format.schema"),
    (body(text={"format": {**SCHEMA, "strict": 1}}), TYPE, "text.format.strict"),
]
NAMES = [f"{param} {code}" for _, code, param in FAULTS]


@pytest.mark.parametrize(("data", "code", "param"), FAULTS, ids=NAMES)
def test_a_fault_in_a_field_is_a_400_that_names_it(data: bytes, code: str, param: str) -> None:
    assert refusal(data) == (400, code, param)


@pytest.mark.parametrize(("data", "code", "param"), FAULTS, ids=NAMES)
def test_its_message_names_the_field_and_the_way_out(data: bytes, code: str, param: str) -> None:
    with pytest.raises(ServiceError) as caught:
        parse(data)

    assert f"'{param}'" in str(caught.value) or code in (PARAMETER, UNSUPPORTED)
    assert ":" in str(caught.value)  # what is wrong: what to do


def test_the_reason_says_what_would_have_been_right() -> None:
    with pytest.raises(ServiceError) as caught:
        parse(told(USER, {"role": "user", "content": 7}))
    assert str(caught.value) == "'input[1].content' holds a value of the wrong type: it must be a string or a list"

    with pytest.raises(ServiceError) as caught:
        parse(told({"type": "web_search_call"}))
    assert str(caught.value) == (
        "'input[0].type' holds a value that is not known here: it must be one of 'message', 'function_call', "
        "'function_call_output', 'reasoning', 'item_reference'"
    )


# --- what is liberal -------------------------------------------------------------------------------

OPTIONAL = [name for name in responses_form.ResponsesBody.__struct_fields__ if name not in ("model", "input")]


def test_an_explicit_null_equals_an_absent_field() -> None:
    assert read(body(**dict.fromkeys(OPTIONAL))) == read(body())


def test_a_null_inside_equals_an_absence_as_well() -> None:
    nulls: dict[str, Any] = {
        "tools": [{"type": None, "name": "f", "description": None, "parameters": None, "strict": None}],
        "text": {"format": None, "verbosity": None},
        "reasoning": {"effort": None, "summary": None, "generate_summary": None},
    }
    item = {**USER, "type": None, "id": None, "status": None, "phase": None}

    assert read(body(**nulls)) == read(body(tools=[{"name": "f"}]))
    assert read(told(item)).messages == (Message("user", "hello"),)


UNKNOWN: list[Any] = [1, None, "x", [[]], {"a": {"b": [1, 2, {"c": None}]}}, 10**30]


@pytest.mark.parametrize("value", UNKNOWN)
def test_unknown_fields_are_skipped_at_every_level(value: Any) -> None:
    strange = {
        "tools": [{**TOOL, "server": value, "defer_loading": value}],
        "tool_choice": {"type": "function", "name": "get_weather", "x": value},
        "reasoning": {"mode": value},
        "phoneNumber": value,
        "stream_options": value,
        "moderation": value,
    }
    plain = {"tools": [TOOL], "tool_choice": {"type": "function", "name": "get_weather"}}
    part = {"type": "input_text", "text": "hello", "prompt_cache_breakpoint": value}

    assert read(body(**strange)) == read(body(**plain))
    assert parse(told({"role": "user", "content": [part], "turn": value})).messages == (Message("user", "hello"),)


@pytest.mark.parametrize("value", UNKNOWN)
def test_a_platforms_own_fields_may_have_any_shape(value: Any) -> None:
    names = ("metadata", "elevenlabs_extra_body", "call", "user_id")
    assert parse(body(**dict.fromkeys(names, value))).call_id_from_body is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"max_output_tokens": -1}, None),
        ({"max_output_tokens": 0}, None),
        ({"max_output_tokens": 10}, 10),
        ({"max_output_tokens": 10.0}, 10),
    ],
)
def test_a_limit_that_is_none_counts_as_absent(fields: dict[str, Any], expected: int | None) -> None:
    request = parse(body(**fields))

    assert request.sampling.max_tokens == request.echoed["max_output_tokens"] == expected


def test_a_whole_number_may_be_written_with_a_fraction_of_nothing() -> None:
    request = parse(HEAD + b',"max_tool_calls":2.0,"top_logprobs":20E-1}')

    assert (request.echoed["max_tool_calls"], request.echoed["top_logprobs"]) == (2, 2)


@pytest.mark.parametrize(
    ("fields", "call_id"),
    [
        ({}, None),
        ({"elevenlabs_extra_body": {"conversation_id": "conv_1"}}, "conv_1"),
        ({"call": {"id": "c-1"}}, "c-1"),
        ({"metadata": {"call_id": "m-1"}}, "m-1"),
    ],
)
def test_a_call_is_known_by_what_platforms_say_of_it(fields: dict[str, Any], call_id: str | None) -> None:
    assert parse(body(**fields)).call_id_from_body == call_id


def test_user_id_stands_in_for_user_and_is_not_echoed() -> None:
    request = parse(body(user_id="caller-1"))

    assert (request.user, request.echoed["user"]) == ("caller-1", None)
    assert parse(body(user="u", user_id="caller-1")).user == "u"
