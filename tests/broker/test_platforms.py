"""Every platform's request, at a real edge: it is answered, its call is found, its trace says what was repaired."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from protocol import telemetry
from tests.broker.line_fixture import RealLine, real_line
from tests.broker.otlp_sink import Sink, otlp_sink
from tests.broker.turn_trees import WHOLE
from tests.platform_requests import REQUESTS, PlatformRequest

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/v1/chat/completions"
WORKER_TOKEN = REQUESTS["livekit/turn"].headers["X-LiveKit-Worker-Token"]
SYSTEM_TOOLS = REQUESTS["elevenlabs/system-tools"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sink() -> AsyncIterator[Sink]:
    async with otlp_sink() as sink:
        yield sink


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> AsyncIterator[RealLine]:
    """An edge and a worker; what came with the requests is in no log and no trace."""
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    async with real_line(tmp_path_factory.mktemp("line"), env=env) as line:
        line.add("edge")
        line.add("worker")
        await line.ready()
        yield line
        await line.idle()
        for secret in (WORKER_TOKEN, "front desk of Acme", "calls.example.com"):
            assert secret not in line.logs()
            assert secret.encode() not in sink.raw


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(line: RealLine) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(line.edges[0].url, timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


class Answer:
    """What came back: the words, and the reason that it ended for."""

    def __init__(self, headers: Any, body: str) -> None:
        self.headers = headers
        *events, self.end = body.removesuffix("\n\n").split("\n\n") if body.startswith("data: ") else (body, "")
        told = [json.loads(event.removeprefix("data: ")) for event in events]
        self.choices = [choice for one in told for choice in one["choices"]]
        parts = [choice.get("delta") or choice.get("message") or {} for choice in self.choices]
        self.text = "".join(part.get("content") or "" for part in parts)
        self.calls = [call["function"]["name"] for part in parts for call in part.get("tool_calls", ())]
        self.usage = [one["usage"] for one in told if one.get("usage")]


async def ask(web: aiohttp.ClientSession, request: PlatformRequest, data: bytes | None = None) -> Answer:
    """Send it as its platform does. Raises AssertionError: it was refused."""
    headers = {"Content-Type": "application/json", **request.headers}
    async with web.post(PATH, data=request.data if data is None else data, headers=headers) as answer:
        body = await answer.text()
        assert answer.status == 200, body
        return Answer(answer.headers, body)


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_platforms_request_is_answered(web: aiohttp.ClientSession, sink: Sink, name: str) -> None:
    request = REQUESTS[name]
    answer = await ask(web, request)

    assert answer.text
    assert answer.choices[-1]["finish_reason"] == "stop"
    assert answer.end == ("data: [DONE]" if request.fields["stream"] else "")
    assert len(answer.usage) == (not request.fields["stream"] or "stream_options" in request.fields)
    assert answer.headers.get("x-trunkline-call-id") == request.call_id
    tree = await sink.tree(answer.headers["x-trace-id"], len(WHOLE))
    told = tree.one("POST").attributes
    assert told.get(telemetry.CONVERSATION) == request.call_id
    assert tuple(told.get(telemetry.REPAIRS, ())) == request.repairs
    assert (telemetry.REPAIRS in told) == bool(request.repairs)


async def test_all_seven_system_tools_of_elevenlabs_can_be_called(web: aiohttp.ClientSession) -> None:
    fields = {**SYSTEM_TOOLS.fields, "model": "echo-tools", "metadata": {"echo.calls": "7"}}
    answer = await ask(web, SYSTEM_TOOLS, json.dumps(fields).encode())

    assert answer.calls == [tool["function"]["name"] for tool in fields["tools"]]
    assert answer.choices[-1]["finish_reason"] == "tool_calls"


async def test_what_a_tool_has_said_is_answered(web: aiohttp.ClientSession) -> None:
    for name in ("elevenlabs/tool-follow-up", "fish/tool-follow-up", "livekit/strict-tools"):
        request = REQUESTS[name]
        answer = await ask(web, request)

        assert answer.text == request.fields["messages"][-1]["content"]
