"""One table for all clients: each is asked the same, in its own words, against a real edge and worker."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.broker.line_fixture import RealLine
from tests.clients.client_program import ClientProgram, client_program, node, python
from tests.clients.hang_up import freed_by_hanging_up, interrupted
from tests.clients.programs.orders import Order, Report

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLIENTS = {
    "curl": python("curl"),
    "langchain": python("langchain_chat"),
    "openai-js": node("openai_client.mjs"),
    "ai-sdk": node("ai_sdk.mjs"),
    "livekit": python("livekit_llm", ".venv-livekit"),
    "pipecat": python("pipecat_pipeline", ".venv-pipecat"),
}
HELLO = "one two three"
RECOGNISED = ("livekit",)  # by what it sends: its profile speaks where others are told of an error


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=CLIENTS)
async def name(request: pytest.FixtureRequest) -> str:
    """Which client."""
    return str(request.param)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(
    echo_line: RealLine, name: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ClientProgram]:
    """It runs for all tests, so that its connections are used again as they would be in a call."""
    log = tmp_path_factory.mktemp(name) / "stderr.log"
    async with client_program(CLIENTS[name], f"{echo_line.edges[0].url}/v1", log) as program:
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
