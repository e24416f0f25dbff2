"""What the OpenAPI document says of /v1/responses, against what is taken there and what is answered."""

import json
from typing import Any, cast

import jsonschema_rs
import pytest
from hypothesis import given
from msgspec import Raw
from pytest_aiohttp import AiohttpClient

from edge.openapi_parts import EVENTS
from edge.openapi_responses import ID, examples
from edge.response_store import StoredResponse
from edge.responses import ResponsesAnswer, parse
from protocol.errors import Cancelled, ServiceError, from_failed
from protocol.messages import Failed, Finished, Frame, Reasoning, Refusal, Text, TokenLogprob, ToolCall, Usage
from tests.edge.contract_turns import deltas_of, turns
from tests.edge.test_openapi import DOCUMENT, SCHEMAS, MemoryStore, edge, events, faults, keys, references

TENANT, KEY = "desk", "sk-caller-3d"
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}
TOOL = {"type": "function", "name": "get_weather", "description": "Look it up.", "parameters": SCHEMA, "strict": True}
FULL: dict[str, Any] = {
    "model": "echo",
    "input": "Hello!",
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {"format": {"type": "json_schema", "name": "n", "description": "d", "schema": SCHEMA, "strict": True}},
    "tools": [TOOL],
    "tool_choice": {"type": "function", "name": "get_weather"},
}
LOGPROBS = (TokenLogprob("Hi", -0.1, (72, 105), (TokenLogprob("Oh", -1.0),)),)
CALLS = [ToolCall(0, "call_ab", "get_weather", '{"city":"Oslo"}'), ToolCall(1, "call_cd", "get_time", "{}")]
USAGE = Usage(prompt=9, completion=2)
TURNS: list[list[Frame]] = [
    [Reasoning("hm", id="rs_1", encrypted="sealed"), Text("Hi", LOGPROBS), Text(" there"), Finished("stop", USAGE)],
    [Refusal("No."), Finished("stop", USAGE)],
    [Text("One moment."), *CALLS, Finished("tool_calls", USAGE)],
    [Text("Hi"), Finished("length", USAGE)],
    [Text("Hi"), Failed("upstream_error", "the target broke off: ask again")],
]
ITEMS: list[dict[str, Any]] = [
    {"role": "user", "content": "Hello!"},
    {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "Hi."}]},
    {"role": "user", "content": [{"type": "input_image", "image_url": "https://a.example/b.png", "detail": "low"}]},
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
    {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "call_1", "output": "Rain."},
    {"type": "item_reference", "id": "msg_1"},
]


def answer(body: dict[str, Any] = FULL, *, turn_id: str = "turn_1f") -> ResponsesAnswer:
    asked = parse(json.dumps(body).encode())
    return ResponsesAnswer(
        turn_id=turn_id, model=asked.model, created=1, echoed=asked.echoed, store=asked.store, clock=lambda: 2.0
    )


def streamed(frames: list[Frame]) -> list[dict[str, Any]]:
    dialect, last = answer(), frames[-1]
    pieces = [dialect.opening(), *map(dialect.delta, deltas_of(frames))]
    if isinstance(last, Failed):
        return events([*pieces, dialect.error(from_failed(last))])
    last = cast(Finished, last)
    return events([*pieces, dialect.finish(last, usage=last.usage)])


def body_of(frames: list[Frame]) -> dict[str, Any]:
    last = cast(Finished, frames[-1])
    body: dict[str, Any] = json.loads(answer().body(deltas_of(frames), last, usage=last.usage))
    return body


def asked(**fields: Any) -> dict[str, Any]:
    return {"model": "echo", "input": "Hello!", **fields}


# --- what is taken ---------------------------------------------------------------------------------


def test_every_field_of_a_response_says_what_becomes_of_it() -> None:
    fields = SCHEMAS["ResponsesBody"]["properties"]

    assert fields["prompt"]["description"].startswith("Refused: ")
    assert all(field["description"].endswith(".") for field in fields.values())


@pytest.mark.parametrize("name", examples())
def test_the_examples_are_good_bodies(name: str) -> None:
    body = examples()[name]["value"]

    assert faults(body, "ResponsesBody") == []
    assert parse(json.dumps(body).encode()).model


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.get("type", "message"))
def test_every_item_that_is_taken_is_described(item: dict[str, Any]) -> None:
    described = {"$ref": "#/components/schemas/ResponsesBody", "components": {"schemas": SCHEMAS}}
    body = asked(input=[ITEMS[0], item])

    jsonschema_rs.Draft202012Validator(described).validate(body)
    assert parse(json.dumps(body).encode()).own == 2


def test_an_item_of_each_kind_is_tried() -> None:
    listed = SCHEMAS["ResponsesBody"]["properties"]["input"]["anyOf"][1]["items"]["anyOf"]
    kinds = {"MessageItem", "CallItem", "ResultItem", "ReasoningItem", "ReferenceItem"}

    assert {form["$ref"].rpartition("/")[2] for form in listed} == kinds
    assert {kind for item in ITEMS for kind in kinds if not faults(item, kind)} >= kinds - {"ReasoningItem"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 3},
        {"input": 5},
        {"input": [{"type": "function_call", "name": "f"}]},
        {"input": [{"role": "narrator", "content": "x"}]},
        {"model": None},
        {"tools": [{"type": "function", "name": ""}]},
        {"text": {"format": {"type": "xml"}}},
    ],
)
def test_what_is_not_as_described_is_refused(wrong: dict[str, Any]) -> None:
    assert faults(asked(**wrong), "ResponsesBody")

    with pytest.raises(ServiceError):
        parse(json.dumps(asked(**wrong)).encode())


# --- what is answered ------------------------------------------------------------------------------


@given(turns(last=(Finished,)))
def test_every_body_has_the_form_that_is_described(frames: list[Frame]) -> None:
    assert faults(body_of(frames), "ResponseObject") == []


@given(turns())
def test_every_event_of_a_stream_has_the_form_that_is_described(frames: list[Frame]) -> None:
    for event in streamed(frames):
        assert faults(event, "ResponseStreamEvent") == []


def test_an_event_is_of_one_form_alone_and_each_form_is_that_of_some_event() -> None:
    told = [event for frames in TURNS for event in streamed(frames)]
    forms = [form["$ref"].rpartition("/")[2] for form in SCHEMAS["ResponseStreamEvent"]["anyOf"]]

    fitting = [[form for form in forms if not faults(event, form)] for event in told]

    assert {len(found) for found in fitting} == {1}
    assert {found[0] for found in fitting} == set(forms) == {form.__name__ for form in EVENTS}


@pytest.mark.parametrize("form", ["ResponseObject", "ResponseStreamEvent"])
def test_nothing_is_described_that_no_answer_has(form: str) -> None:
    told = [event for frames in TURNS for event in streamed(frames)]
    carried = {"city", "properties", "name", "object", "type"}  # of a schema

    bodies = [event["response"] for event in told if "response" in event]
    assert keys(bodies if form == "ResponseObject" else told) - carried == described(form) - carried


def described(form: str) -> set[str]:
    """The keys that a form and those that it refers to may have."""
    inner = {reference.rpartition("/")[2] for reference in references(SCHEMAS[form])}
    return set(SCHEMAS[form].get("properties", ())).union(*map(described, inner))


def test_a_cancelled_response_is_described_too() -> None:
    dialect = answer()
    pieces = [dialect.opening(), dialect.delta(Text("Hi"))]

    *_, last = events([*pieces, dialect.error(Cancelled("the response was cancelled"))])

    assert last["response"]["status"] == "cancelled"
    assert faults(last, "ResponseFailed") == []


# --- what is kept ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "form"),
    [
        ("get", "/v1/responses/{id}", 200, "ResponseObject"),
        ("post", "/v1/responses/{id}/cancel", 200, "ResponseObject"),
        ("get", "/v1/responses/{id}/input_items", 200, "InputItemList"),
        ("delete", "/v1/responses/{id}", 200, "DeletedResponse"),
    ],
)
async def test_what_is_asked_of_a_kept_response_is_answered_as_described(
    aiohttp_client: AiohttpClient, method: str, path: str, status: int, form: str
) -> None:
    client = await aiohttp_client(edge(kept(), api_keys={TENANT: KEY}).app())
    responses = DOCUMENT["paths"][path][method]["responses"]

    answered = await client.request(method, path.format(id=ID), headers={"x-api-key": KEY})
    again = await client.request(method, path.format(id=ID.replace("0", "f")), headers={"x-api-key": KEY})
    by_whom = await client.request(method, path.format(id=ID))

    assert answered.status == status
    assert responses["200"]["content"]["application/json"]["schema"] == {"$ref": f"#/components/schemas/{form}"}
    assert faults(await answered.json(), form) == []
    assert (again.status, by_whom.status) == (404, 401)
    assert {"401", "404"} <= responses.keys()
    assert faults(await again.json(), "ErrorBody") == []


@pytest.mark.parametrize(
    ("query", "has", "more"),
    [
        ("", ["msg_2", "fc_1", "msg_1"], False),
        ("?order=asc&limit=2", ["msg_1", "fc_1"], True),
        ("?after=fc_1", ["msg_1"], False),
        ("?before=fc_1&order=asc", ["msg_1"], False),
    ],
)
async def test_the_query_that_is_described_pages_through_the_items(
    aiohttp_client: AiohttpClient, query: str, has: list[str], more: bool
) -> None:
    client = await aiohttp_client(edge(kept(), api_keys={TENANT: KEY}).app())

    page = await (await client.get(f"/v1/responses/{ID}/input_items{query}", headers={"x-api-key": KEY})).json()

    assert [item["id"] for item in page["data"]] == has
    assert page["has_more"] is more
    items = {"$ref": "#/components/schemas/ResponsesBody", "components": {"schemas": SCHEMAS}}
    jsonschema_rs.Draft202012Validator(items).validate(asked(input=page["data"]))


@pytest.mark.parametrize(("name", "value"), [("limit", "101"), ("limit", "0"), ("order", "up"), ("after", "msg_9")])
async def test_a_query_that_is_not_as_described_is_refused(
    aiohttp_client: AiohttpClient, name: str, value: str
) -> None:
    client = await aiohttp_client(edge(kept(), api_keys={TENANT: KEY}).app())
    parameters = DOCUMENT["paths"]["/v1/responses/{id}/input_items"]["get"]["parameters"]

    answered = await client.get(f"/v1/responses/{ID}/input_items?{name}={value}", headers={"x-api-key": KEY})

    assert name in {parameter["name"] for parameter in parameters}
    assert answered.status == 400
    assert (await answered.json())["error"]["param"] == name


def kept() -> MemoryStore:
    """A store with one response."""
    frames = TURNS[0]
    made = answer(turn_id=f"turn_{ID.removeprefix('resp_')}")
    last = cast(Finished, frames[-1])
    items: list[dict[str, Any]] = [
        {"id": "msg_1", "role": "user", "content": "Hello!"},
        {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
        {"id": "msg_2", "role": "assistant", "content": "Hi."},
    ]
    response = Raw(made.body(deltas_of(frames), last, usage=last.usage))
    return MemoryStore(
        {(TENANT, ID): StoredResponse(response, tuple(Raw(json.dumps(item).encode()) for item in items))}
    )
