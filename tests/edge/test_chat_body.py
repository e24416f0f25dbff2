"""POST /v1/chat/completions, body -> ChatRequest -> Job: what is accepted, and what a bad body is told."""

import json
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import chat_form
from edge.asked import to_job
from edge.body import schema_of
from edge.chat import ChatRequest, parse
from edge.errors import body_bytes, to_openai
from edge.history import repair
from protocol import codec
from protocol.errors import ServiceError
from protocol.messages import (
    Format,
    ImagePart,
    Job,
    Message,
    OnLost,
    OpaquePart,
    PastCall,
    RefusalPart,
    Sampling,
    TextPart,
    Tool,
    ToolChoice,
)
from tests.edge.near import SECRET, Place, changed, places, values

USER = {"role": "user", "content": "hello"}
FUNCTION = {"name": "get_weather", "parameters": {"type": "object"}}
TOOL = {"type": "function", "function": FUNCTION}
CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'}}


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "echo", "messages": [USER], **fields}).encode()


def said(*messages: Any) -> bytes:
    return body(messages=list(messages))


def job(request: ChatRequest, *, on_lost: OnLost = "error") -> Job:
    return to_job(request, turn_id="req_1", tenant="t", call_id="c", budget_ms=8000, total_ms=60000, on_lost=on_lost)


def refusal(data: bytes) -> tuple[int, str | None, str | None]:
    with pytest.raises(ServiceError) as caught:
        parse(data)
    status, answer = to_openai(caught.value)
    return status, answer["error"]["code"], answer["error"]["param"]


# --- bodies that are no request --------------------------------------------------------------------

HEAD = b'{"model":"echo","messages":[{"role":"user","content":"hello"}]'

NO_JSON = {
    "empty": b"",
    "blank": b" \r\n\t ",
    "not JSON": b"model=echo",
    "a list": b"[]",
    "a string": b'"hello"',
    "a number": b"1",
    "a number out of range": b"1e400",
    "null": b"null",
    "truncated": HEAD[:-1],
    "truncated in a string": HEAD[:-5],
    "trailing": HEAD + b"} x",
    "two objects": HEAD + b"}" + HEAD + b"}",
    "NUL between": HEAD + b"\x00}",
    "NUL in a string": b'{"model":"ec\x00ho","messages":[]}',
    "invalid UTF-8 in a known field": b'{"model":"\xff"}',
    "invalid UTF-8 in a skipped field": HEAD + b',"other":"\xff"}',
    "invalid UTF-8 in a carried field": HEAD + b',"logit_bias":{"\xff":1}}',
    "UTF-16": HEAD.decode().encode("utf-16"),
    "100,000 brackets": b"[" * 100_000,
    "100,000 brackets in a skipped field": HEAD + b',"other":' + b"[" * 100_000,
    "100,000 closed brackets in a carried field": HEAD + b',"metadata":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100,000 objects": b'{"a":' * 100_000,
    "a wrong type, then truncated": b'{"model":5,"messages":[',
    "a bad number in a carried field": HEAD + b',"metadata":{"a":01}}',
    "a bad word in a carried field": HEAD + b',"metadata":{"a":tru}}',
    "NaN": HEAD + b',"temperature":NaN}',
}


@pytest.mark.parametrize("data", NO_JSON.values(), ids=NO_JSON.keys())
def test_what_is_no_json_object_is_a_400_without_a_field(data: bytes) -> None:
    assert refusal(data) == (400, None, None)


def test_an_empty_body_is_told_what_to_send() -> None:
    with pytest.raises(ServiceError, match="the body is empty: send an object with 'model' and 'messages'"):
        parse(b"")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"hi \\ud83d", "hi "),
        (b"\\ude00 hi", " hi"),
        (b"\\ude00\\ud83d", ""),
        (b"\\ud83d\\ud83d\\ude00", "\U0001f600"),
        (b"\\\\ud83d \\ud83d", "\\ud83d "),  # the first is a backslash and five letters
    ],
)
def test_half_an_emoji_is_left_out(written: bytes, read: str) -> None:
    """Platforms cut texts where they like."""
    user = b'{"role":"user","content":"%b"}' % written

    assert parse(b'{"model":"m","messages":[%b]}' % user).messages[0].content == read


def test_half_an_emoji_costs_no_turn_wherever_it_stands() -> None:
    parameters = b'{"a": "\\ud800", "b": 1.0}'
    tools = b'"tools":[{"type":"function","function":{"name":"f","parameters":%b}}]' % parameters

    request = parse(HEAD + b',"other":"\\udc00","metadata":{"a":"x\\ud83d"},' + tools + b"}")

    assert request.metadata == {"a": "x"}
    assert request.tools[0].parameters == b'{"a": "", "b": 1.0}'


def test_a_surrogate_pair_is_a_character() -> None:
    assert parse(b'{"model":"m","messages":[{"role":"user","content":"\\ud83d\\ude00 \\u0000"}]}').messages == (
        Message("user", "😀 \x00"),
    )


def test_the_last_of_two_equal_keys_counts() -> None:
    assert parse(HEAD + b',"model":"second"}').model == "second"


# --- bodies with a fault in one field --------------------------------------------------------------

MISSING, TYPE, VALUE = "missing_required_parameter", "invalid_type", "invalid_value"
PARAMETER, UNSUPPORTED = "unsupported_parameter", "unsupported_value"

FAULTS: list[tuple[bytes, str, str]] = [
    # the required fields
    (b"{}", MISSING, "model"),
    (b'{"model":"m"}', MISSING, "messages"),
    (b'{"messages":[]}', MISSING, "model"),
    (body(model=None), TYPE, "model"),
    (body(model=5), TYPE, "model"),
    (body(model=""), VALUE, "model"),
    (body(messages=None), TYPE, "messages"),
    (body(messages="hello"), TYPE, "messages"),
    (body(messages={}), TYPE, "messages"),
    (body(messages=[]), "empty_array", "messages"),
    # messages
    (said(None), TYPE, "messages[0]"),
    (said("hello"), TYPE, "messages[0]"),
    (said({}), MISSING, "messages[0].role"),
    (said(USER, {"content": "x"}), MISSING, "messages[1].role"),
    (said({"role": "robot", "content": "x"}), VALUE, "messages[0].role"),
    (said({"role": 1, "content": "x"}), TYPE, "messages[0].role"),
    (said({"role": "user"}), MISSING, "messages[0].content"),
    (said({"role": "system"}), MISSING, "messages[0].content"),
    (said({"role": "user", "content": None}), TYPE, "messages[0].content"),
    (said(USER, USER, {"role": "user", "content": 7}), TYPE, "messages[2].content"),
    (said({"role": "user", "content": {"type": "text", "text": "x"}}), TYPE, "messages[0].content"),
    (said({"role": "user", "content": []}), "empty_array", "messages[0].content"),
    (said({"role": "user", "content": ["x"]}), TYPE, "messages[0].content[0]"),
    (said({"role": "user", "content": [{}]}), MISSING, "messages[0].content[0].type"),
    (said({"role": "user", "content": [{"type": "video"}]}), VALUE, "messages[0].content[0].type"),
    (said({"role": "user", "content": [{"type": 1}]}), TYPE, "messages[0].content[0].type"),
    (said({"role": "user", "content": [{"type": "text"}]}), MISSING, "messages[0].content[0].text"),
    (said({"role": "user", "content": [{"type": "text", "text": 1}]}), TYPE, "messages[0].content[0].text"),
    (
        said({"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {}}]}),
        MISSING,
        "messages[0].content[1].image_url.url",
    ),
    (
        said({"role": "system", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}),
        VALUE,
        "messages[0].content[0].type",
    ),
    (said({"role": "user", "content": "x", "name": 1}), TYPE, "messages[0].name"),
    (said({"role": "tool", "content": "x"}), MISSING, "messages[0].tool_call_id"),
    (said({"role": "tool", "content": "x", "tool_call_id": None}), MISSING, "messages[0].tool_call_id"),
    (said({"role": "tool", "content": None, "tool_call_id": "c"}), TYPE, "messages[0].content"),
    (said({"role": "function", "content": "x"}), MISSING, "messages[0].name"),
    (said({"role": "assistant", "tool_calls": {}}), TYPE, "messages[0].tool_calls"),
    (said({"role": "assistant", "tool_calls": [{}]}), MISSING, "messages[0].tool_calls[0].id"),
    (said({"role": "assistant", "tool_calls": [{"id": "c"}]}), MISSING, "messages[0].tool_calls[0].function"),
    (
        said({"role": "assistant", "tool_calls": [CALL, {"id": "c", "function": {"arguments": "{}"}}]}),
        MISSING,
        "messages[0].tool_calls[1].function.name",
    ),
    (
        said({"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {}}}]}),
        TYPE,
        "messages[0].tool_calls[0].function.arguments",
    ),
    (
        said({"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {}}]}),
        UNSUPPORTED,
        "messages[0].tool_calls[0].type",
    ),
    # numbers and words
    (body(stream="true"), TYPE, "stream"),
    (body(stream=1), TYPE, "stream"),
    (body(stream_options=True), TYPE, "stream_options"),
    (body(stream_options={"include_usage": "yes"}), TYPE, "stream_options.include_usage"),
    (body(temperature="hot"), TYPE, "temperature"),
    (body(temperature=True), TYPE, "temperature"),
    (body(temperature=2.1), "decimal_above_max_value", "temperature"),
    (body(temperature=-0.1), "decimal_below_min_value", "temperature"),
    (HEAD + b',"temperature":1e400}', "decimal_above_max_value", "temperature"),
    (HEAD + b',"temperature":' + b"9" * 5000 + b"}", "decimal_above_max_value", "temperature"),
    (body(top_p=1.5), "decimal_above_max_value", "top_p"),
    (body(presence_penalty=-3), "decimal_below_min_value", "presence_penalty"),
    (body(frequency_penalty=3), "decimal_above_max_value", "frequency_penalty"),
    (body(max_tokens="10"), TYPE, "max_tokens"),
    (body(max_tokens=1.5), TYPE, "max_tokens"),
    (body(max_tokens=2**31), "integer_above_max_value", "max_tokens"),
    (body(max_completion_tokens=10**30), "integer_above_max_value", "max_completion_tokens"),
    (body(seed=2**63), "integer_above_max_value", "seed"),
    (body(seed=10**30), "integer_above_max_value", "seed"),
    (HEAD + b',"seed":' + b"9" * 5000 + b"}", "integer_above_max_value", "seed"),
    (body(seed=-(2**63) - 1), "integer_below_min_value", "seed"),
    (body(seed=1.5), TYPE, "seed"),
    (body(n=0), "integer_below_min_value", "n"),
    (body(n=129), "integer_above_max_value", "n"),
    (body(n=2), UNSUPPORTED, "n"),
    (body(stop=5), TYPE, "stop"),
    (body(stop=["a", 5]), TYPE, "stop[1]"),
    (body(stop=["a", "b", "c", "d", "e"]), VALUE, "stop"),
    (body(logprobs="yes"), TYPE, "logprobs"),
    (body(logprobs=True, top_logprobs=21), "integer_above_max_value", "top_logprobs"),
    (body(logprobs=True, top_logprobs=-1), "integer_below_min_value", "top_logprobs"),
    (body(top_logprobs=3), VALUE, "top_logprobs"),
    (body(logit_bias=[1]), TYPE, "logit_bias"),
    (body(service_tier="gold"), VALUE, "service_tier"),
    (body(service_tier=1), TYPE, "service_tier"),
    (body(reasoning_effort=1), TYPE, "reasoning_effort"),
    (body(user=1), TYPE, "user"),
    (body(modalities=["text", "audio"]), PARAMETER, "modalities"),
    (body(modalities="text"), TYPE, "modalities"),
    (body(web_search_options={}), PARAMETER, "web_search_options"),
    # tools
    (body(tools={}), TYPE, "tools"),
    (body(tools=["get_weather"]), TYPE, "tools[0]"),
    (body(tools=[TOOL, {"type": "function"}]), MISSING, "tools[1].function"),
    (body(tools=[{"type": "function", "function": {}}]), MISSING, "tools[0].function.name"),
    (body(tools=[{"type": "function", "function": {"name": ""}}]), VALUE, "tools[0].function.name"),
    (body(tools=[{"type": "function", "function": {"name": 5}}]), TYPE, "tools[0].function.name"),
    (body(tools=[{"function": {"name": "f", "parameters": "none"}}]), TYPE, "tools[0].function.parameters"),
    (body(tools=[{"function": {"name": "f", "strict": "yes"}}]), TYPE, "tools[0].function.strict"),
    (body(tools=[{"type": "custom", "custom": {"name": "f"}}]), UNSUPPORTED, "tools[0].type"),
    (body(tools=[{"type": "web_search"}]), VALUE, "tools[0].type"),
    (body(tool_choice=5), TYPE, "tool_choice"),
    (body(tool_choice="always", tools=[TOOL]), VALUE, "tool_choice"),
    (body(tool_choice="required"), VALUE, "tool_choice"),
    (body(tool_choice="required", tools=[]), VALUE, "tool_choice"),
    (body(tool_choice={"type": "function"}, tools=[TOOL]), MISSING, "tool_choice.function"),
    (body(tool_choice={"type": "function", "function": {}}, tools=[TOOL]), MISSING, "tool_choice.function.name"),
    (body(tool_choice={"type": "function", "function": {"name": "other"}}, tools=[TOOL]), VALUE, "tool_choice"),
    (body(tool_choice={"type": "custom", "custom": {"name": "f"}}, tools=[TOOL]), UNSUPPORTED, "tool_choice.type"),
    (body(tool_choice={"type": "allowed_tools"}, tools=[TOOL]), MISSING, "tool_choice.allowed_tools"),
    (
        body(tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}, tools=[TOOL]),
        VALUE,
        "tool_choice",
    ),
    (
        body(tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "must", "tools": []}}, tools=[TOOL]),
        VALUE,
        "tool_choice.allowed_tools.mode",
    ),
    (body(parallel_tool_calls="no"), TYPE, "parallel_tool_calls"),
    (body(functions=[{}]), MISSING, "functions[0].name"),
    (body(functions=[FUNCTION], function_call={"name": "other"}), VALUE, "function_call"),
    # response_format
    (body(response_format="json"), TYPE, "response_format"),
    (body(response_format={}), MISSING, "response_format.type"),
    (body(response_format={"type": "xml"}), VALUE, "response_format.type"),
    (body(response_format={"type": "json_schema"}), MISSING, "response_format.json_schema"),
    (body(response_format={"type": "json_schema", "json_schema": {}}), MISSING, "response_format.json_schema.name"),
    (
        body(response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": []}}),
        TYPE,
        "response_format.json_schema.schema",
    ),
]


@pytest.mark.parametrize(("data", "code", "param"), FAULTS, ids=[f"{param} {code}" for _, code, param in FAULTS])
def test_a_fault_in_a_field_is_a_400_that_names_it(data: bytes, code: str, param: str) -> None:
    assert refusal(data) == (400, code, param)


@pytest.mark.parametrize(("data", "code", "param"), FAULTS, ids=[f"{param} {code}" for _, code, param in FAULTS])
def test_its_message_names_the_field_and_the_way_out(data: bytes, code: str, param: str) -> None:
    with pytest.raises(ServiceError) as caught:
        parse(data)

    assert f"'{param}'" in str(caught.value) or code in (PARAMETER, UNSUPPORTED)
    assert ":" in str(caught.value)  # what is wrong: what to do


def test_the_reason_says_what_would_have_been_right() -> None:
    with pytest.raises(ServiceError) as caught:
        parse(said(USER, {"role": "user", "content": 7}))

    assert str(caught.value) == ("'messages[1].content' holds a value of the wrong type: it must be a string or a list")


def test_a_validator_that_fails_itself_leaves_the_decoders_words(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def validate(self, value: Any) -> None:
            raise OverflowError

    monkeypatch.setattr("edge.chat_body._reader._validator", Broken())

    assert refusal(body(temperature="hot")) == (400, TYPE, "temperature")
    assert refusal(said({"role": "robot"})) == (400, TYPE, "messages[0].role")


def test_a_bad_body_of_very_many_entries_is_not_looked_at_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.chat_body._reader._validator", None)

    assert refusal(body(model=[0] * 200_000)) == (400, TYPE, "model")


def test_a_bad_body_with_a_long_text_is() -> None:
    assert refusal(body(messages=[{**USER, "content": "x" * 1_000_000}], temperature=3)) == (
        400,
        "decimal_above_max_value",
        "temperature",
    )


def test_ten_thousand_faults_cost_one_error() -> None:
    """Of a union's alternatives only the one that was meant is tried, or a long list would hold up every other turn."""
    assert refusal(said({"role": "user", "content": [5] * 10_000})) == (400, TYPE, "messages[0].content[0]")


# --- what is liberal -------------------------------------------------------------------------------

OPTIONAL = [name for name in chat_form.ChatBody.__struct_fields__ if name not in ("model", "messages")]


def test_an_explicit_null_equals_an_absent_field() -> None:
    assert parse(body(**dict.fromkeys(OPTIONAL))) == parse(body())


def test_a_null_inside_equals_an_absence_as_well() -> None:
    nulls: dict[str, Any] = {
        "messages": [{**USER, "name": None, "tool_calls": None, "tool_call_id": None, "refusal": None}],
        "tools": [{"type": None, "function": {"name": "f", "description": None, "parameters": None, "strict": None}}],
        "stream_options": {"include_usage": None},
    }
    assert parse(body(**nulls)) == parse(body(tools=[{"function": {"name": "f"}}]))


UNKNOWN: list[Any] = [1, None, "x", [[]], {"a": {"b": [1, 2, {"c": None}]}}, 10**30]


@pytest.mark.parametrize("value", UNKNOWN)
def test_unknown_fields_are_skipped_at_every_level(value: Any) -> None:
    strange = {
        "messages": [{**USER, "turn_id": value, "models": value, "audio": value}],
        "tools": [{**TOOL, "server": value, "function": {**FUNCTION, "async": value}}],
        "tool_choice": {"type": "function", "function": {"name": "get_weather", "x": value}, "x": value},
        "phoneNumber": value,
        "prediction": value,
        "store": value,
        "safety_identifier": value,
        "prompt_cache_key": value,
        "audio": value,
    }
    plain = {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "get_weather"}}}
    assert parse(body(**strange)) == parse(body(**plain))


@pytest.mark.parametrize("value", UNKNOWN)
def test_a_platforms_own_fields_may_have_any_shape(value: Any) -> None:
    names = ("metadata", "elevenlabs_extra_body", "call", "user_id")
    assert parse(body(**dict.fromkeys(names, value))).call_id_from_body is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"max_tokens": -1}, None),
        ({"max_tokens": 0}, None),
        ({"max_tokens": None}, None),
        ({"max_tokens": 10}, 10),
        ({"max_tokens": 10.0}, 10),
        ({"max_completion_tokens": 20}, 20),
        ({"max_completion_tokens": 20, "max_tokens": 10}, 20),
        ({"max_completion_tokens": -1, "max_tokens": 10}, 10),
        ({"max_completion_tokens": 20, "max_tokens": -1}, 20),
    ],
)
def test_a_limit_that_is_none_counts_as_absent(fields: dict[str, Any], expected: int | None) -> None:
    assert parse(body(**fields)).sampling.max_tokens == expected


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("END", ("END",)),
        (["a", "b"], ("a", "b")),
        ([], ()),
        ("", ()),
        (["", "a"], ("a",)),
        (list("abcd"), tuple("abcd")),
    ],
)
def test_stop_is_a_word_or_up_to_four(stop: Any, expected: tuple[str, ...]) -> None:
    assert parse(body(stop=stop)).sampling.stop == expected


@pytest.mark.parametrize(
    ("fields", "user"),
    [
        ({"user": "u"}, "u"),
        ({"user_id": "u-42"}, "u-42"),
        ({"user": "u", "user_id": "u-42"}, "u"),
        ({"user": None, "user_id": "u-42"}, "u-42"),
        ({"user_id": 42}, None),
    ],
)
def test_user_id_is_a_platforms_word_for_user(fields: dict[str, Any], user: str | None) -> None:
    assert parse(body(**fields)).user == user


@pytest.mark.parametrize(
    ("fields", "stream", "usage"),
    [
        ({}, False, False),
        ({"stream": False, "stream_options": {"include_usage": True}}, False, False),
        ({"stream": True}, True, False),
        ({"stream": True, "stream_options": {}}, True, False),
        ({"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}}, True, True),
    ],
)
def test_usage_is_streamed_only_when_asked_for(fields: dict[str, Any], stream: bool, usage: bool) -> None:
    request = parse(body(**fields))

    assert (request.stream, request.include_usage) == (stream, usage)


def test_how_the_model_shall_write_is_passed_on() -> None:
    asked = {
        "temperature": 0,
        "top_p": 0.5,
        "presence_penalty": -2,
        "frequency_penalty": 2,
        "seed": 2**63 - 1,
        "logprobs": True,
        "top_logprobs": 20,
        "reasoning_effort": "low",
        "verbosity": "low",
        "service_tier": "flex",
    }
    assert parse(body(**asked, logit_bias={"50256": -100})).sampling == Sampling(
        **asked,  # type: ignore[arg-type]
        logit_bias=b'{"50256": -100}',
    )


# --- histories -------------------------------------------------------------------------------------

HISTORIES: list[tuple[dict[str, Any], Message]] = [
    ({"role": "developer", "content": "be brief"}, Message("developer", "be brief")),
    ({"role": "system", "content": [{"type": "text", "text": "a"}]}, Message("system", (TextPart("a"),))),
    ({"role": "user", "content": ""}, Message("user", "")),
    ({"role": "user", "content": "x", "name": "Ann"}, Message("user", "x", "Ann")),
    (
        {"role": "user", "content": [{"text": "a", "type": "text"}, {"type": "image_url", "image_url": {"url": "u"}}]},
        Message("user", (TextPart("a"), ImagePart("u"))),
    ),
    (
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u", "detail": "low"}}]},
        Message("user", (ImagePart("u", "low"),)),
    ),
    (
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}]},
        Message("user", (OpaquePart("input_audio", b'{"data": "AA==", "format": "wav"}'),)),
    ),
    (
        {"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]},
        Message("user", (OpaquePart("file", b'{"file_id": "f"}'),)),
    ),
    ({"role": "assistant", "content": "hi"}, Message("assistant", "hi")),
    ({"role": "assistant"}, Message("assistant", "")),
    ({"role": "assistant", "content": None}, Message("assistant", "")),
    ({"role": "assistant", "content": []}, Message("assistant", "")),
    ({"role": "assistant", "content": None, "tool_calls": []}, Message("assistant", "")),
    ({"role": "assistant", "content": None, "refusal": "no"}, Message("assistant", None, refusal="no")),
    (
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        Message("assistant", (RefusalPart("no"),)),
    ),
    (
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        Message("assistant", None, tool_calls=(PastCall("call_1", "get_weather", '{"city":"Oslo"}'),)),
    ),
    (
        {"role": "assistant", "content": "one moment", "tool_calls": [{"id": "c", "function": {"name": "f"}}]},
        Message("assistant", "one moment", tool_calls=(PastCall("c", "f", "{}"),)),
    ),
    ({"role": "tool", "content": "21", "tool_call_id": "c"}, Message("tool", "21", tool_call_id="c")),
    (
        {"role": "tool", "content": [{"type": "text", "text": "21"}], "tool_call_id": "c"},
        Message("tool", (TextPart("21"),), tool_call_id="c"),
    ),
]


@pytest.mark.parametrize(("form", "expected"), HISTORIES)
def test_a_message_may_stand_anywhere_in_a_history(form: dict[str, Any], expected: Message) -> None:
    """System messages in the middle, an assistant's at the end, no user at all: platforms send every order."""
    system = Message("system", "now")

    assert parse(said(form)).messages == (expected,)
    assert parse(said(form, {"role": "system", "content": "now"}, form)).messages == (expected, system, expected)


def test_a_legacy_function_call_becomes_a_tool_call_with_an_id_of_its_own() -> None:
    history = said(
        USER,
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "21"},
        {"role": "function", "name": "never_called", "content": None},
    )
    assert parse(history).messages[1:] == (
        Message("assistant", None, tool_calls=(PastCall("call_1", "f", "{}"),)),
        Message("tool", "21", "f", tool_call_id="call_1"),
        Message("tool", "", "never_called", tool_call_id="call_3"),
    )


def test_a_legacy_result_without_a_call_keeps_its_name_for_the_call_that_is_made_up() -> None:
    history = parse(said({"role": "function", "name": "get_weather", "content": "21"}, USER)).messages

    assert repair(history).messages[0] == Message("assistant", tool_calls=(PastCall("call_0", "get_weather", "{}"),))


def test_an_id_made_up_for_a_legacy_call_is_no_other_calls_id() -> None:
    """Ids such as `call_1` are common: a result would stand under a call that somebody else answered."""
    history = said(
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "function", "name": "g", "content": "7"},
        {"role": "assistant", "content": None, "function_call": {"name": "g", "arguments": "{}"}},
        {"role": "function", "name": "g", "content": "8"},
        {"role": "tool", "content": "21", "tool_call_id": "call_1"},
        {"role": "tool", "content": "22", "tool_call_id": "call_2"},
    )
    messages = parse(history).messages

    assert [message.tool_call_id for message in messages] == [None, "call_1_", None, "call_2_", "call_1", "call_2"]
    assert messages[2].tool_calls == (PastCall("call_2_", "g", "{}"),)


# --- tools and formats -----------------------------------------------------------------------------


def test_parameters_are_carried_byte_for_byte() -> None:
    """Key order, spaces and numbers are the caller's: a target's cache may depend on them."""
    schema = rb'{ "type":"object","properties":{"b":{"maximum":1.0e2},"a":{"const":"\u00e9\/"}} }'
    data = HEAD + b',"tools":[{"type":"function","function":{"name":"f","parameters":' + schema + b',"strict":true}}]}'

    assert parse(data).tools == (Tool("f", None, schema, strict=True),)


def test_no_tools_is_no_tools() -> None:
    assert parse(body(tools=[])) == parse(body(tools=[], tool_choice="auto")) == parse(body())


CHOICES = [
    (None, None),
    ("none", ToolChoice("none")),
    ("auto", ToolChoice("auto")),
    ("required", ToolChoice("required")),
    ({"type": "function", "function": {"name": "get_weather"}}, ToolChoice("named", ("get_weather",))),
    ({"function": {"name": "get_weather"}}, ToolChoice("named", ("get_weather",))),
    (
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [TOOL]}},
        ToolChoice("allowed", ("get_weather",)),
    ),
    (
        {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TOOL]}},
        ToolChoice("allowed", ("get_weather",), required=True),
    ),
]


@pytest.mark.parametrize(("form", "expected"), CHOICES)
def test_a_tool_choice_has_four_forms(form: Any, expected: ToolChoice | None) -> None:
    assert parse(body(tools=[TOOL], tool_choice=form)).tool_choice == expected


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (None, None),
        ("none", ToolChoice("none")),
        ("auto", ToolChoice("auto")),
        ({"name": "get_weather"}, ToolChoice("named", ("get_weather",))),
    ],
)
def test_legacy_functions_become_tools_one_call_at_a_time(form: Any, expected: ToolChoice | None) -> None:
    request = parse(body(functions=[FUNCTION], function_call=form))

    assert request.legacy
    assert request.tools == (Tool("get_weather", None, b'{"type": "object"}'),)
    assert request.tool_choice == expected
    assert request.parallel_tool_calls is False


def test_tools_win_over_legacy_functions() -> None:
    request = parse(body(tools=[TOOL], functions=[{"name": "old"}], function_call="none"))

    assert [tool.name for tool in request.tools] == ["get_weather"]
    assert (request.legacy, request.tool_choice) == (False, ToolChoice("none"))


def test_a_legacy_choice_counts_beside_tools_where_there_is_no_newer_one() -> None:
    legacy = {"tools": [TOOL], "function_call": {"name": "get_weather"}}

    assert parse(body(**legacy)).tool_choice == ToolChoice("named", ("get_weather",))
    assert parse(body(**legacy, tool_choice="none")).tool_choice == ToolChoice("none")


def test_a_whole_number_may_be_written_with_a_fraction_of_nothing() -> None:
    schema = b'{"type": "object", "properties": {"n": {"minimum": 1.0}}}'
    offered = b'"tools":[{"type":"function","function":{"name":"f","parameters":%b}}]' % schema

    request = parse(HEAD + b',"n":1.0,"seed":-7e3,"logprobs":true,"top_logprobs":20E-1,' + offered + b"}")

    assert (request.sampling.seed, request.sampling.top_logprobs) == (-7000, 2)
    assert request.tools[0].parameters == schema, "what is carried stays as it came"


def test_what_is_wrong_beside_such_a_number_is_named_all_the_same() -> None:
    assert refusal(body(seed=1.0, temperature="hot")) == (400, TYPE, "temperature")
    assert refusal(body(n=2.0)) == (400, UNSUPPORTED, "n")
    assert refusal(HEAD + b',"seed":1e30}')[::2] == (400, "seed")


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (None, None),
        ({"type": "text"}, Format("text")),
        ({"type": "json_object"}, Format("json_object")),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True}},
            Format("json_schema", "n", b'{"type": "object"}', strict=True),
        ),
        ({"type": "json_schema", "json_schema": {"name": "n", "schema": None}}, Format("json_schema", "n")),
    ],
)
def test_a_response_format_has_three_forms(form: Any, expected: Format | None) -> None:
    assert parse(body(response_format=form)).response_format == expected


# --- which call it is, and what is kept of metadata ------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "call_id"),
    [
        ({}, None),
        ({"elevenlabs_extra_body": {"conversation_id": "conv_1"}}, "conv_1"),
        ({"elevenlabs_extra_body": {"call_id": "c-1"}}, "c-1"),
        ({"elevenlabs_extra_body": {"system__conversation_id": "conv_2", "n": 1}}, "conv_2"),
        ({"call": {"id": "c-1", "type": "inboundPhoneCall", "monitor": {}}}, "c-1"),
        ({"session_id": "sess_1"}, "sess_1"),
        ({"metadata": {"call_id": "m-1"}}, "m-1"),
        ({"metadata": {"conversation_id": "m-2"}}, "m-2"),
        ({"metadata": {"call_id": "m"}, "session_id": "s", "call": {"id": "c"}}, "c"),
        ({"call": {"id": "c"}, "elevenlabs_extra_body": {"call_id": "e"}}, "e"),
        ({"call": {"id": 17}, "session_id": "s"}, "s"),
        ({"session_id": "", "metadata": {"call_id": "m"}}, "m"),
        ({"session_id": "a\r\nx-evil: 1"}, None),
        ({"session_id": "two words"}, None),
        ({"session_id": "ünïcode"}, None),
        ({"session_id": "x" * 257}, None),
        ({"user": "u", "user_id": "u"}, None),
    ],
)
def test_a_call_id_is_explicit_or_there_is_none(fields: dict[str, Any], call_id: str | None) -> None:
    assert parse(body(**fields)).call_id_from_body == call_id


def test_of_metadata_only_short_strings_are_kept() -> None:
    metadata = {"echo.rate": "50", "n": 1, "list": ["a"], "long": "x" * 513, "k" * 65: "v", "null": None, "empty": ""}

    assert parse(body(metadata=metadata)).metadata == {"echo.rate": "50"}
    assert len(parse(body(metadata={str(n): "v" for n in range(40)})).metadata) == 16


# --- the job ---------------------------------------------------------------------------------------


def test_a_job_says_all_that_the_request_said() -> None:
    data = body(
        tools=[TOOL],
        tool_choice="required",
        parallel_tool_calls=False,
        response_format={"type": "json_object"},
        temperature=0.5,
        user="u",
        metadata={"echo.rate": "0"},
    )
    assert job(parse(data)) == Job(
        id="req_1",
        model="echo",
        messages=(Message("user", "hello"),),
        budget_ms=8000,
        total_ms=60000,
        tenant="t",
        call_id="c",
        tools=(Tool("get_weather", None, b'{"type": "object"}'),),
        tool_choice=ToolChoice("required"),
        parallel_tool_calls=False,
        response_format=Format("json_object"),
        sampling=Sampling(temperature=0.5),
        user="u",
        metadata={"echo.rate": "0"},
        on_lost="error",
    )


@pytest.mark.parametrize(
    ("kind", "asked", "got"),
    [
        ("text", "continue", "continue"),
        ("json_object", "continue", "error"),
        ("json_object", "finish", "finish"),
        ("json_object", "error", "error"),
    ],
)
def test_an_answer_in_json_is_never_continued(kind: str, asked: OnLost, got: str) -> None:
    assert job(parse(body(response_format={"type": kind})), on_lost=asked).on_lost == got


# --- anything near a request -----------------------------------------------------------------------

NEAR: dict[str, Any] = {
    "model": "echo",
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": SECRET}]},
        {"role": "user", "content": SECRET, "name": SECRET},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": SECRET, "tool_call_id": "call_1"},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": SECRET}},
    ],
    "stream": True,
    "stream_options": {"include_usage": True},
    "temperature": 1,
    "max_tokens": 100,
    "n": 1,
    "stop": [SECRET],
    "seed": 1,
    "tools": [TOOL],
    "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
    "metadata": {"a": SECRET},
    "elevenlabs_extra_body": {"call_id": "c"},
    "functions": [FUNCTION],
    "service_tier": "auto",
}

PLACES = places(NEAR)


def outcome(data: bytes) -> ChatRequest | ServiceError:
    try:
        return parse(data)
    except ServiceError as error:
        return error


def read(data: bytes) -> ChatRequest | None:
    """Parse; what is refused must be a 4xx that can be written and quotes nothing."""
    request = outcome(data)
    if isinstance(request, ServiceError):
        assert 400 <= to_openai(request)[0] < 500
        assert SECRET.encode() not in body_bytes(request)
        return None
    assert codec.decode_job(codec.encode(job(request))) == job(request)
    return request


def test_the_example_is_a_request() -> None:
    assert read(json.dumps(NEAR).encode()) is not None


@settings(deadline=None)
@given(place=st.sampled_from(PLACES), new=values | st.just(...))
def test_anything_near_a_request_is_a_request_or_a_service_error(place: Place, new: Any) -> None:
    data = json.dumps(changed(NEAR, place, new)).encode()

    request = read(data)

    assert request is None or request.messages


@settings(deadline=None)
@given(
    at=st.integers(0, 10_000),
    cut=st.integers(0, 3),
    piece=st.binary(max_size=3) | st.sampled_from([b'"', b"{", b"\\u"]),
)
def test_any_bytes_near_a_request_are_a_request_or_a_service_error(at: int, cut: int, piece: bytes) -> None:
    data = json.dumps(NEAR).encode()
    at %= len(data)

    request = read(data[:at] + piece + data[at + cut :])

    assert request is None or request.messages


VALIDATOR = jsonschema_rs.validator_for(schema_of(chat_form.ChatBody))


@settings(deadline=None)
@given(place=st.sampled_from(PLACES), new=values | st.just(...))
def test_the_schema_refuses_nothing_that_the_structs_accept(place: Place, new: Any) -> None:
    near = changed(NEAR, place, new)
    try:
        msgspec.json.decode(json.dumps(near), type=chat_form.ChatBody)
    except msgspec.ValidationError:
        accepted = False
    else:
        accepted = True

    assert VALIDATOR.is_valid(near) or not accepted
