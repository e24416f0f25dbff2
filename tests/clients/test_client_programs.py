"""One table for all clients: each is asked the same, in its own words, against a real edge and worker."""

import json
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import pytest
import pytest_asyncio

from tests.broker.line_fixture import RealLine, Tap, tap
from tests.clients.client_program import ClientProgram, client_program, node, python
from tests.clients.hang_up import freed_by_hanging_up, interrupted
from tests.clients.programs.orders import Order, Report
from workers.targets.echo_script import REMEMBERED, THOUGHTS

pytestmark = pytest.mark.asyncio(loop_scope="module")

Ability = Literal["hear thoughts", "go on by id", "hold back"]
NOTHING: Mapping[Ability, str] = MappingProxyType({})


class Client(NamedTuple):
    """A client of the Responses API. What it cannot do has its reason."""

    argv: list[str]
    cannot: Mapping[Ability, str] = NOTHING


CHAT = {
    "curl": python("curl"),
    "langchain": python("langchain_chat"),
    "openai-js": node("openai_client.mjs"),
    "ai-sdk": node("ai_sdk.mjs"),
    "livekit": python("livekit_llm", ".venv-livekit"),
    "pipecat": python("pipecat_pipeline", ".venv-pipecat"),
}
RESPONSES = {
    "agents-responses": Client(python("openai_agents")),
    "langchain-responses": Client(python("langchain_responses", "", "chained")),
    "langchain-responses-whole": Client(
        python("langchain_responses"),
        cannot={"go on by id": "it sends the whole history unless use_previous_response_id is set"},
    ),
    "openai-js-responses": Client(node("openai_responses.mjs")),
    "openai-js-responses-whole": Client(
        node("openai_responses.mjs", "whole"), cannot={"go on by id": "it says store: false, and sends all items"}
    ),
    "ai-sdk-responses": Client(node("ai_sdk.mjs", "responses", "chained")),
    "ai-sdk-responses-referring": Client(
        node("ai_sdk.mjs", "responses"), cannot={"go on by id": "it names each earlier item by its id"}
    ),
    "livekit-responses": Client(
        python("livekit_responses", ".venv-livekit"),
        cannot={
            "hear thoughts": "it reads no event of reasoning",
            "hold back": "it sends what it heard too, which is stored already",
        },
    ),
    "pipecat-responses": Client(
        python("pipecat_responses", ".venv-pipecat"),
        cannot={
            "go on by id": "over HTTP it says store: false, and sends the whole history",
        },
    ),
}
CLIENTS = {**CHAT, **{name: client.argv for name, client in RESPONSES.items()}}
HELLO = "one two three"
RECOGNISED = ("livekit",)  # by what it sends: its profile speaks where others are told of an error

of_responses = pytest.mark.parametrize("name", RESPONSES, indirect=True, scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=CLIENTS)
async def name(request: pytest.FixtureRequest) -> str:
    """Which client."""
    return str(request.param)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wire(echo_line: RealLine, name: str) -> AsyncIterator[Tap]:
    """What it sends goes through here."""
    async with tap(f"{echo_line.edges[0].url}/v1") as tapped:
        yield tapped


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(wire: Tap, name: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ClientProgram]:
    """It runs for all tests, so that its connections are used again as they would be in a call."""
    log = tmp_path_factory.mktemp(name) / "stderr.log"
    async with client_program(CLIENTS[name], wire.url, log) as program:
        yield program


def spoken(report: Report) -> str:
    """The text of a tool's result; Pipecat sends results as JSON, so that a string has its quotes."""
    return report.text.strip('"')


async def test_it_hears_the_text_word_by_word_and_what_it_cost(client: ClientProgram) -> None:
    report = await client.obey(Order("echo", HELLO))

    assert (report.text, report.error) == (HELLO, "")
    assert report.pieces == 3
    assert report.usage == [3, 3, 6]


async def test_it_runs_a_tool_and_hears_what_is_made_of_the_result(client: ClientProgram) -> None:
    report = await client.obey(Order("echo-tools", "How is the weather?", tools=True))

    assert report.calls == [{"name": "get_weather", "arguments": {"city": "text"}}]
    assert (spoken(report), report.error) == ("Rain in text.", "")


async def test_it_runs_parallel_calls_and_sends_both_results(client: ClientProgram) -> None:
    """Both: the built-in model says the last one back, and counts the words of every message it was sent."""
    report = await client.obey(Order("echo-tools", "Weather and time?", {"echo.calls": "2"}, tools=True))

    assert report.calls == [
        {"name": "get_weather", "arguments": {"city": "text"}},
        {"name": "get_time", "arguments": {}},
    ]
    assert (spoken(report), report.error) == ("Ten past nine.", "")
    question, weather, time = 3, 3, 3  # words
    assert report.usage == [question + weather + time, 3, 12]


async def test_it_gets_structured_output(client: ClientProgram) -> None:
    report = await client.obey(Order("echo-json", "A table for two.", form=True))

    assert report.value == {"name": "text", "guests": 0}
    assert report.error == ""


async def test_it_is_told_of_an_error_before_the_stream(client: ClientProgram, name: str) -> None:
    report = await client.obey(Order("echo", HELLO, {"echo.fail": "before:503"}))

    assert report.text == ""
    assert report.status == (503 if name in RECOGNISED else 502)  # a 503 is tried again
    assert "target 'echo' answered 503" in report.error


async def test_it_is_told_of_an_error_within_the_stream(client: ClientProgram, name: str) -> None:
    report = await client.obey(Order("echo", HELLO, {"echo.fail": "cut:2"}))

    if name in RECOGNISED:  # the rest is cut too, after its only word
        assert (report.text, report.error) == ("one two three Sorry, could you say that again?", "")
        return
    assert report.text == "one two "
    assert "target 'echo' broke off" in report.error


async def test_when_it_hangs_up_the_slot_is_free_again(client: ClientProgram, echo_line: RealLine) -> None:
    """It would have spoken for minutes; the client itself stays up."""
    slow = {"echo.rate": "20", "echo.tokens": "1000"}
    before = interrupted(echo_line)

    report = await client.obey(Order("echo", HELLO, slow, hang_up_after=4))

    assert 4 <= report.pieces < 1000
    assert report.error == ""
    await freed_by_hanging_up(echo_line, before)
    again = await client.obey(Order("echo", HELLO))
    assert again.text == HELLO


# --- responses --------------------------------------------------------------------------------------------------------


@of_responses
async def test_it_hears_what_the_model_thought_apart_from_the_text(client: ClientProgram, name: str) -> None:
    report = await client.obey(Order("echo-reasoning", HELLO, think=True))

    assert (report.text, report.error) == (HELLO, "")
    assert report.thoughts == ("" if "hear thoughts" in RESPONSES[name].cannot else THOUGHTS)


@of_responses
async def test_it_goes_on_in_a_conversation(client: ClientProgram, name: str, wire: Tap) -> None:
    """Whoever names the response before sends what is new; the model is told of everything once, whoever it is."""
    before = len(wire.seen)

    report = await client.obey(Order("echo", HELLO, then="four five"))

    assert (report.text, report.error) == (f"{HELLO}four five", "")
    cannot = RESPONSES[name].cannot
    assert report.usage == [3 + 3 + 2, 2, 10]
    first, second = asked(wire, before)
    assert "previous_response_id" not in first
    if "go on by id" in cannot:
        assert "previous_response_id" not in second
        assert len(second["input"]) == 3
        assert (second["input"][1].get("type") == "item_reference") == (name == "ai-sdk-responses-referring")
    else:
        assert second["previous_response_id"].startswith("resp_")
        assert len(second["input"]) == (2 if "hold back" in cannot else 1)


@of_responses
async def test_what_was_thought_is_remembered(client: ClientProgram, name: str) -> None:
    """It is stored with what was said, or comes back sealed with the whole history: the built-in model knows it."""
    report = await client.obey(Order("echo-reasoning", HELLO, think=True, then="four five"))

    again = THOUGHTS + REMEMBERED.format(1)
    assert (report.text, report.error) == (f"{HELLO}four five", "")
    assert report.thoughts == ("" if "hear thoughts" in RESPONSES[name].cannot else THOUGHTS + again)
    spent = len(again.split()) + 2
    assert report.usage == [3 + 3 + 2, spent, 8 + spent]


def asked(wire: Tap, since: int) -> list[dict[str, Any]]:
    """The bodies of the requests for an answer."""
    return [json.loads(request.body) for request in wire.seen[since:] if request.method == "POST"]


async def test_livekits_websocket_is_told_what_to_ask_by_instead(
    echo_line: RealLine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It is LiveKit's default, and shows its caller no more than the status; the edge's log has the way out."""
    log = tmp_path_factory.mktemp("websocket") / "stderr.log"
    argv = python("livekit_responses", ".venv-livekit", "websocket")
    async with client_program(argv, f"{echo_line.edges[0].url}/v1", log) as program:
        report = await program.obey(Order("echo", HELLO))

    assert (report.text, report.status) == ("", 400)
    assert "use_websocket=False" in echo_line.logs()
