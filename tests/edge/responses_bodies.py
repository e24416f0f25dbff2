"""Bodies of requests for responses, and what is read of them."""

import json
from typing import Any

import pytest

from edge.asked import to_job
from edge.errors import to_openai
from edge.responses_body import ResponsesRequest, parse
from protocol.errors import ServiceError
from protocol.messages import Job, OnLost

USER = {"role": "user", "content": "hello"}
TOOL = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}
CALL = {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"city":"Oslo"}'}
RESULT = {"type": "function_call_output", "call_id": "call_1", "output": "21"}
SCHEMA = {"type": "json_schema", "name": "n", "schema": {"type": "object"}}


def read(data: bytes) -> ResponsesRequest:
    """Parse, with ids that are the same each time."""
    return parse(data, new_token=lambda: "new")


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "echo", "input": "hello", **fields}).encode()


def told(*items: Any, **fields: Any) -> bytes:
    return body(input=list(items), **fields)


def job(request: ResponsesRequest, *, on_lost: OnLost = "error") -> Job:
    return to_job(request, turn_id="req_1", tenant="t", call_id="c", budget_ms=8000, total_ms=60000, on_lost=on_lost)


def refusal(data: bytes) -> tuple[int, str | None, str | None]:
    with pytest.raises(ServiceError) as caught:
        parse(data)
    status, answer = to_openai(caught.value)
    return status, answer["error"]["code"], answer["error"]["param"]


def ids(request: ResponsesRequest) -> list[str]:
    """Of a request's items."""
    return [json.loads(bytes(item))["id"] for item in request.items]
