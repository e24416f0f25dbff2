"""The OpenAI Agents SDK with what its runner does by itself, against a real edge and worker."""

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio
from agents import (
    Agent,
    ModelSettings,
    OpenAIResponsesModel,
    Runner,
    SQLiteSession,
    function_tool,
    set_tracing_disabled,
)
from agents.items import HandoffOutputItem, ReasoningItem, ToolCallOutputItem
from openai import AsyncOpenAI
from openai.types.shared import Reasoning

from tests.broker.line_fixture import RealLine, Tap, tap
from tests.clients.forms import Booking
from tests.clients.programs.orders import TOOLS
from workers.targets.echo_script import REMEMBERED, THOUGHTS

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = "one two three"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wire(echo_line: RealLine) -> AsyncIterator[Tap]:
    """What it sends goes through here."""
    set_tracing_disabled(True)
    async with tap(f"{echo_line.edges[0].url}/v1") as tapped:
        yield tapped


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(wire: Tap) -> AsyncIterator[AsyncOpenAI]:
    """Of all agents here."""
    async with AsyncOpenAI(base_url=wire.url, api_key="none", max_retries=0, timeout=20) as client:
        yield client


def agent(client: AsyncOpenAI, model: str, name: str = "desk", **more: Any) -> Agent:
    """One on a model of ours."""
    return Agent(name=name, model=OpenAIResponsesModel(model, client), **more)


def read(run: Any) -> list[int]:
    """The words that the model read, in each of its turns."""
    return [response.usage.input_tokens for response in run.raw_responses]


def thought(run: Any) -> str:
    """What the model thought."""
    (item,) = [item for item in run.new_items if isinstance(item, ReasoningItem)]
    return "".join(part.text for part in item.raw_item.summary)


async def test_an_agent_answers(client: AsyncOpenAI) -> None:
    run = await Runner.run(agent(client, "echo", instructions="Be brief."), TEXT)

    assert run.final_output == TEXT
    assert run.last_response_id
    assert run.last_response_id.startswith("resp_")
    assert read(run) == [3 + 2]


@pytest.mark.parametrize("chained", [False, True])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_call_is_handed_to_another_agent(client: AsyncOpenAI, streamed: bool, chained: bool) -> None:
    """The hand-off is a call like any other: the other agent's model reads it and its result."""
    billing = agent(client, "echo", "billing")
    desk = agent(client, "echo-tools", handoffs=[billing])

    if streamed:
        run: Any = Runner.run_streamed(desk, TEXT, auto_previous_response_id=chained)
        names = [event.name async for event in run.stream_events() if event.type == "run_item_stream_event"]
        assert names == ["handoff_requested", "handoff_occured", "message_output_created"]
    else:
        run = await Runner.run(desk, TEXT, auto_previous_response_id=chained)

    assert run.last_agent is billing
    (handed,) = [item for item in run.new_items if isinstance(item, HandoffOutputItem)]
    assert (handed.source_agent, handed.target_agent) == (desk, billing)
    assert run.final_output == '{"assistant": "billing"}'  # the result of the call, said back
    assert read(run) == [3, 3 + 2]


@pytest.mark.parametrize("chained", [False, True])
async def test_parallel_tools_run_and_their_results_are_read(client: AsyncOpenAI, wire: Tap, chained: bool) -> None:
    tools = [function_tool(tool) for tool in TOOLS.values()]
    settings = ModelSettings(metadata={"echo.calls": "2"}, parallel_tool_calls=True)
    before = len(wire.seen)

    run = await Runner.run(
        agent(client, "echo-tools", tools=tools, model_settings=settings), TEXT, auto_previous_response_id=chained
    )

    results = [item.output for item in run.new_items if isinstance(item, ToolCallOutputItem)]
    assert results == ["Rain in text.", "Ten past nine."]
    assert run.final_output == "Ten past nine."
    assert read(run) == [3, 3 + 3 + 3]
    assert (b'"previous_response_id":"resp_' in wire.seen[-1].body) == chained
    assert len(wire.seen) - before == 2


async def test_an_output_type_is_filled(client: AsyncOpenAI) -> None:
    run = await Runner.run(agent(client, "echo-json", output_type=Booking), "A table for two.")

    assert run.final_output == Booking(name="text", guests=0)


async def test_a_session_remembers_and_sends_everything_back(client: AsyncOpenAI) -> None:
    """What was thought too: it is a part of what the runner keeps."""
    session = SQLiteSession("caller")
    desk = agent(client, "echo-reasoning", model_settings=ModelSettings(reasoning=Reasoning(summary="auto")))

    first = await Runner.run(desk, TEXT, session=session)
    second = await Runner.run(desk, "four five", session=session)

    assert thought(first) == THOUGHTS
    assert thought(second) == THOUGHTS + REMEMBERED.format(1)
    assert second.final_output == "four five"
    assert read(second) == [3 + 3 + 2]
    kinds = [item.get("type", "message") for item in await session.get_items()]
    assert kinds == ["message", "reasoning", "message"] * 2
    session.close()


async def test_a_run_goes_on_from_the_last_response(client: AsyncOpenAI, wire: Tap) -> None:
    desk = agent(client, "echo")

    first = await Runner.run(desk, TEXT)
    second = await Runner.run(desk, "four five", previous_response_id=first.last_response_id)

    assert second.final_output == "four five"
    assert read(second) == [3 + 3 + 2]
    assert TEXT.encode() not in wire.seen[-1].body


async def test_a_response_that_is_not_there_is_an_error(client: AsyncOpenAI) -> None:
    gone = f"resp_{'0' * 32}"

    with pytest.raises(openai.BadRequestError) as failed:
        await Runner.run(agent(client, "echo"), TEXT, previous_response_id=gone)

    assert failed.value.code == "previous_response_not_found"
