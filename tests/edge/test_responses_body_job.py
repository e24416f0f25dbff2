"""What a job and a response say of a request for one: tools, forms, and what is echoed."""

import json
from typing import Any

import msgspec
import pytest

from edge.responses_body import parse
from protocol.messages import Format, Job, Message, Sampling, Tool, ToolChoice
from tests.edge.responses_bodies import SCHEMA, TOOL, body, job

# --- tools and formats -----------------------------------------------------------------------------

CHOICES: list[tuple[Any, ToolChoice | None]] = [
    (None, None),
    ("none", ToolChoice("none")),
    ("auto", ToolChoice("auto")),
    ("required", ToolChoice("required")),
    ({"type": "function", "name": "get_weather"}, ToolChoice("named", ("get_weather",))),
    ({"type": "allowed_tools", "mode": "auto", "tools": [TOOL]}, ToolChoice("allowed", ("get_weather",))),
    (
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "get_weather"}]},
        ToolChoice("allowed", ("get_weather",), required=True),
    ),
]


@pytest.mark.parametrize(("form", "expected"), CHOICES)
def test_a_tool_choice_has_four_forms(form: Any, expected: ToolChoice | None) -> None:
    assert parse(body(tools=[TOOL], tool_choice=form)).tool_choice == expected


def test_a_choice_without_tools_is_none() -> None:
    """LiveKit sends `tools: []`, Pipecat a choice beside it."""
    assert parse(body(tools=[], tool_choice="auto")).tool_choice is None


def test_parameters_are_carried_byte_for_byte() -> None:
    """Key order, spaces and numbers are the caller's: a target's cache may depend on them."""
    schema = rb'{ "type":"object","properties":{"b":{"maximum":1.0e2},"a":{"const":"\u00e9\/"}} }'
    tools = b'[{"type":"function","name":"f","parameters":%b,"strict":true}]' % schema

    request = parse(b'{"model":"m","input":"hello","tools":%b}' % tools)

    assert request.tools == (Tool("f", None, schema, strict=True),)
    assert schema in msgspec.json.encode(request.echoed)


def test_a_tool_says_of_strictness_what_its_caller_said() -> None:
    """OpenAI takes it for strict where nothing is said; other upstreams do not know the word."""
    request = parse(body(tools=[{"name": "f"}, {"name": "g", "strict": False}]))

    assert [tool.strict for tool in request.tools] == [None, False]
    assert request.echoed["tools"] == [
        {"type": "function", "name": "f", "description": None, "parameters": None, "strict": True},
        {"type": "function", "name": "g", "description": None, "parameters": None, "strict": False},
    ]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"type": "text"}, Format("text")),
        ({"type": "json_object"}, Format("json_object")),
        ({**SCHEMA, "strict": True}, Format("json_schema", "n", b'{"type": "object"}', strict=True)),
        ({**SCHEMA, "description": "d"}, Format("json_schema", "n", b'{"type": "object"}', None, "d")),
    ],
)
def test_a_format_has_three_forms(form: Any, expected: Format) -> None:
    assert parse(body(text={"format": form})).response_format == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"store": False}, Sampling()),
        ({}, Sampling(encrypted_reasoning=True)),
        ({"store": False, "include": ["reasoning.encrypted_content"]}, Sampling(encrypted_reasoning=True)),
        ({"store": False, "include": ["message.output_text.logprobs", "x"]}, Sampling(logprobs=True)),
        ({"store": False, "top_logprobs": 3}, Sampling()),
        (
            {"store": False, "include": ["message.output_text.logprobs"], "top_logprobs": 3},
            Sampling(logprobs=True, top_logprobs=3),
        ),
        (
            {"store": False, "reasoning": {"effort": "low", "summary": "auto"}},
            Sampling(reasoning_effort="low", reasoning_summary="auto"),
        ),
        ({"store": False, "reasoning": {"generate_summary": "concise"}}, Sampling(reasoning_summary="concise")),
        ({"store": False, "text": {"verbosity": "low"}}, Sampling(verbosity="low")),
        (
            {"store": False, "truncation": "auto", "service_tier": "flex"},
            Sampling(truncation="auto", service_tier="flex"),
        ),
        (
            {"store": False, "temperature": 0.5, "top_p": 0.5, "presence_penalty": 1, "frequency_penalty": -1},
            Sampling(temperature=0.5, top_p=0.5, presence_penalty=1, frequency_penalty=-1),
        ),
    ],
)
def test_what_is_said_of_the_writing_reaches_the_job(fields: dict[str, Any], expected: Sampling) -> None:
    assert job(parse(body(**fields))).sampling == expected


# --- the job ---------------------------------------------------------------------------------------


def test_a_job_says_all_that_the_request_said() -> None:
    data = body(
        instructions="be brief",
        store=False,
        tools=[TOOL],
        tool_choice="required",
        parallel_tool_calls=False,
        text={"format": {"type": "json_object"}},
        temperature=0.5,
        user="u",
        metadata={"echo.rate": "0"},
    )
    assert job(parse(data), on_lost="continue") == Job(
        id="req_1",
        model="echo",
        messages=(Message("system", "be brief"), Message("user", "hello")),
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


# --- what is echoed --------------------------------------------------------------------------------

DEFAULTS: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}
TOLD: dict[str, tuple[Any, Any]] = {
    "instructions": ("", ""),
    "max_output_tokens": (100, 100),
    "max_tool_calls": (3, 3),
    "parallel_tool_calls": (False, False),
    "previous_response_id": ("resp_1", "resp_1"),
    "prompt_cache_key": ("k", "k"),
    "presence_penalty": (0.5, 0.5),
    "frequency_penalty": (-0.5, -0.5),
    "reasoning": ({"effort": "low", "generate_summary": "auto"}, {"effort": "low", "summary": "auto"}),
    "safety_identifier": ("s", "s"),
    "temperature": (0, 0.0),
    "text": (
        {"format": SCHEMA, "verbosity": "low"},
        {
            "format": {
                "type": "json_schema",
                "name": "n",
                "description": None,
                "schema": {"type": "object"},
                "strict": False,
            },
            "verbosity": "low",
        },
    ),
    "tools": (
        [{**TOOL, "description": "d", "strict": False}],
        [{**TOOL, "description": "d", "strict": False}],
    ),
    "top_logprobs": (3, 3),
    "top_p": (0.5, 0.5),
    "truncation": ("auto", "auto"),
    "user": ("u", "u"),
    "metadata": ({"a": "b"}, {"a": "b"}),
}


def echoed(**fields: Any) -> dict[str, Any]:
    """As a client reads it."""
    written: dict[str, Any] = json.loads(msgspec.json.encode(parse(body(**fields)).echoed))
    return written


def test_every_field_is_echoed_with_its_default() -> None:
    assert echoed() == DEFAULTS
    assert echoed(previous_response_id="", service_tier="flex", text={"format": None}, reasoning={}) == DEFAULTS


@pytest.mark.parametrize(("name", "value", "shown"), [(name, *pair) for name, pair in TOLD.items()], ids=TOLD)
def test_what_was_sent_is_echoed(name: str, value: Any, shown: Any) -> None:
    assert echoed(**{name: value}) == {**DEFAULTS, name: shown}


@pytest.mark.parametrize("form", [form for form, _ in CHOICES if isinstance(form, str)])
def test_a_word_for_the_choice_is_echoed(form: str) -> None:
    assert echoed(tools=[TOOL], tool_choice=form)["tool_choice"] == form


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "function", "name": "get_weather"},
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "get_weather"}]},
    ],
)
def test_a_choice_of_functions_is_echoed(choice: dict[str, Any]) -> None:
    assert echoed(tools=[TOOL], tool_choice=choice)["tool_choice"] == choice


def test_each_field_that_is_echoed_is_tried() -> None:
    assert set(TOLD) | {"service_tier", "tool_choice"} == set(DEFAULTS)
