"""The table of request parameters, against the form of a body, OpenAI's own client, the page, and what is done."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)
from openai.types.responses.tool_param import ToolParam

from edge.errors import to_openai
from edge.parameters import FATES, PLATFORMS, Parameter
from edge.responses_form import ResponsesBody
from edge.responses_parameters import HOSTED, OPEN_RESPONSES, OPENAI, UNSERVED
from protocol.errors import ServiceError
from protocol.messages import Job
from tests.edge.responses_bodies import CALL, TOOL, USER, body, job, read, told

PAGE = (Path(__file__).parents[2] / "docs" / "responses.md").read_text()
SHAPES: list[Any] = [0, -1.5, True, "x", "", [], [None], {}, {"mode": {"a": [1]}}]


def names_of(*fates: str) -> set[str]:
    return {name for name, row in {**OPENAI, **OPEN_RESPONSES}.items() if row.fate in fates}


# --- who knows which names -------------------------------------------------------------------------


def test_the_table_knows_every_parameter_that_openais_client_knows() -> None:
    kinds = (ResponseCreateParamsNonStreaming, ResponseCreateParamsStreaming)

    assert set(OPENAI) == {name for kind in kinds for name in kind.__annotations__}


def test_the_form_of_a_body_has_every_parameter_of_the_tables_and_no_other() -> None:
    tables = (OPENAI, OPEN_RESPONSES, PLATFORMS)

    assert sorted(ResponsesBody.__struct_fields__) == sorted(name for table in tables for name in table)


def test_every_tool_that_openais_client_knows_is_a_function_or_hosted() -> None:
    kinds = {kind for tool in get_args(ToolParam) for kind in words_of(get_type_hints(tool)["type"])}

    assert kinds - {"function"} <= HOSTED


def words_of(hint: Any) -> Iterable[str]:
    return (word for word in get_args(hint) if isinstance(word, str))


# --- the page --------------------------------------------------------------------------------------


def cells(*texts: str) -> str:
    return f"| {' | '.join(texts)} |".replace("|  |", "| |")


def listed(table: dict[str, Parameter]) -> list[str]:
    return [cells(f"`{name}`", row.fate, row.values, row.note) for name, row in table.items()]


TABLES = {
    "| what becomes of it | |": [cells(f"{fate}", what) for fate, what in FATES.items()],
    "| parameter | | what it may hold | |": listed(OPENAI),
    "| parameter of Open Responses | | what it may hold | |": listed(OPEN_RESPONSES),
    "| | `param` | `code` | message |": [
        cells(what, f"`{row.param}`", f"`{row.error.code}`", row.message) for what, row in UNSERVED.items()
    ],
}


@pytest.mark.parametrize(("head", "rows"), TABLES.items(), ids=TABLES.keys())
def test_the_page_has_the_tables_row_by_row(head: str, rows: list[str]) -> None:
    _, *shown = PAGE.partition(f"{head}\n")[2].partition("\n\n")[0].splitlines()

    assert shown == rows


# --- what becomes of each --------------------------------------------------------------------------

PASSED: dict[str, dict[str, Any]] = {
    "temperature": {"temperature": 0.5},
    "top_p": {"top_p": 0.5},
    "presence_penalty": {"presence_penalty": 1},
    "frequency_penalty": {"frequency_penalty": 1},
    "max_output_tokens": {"max_output_tokens": 9},
    "top_logprobs": {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
    "reasoning": {"reasoning": {"effort": "low"}},
    "text": {"text": {"verbosity": "low"}},
    "truncation": {"truncation": "auto"},
    "service_tier": {"service_tier": "flex"},
    "user": {"user": "caller-1"},
    "tools": {"tools": [TOOL]},
    "tool_choice": {"tools": [TOOL], "tool_choice": "required"},
    "parallel_tool_calls": {"parallel_tool_calls": False},
}
HERE: dict[str, dict[str, Any]] = {
    "input": {"input": "other"},
    "instructions": {"instructions": "be brief"},
    "previous_response_id": {"previous_response_id": "resp_1"},
    "store": {"store": False},
    "stream": {"stream": True},
    "include": {"include": ["message.output_text.logprobs"]},
    "metadata": {"metadata": {"call_id": "c-1"}},
    "max_tool_calls": {"max_tool_calls": 3},
    "safety_identifier": {"safety_identifier": "s"},
    "prompt_cache_key": {"prompt_cache_key": "k"},
    "model": {"model": "echo-tools"},
}


def job_of(fields: dict[str, Any]) -> Job:
    return job(read(body(**fields)))


def test_each_parameter_has_an_example() -> None:
    assert set(PASSED) == names_of("passed")
    assert set(HERE) | {"background"} == names_of("honoured")


@pytest.mark.parametrize("fields", PASSED.values(), ids=PASSED.keys())
def test_what_is_passed_is_in_the_job(fields: dict[str, Any]) -> None:
    assert job_of(fields) != job_of({})


@pytest.mark.parametrize("fields", HERE.values(), ids=HERE.keys())
def test_what_is_honoured_makes_another_request(fields: dict[str, Any]) -> None:
    assert read(body(**fields)) != read(body())


@pytest.mark.parametrize("name", sorted(names_of("ignored")))
def test_what_is_ignored_may_have_any_shape_and_changes_nothing(name: str) -> None:
    for value in SHAPES:
        assert read(body(**{name: value})) == read(body())


def image(**fields: Any) -> dict[str, Any]:
    return {"type": "input_image", **fields}


ALLOWED = {"type": "allowed_tools", "mode": "auto", "tools": [TOOL, {"type": "mcp", "server_label": "a"}]}
ASKED: list[tuple[str, bytes, str]] = [
    ("background", body(background=True), "background"),
    ("conversation", body(conversation="conv_1"), "conversation"),
    ("conversation", body(conversation={"id": "conv_1"}), "conversation"),
    ("prompt", body(prompt={"id": "pmpt_1", "variables": {}}), "prompt"),
    *(("hosted tools", body(tools=[TOOL, {"type": kind}]), "tools[1].type") for kind in sorted(HOSTED)),
    ("hosted tools", body(tools=[TOOL], tool_choice={"type": "file_search"}), "tool_choice.type"),
    ("hosted tools", body(tools=[TOOL], tool_choice={"type": "custom", "name": "f"}), "tool_choice.type"),
    ("hosted tools", body(tools=[TOOL], tool_choice=ALLOWED), "tool_choice.tools[1].type"),
    (
        "an image by its id",
        told(USER, {"role": "user", "content": [image(image_url="u"), image(file_id="f")]}),
        "input[1].content[1].file_id",
    ),
    (
        "an image by its id",
        told(CALL, {"type": "function_call_output", "call_id": "call_1", "output": [image(file_id="f")]}),
        "input[1].output[0].file_id",
    ),
]


def test_each_refusal_of_the_table_is_tried() -> None:
    assert {what for what, *_ in ASKED} == set(UNSERVED)
    assert names_of("refused") <= {row.param for row in UNSERVED.values()}


@pytest.mark.parametrize(("what", "data", "param"), ASKED)
def test_what_is_not_served_is_a_400_that_names_it(what: str, data: bytes, param: str) -> None:
    with pytest.raises(ServiceError) as caught:
        read(data)

    row = UNSERVED[what]
    status, told = to_openai(caught.value)
    message = told["error"].pop("message")
    assert (status, told["error"]) == (
        400,
        {"type": "invalid_request_error", "param": param, "code": row.error.code},
    )
    assert row.message in message
    assert f"'{param}'" in message


def test_what_asks_for_nothing_unserved_is_served() -> None:
    assert read(body(background=False, conversation=None, prompt=None)) == read(body())
