"""The table of request parameters, against the form of a body, OpenAI's own client, the page, and what is done."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)

from edge import parameters
from edge.asked import to_job
from edge.chat import parse
from edge.chat_form import ChatBody
from edge.errors import to_openai
from edge.parameters import FATES, OPENAI, PLATFORMS, UNSERVED, Parameter
from protocol.errors import ServiceError
from workers.targets.chat_request import request_body

PAGE = (Path(__file__).parents[2] / "docs" / "chat-completions.md").read_text()
SMALLEST: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
FUNCTION = {"name": "f", "parameters": {"type": "object", "additionalProperties": False}, "strict": True}
TOOL = {"type": "function", "function": FUNCTION}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True}}
SHAPES: list[Any] = [0, -1.5, True, "x", "", [], [None], {}, {"mode": {"a": [1]}}]


def body(**fields: Any) -> bytes:
    return json.dumps({**SMALLEST, **fields}).encode()


def upstream(**fields: Any) -> dict[str, Any]:
    """What a target is sent for a body, beside what every target is sent."""
    job = to_job(parse(body(**fields)), turn_id="t", tenant="t", call_id=None, budget_ms=1, total_ms=1, on_lost="error")
    sent: dict[str, Any] = json.loads(request_body(job, model="m"))
    assert {key: sent.pop(key) for key in ("model", "messages", "stream", "stream_options")} == {
        **SMALLEST,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return sent


def names_of(*fates: str) -> set[str]:
    return {name for name, row in OPENAI.items() if row.fate in fates}


# --- who knows which names -------------------------------------------------------------------------


def test_the_table_knows_every_parameter_that_openais_client_knows() -> None:
    kinds = (CompletionCreateParamsNonStreaming, CompletionCreateParamsStreaming)

    assert set(OPENAI) == {name for kind in kinds for name in kind.__annotations__}


def test_the_form_of_a_body_has_every_parameter_of_the_table_and_no_other() -> None:
    assert set(ChatBody.__struct_fields__) == set(OPENAI) | set(PLATFORMS)
    assert not set(OPENAI) & set(PLATFORMS)


def cells(*texts: str) -> str:
    return f"| {' | '.join(texts)} |".replace("|  |", "| |")


def listed(table: dict[str, Parameter]) -> Iterable[str]:
    return (cells(f"`{name}`", row.fate, row.values, row.note) for name, row in table.items())


TABLES = {
    "| what becomes of it | |": [cells(f"{fate}", what) for fate, what in FATES.items()],
    "| parameter | | what it may hold | |": [*listed(OPENAI)],
    "| field | | what it may hold | |": [*listed(PLATFORMS)],
    "| | `param` | `code` | message |": [
        cells(what, f"`{row.param}`", f"`{row.error.code}`", row.message) for what, row in UNSERVED.items()
    ],
}


@pytest.mark.parametrize(("head", "rows"), TABLES.items(), ids=TABLES.keys())
def test_the_page_has_the_tables_row_by_row(head: str, rows: list[str]) -> None:
    _, *shown = PAGE.partition(f"{head}\n")[2].partition("\n\n")[0].splitlines()

    assert shown == rows


# --- what becomes of each --------------------------------------------------------------------------

PASSED: dict[str, Any] = {
    "temperature": 0.5,
    "top_p": 0.5,
    "presence_penalty": -1.0,
    "frequency_penalty": 1.0,
    "seed": 7,
    "logit_bias": {"50256": -100},
    "reasoning_effort": "low",
    "verbosity": "low",
    "service_tier": "flex",
    "user": "caller-1",
    "response_format": SCHEMA,
    "tools": [TOOL],
}
REWORDED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "max_completion_tokens": ({"max_completion_tokens": 9, "max_tokens": 5}, {"max_tokens": 9}),
    "max_tokens": ({"max_tokens": 5}, {"max_tokens": 5}),
    "stop": ({"stop": "END"}, {"stop": ["END"]}),
    "logprobs": ({"logprobs": True}, {"logprobs": True}),
    "top_logprobs": ({"logprobs": True, "top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
    "tool_choice": ({"tools": [TOOL], "tool_choice": "required"}, {"tools": [TOOL], "tool_choice": "required"}),
    "parallel_tool_calls": (
        {"tools": [TOOL], "parallel_tool_calls": False},
        {"tools": [TOOL], "parallel_tool_calls": False},
    ),
    "functions": ({"functions": [FUNCTION]}, {"tools": [TOOL], "parallel_tool_calls": False}),
    "function_call": (
        {"functions": [FUNCTION], "function_call": {"name": "f"}},
        {
            "tools": [TOOL],
            "parallel_tool_calls": False,
            "tool_choice": {"type": "function", "function": {"name": "f"}},
        },
    ),
}
HERE: dict[str, Any] = {
    "stream": True,
    "stream_options": {"include_usage": True, "include_obfuscation": True},
    "n": 1,
    "modalities": ["text"],
    "metadata": {"call_id": "c-1", "echo.rate": "9"},
    "elevenlabs_extra_body": {"call_id": "c-1"},
    "call": {"id": "c-1"},
    "session_id": "c-1",
}


def test_each_parameter_has_an_example() -> None:
    assert set(PASSED) | set(REWORDED) == names_of("passed") | {"functions", "function_call"}
    assert set(SMALLEST) | set(HERE) | set(REWORDED) >= names_of("honoured")


@pytest.mark.parametrize("name", PASSED)
def test_what_is_passed_reaches_a_target_as_it_came(name: str) -> None:
    assert upstream(**{name: PASSED[name]}) == {name: PASSED[name]}


@pytest.mark.parametrize(("sent", "received"), REWORDED.values(), ids=REWORDED.keys())
def test_what_is_reworded_reaches_a_target_in_its_words(sent: dict[str, Any], received: dict[str, Any]) -> None:
    assert upstream(**sent) == received


@pytest.mark.parametrize("name", HERE)
def test_what_is_honoured_here_reaches_no_target(name: str) -> None:
    assert upstream(**{name: HERE[name]}) == {}


@pytest.mark.parametrize("name", sorted(names_of("ignored")))
def test_what_is_ignored_may_have_any_shape_and_changes_nothing(name: str) -> None:
    for value in SHAPES:
        assert parse(body(**{name: value})) == parse(body())


def test_all_at_once_reach_a_target_through_the_allow_list_alone() -> None:
    ignored = {name: {"url": "http://evil.example"} for name in names_of("ignored")}
    reworded = {key: value for sent, _ in REWORDED.values() for key, value in sent.items()}

    sent = upstream(**{**PASSED, **reworded, **HERE, **ignored, "stranger": {"api_key": "x"}, "user_id": "u"})

    assert set(sent) == (set(PASSED) | set(REWORDED)) - {"max_completion_tokens", "functions", "function_call"}


CUSTOM = {"type": "custom", "custom": {"name": "f"}}
ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [TOOL, CUSTOM]}}
PAST = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f"}}]}
ASKED: list[tuple[str, dict[str, Any], str]] = [
    ("more than one answer", {"n": 2}, "n"),
    ("more than one answer", {"n": 128}, "n"),
    ("audio output", {"modalities": ["text", "audio"], "audio": {"voice": "ash", "format": "wav"}}, "modalities"),
    ("web search", {"web_search_options": {}}, "web_search_options"),
    ("web search", {"web_search_options": {"search_context_size": "low"}}, "web_search_options"),
    ("custom tools", {"tools": [CUSTOM]}, "tools[0].type"),
    ("custom tools", {"tools": [TOOL, CUSTOM]}, "tools[1].type"),
    ("custom tools", {"tools": [TOOL], "tool_choice": CUSTOM}, "tool_choice.type"),
    ("custom tools", {"tools": [TOOL], "tool_choice": ALLOWED}, "tool_choice.allowed_tools.tools[1].type"),
    ("custom tools", {"messages": [PAST]}, "messages[0].tool_calls[0].type"),
]


def test_each_refusal_of_the_table_is_tried() -> None:
    assert {what for what, *_ in ASKED} == set(UNSERVED)
    assert names_of("refused") <= {row.param for row in UNSERVED.values()}


@pytest.mark.parametrize(("what", "fields", "param"), ASKED)
def test_what_is_not_served_is_a_400_that_names_it(what: str, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ServiceError) as caught:
        parse(body(**fields))

    row = UNSERVED[what]
    status, told = to_openai(caught.value)
    message = told["error"].pop("message")
    assert (status, told["error"]) == (
        400,
        {"type": "invalid_request_error", "param": param, "code": row.error.code},
    )
    assert row.message in message
    assert f"'{param}'" in message


def test_a_part_that_is_carried_is_an_object() -> None:
    """It reached the target as whatever it was."""
    values: list[Any] = [None, 5, "x", []]
    for kind in ("input_audio", "file"):
        for value in values:
            with pytest.raises(ServiceError) as caught:
                parse(body(messages=[{"role": "user", "content": [{"type": kind, kind: value}]}]))
            assert caught.value.param == f"messages[0].content[0].{kind}"


def test_every_fate_of_a_parameter_is_explained() -> None:
    rows = [*OPENAI.values(), *PLATFORMS.values()]

    assert {row.fate for row in rows} == set(FATES)
    assert parameters.unserved("custom tools", param="tools[4].type").param == "tools[4].type"
