"""LangChain's `ChatOpenAI`, with its own tools, its own structured output and its own messages."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import aclosing
from functools import partial

import openai
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.runnables import Runnable
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from tests.clients.programs import orders
from tests.clients.programs.orders import Order, Report, serve

TOOLS = {name: tool(run) for name, run in orders.TOOLS.items()}


class Booking(BaseModel):
    """What a caller wants."""

    name: str
    guests: int


def made(order: Order) -> ChatOpenAI:
    """The model."""
    return ChatOpenAI(
        model=order.model,
        base_url=sys.argv[-1],
        api_key="none",
        max_retries=0,
        stream_usage=True,
        extra_body={"metadata": order.metadata},
    )


async def ask(make: Callable[[Order], ChatOpenAI], order: Order) -> Report:
    """One order."""
    report = Report()
    chat = make(order)
    try:
        if order.form:
            report.value = dict(await chat.with_structured_output(Booking).ainvoke(order.say))
        else:
            await _converse(chat.bind_tools(list(TOOLS.values())) if order.tools else chat, order, report)
    except openai.APIError as failed:
        report.error, report.status = failed.message, getattr(failed, "status_code", None)
    return report


async def _converse(chat: Runnable[list[BaseMessage], AIMessageChunk], order: Order, report: Report) -> None:
    """Ask until no tool is called any more; then say what comes then."""
    messages: list[BaseMessage] = [HumanMessage(order.say)]
    while (answer := await _hear(chat, messages, order, report)) and answer.tool_calls:
        report.calls += [{"name": call["name"], "arguments": call["args"]} for call in answer.tool_calls]
        messages += [answer, *[await TOOLS[call["name"]].ainvoke(call) for call in answer.tool_calls]]
    if answer and order.then:
        answer = await _hear(chat, [*messages, answer, HumanMessage(order.then)], order, report)
    if answer and answer.usage_metadata:
        used = answer.usage_metadata
        report.usage = [used["input_tokens"], used["output_tokens"], used["total_tokens"]]


async def _hear(
    chat: Runnable[list[BaseMessage], AIMessageChunk], messages: list[BaseMessage], order: Order, report: Report
) -> AIMessageChunk | None:
    """One streamed answer, its chunks added up; None: hung up."""
    answer: AIMessageChunk | None = None
    async with aclosing(chat.astream(messages)) as stream:
        async for chunk in stream:
            answer = chunk if answer is None else answer + chunk
            report.hear(chunk.text)
            report.thoughts += "".join(
                block.get("reasoning", "") for block in chunk.content_blocks if block["type"] == "reasoning"
            )
            if order.hang_up_after and report.pieces >= order.hang_up_after:
                return None
    return answer


if __name__ == "__main__":
    asyncio.run(serve(partial(ask, made)))
