"""What an upstream of the `responses` dialect is sent, and what it cannot be asked for."""

import json
from typing import Any

import pytest

from protocol.errors import ServiceError, UnsupportedParameter, UnsupportedValue
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
from workers.targets.continuing import NUDGE
from workers.targets.responses_request import SEALED, request_body
from workers.targets.seals import Seals

PLAIN = {
    "model": "up",
    "input": [{"type": "message", "role": "user", "content": "hello there"}],
    "stream": True,
    "store": False,
}


def sent(**fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(request_body(job(**fields), model="up"))
    return body


def test_a_plain_turn_sends_nothing_but_what_it_needs() -> None:
    assert sent() == PLAIN


def test_what_is_the_callers_or_ours_stays_here() -> None:
    ours = sent(tenant="acme", call_id="call-7", metadata={"echo.rate": "1", "secret": "x"}, on_lost="continue")
    kept = sent(extras={"elevenlabs_extra_body": b'{"a":1}', "model": b"{}"}, repairs=("orphan_result",))
    assert ours == kept == PLAIN


# --- the history -----------------------------------------------------------------------------------


def says(role: str, content: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content}


def calls(id_: str, arguments: str = "{}") -> dict[str, Any]:
    return {"type": "function_call", "call_id": id_, "name": "f", "arguments": arguments}


def answers(id_: str, output: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": id_, "output": output}


MESSAGES: dict[str, tuple[Message, list[dict[str, Any]]]] = {
    "system": (Message("system", "Be brief."), [says("system", "Be brief.")]),
    "developer is system": (Message("developer", "Be brief."), [says("system", "Be brief.")]),
    "a name is left out": (Message("user", "hi", name="Ann"), [says("user", "hi")]),
    "system in parts": (
        Message("system", (TextPart("Be "), TextPart("brief."))),
        [says("system", [{"type": "input_text", "text": "Be "}, {"type": "input_text", "text": "brief."}])],
    ),
    "parts": (
        Message(
            "user",
            (
                TextPart("look"),
                ImagePart("data:x"),
                ImagePart("http://y", "low"),
                OpaquePart("file", b'{"file_id": "f-1", "filename": "a.pdf", "x": 1}'),
                OpaquePart("file", b'{"file_data": "data:application/pdf;base64,AA", "filename": null}'),
                OpaquePart("file", b'{"file_url": "https://y/a.pdf"}'),
            ),
        ),
        [
            says(
                "user",
                [
                    {"type": "input_text", "text": "look"},
                    {"type": "input_image", "image_url": "data:x", "detail": "auto"},
                    {"type": "input_image", "image_url": "http://y", "detail": "low"},
                    {"type": "input_file", "file_id": "f-1", "filename": "a.pdf"},
                    {"type": "input_file", "file_data": "data:application/pdf;base64,AA"},
                    {"type": "input_file", "file_url": "https://y/a.pdf"},
                ],
            )
        ],
    ),
    "an answer": (Message("assistant", "Hello."), [says("assistant", "Hello.")]),
    "an answer in parts": (
        Message("assistant", (TextPart("I "), RefusalPart("won't."))),
        [says("assistant", [{"type": "output_text", "text": "I "}, {"type": "refusal", "refusal": "won't."}])],
    ),
    "a refusal": (
        Message("assistant", refusal="No."),
        [says("assistant", [{"type": "refusal", "refusal": "No."}])],
    ),
    "words and a refusal": (
        Message("assistant", "Well.", refusal="No."),
        [says("assistant", [{"type": "output_text", "text": "Well."}, {"type": "refusal", "refusal": "No."}])],
    ),
    "a call": (Message("assistant", tool_calls=(PastCall("c", "f", '{"x": 1}'),)), [calls("c", '{"x": 1}')]),
    "words, then two calls": (
        Message("assistant", "Wait.", tool_calls=(PastCall("c", "f", "{}"), PastCall("d", "f", "{}"))),
        [says("assistant", "Wait."), calls("c"), calls("d")],
    ),
    "an answer with nothing in it": (Message("assistant", ""), []),
    "a result": (Message("tool", "7", tool_call_id="c"), [answers("c", "7")]),
    "no result": (Message("tool", None, tool_call_id="c"), [answers("c", "")]),
    "a result in parts": (
        Message("tool", (TextPart("7 "), TextPart("o'clock")), tool_call_id="c"),
        [answers("c", "7 o'clock")],
    ),
    "a result with an image": (
        Message("tool", (TextPart("see"), ImagePart("data:x")), tool_call_id="c"),
        [
            answers(
                "c",
                [
                    {"type": "input_text", "text": "see"},
                    {"type": "input_image", "image_url": "data:x", "detail": "auto"},
                ],
            )
        ],
    ),
}


@pytest.mark.parametrize(("message", "expected"), MESSAGES.values(), ids=MESSAGES)
def test_messages_are_sent_in_the_dialect(message: Message, expected: list[dict[str, Any]]) -> None:
    assert sent(messages=(message,))["input"] == expected


def test_a_system_message_in_the_middle_stays_there() -> None:
    told = (Message("system", "a"), user("b"), Message("assistant", "c"), Message("system", "d"), user("e"))
    assert [item["content"] for item in sent(messages=told)["input"]] == ["a", "b", "c", "d", "e"]


def test_a_continuation_shows_the_model_its_half_answer() -> None:
    half = says("assistant", "Once upon")
    prefilled = json.loads(request_body(job(said="Once upon"), model="up", prefill=True))
    assert prefilled["input"][1:] == [half]
    assert sent(said="Once upon")["input"][1:] == [half, says("user", NUDGE)]


# --- thoughts --------------------------------------------------------------------------------------

OWN = Seals("own")


def thought(id_: str, *summary: str, by: str = "own") -> Thought:
    """As it comes back from a caller: by another id than the upstream gave it."""
    return Thought(f"rs_of_the_edge_{id_}", summary, Seals(by).marked(f"g{id_}", f"rs_{id_}"))


def thinks(id_: str, *summary: str) -> dict[str, Any]:
    told = [{"type": "summary_text", "text": text} for text in summary]
    return {"type": "reasoning", "id": f"rs_{id_}", "summary": told, "encrypted_content": f"g{id_}"}


THOUGHTS: dict[str, tuple[Message, list[dict[str, Any]]]] = {
    "before words": (Message("assistant", "Hi.", thoughts=(thought("1"),)), [thinks("1"), says("assistant", "Hi.")]),
    "with a summary of several parts": (
        Message("assistant", "Hi.", thoughts=(thought("1", "hm", "so"),)),
        [thinks("1", "hm", "so"), says("assistant", "Hi.")],
    ),
    "before a call": (
        Message("assistant", tool_calls=(PastCall("c", "f", "{}"),), thoughts=(thought("1"), thought("2"))),
        [thinks("1"), thinks("2"), calls("c")],
    ),
    "before a refusal": (
        Message("assistant", refusal="No.", thoughts=(thought("1"),)),
        [thinks("1"), says("assistant", [{"type": "refusal", "refusal": "No."}])],
    ),
    "without an id": (
        Message("assistant", "Hi.", thoughts=(Thought("rs_1", (), OWN.marked("g", "")),)),
        [{"type": "reasoning", "summary": [], "encrypted_content": "g"}, says("assistant", "Hi.")],
    ),
    "another one's": (
        Message("assistant", "Hi.", thoughts=(thought("1", by="other"), thought("2"))),
        [thinks("2"), says("assistant", "Hi.")],
    ),
    "not sealed": (Message("assistant", "Hi.", thoughts=(Thought("rs_1", ("hm",)),)), [says("assistant", "Hi.")]),
    "before nothing": (Message("assistant", "", thoughts=(thought("1"),)), []),
}


@pytest.mark.parametrize(("message", "expected"), THOUGHTS.values(), ids=THOUGHTS)
def test_thoughts_that_the_upstream_can_read_stand_before_what_came_of_them(
    message: Message, expected: list[dict[str, Any]]
) -> None:
    assert json.loads(request_body(job(messages=(message,)), model="up", seals=OWN))["input"] == expected


def test_a_continuation_has_the_thoughts_of_the_history() -> None:
    history = (user("a"), Message("assistant", "b", thoughts=(thought("1"), thought("2", by="lost"))), user("c"))
    told = json.loads(request_body(job(messages=history, said="Once upon"), model="up", seals=OWN))
    before = [says("user", "a"), thinks("1"), says("assistant", "b"), says("user", "c")]
    assert told["input"] == [*before, says("assistant", "Once upon"), says("user", NUDGE)]


def test_an_upstream_that_seals_nothing_is_shown_no_thoughts() -> None:
    told = job(messages=(Message("assistant", "Hi.", thoughts=(thought("1"),)),))
    assert json.loads(request_body(told, model="up"))["input"] == [says("assistant", "Hi.")]


# --- tools -----------------------------------------------------------------------------------------

NONE = {"type": "object", "properties": {}, "additionalProperties": False}
A, B = Tool("a", "does a", b'{"type":"object"}', True), Tool("b")
WIRE_A = {"type": "function", "name": "a", "description": "does a", "parameters": {"type": "object"}, "strict": True}
WIRE_B = {"type": "function", "name": "b", "parameters": NONE, "strict": False}

CHOICES: dict[str, tuple[ToolChoice | None, Any, list[Any]]] = {
    "none given": (None, None, [WIRE_A, WIRE_B]),
    "auto": (ToolChoice("auto"), "auto", [WIRE_A, WIRE_B]),
    "none": (ToolChoice("none"), "none", [WIRE_A, WIRE_B]),
    "required": (ToolChoice("required"), "required", [WIRE_A, WIRE_B]),
    "named": (ToolChoice("named", ("b",)), {"type": "function", "name": "b"}, [WIRE_B]),
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


def test_a_tool_that_says_nothing_of_it_is_not_strict() -> None:
    """A chat completion's are not, these are: the model must not be held to a schema that was not made for it."""
    (tool,) = sent(tools=(Tool("f", parameters=b'{"type":"object"}'),))["tools"]
    assert tool["strict"] is False


def test_schemas_go_out_byte_for_byte() -> None:
    schema = b'{"type" : "object",  "properties": {"n": {"minimum": 1.0, "x": 1e400}}}'
    told = job(tools=(Tool("f", parameters=schema),), response_format=Format("json_schema", "a", schema))
    assert request_body(told, model="up").count(schema) == 2


# --- how the model writes --------------------------------------------------------------------------

FORMATS: dict[str, tuple[Format, Any]] = {
    "text": (Format("text"), None),
    "json_object": (Format("json_object"), {"format": {"type": "json_object"}}),
    "json_schema": (
        Format("json_schema", "answer_1", b'{"type":"object"}', True, "an answer"),
        {
            "format": {
                "type": "json_schema",
                "name": "answer_1",
                "schema": {"type": "object"},
                "description": "an answer",
                "strict": True,
            }
        },
    ),
    "json_schema, not strict": (
        Format("json_schema", None, b"{}"),
        {"format": {"type": "json_schema", "name": "answer", "schema": {}, "strict": False}},
    ),
}


@pytest.mark.parametrize(("form", "wire"), FORMATS.values(), ids=FORMATS)
def test_the_form_of_the_answer(form: Format, wire: Any) -> None:
    assert sent(response_format=form).get("text") == wire


def test_sampling_fields_that_are_set_are_sent() -> None:
    sampling = Sampling(
        temperature=0.0,
        top_p=0.5,
        max_tokens=20,
        logprobs=True,
        top_logprobs=2,
        reasoning_effort="low",
        verbosity="low",
        service_tier="auto",
    )
    assert sent(sampling=sampling, user="u-1") == PLAIN | {
        "temperature": 0.0,
        "top_p": 0.5,
        "max_output_tokens": 20,
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 2,
        "reasoning": {"effort": "low"},
        "text": {"verbosity": "low"},
        "service_tier": "auto",
        "user": "u-1",
    }


THINKING: dict[str, tuple[Sampling, str, dict[str, Any]]] = {
    "effort and summary": (
        Sampling(reasoning_effort="low", reasoning_summary="auto"),
        "up",
        {"reasoning": {"effort": "low", "summary": "auto"}},
    ),
    "a summary alone": (Sampling(reasoning_summary="concise"), "up", {"reasoning": {"summary": "concise"}}),
    "sealed, with an effort": (
        Sampling(reasoning_effort="none", encrypted_reasoning=True),
        "up",
        {"reasoning": {"effort": "none"}, "include": [SEALED]},
    ),
    "sealed, with a summary": (
        Sampling(reasoning_summary="auto", encrypted_reasoning=True),
        "up",
        {"reasoning": {"summary": "auto"}, "include": [SEALED]},
    ),
    "sealed, beside log probabilities": (
        Sampling(logprobs=True, top_logprobs=2, encrypted_reasoning=True),
        "gpt-5-mini",
        {"include": ["message.output_text.logprobs", SEALED], "top_logprobs": 2},
    ),
    "truncation": (Sampling(truncation="auto"), "up", {"truncation": "auto"}),
    "no truncation": (Sampling(truncation="disabled"), "up", {}),
}


@pytest.mark.parametrize(("sampling", "model", "wire"), THINKING.values(), ids=THINKING)
def test_how_it_is_to_think(sampling: Sampling, model: str, wire: dict[str, Any]) -> None:
    assert json.loads(request_body(job(sampling=sampling), model=model)) == PLAIN | {"model": model} | wire


@pytest.mark.parametrize(
    ("model", "seals"),
    [
        *((name, True) for name in ("o3", "o4-mini-2025-04-16", "gpt-5", "gpt-5.4-nano", "openai/gpt-5.5", "grok-4")),
        *((name, True) for name in ("codex-mini-latest", "gpt-5.3-codex", "GPT-5")),
        *((name, False) for name in ("gpt-4o", "gpt-4.1-mini", "gpt-5-chat-latest", "gpt-3.5-turbo", "llama-3.3-70b")),
        *((name, False) for name in ("my-deployment", "grok-4-fast-non-reasoning", "gpt-oss-20b", "foo3", "qwen3")),
    ],
)
def test_only_a_model_that_thinks_is_asked_to_seal_what_it_thought(model: str, seals: bool) -> None:
    """Others answer the wish with a 400."""
    body = json.loads(request_body(job(sampling=Sampling(encrypted_reasoning=True)), model=model))
    assert body.get("include") == ([SEALED] if seals else None)


@pytest.mark.parametrize("name", ["reasoning_summary", "encrypted_reasoning", "truncation"])
def test_a_target_may_be_told_to_do_without(name: str) -> None:
    sampling = Sampling(reasoning_summary="auto", encrypted_reasoning=True, truncation="auto")
    wire: dict[str, dict[str, Any]] = {
        "reasoning_summary": {"reasoning": {"summary": "auto"}},
        "encrypted_reasoning": {"include": [SEALED]},
        "truncation": {"truncation": "auto"},
    }
    sent = json.loads(request_body(job(sampling=sampling), model="o3", refuses=(name,)))
    left = [told for other, told in wire.items() if other != name]
    assert sent == PLAIN | {"model": "o3"} | left[0] | left[1]


def test_a_targets_limit_counts_where_the_caller_sets_none() -> None:
    for limit, expected in ((None, 300), (20, 20)):
        asked = job(sampling=Sampling(max_tokens=limit))
        assert json.loads(request_body(asked, model="up", max_tokens=300))["max_output_tokens"] == expected


# --- what cannot be asked for ----------------------------------------------------------------------

UNKNOWN: dict[str, tuple[dict[str, Any], str]] = {
    "stop": ({"sampling": Sampling(stop=("\n",))}, "stop"),
    "seed": ({"sampling": Sampling(seed=0)}, "seed"),
    "logit_bias": ({"sampling": Sampling(logit_bias=b'{"1": 2}')}, "logit_bias"),
    "presence_penalty": ({"sampling": Sampling(presence_penalty=0.5)}, "presence_penalty"),
    "frequency_penalty": ({"sampling": Sampling(frequency_penalty=-1.0)}, "frequency_penalty"),
}


@pytest.mark.parametrize(("fields", "param"), UNKNOWN.values(), ids=UNKNOWN)
def test_a_parameter_that_is_not_known_there_is_refused_by_its_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedParameter) as raised:
        sent(**fields)
    assert raised.value.param == param
    assert repr(param) in str(raised.value)


@pytest.mark.parametrize("name", UNKNOWN)
def test_unless_its_target_is_told_to_do_without(name: str) -> None:
    fields, param = UNKNOWN[name]
    assert json.loads(request_body(job(**fields), model="up", refuses=(param,))) == PLAIN


def test_a_value_that_asks_for_nothing_is_left_out() -> None:
    neutral = Sampling(presence_penalty=0.0, frequency_penalty=0.0, logit_bias=b" { } ", stop=())
    assert sent(sampling=neutral) == PLAIN


PARTS: dict[str, tuple[Message, str]] = {
    "audio": (Message("user", (TextPart("x"), OpaquePart("input_audio", b'{"data":"AA"}'))), "content[1].type"),
    "a kind of its own": (Message("user", (OpaquePart("model", b"{}"),)), "content[0].type"),
    "a refusal by the caller": (Message("user", (RefusalPart("no"),)), "content[0].type"),
    "an image by the model": (Message("assistant", (ImagePart("data:x"),)), "content[0].type"),
    "audio from a tool": (
        Message("tool", (OpaquePart("input_audio", b"{}"),), tool_call_id="c"),
        "content[0].type",
    ),
    "a file with nothing in it": (Message("user", (OpaquePart("file", b"{}"),)), "content[0].file"),
    "a file of numbers": (Message("user", (OpaquePart("file", b'{"file_id": 7}'),)), "content[0].file"),
}


@pytest.mark.parametrize(("message", "param"), PARTS.values(), ids=PARTS)
def test_a_part_that_cannot_be_sent_is_refused_by_its_place(message: Message, param: str) -> None:
    with pytest.raises(UnsupportedValue) as raised:
        sent(messages=(user("a"), message))
    assert raised.value.param == f"messages[1].{param}"


def test_a_form_without_its_schema_is_refused() -> None:
    with pytest.raises(UnsupportedValue) as raised:
        sent(response_format=Format("json_schema", "a"))
    assert raised.value.param == "response_format.json_schema.schema"


def test_what_a_target_is_never_sent_is_left_out() -> None:
    sampling = Sampling(temperature=1.0, verbosity="low", service_tier="auto", logprobs=True, top_logprobs=2)
    refuses = ("temperature", "verbosity", "service_tier", "logprobs", "user", "parallel_tool_calls")
    body = json.loads(
        request_body(
            job(sampling=sampling, user="u", tools=(B,), parallel_tool_calls=True), model="up", refuses=refuses
        )
    )
    assert body == PLAIN | {"tools": [WIRE_B]}


DEMANDS: dict[str, tuple[dict[str, Any], str]] = {
    "tools": ({"tools": (B,)}, "tools"),
    "a choice": ({"tools": (B,), "tool_choice": ToolChoice("required")}, "tool_choice"),
    "a form": ({"response_format": Format("json_object")}, "response_format"),
}


@pytest.mark.parametrize(("fields", "name"), DEMANDS.values(), ids=DEMANDS)
def test_what_the_answer_would_not_be_right_without_is_not_left_out(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(ServiceError) as raised:
        request_body(job(**fields), model="up", refuses=(name,))
    assert raised.value.param == name
