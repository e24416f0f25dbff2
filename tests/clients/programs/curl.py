"""curl, as in a shell script: what it prints is read line by line."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.clients.programs.orders import TOOLS, Order, Report, serve

DATA = b"data: "
SCHEMAS: dict[str, Any] = {
    "get_weather": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "get_time": {"type": "object", "properties": {}},
}
BOOKING = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "guests": {"type": "integer"}},
    "required": ["name", "guests"],
    "additionalProperties": False,
}


async def ask(order: Order) -> Report:
    """One order."""
    report = Report()
    messages: list[dict[str, Any]] = [{"role": "user", "content": order.say}]
    while calls := await _hear(_body(order, messages), order, report):
        report.calls += [{"name": call["name"], "arguments": json.loads(call["arguments"])} for call in calls]
        messages += _called(calls)
    if order.form and not report.error:
        report.value = json.loads(report.text)
    return report


def _body(order: Order, messages: list[dict[str, Any]]) -> dict[str, Any]:
    body = {"model": order.model, "messages": messages, "metadata": order.metadata, "stream": True}
    body["stream_options"] = {"include_usage": True}
    if order.tools:
        body["tools"] = [
            {"type": "function", "function": {"name": name, "parameters": schema}} for name, schema in SCHEMAS.items()
        ]
    if order.form:
        form = {"name": "booking", "schema": BOOKING, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    return body


def _called(calls: list[dict[str, str]]) -> list[dict[str, Any]]:
    """The messages of one round of calls."""
    made = [
        {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
        for call in calls
    ]
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": TOOLS[call["name"]](**json.loads(call["arguments"]))}
        for call in calls
    ]
    return [{"role": "assistant", "content": None, "tool_calls": made}, *results]


async def _hear(body: dict[str, Any], order: Order, report: Report) -> list[dict[str, str]]:
    """One answer; the calls in it. What is no event is an answer with an error's status."""
    calls: list[dict[str, str]] = []
    plain = b""
    async with _curl(body) as curl:
        assert curl.stdout
        async for line in curl.stdout:
            if not line.startswith(DATA):
                plain += line
            elif line != b"data: [DONE]\n":
                _read(json.loads(line[len(DATA) :]), report, calls)
            if order.hang_up_after and report.pieces >= order.hang_up_after:
                return []
    if plain.strip():
        said, _, status = plain.strip().rpartition(b"\n")
        report.status = int(status) if int(status) != 200 else None
        report.error = report.error or (json.loads(said)["error"]["message"] if said else "")
    return calls


@asynccontextmanager
async def _curl(body: dict[str, Any]) -> AsyncIterator[Process]:
    """A curl that runs; it ends with the block. Its last line is the status."""
    words = ["curl", "-sS", "-N", "-w", "\n%{http_code}", "-H", "Content-Type: application/json"]
    url = f"{sys.argv[1]}/chat/completions"
    curl = await asyncio.create_subprocess_exec(*words, "-d", json.dumps(body), url, stdout=PIPE)
    try:
        yield curl
    finally:
        if curl.returncode is None:
            curl.terminate()
        await curl.wait()


def _read(said: dict[str, Any], report: Report, calls: list[dict[str, str]]) -> None:
    """One event."""
    if "error" in said:
        report.error = said["error"]["message"]
    if used := said.get("usage"):
        report.usage = [used["prompt_tokens"], used["completion_tokens"], used["total_tokens"]]
    for choice in said.get("choices", ()):
        report.hear(choice["delta"].get("content") or "")
        for part in choice["delta"].get("tool_calls", ()):
            if part.get("id"):
                calls.append({"id": part["id"], "name": part["function"]["name"], "arguments": ""})
            calls[part["index"]]["arguments"] += part["function"]["arguments"]


if __name__ == "__main__":
    asyncio.run(serve(ask))
