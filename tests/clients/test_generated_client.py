"""A client generated from /openapi.json, by a generator that knows nothing of us, against a real edge and worker."""

import asyncio
import importlib
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from openapi_spec_validator import OpenAPIV31SpecValidator

from bench.client import fetch
from tests.broker.line_fixture import RealLine, real_line

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "sk-caller-3d"
PACKAGE = "trunkline_client"
GENERATE_S = 120.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealLine]:
    """An edge that demands a key, and a worker."""
    async with real_line(tmp_path_factory.mktemp("line"), env={"TRUNKLINE_API_KEYS": f"desk:{KEY}"}) as line:
        line.add("edge")
        line.add("worker")
        await line.ready()
        yield line
        await line.idle()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def document(line: RealLine) -> bytes:
    """As a user downloads it."""
    _, body = await fetch(f"{line.edges[0].url}/openapi.json")
    return body


async def generate(folder: Path) -> None:
    """Write the package; a warning of the generator's is a failure."""
    arguments = ["--path", "openapi.json", "--meta", "none", "--output-path", PACKAGE, "--fail-on-warning"]
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # it formats what it wrote
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).parent / "openapi-python-client",
        "generate",
        *arguments,
        cwd=folder,
        env={**os.environ, "PATH": tools},
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
    )
    async with asyncio.timeout(GENERATE_S):
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


def module(name: str) -> Any:
    """A module of the package: it is imported by name, so no type checker needs to know it."""
    return importlib.import_module(f"{PACKAGE}.{name}")


class Generated:
    """The package, and clients made of it."""

    def __init__(self, url: str) -> None:
        self.models = module("models")
        self.known = module("client").AuthenticatedClient(base_url=url, token=KEY)
        self.by_header = module("client").AuthenticatedClient(
            base_url=url, token=KEY, prefix="", auth_header_name="x-api-key"
        )
        self.stranger = module("client").Client(base_url=url)

    async def ask(self, operation: str, *args: Any, client: Any = None, **kwargs: Any) -> Any:
        """Call an operation; its whole response."""
        return await module(f"api.{operation}").asyncio_detailed(*args, client=client or self.known, **kwargs)

    def body(self, model: str, **fields: Any) -> Any:
        """A chat of one message, in the package's own types."""
        message = self.models.Message(role=self.models.MessageRole.USER, content="one two three")
        return self.models.ChatBody(model=model, messages=[message], **fields)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def generated(
    line: RealLine, document: bytes, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Generated]:
    """Generated without one warning: all that the document says was understood."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "openapi.json").write_bytes(document)
    await generate(folder)
    sys.path.insert(0, str(folder))
    made = Generated(line.edges[0].url)
    async with made.known, made.by_header, made.stranger:
        yield made
    sys.path.remove(str(folder))


async def test_the_document_is_valid_openapi(document: bytes) -> None:
    OpenAPIV31SpecValidator(orjson.loads(document)).validate()


async def test_a_chat_is_answered_in_the_generated_types(generated: Generated) -> None:
    answer = await generated.ask("chat.create_chat_completion", body=generated.body("echo", temperature=0.5))

    assert isinstance(answer.parsed, generated.models.ChatCompletion)
    [choice] = answer.parsed.choices
    assert choice.message.content == "one two three"
    assert choice.finish_reason == "stop"
    assert answer.parsed.usage.total_tokens > 0


async def test_parts_of_a_message_and_the_id_of_a_call_arrive(generated: Generated) -> None:
    models = generated.models
    part = models.TextPart(type_=models.TextPartType.TEXT, text="four five")
    body = models.ChatBody(model="echo", messages=[models.Message(role=models.MessageRole.USER, content=[part])])

    answer = await generated.ask("chat.create_chat_completion", body=body, x_conversation_id="call-7")

    assert answer.parsed.choices[0].message.content == "four five"
    assert answer.headers["x-trunkline-call-id"] == "call-7"


async def test_a_tool_is_called(generated: Generated) -> None:
    models = generated.models
    function = models.Function(name="get_weather", parameters={"type": "object", "properties": {}})
    body = generated.body("echo-tools", tools=[models.Tool(type_="function", function=function)])

    answer = await generated.ask("chat.create_chat_completion", body=body)

    [choice] = answer.parsed.choices
    assert choice.finish_reason == "tool_calls"
    assert [call.function.name for call in choice.message.tool_calls] == ["get_weather"]


async def test_a_response_is_answered_in_the_generated_types_and_gone_on_from(generated: Generated) -> None:
    models = generated.models
    first = await generated.ask("responses.create_response", body=models.ResponsesBody("echo", input_="one two"))
    said = models.MessageItem(role=models.MessageItemRole.USER, content="three")
    body = models.ResponsesBody("echo", input_=[said], previous_response_id=first.parsed.id)

    second = await generated.ask("responses.create_response", body=body)

    assert isinstance(second.parsed, models.ResponseObject)
    [message] = second.parsed.output
    assert [part.text for part in message.content] == ["three"]
    assert second.parsed.previous_response_id == first.parsed.id
    assert second.parsed.usage.input_tokens == 5
    assert second.parsed.store


async def test_a_response_calls_a_tool_and_is_given_its_result(generated: Generated) -> None:
    models = generated.models
    tool = models.ResponsesTool(type_="function", name="get_weather", parameters={"type": "object", "properties": {}})
    fields = {"tools": [tool], "store": False}
    asked = await generated.ask(
        "responses.create_response", body=models.ResponsesBody("echo-tools", input_="How is it?", **fields)
    )
    [call] = asked.parsed.output
    items = [
        models.MessageItem(role=models.MessageItemRole.USER, content="How is it?"),
        models.CallItem(call.call_id, call.name, models.CallItemType.FUNCTION_CALL, arguments=call.arguments),
        models.ResultItem(call.call_id, models.ResultItemType.FUNCTION_CALL_OUTPUT, output="Rain."),
    ]

    told = await generated.ask(
        "responses.create_response", body=models.ResponsesBody("echo-tools", input_=items, **fields)
    )

    assert (call.name, call.arguments) == ("get_weather", "{}")
    assert [part.text for part in told.parsed.output[0].content] == ["Rain."]
    assert not told.parsed.store


async def test_a_response_that_is_kept_is_read_listed_and_forgotten(generated: Generated) -> None:
    models = generated.models
    made = await generated.ask("responses.create_response", body=models.ResponsesBody("echo", input_="one two"))
    id_ = made.parsed.id

    read = await generated.ask("responses.get_response", id_)
    listed = await generated.ask("responses.list_input_items", id_, order=models.ListInputItemsOrder.ASC, limit=1)
    ended = await generated.ask("responses.cancel_response", id_)
    gone = await generated.ask("responses.delete_response", id_)
    again = await generated.ask("responses.get_response", id_)

    assert read.parsed == ended.parsed == made.parsed
    [item] = listed.parsed.data
    assert item["content"] == [{"type": "input_text", "text": "one two"}]
    assert (listed.parsed.has_more, gone.parsed.deleted) == (False, True)
    assert again.status_code == 404
    assert isinstance(again.parsed, models.ErrorBody)


async def test_what_there_is_no_response_to_go_on_from_is_an_error_in_its_generated_type(generated: Generated) -> None:
    models = generated.models
    body = models.ResponsesBody("echo", input_="three", previous_response_id="resp_1")

    answer = await generated.ask("responses.create_response", body=body)

    assert answer.status_code == 400
    assert answer.parsed.error.code == "previous_response_not_found"
    assert answer.parsed.error.param == "previous_response_id"


async def test_the_models_are_listed_and_described(generated: Generated) -> None:
    listed = await generated.ask("models.list_models")
    one = await generated.ask("models.get_model", "echo")

    assert one.parsed in listed.parsed.data
    assert one.parsed.owned_by == "trunkline"


async def test_the_other_security_scheme_is_as_good(generated: Generated) -> None:
    assert (await generated.ask("models.list_models", client=generated.by_header)).status_code == 200


async def test_health_and_readiness_need_no_key(generated: Generated) -> None:
    health = await generated.ask("service.get_health", client=generated.stranger)
    ready = await generated.ask("service.get_readiness", client=generated.stranger)

    assert health.parsed.status == "ok"
    assert ready.parsed.ready
    assert ready.parsed.pools.additional_properties["default"].workers == 1


@pytest.mark.parametrize(
    ("model", "fields", "status", "param"),
    [("eccho", {}, 404, "model"), ("echo", {"temperature": 3.0}, 400, "temperature"), ("echo", {"n": 2}, 400, "n")],
)
async def test_an_error_comes_in_its_generated_type(
    generated: Generated, model: str, fields: dict[str, Any], status: int, param: str
) -> None:
    answer = await generated.ask("chat.create_chat_completion", body=generated.body(model, **fields))

    assert answer.status_code == status
    assert isinstance(answer.parsed, generated.models.ErrorBody)
    assert answer.parsed.error.param == param


async def test_without_a_key_an_error_comes_in_its_generated_type(generated: Generated) -> None:
    answer = await generated.ask("models.list_models", client=generated.stranger)

    assert answer.status_code == 401
    assert isinstance(answer.parsed, generated.models.ErrorBody)
