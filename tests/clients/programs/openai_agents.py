"""The OpenAI Agents SDK: an agent over `OpenAIResponsesModel`, with its own tools, output types and runner."""

import asyncio
import json
import sys

import openai
from agents import (
    Agent,
    ModelSettings,
    OpenAIResponsesModel,
    Runner,
    RunResultStreaming,
    function_tool,
    set_tracing_disabled,
)
from agents.exceptions import ModelBehaviorError
from openai import AsyncOpenAI
from openai.types.shared import Reasoning
from pydantic import BaseModel

from tests.clients.programs import orders
from tests.clients.programs.orders import Order, Report, serve

TOOLS = [function_tool(run) for run in orders.TOOLS.values()]


class Booking(BaseModel):
    """What a caller wants."""

    name: str
    guests: int


async def ask(order: Order) -> Report:
    """One order."""
    report = Report()
    async with AsyncOpenAI(base_url=sys.argv[-1], api_key="none", max_retries=0) as client:
        try:
            await _converse(_agent(order, client), order, report)
        except openai.APIError as failed:
            report.error, report.status = failed.message, getattr(failed, "status_code", None)
        except ModelBehaviorError as failed:
            report.error = failed.message
    return report


def _agent(order: Order, client: AsyncOpenAI) -> Agent:
    return Agent(
        name="desk",
        model=OpenAIResponsesModel(order.model, client),
        model_settings=ModelSettings(
            metadata=order.metadata, reasoning=Reasoning(summary="auto") if order.think else None
        ),
        tools=TOOLS if order.tools else [],
        output_type=Booking if order.form else None,
    )


async def _converse(agent: Agent, order: Order, report: Report) -> None:
    run = Runner.run_streamed(agent, order.say, auto_previous_response_id=True)
    await _hear(run, order, report)
    if order.then:
        run = Runner.run_streamed(agent, order.then, previous_response_id=run.last_response_id)
        await _hear(run, order, report)
    if run.raw_responses:
        used = run.raw_responses[-1].usage
        report.usage = [used.input_tokens, used.output_tokens, used.total_tokens]
    if isinstance(run.final_output, Booking):
        report.value = run.final_output.model_dump()


async def _hear(run: RunResultStreaming, order: Order, report: Report) -> None:
    """All that one run says: the runner itself calls the tools, and asks again."""
    async for event in run.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            report.hear(event.data.delta)
        elif event.type == "raw_response_event" and event.data.type == "response.reasoning_summary_text.delta":
            report.thoughts += event.data.delta
        elif event.type == "run_item_stream_event" and event.name == "tool_called":
            call = event.item.raw_item
            report.calls.append({"name": call.name, "arguments": json.loads(call.arguments)})
        if order.hang_up_after and report.pieces >= order.hang_up_after:
            run.cancel()


if __name__ == "__main__":
    set_tracing_disabled(True)
    asyncio.run(serve(ask))
