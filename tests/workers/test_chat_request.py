"""What an upstream is sent, and what it never is."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from protocol.errors import UnsupportedParameter, UnsupportedValue
from protocol.messages import (
    Format,
    ImagePart,
    Message,
    OpaquePart,
    PastCall,
    RefusalPart,
    Sampling,
    TextPart,
    Thought,
    Tool,
    ToolChoice,
)
from tests.workers.target_jobs import job, user
from workers.targets.chat_request import request_body
from workers.targets.continuing import NUDGE

PLAIN = {
    "model": "up",
    "messages": [{"role": "user", "content": "hello there"}],
    "stream": True,
    "stream_options": {"include_usage": True},
}


def sent(**fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(request_body(job(**fields), model="up"))
    return body


def test_where_a_target_stops_is_sent_beside_where_the_caller_wants_it() -> None:
    """A base model would go on with the caller's next words."""
    own, callers = ("\n\n",), Sampling(stop=("a",))
    assert json.loads(request_body(job(), model="up", stop=own)) == {**PLAIN, "stop": ["\n\n"]}
    assert json.loads(request_body(job(sampling=callers), model="up", stop=own)) == {**PLAIN, "stop": ["a", "\n\n"]}


def test_an_upstream_that_refuses_names_is_sent_none() -> None:
    named = Message(role="user", content="hi", name="Ann")
    sent = json.loads(request_body(job(messages=(named,)), model="up", refuses=("name",)))
    assert sent["messages"] == [{"role": "user", "content": "hi"}]


def test_a_plain_turn_sends_nothing_but_what_it_needs() -> None:
    assert sent() == PLAIN


def test_what_is_the_callers_or_ours_stays_here() -> None:
    ours = sent(tenant="acme", call_id="call-7", metadata={"echo.rate": "1", "secret": "x"}, on_lost="continue")
    kept = sent(extras={"elevenlabs_extra_body": b'{"a":1}', "model": b"{}"}, repairs=("orphan_result",))
    assert ours == kept == PLAIN


def test_thoughts_and_what_is_asked_of_them_are_for_another_dialect() -> None:
    thinks = Message("assistant", "b", thoughts=(Thought("rs_1", ("hm",), "trunkline1.own.rs_1.gA"),))
    wishes = Sampling(reasoning_summary="auto", encrypted_reasoning=True, truncation="auto")
    history = (Message("user", "a"), thinks, Message("user", "c"))
    plain = tuple(replace(message, thoughts=()) for message in history)
    assert sent(messages=history, sampling=wishes) == sent(messages=plain)


MESSAGES: dict[str, tuple[Message, dict[str, Any]]] = {
    "system": (Message("system", "Be brief."), {"role": "system", "content": "Be brief."}),
    "developer is system": (Message("developer", "Be brief."), {"role": "system", "content": "Be brief."}),
    "a name": (Message("user", "hi", name="Ann"), {"role": "user", "content": "hi", "name": "Ann"}),
    "a call": (
        Message("assistant", tool_calls=(PastCall("c", "f", '{"x": 1}'),)),
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}],
        },
    ),
    "its result": (Message("tool", "7", tool_call_id="c"), {"role": "tool", "content": "7", "tool_call_id": "c"}),
    "a refusal": (Message("assistant", refusal="No."), {"role": "assistant", "content": None, "refusal": "No."}),
    "parts": (
        Message(
            "user",
            (
                TextPart("look"),
                ImagePart("data:x"),
                ImagePart("http://y", "low"),
                OpaquePart("input_audio", b'{"data":"AA"}'),
                RefusalPart("no"),
            ),
        ),
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:x"}},
                {"type": "image_url", "image_url": {"url": "http://y", "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "AA"}},
                {"type": "refusal", "refusal": "no"},
            ],
        },
    ),
}


@pytest.mark.parametrize(("message", "expected"), MESSAGES.values(), ids=MESSAGES)
def test_messages_are_sent_in_the_dialect(message: Message, expected: dict[str, Any]) -> None:
    assert sent(messages=(message,))["messages"] == [expected]


def test_a_part_of_a_kind_of_its_own_is_refused() -> None:
    parts = (TextPart("x"), OpaquePart("model", b"{}"))
    with pytest.raises(UnsupportedValue) as raised:
        sent(messages=(user("a"), Message("user", parts)))
    assert raised.value.param == "messages[1].content[1].type"


def test_carried_json_goes_out_byte_for_byte() -> None:
    schema = b'{"type" : "object",  "properties": {"n": {"minimum": 1.0, "x": 1e400}}}'
    told = job(
        tools=(Tool("f", parameters=schema),),
        response_format=Format("json_schema", "a", schema),
        sampling=Sampling(logit_bias=schema),
    )
    assert request_body(told, model="up").count(schema) == 3


A, B = Tool("a", "does a", b"{}", True), Tool("b")
WIRE_A = {"type": "function", "function": {"name": "a", "description": "does a", "parameters": {}, "strict": True}}
WIRE_B = {"type": "function", "function": {"name": "b"}}

CHOICES: dict[str, tuple[ToolChoice | None, Any, list[Any]]] = {
    "none given": (None, None, [WIRE_A, WIRE_B]),
    "auto": (ToolChoice("auto"), "auto", [WIRE_A, WIRE_B]),
    "none": (ToolChoice("none"), "none", [WIRE_A, WIRE_B]),
    "required": (ToolChoice("required"), "required", [WIRE_A, WIRE_B]),
    "named": (ToolChoice("named", ("b",)), {"type": "function", "function": {"name": "b"}}, [WIRE_B]),
    "one of two": (ToolChoice("named", ("a", "b")), "required", [WIRE_A, WIRE_B]),
    "allowed": (ToolChoice("allowed", ("a",)), "auto", [WIRE_A]),
    "allowed, and one must be called": (ToolChoice("allowed", ("a",), True), "required", [WIRE_A]),
}


@pytest.mark.parametrize(("choice", "wire", "tools"), CHOICES.values(), ids=CHOICES)
def test_tools_and_the_choice_among_them(choice: ToolChoice | None, wire: Any, tools: list[Any]) -> None:
    body = sent(tools=(A, B), tool_choice=choice, parallel_tool_calls=False)
    assert (body.get("tool_choice"), body["tools"], body["parallel_tool_calls"]) == (wire, tools, False)


def test_without_tools_nothing_about_them_is_sent() -> None:
    assert sent(tool_choice=ToolChoice("none"), parallel_tool_calls=False) == PLAIN


FORMATS: dict[str, tuple[Format, Any]] = {
    "text": (Format("text"), None),
    "json_object": (Format("json_object"), {"type": "json_object"}),
    "json_schema": (
        Format("json_schema", "answer_1", b'{"type":"object"}', True, "an answer"),
        {
            "type": "json_schema",
            "json_schema": {
                "name": "answer_1",
                "schema": {"type": "object"},
                "strict": True,
                "description": "an answer",
            },
        },
    ),
}


@pytest.mark.parametrize(("form", "wire"), FORMATS.values(), ids=FORMATS)
def test_the_form_of_the_answer(form: Format, wire: Any) -> None:
    assert sent(response_format=form).get("response_format") == wire


def test_sampling_fields_that_are_set_are_sent() -> None:
    sampling = Sampling(
        temperature=0.0,
        top_p=0.5,
        presence_penalty=-1.0,
        frequency_penalty=1.0,
        max_tokens=20,
        stop=("a", "b"),
        seed=0,
        logprobs=True,
        top_logprobs=2,
        reasoning_effort="low",
        verbosity="low",
        service_tier="auto",
        logit_bias=b'{"1":2}',
    )
    assert sent(sampling=sampling, user="u-1") == PLAIN | {
        "temperature": 0.0,
        "top_p": 0.5,
        "presence_penalty": -1.0,
        "frequency_penalty": 1.0,
        "max_tokens": 20,
        "stop": ["a", "b"],
        "seed": 0,
        "logprobs": True,
        "top_logprobs": 2,
        "reasoning_effort": "low",
        "verbosity": "low",
        "service_tier": "auto",
        "logit_bias": {"1": 2},
        "user": "u-1",
    }


def test_the_token_limit_has_the_name_that_the_upstream_knows() -> None:
    told = job(sampling=Sampling(max_tokens=5))
    body = json.loads(request_body(told, model="up", max_tokens_field="max_completion_tokens"))
    assert body["max_completion_tokens"] == 5
    assert "max_tokens" not in body


REFUSED: dict[str, dict[str, Any]] = {
    "tools": {"tools": (A,)},
    "tool_choice": {"tools": (A,), "tool_choice": ToolChoice("required")},
    "response_format": {"response_format": Format("json_object")},
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_caller_cannot_do_without_is_refused_by_its_name(name: str) -> None:
    """Before anything is sent: another target may know it."""
    with pytest.raises(UnsupportedParameter) as raised:
        request_body(job(**REFUSED[name]), model="up", refuses=(name,))
    assert raised.value.param == name


def test_what_a_caller_can_do_without_is_left_out() -> None:
    told = job(tools=(A,), tool_choice=ToolChoice("auto"), sampling=Sampling(seed=1, stop=("a",), logprobs=True))
    refuses = ("seed", "stop", "logprobs", "tool_choice", "user")
    assert json.loads(request_body(told, model="up", refuses=refuses)) == PLAIN | {"tools": [WIRE_A]}


def test_usage_is_asked_for_only_where_that_is_known() -> None:
    assert "stream_options" not in json.loads(request_body(job(), model="up", asks_usage=False))


def test_a_continuation_shows_the_model_its_half_answer() -> None:
    half = {"role": "assistant", "content": "Once upon"}
    prefilled = json.loads(request_body(job(said="Once upon"), model="up", prefill=True))
    assert prefilled["messages"][1:] == [half]
    assert sent(said="Once upon")["messages"][1:] == [half, {"role": "user", "content": NUDGE}]
