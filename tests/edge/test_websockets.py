"""An agent that dials a WebSocket is told, and so is whoever reads the log."""

import logging
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from pytest_aiohttp.plugin import AiohttpClient

from edge.handlers import Edge
from edge.metrics import Metrics
from edge.presence import Presence
from edge.websockets import LOG_EVERY_S, NoWebSockets
from protocol.errors import NoWebSocket
from protocol.settings import Settings
from protocol.spans import Spans

KEY = "sk-desk-0123456789"
ASKED = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "a" * 24}


def an_edge() -> Edge:
    return Edge(
        Settings(api_keys={"desk": KEY}),
        cast(Any, SimpleNamespace(connected=True, presence=Presence())),
        spans=Spans(),
        metrics=Metrics(),
        records=cast(Any, None),
        tasks=cast(Any, None),
    )


@pytest.mark.parametrize(
    "path",
    [
        "/v1/responses",
        "/v1?model=echo",
        "/?model=echo",
        f"/t/{KEY}/v1?model=echo",
        f"/t/{KEY}/c/call-1/p/livekit/v1/responses",
        "/v1/chat/completions",
    ],
)
async def test_it_gets_a_clear_400_and_the_log_says_what_to_do(
    aiohttp_client: AiohttpClient, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    client = await aiohttp_client(an_edge().app())

    with pytest.raises(aiohttp.WSServerHandshakeError) as raised, caplog.at_level(logging.INFO):
        await client.ws_connect(path, headers={"Authorization": f"Bearer {KEY}"})

    assert raised.value.status == 400
    ours = [record for record in caplog.records if record.name.startswith("edge")]  # the test's server logs paths
    (warned,) = [record for record in ours if record.levelno == logging.WARNING]
    for cure in ("use_websocket=False", "OpenAIResponsesHttpLLMService"):
        assert cure in warned.getMessage()
    assert not any(KEY in str(vars(record)) for record in ours)


async def test_the_answer_is_the_contracts_error_object(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(an_edge().app())

    async with client.get("/v1/responses", headers=ASKED) as answer:
        said = await answer.json()

    assert answer.headers["x-request-id"]
    assert (answer.status, said["error"]["type"]) == (400, "invalid_request_error")
    assert (said["error"]["code"], said["error"]["param"]) == ("websocket_not_served", None)
    assert "use_websocket=False" in said["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/v1/responses", {}),
        ("GET", "/v1/responses", {"Upgrade": "h2c"}),
        ("POST", "/v1/chat/completions", ASKED),
        ("GET", "/v1/models", ASKED),
    ],
)
def test_whoever_asks_for_none_is_not_refused_for_it(method: str, path: str, headers: dict[str, str]) -> None:
    NoWebSockets().refuse(make_mocked_request(method, path, headers=headers))


def test_it_is_logged_once_a_minute_for_each_path(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    sockets = NoWebSockets(lambda: now)

    def dial(path: str) -> int:
        caplog.clear()
        request: web.Request = make_mocked_request("GET", path, headers=ASKED)
        with pytest.raises(NoWebSocket):
            sockets.refuse(request)
        return len(caplog.records)

    assert [dial("/v1/responses"), dial("/t/s3cret/v1/responses"), dial("/v1"), dial("/")] == [1, 0, 1, 0]
    now += LOG_EVERY_S
    assert [dial("/responses"), dial("/v1/responses")] == [1, 0]
