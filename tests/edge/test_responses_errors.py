"""A turn's errors name the fields of the API that was asked."""

import json

import pytest
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpClient

from edge.answers import BodyAnswer, StreamAnswer
from edge.chat import ChatAnswer
from edge.dialect import Dialect
from edge.endings import Ending
from edge.responses_errors import worded
from edge.turn import Turn
from protocol import errors
from protocol.errors import ServiceError
from protocol.messages import Text
from tests.edge.responses_turns import answer, events, streamed


@pytest.mark.parametrize(
    ("param", "name"),
    [
        ("messages", "input"),
        ("messages[3].content[1].type", "input"),  # an item has another index
        ("response_format", "text.format"),
        ("response_format.json_schema.schema", "text.format.schema"),
        ("tools[2].function.parameters", "tools[2].parameters"),
        ("verbosity", "text.verbosity"),
        ("reasoning_effort", "reasoning.effort"),
        ("max_tokens", "max_output_tokens"),
        ("max_completion_tokens", "max_output_tokens"),
        ("logprobs", "include"),
    ],
)
def test_a_field_is_called_as_its_caller_knows_it(param: str, name: str) -> None:
    told = worded(errors.UnsupportedValue(f"'{param}' is not known to this model's upstream", param=param))

    assert (told.param, str(told)) == (name, f"'{name}' is not known to this model's upstream")
    assert isinstance(told, errors.UnsupportedValue)


@pytest.mark.parametrize(
    "param",
    [
        "input[3].content",
        "tools[2].type",
        "max_tokens_left",
        "tool_choice",
        "metadata.messages",
        "top_logprobs",
        "model",
        None,
    ],
)
def test_a_field_of_the_same_name_keeps_it(param: str | None) -> None:
    error = errors.InvalidValue("'messages' is a word", param=param)

    assert worded(error) is error


def test_a_path_is_told_by_its_name_with_marks_and_without() -> None:
    path = "response_format.json_schema.schema"

    assert str(worded(errors.InvalidValue(f"{path} is no JSON", param=path))) == "text.format.schema is no JSON"


def test_what_else_an_error_says_stays() -> None:
    told = worded(errors.RateLimited("target 'm' answered 429: messages wait", param="messages", retry_after_s=1.5))

    assert (str(told), told.retry_after_s) == ("target 'm' answered 429: messages wait", 1.5)


TOO_LONG = errors.ContextTooLong("target 'm' answered 400: too long")  # its field is in the table of errors


def test_a_stream_names_the_field() -> None:
    told, failed = events(streamed([Text("Hel")], TOO_LONG))[-2:]

    assert (told["param"], told["error"]["param"], failed["type"]) == ("input", "input", "response.failed")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("dialect", "param"), [(answer(), "input"), (ChatAnswer(turn_id="turn_1", model="m", created=0), "messages")]
)
async def test_a_status_names_the_field(
    aiohttp_client: AiohttpClient, dialect: Dialect, param: str, *, stream: bool
) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        turn = Turn(on_lost="error", finish_text="", stream=stream, ending=Ending())
        told = (StreamAnswer if stream else BodyAnswer)(request, dialect, turn, {})
        await told.fail(TOO_LONG)
        return told.response

    app = web.Application()
    app.router.add_post("/", handle)
    client = await aiohttp_client(app)
    async with client.post("/") as response:
        told = json.loads(await response.text())

    assert (response.status, told["error"]["param"]) == (400, param)
    assert told["error"]["code"] == "context_length_exceeded"


def test_every_error_can_be_worded() -> None:
    kinds: list[type[ServiceError]] = [*errors.BY_CODE.values()]

    told = [worded(kind("m", param="messages")) for kind in kinds]

    assert [(type(one), one.param) for one in told] == [(kind, "input") for kind in kinds]
