"""The OpenAPI document against the application that it describes: its routes, and what they really answer."""

import asyncio
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import jsonschema_rs
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from hypothesis import given
from hypothesis import strategies as st
from pytest_aiohttp import AiohttpClient

from edge import chat, docs_page
from edge.errors import body_bytes, headers_for, to_openai
from edge.handlers import Edge
from edge.metrics import Metrics
from edge.openapi import document
from edge.openapi_parts import NOT_OF_TURNS
from edge.presence import Presence
from edge.response_store import ResponseStore, StoredResponse
from protocol.errors import BY_CODE, ServiceError
from protocol.messages import Finished, Frame, Reasoning, Refusal, Text, TokenLogprob, ToolCall, Usage
from protocol.settings_types import EdgeSettings, Model, Settings
from protocol.spans import Spans
from tests.edge.contract_turns import answer, deltas_of, streamed, turns
from tests.platform_requests import REQUESTS

DOCUMENT = document(("x-api-key",), ("x-conversation-id",))
SCHEMAS = DOCUMENT["components"]["schemas"]
KEY = "sk-caller-3d"
END = Finished("stop", Usage(prompt=9, completion=2))
CALLS = [ToolCall(0, "call_ab", "get_weather", '{"city":"Oslo"}'), ToolCall(1, "call_cd", "get_time", "{}")]
LOGPROBS = (TokenLogprob("Hi", -0.1, (72, 105), (TokenLogprob("Oh", -1.0),)),)
TURNS: list[list[Frame]] = [
    [Reasoning("hm"), Text("Hi", LOGPROBS), Text(" there"), END],
    [Refusal("No."), END],
    [Text("One moment."), *CALLS, END],
]


class MemoryStore(dict[tuple[str, str], StoredResponse]):
    """A `ResponseStore` that forgets with its process."""

    async def read(self, tenant: str, response_id: str) -> StoredResponse | None:
        return self.get((tenant, response_id))

    async def write(self, tenant: str, response_id: str, record: StoredResponse) -> bool:
        self[tenant, response_id] = record
        return True

    async def delete(self, tenant: str, response_id: str) -> bool:
        return self.pop((tenant, response_id), None) is not None


def edge(store: ResponseStore | None = None, **settings: Any) -> Edge:
    """One whose bus knows no worker; what is asked of it here needs none."""
    bus = SimpleNamespace(connected=True, presence=Presence())
    return Edge(
        Settings(models={"echo": Model(pool="default")}, **settings),
        cast(Any, bus),
        spans=Spans(),
        metrics=Metrics(),
        records=cast(Any, None),
        tasks=cast(asyncio.TaskGroup, None),
        store=store if store is not None else MemoryStore(),
    )


Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client(aiohttp_client: AiohttpClient) -> Client:
    """A caller without a key, of an edge that has keys."""
    return await aiohttp_client(edge(api_keys={"desk": KEY}).app())


def closed(node: Any) -> Any:
    """A schema that allows no key which it does not name."""
    if isinstance(node, list):
        return [closed(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    inner = {key: closed(value) for key, value in node.items()}
    return {"additionalProperties": False, **inner} if "properties" in inner else inner


CLOSED = {name: closed(schema) for name, schema in SCHEMAS.items()}
VALIDATORS = {
    name: jsonschema_rs.Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": {"schemas": CLOSED}}
    )
    for name in SCHEMAS
}


def faults(value: object, form: str) -> list[str]:
    return [f"{error.instance_path}: {error.message}" for error in VALIDATORS[form].iter_errors(value)]


def events(pieces: list[bytes]) -> list[dict[str, Any]]:
    lines = b"".join(pieces).decode().split("\n")
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [json.loads(event) for event in data if event != "[DONE]"]


def body_of(frames: list[Frame], *, legacy: bool = False) -> dict[str, Any]:
    last = cast(Finished, frames[-1])
    body: dict[str, Any] = json.loads(answer(legacy=legacy).body(deltas_of(frames), last, usage=last.usage))
    return body


# --- the document ----------------------------------------------------------------------------------


def test_every_route_of_the_application_is_described_and_nothing_else() -> None:
    routed = {(path, method) for path, methods in edge().routes().items() for method in methods if method != "HEAD"}
    parts = {(path, "GET") for path in docs_page.routes(Settings()) if path.startswith("/docs/")}

    described = {(path, method.upper()) for path, methods in DOCUMENT["paths"].items() for method in methods}

    assert described == (routed - parts) | {("/docs/{file}", "GET")}


def references(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for entry in node:
            yield from references(entry)
    elif isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)


def test_every_reference_leads_to_a_component_and_every_component_is_referred_to() -> None:
    kinds = ("schemas", "responses", "headers")
    components = {f"#/components/{kind}/{name}" for kind in kinds for name in DOCUMENT["components"][kind]}

    assert set(references(DOCUMENT)) == components


def test_a_component_that_has_a_title_is_called_so() -> None:
    """Generators name their types by it, and two of one name are one too many for them."""
    assert {name: schema["title"] for name, schema in SCHEMAS.items() if schema.get("title", name) != name} == {}


def test_the_webhook_is_described_where_it_is_taken_and_nowhere_else() -> None:
    made = document(("x-api-key",), (), hooks=True)

    assert "/hooks/elevenlabs" not in DOCUMENT["paths"]
    assert made["paths"].keys() - DOCUMENT["paths"].keys() == {"/hooks/elevenlabs"}
    assert made["paths"]["/hooks/elevenlabs"]["post"]["security"] == []
    assert "#/components/schemas/HookTaken" in set(references(made))


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [operation["operationId"] for methods in DOCUMENT["paths"].values() for operation in methods.values()]

    assert len(names) == len(set(names))


def test_every_field_of_a_chat_says_what_becomes_of_it() -> None:
    fields = SCHEMAS["ChatBody"]["properties"]

    assert fields["web_search_options"]["description"].startswith("Refused: ")
    assert all(field["description"].endswith(".") for field in fields.values())


def test_a_header_that_is_configured_for_keys_or_call_ids_is_described() -> None:
    made = document(("x-desk-key",), ("x-call",))

    assert made["components"]["securitySchemes"]["x-desk-key"]["name"] == "x-desk-key"
    assert made["security"] == [{"bearer": []}, {"x-desk-key": []}]
    assert "x-call" in {parameter["name"] for parameter in made["paths"]["/v1/chat/completions"]["post"]["parameters"]}


# --- what the API takes ----------------------------------------------------------------------------


def test_the_examples_of_a_chat_are_good_bodies() -> None:
    [content] = DOCUMENT["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"].values()
    assert content["examples"]

    for example in content["examples"].values():
        assert faults(example["value"], "ChatBody") == []
        assert chat.parse(json.dumps(example["value"]).encode()).messages


@pytest.mark.parametrize("name", REQUESTS)
def test_what_platforms_send_is_as_described_and_more(name: str) -> None:
    described = {"$ref": "#/components/schemas/ChatBody", "components": {"schemas": SCHEMAS}}

    jsonschema_rs.Draft202012Validator(described).validate(REQUESTS[name].fields)


@pytest.mark.parametrize(
    "wrong", [{"temperature": 3}, {"messages": []}, {"model": None}, {"stop": ["a"] * 5}, {"tools": [{"function": {}}]}]
)
def test_what_is_not_as_described_is_refused(wrong: dict[str, Any]) -> None:
    body = {"model": "echo", "messages": [{"role": "user", "content": "Hello!"}], **wrong}
    assert faults(body, "ChatBody")

    with pytest.raises(ServiceError):
        chat.parse(json.dumps(body).encode())


# --- what the API answers --------------------------------------------------------------------------


@given(turns(last=(Finished,)), st.booleans())
def test_every_body_has_the_form_that_is_described(frames: list[Frame], legacy: bool) -> None:
    assert faults(body_of(frames, legacy=legacy), "ChatCompletion") == []


@given(turns(), st.booleans(), st.booleans())
def test_every_event_of_a_stream_has_the_form_that_is_described(
    frames: list[Frame], include_usage: bool, legacy: bool
) -> None:
    for event in events(streamed(answer(include_usage=include_usage, legacy=legacy), frames)):
        assert faults(event, "ErrorBody" if "error" in event else "ChatCompletionChunk") == []


def keys(node: Any) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(keys, node))
    return set(node).union(*map(keys, node.values())) if isinstance(node, dict) else set()


@pytest.mark.parametrize("form", ["ChatCompletion", "ChatCompletionChunk"])
def test_nothing_is_described_that_no_answer_has(form: str) -> None:
    bodies = [body_of(frames, legacy=legacy) for frames in TURNS for legacy in (False, True)]
    dialects = [answer(include_usage=True, legacy=legacy) for legacy in (False, True) for _ in TURNS]
    chunks = [
        event
        for dialect, frames in zip(dialects, TURNS * 2, strict=True)
        for event in events(streamed(dialect, frames))
    ]

    assert keys(bodies if form == "ChatCompletion" else chunks) == described(form)


def described(form: str) -> set[str]:
    """The keys that a form and those that it refers to may have."""
    inner = {reference.rpartition("/")[2] for reference in references(SCHEMAS[form])}
    return set(SCHEMAS[form]["properties"]).union(*map(described, inner))


@pytest.mark.parametrize("code", sorted(BY_CODE))
def test_every_error_has_the_form_the_status_and_the_headers_that_are_described(code: str) -> None:
    error = BY_CODE[code]("what happened, and the way out", param="field", retry_after_s=1.5)
    status, _ = to_openai(error)
    responses = DOCUMENT["paths"]["/v1/chat/completions"]["post"]["responses"]

    assert faults(json.loads(body_bytes(error)), "ErrorBody") == []
    assert (str(status) in responses) == (status not in NOT_OF_TURNS)
    if status not in NOT_OF_TURNS:
        assert set(headers_for(error)) <= set(DOCUMENT["components"]["responses"][f"Error{status}"]["headers"])


@pytest.mark.parametrize(
    ("path", "route", "status", "form"),
    [
        ("/v1/models", "/v1/models", 200, "ModelList"),
        ("/v1/models/echo", "/v1/models/{id}", 200, "Model"),
        ("/v1/models/eccho", "/v1/models/{id}", 404, "ErrorBody"),
        ("/health", "/health", 200, "Health"),
        ("/ready", "/ready", 503, "Readiness"),
    ],
)
async def test_an_answer_is_as_its_path_describes_it(
    client: Client, path: str, route: str, status: int, form: str
) -> None:
    answered = await client.get(path, headers={"x-api-key": KEY})
    described = DOCUMENT["paths"][route]["get"]["responses"][str(status)]
    described = DOCUMENT["components"]["responses"][f"Error{status}"] if "$ref" in described else described

    assert answered.status == status
    assert described["content"][answered.content_type]["schema"] == {"$ref": f"#/components/schemas/{form}"}
    assert faults(await answered.json(), form) == []
    assert all(name in answered.headers for name in described["headers"])


async def test_models_need_a_key_as_is_described(client: Client) -> None:
    answered = await client.get("/v1/models")

    assert answered.status == 401
    assert faults(await answered.json(), "ErrorBody") == []
    assert "401" in DOCUMENT["paths"]["/v1/models"]["get"]["responses"]


async def test_the_document_needs_no_key_and_is_built_once(client: Client) -> None:
    first, second = [await client.get("/openapi.json") for _ in range(2)]

    assert (first.status, first.content_type) == (200, "application/json")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    settings = Settings()
    expected = document(settings.edge.key_headers, settings.turn.call_id_headers)
    assert await first.json() == await second.json() == json.loads(json.dumps(expected))


async def test_the_document_names_the_headers_of_this_edge(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(edge(edge=EdgeSettings(key_headers=("x-desk-key",))).app())

    said = await (await client.get("/openapi.json")).json()

    assert list(said["components"]["securitySchemes"]) == ["bearer", "x-desk-key"]
