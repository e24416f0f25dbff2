"""LiveKit Agents' `openai.LLM`: strict tool schemas, LiveKit's own history and its own way to run a tool."""

import asyncio
import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from livekit.agents import APIConnectionError, APIConnectOptions, APIStatusError
from livekit.agents.llm import LLM, ChatContext, FunctionToolCall, ToolContext, execute_function_call, function_tool
from livekit.plugins import openai
from pydantic import BaseModel

from tests.clients.programs import orders
from tests.clients.programs.orders import Order, Report, serve


async def get_weather(city: str) -> str:
    """Look the weather up."""
    return orders.get_weather(city)


async def get_time() -> str:
    """Look at the clock."""
    return orders.get_time()


TOOLS = [function_tool(get_weather), function_tool(get_time)]
ONCE = APIConnectOptions(max_retry=0)


class Booking(BaseModel):
    """What a caller wants."""

    name: str
    guests: int


Make = Callable[[Order], tuple[LLM, dict[str, Any]]]


def made(order: Order) -> tuple[LLM, dict[str, Any]]:
    """The model, and what it is asked with."""
    llm = openai.LLM(model=order.model, base_url=sys.argv[-1], api_key="none", metadata=order.metadata)
    return llm, {"response_format": Booking} if order.form else {}


async def ask(make: Make, order: Order) -> Report:
    """One order."""
    report = Report()
    llm, options = make(order)
    async with llm:
        llm.prewarm()  # asks for the list of models, as a session does before the first turn
        try:
            await _converse(llm, options, order, report)
        except APIStatusError as failed:
            report.error, report.status = failed.message, failed.status_code
        except APIConnectionError as failed:
            report.error = str(failed.__cause__)
            report.status = getattr(failed.__cause__, "status", None)
    if order.form and not report.error:
        report.value = Booking.model_validate_json(report.text).model_dump()
    return report


async def _converse(llm: LLM, options: dict[str, Any], order: Order, report: Report) -> None:
    """Ask until no tool is called any more; then say what comes then."""
    history = ChatContext.empty()
    history.add_message(role="user", content=order.say)
    while calls := await _hear(llm, options, history, order, report):
        for call in calls:
            report.calls.append({"name": call.name, "arguments": json.loads(call.arguments)})
            done = await execute_function_call(call, ToolContext(TOOLS))
            history.insert(done.fnc_call)
            if done.fnc_call_out:
                history.insert(done.fnc_call_out)
    if order.then:
        history.add_message(role="assistant", content=report.text)
        history.add_message(role="user", content=order.then)
        await _hear(llm, options, history, order, report)


async def _hear(
    llm: LLM, options: dict[str, Any], history: ChatContext, order: Order, report: Report
) -> list[FunctionToolCall]:
    """One answer; the calls in it."""
    calls: list[FunctionToolCall] = []
    tools = TOOLS if order.tools else None
    async with llm.chat(chat_ctx=history, tools=tools, conn_options=ONCE, **options) as stream:
        async for chunk in stream:
            if chunk.delta:
                report.hear(chunk.delta.content or "")
                calls += chunk.delta.tool_calls
            if used := chunk.usage:
                report.usage = [used.prompt_tokens, used.completion_tokens, used.total_tokens]
            if order.hang_up_after and report.pieces >= order.hang_up_after:
                return []
    return calls


if __name__ == "__main__":
    asyncio.run(serve(partial(ask, made)))
