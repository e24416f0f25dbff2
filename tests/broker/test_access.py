"""Ways to the API: paths, keys, web pages, call ids, against a real edge; and that no key is seen anywhere after it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from bench.client import Call
from bench.http1 import ResponseReader
from bench.polling import until
from protocol import telemetry
from tests.broker.line_fixture import SETTLE_S, RealLine, real_line, user

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "sk-line/Zq9w"
CODED = "sk-line%2FZq9w"
WRONG = "sk-wrong-Zq9w"
PAGE = "https://app.example.com"
CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"model": "echo", "messages": [{"role": "user", "content": "one two three"}]}
BEARER = {"Authorization": f"Bearer {SECRET}"}
WAITS_S = 30  # longer than any test looks on


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealLine]:
    """An edge that demands a key and lets one web page in, two that do neither, the last of them in no hurry with its
    headers; no key is in what they write.
    """
    directory = tmp_path_factory.mktemp("line")
    env = {
        "TRUNKLINE_TELEMETRY__TRACES_FILE": str(directory / "traces.log"),
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "TRUNKLINE_TURN__BUDGET_S": str(WAITS_S),
    }
    keyed = {"TRUNKLINE_API_KEYS": f"desk:{SECRET}", "TRUNKLINE_EDGE__CORS_ORIGINS": PAGE}
    async with real_line(directory, env=env) as line:
        line.add("edge", keyed | {"TRUNKLINE_EDGE__KEY_HEADERS": "x-api-key,x-line-key"})
        line.add("edge")
        line.add("edge", {"TRUNKLINE_EDGE__HEADERS_AFTER_S": str(WAITS_S)})
        line.add("worker")
        await line.ready()
        yield line
        await line.idle()
        seen = line.logs() + repr(await line.records())
        assert '"spans"' in seen
    seen += line.logs()
    assert [word for word in (SECRET, CODED, WRONG, "Zq9w") if word in seen] == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(line: RealLine) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


@pytest.fixture
def url(line: RealLine) -> str:
    """Where no key is needed."""
    return line.edges[1].url


@pytest.fixture
def guarded(line: RealLine) -> str:
    """Where one is."""
    return line.edges[0].url


async def spans(line: RealLine, trace_id: str) -> list[dict[str, Any]]:
    """The spans of a trace, once its root is written."""

    async def found() -> list[dict[str, Any]]:
        lines = (line.directory / "traces.log").read_text().splitlines()
        requests = [json.loads(text) for text in lines if trace_id in text]
        groups = [scope for request in requests for one in request["resourceSpans"] for scope in one["scopeSpans"]]
        return [span for group in groups for span in group["spans"] if span["traceId"] == trace_id]

    return await until(found, lambda some: any(span["name"].startswith("POST ") for span in some), SETTLE_S)


def attributes(span: dict[str, Any]) -> dict[str, str]:
    return {entry["key"]: str(next(iter(entry["value"].values()))) for entry in span["attributes"]}


# --- paths -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "base", ["", "/", "/v1", "/v1/", "/v1/v1", "/v1/chat/completions", "/c/call-7/v1", "/t/anything/v1", "/t/a/c/b"]
)
async def test_the_official_client_is_served_under_every_base_url(url: str, base: str) -> None:
    async with AsyncOpenAI(base_url=url + base, api_key="none", max_retries=0) as client:
        answer = await client.chat.completions.create(model="echo", messages=[user("one two")])
        models = [model.id async for model in client.models.list()]
        one = await client.models.retrieve("echo")

    assert answer.choices[0].message.content == "one two"
    assert one.id in models


async def test_a_turn_has_the_same_name_on_every_path(line: RealLine, web: aiohttp.ClientSession, guarded: str) -> None:
    """Nothing that a caller chose becomes a span's name or route."""
    path = f"/t/{CODED}/c/call-8/v1/chat/completions/chat/completions/"
    async with web.post(guarded + path, json={**HELLO, "stream": True}) as answer:
        assert answer.status == 200
        trace_id, call_id = answer.headers["x-trace-id"], answer.headers["x-trunkline-call-id"]
        await answer.read()

    [root] = [span for span in await spans(line, trace_id) if span["name"].startswith("POST ")]
    said = attributes(root)
    assert (root["name"], said[telemetry.HTTP_ROUTE]) == (f"POST {CHAT}", CHAT)
    assert (call_id, said[telemetry.CONVERSATION], said[telemetry.TENANT]) == ("call-8", "call-8", "desk")


@pytest.mark.parametrize(
    "path",
    [f"/t/{CODED}/nowhere", f"/t/{SECRET}/v1/models", f"/{CODED}/v1/models", f"/v1/t/{CODED}/models", f"/{WRONG}"],
)
async def test_an_unknown_path_is_told_without_what_may_be_a_secret(
    web: aiohttp.ClientSession, guarded: str, path: str
) -> None:
    async with web.get(guarded + path, headers=BEARER) as answer:
        said = await answer.text()

    assert answer.status in (404, 401)
    assert "Zq9w" not in said


async def test_a_path_that_there_is_not_can_be_found_in_the_log(
    line: RealLine, web: aiohttp.ClientSession, guarded: str
) -> None:
    """A platform that was told a wrong URL shows nothing else of itself."""
    async with web.post(f"{guarded}/t/{CODED}/api/v1/chat", json=HELLO) as answer:
        turn = answer.headers["x-request-id"]

    lines = [json.loads(text) for text in line.logs().splitlines() if turn in text]
    assert [(one["event"], one["path"]) for one in lines] == [("refused", "/t/…/…/v1/chat")]


async def test_a_wrong_method_is_told_by_the_routes_name(web: aiohttp.ClientSession, guarded: str) -> None:
    async with web.get(f"{guarded}/t/{CODED}/chat/completions") as answer:
        error = (await answer.json())["error"]

    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert error["message"] == f"'{CHAT}' does not take GET; it takes POST"


# --- keys --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "prefix", "status"),
    [
        (BEARER, "", 200),
        ({"X-API-Key": SECRET}, "", 200),
        ({"X-Line-Key": SECRET}, "", 200),
        ({"Authorization": "Bearer none"}, f"/t/{CODED}", 200),
        ({}, f"/t/{CODED}", 200),
        ({}, "", 401),
        ({}, f"/t/{WRONG}", 401),
        ({"X-API-Key": WRONG}, "", 401),
        ({"X-Other-Key": SECRET}, "", 401),
    ],
)
async def test_a_key_comes_by_any_way_that_is_configured(
    web: aiohttp.ClientSession, guarded: str, headers: dict[str, str], prefix: str, status: int
) -> None:
    async with (
        web.post(f"{guarded}{prefix}{CHAT}", json=HELLO, headers=headers) as turn,
        web.get(f"{guarded}{prefix}/v1/models", headers=headers) as models,
    ):
        said = await turn.text() + await models.text()

    assert (turn.status, models.status) == (status, status)
    assert "Zq9w" not in said


# --- calls -------------------------------------------------------------------------------------------


async def test_a_refused_request_belongs_to_the_call_that_its_body_names(web: aiohttp.ClientSession, url: str) -> None:
    body = {**HELLO, "model": "no-such-model", "session_id": "b-2"}
    async with web.post(url + CHAT, json=body) as answer:
        assert (answer.status, answer.headers["x-trunkline-call-id"]) == (404, "b-2")


@pytest.mark.parametrize(
    ("headers", "fields", "call_id"),
    [
        ({"X-Call-Id": "h-1"}, {"session_id": "b-2"}, "h-1"),
        ({"X-LiveKit-Job-ID": "j-3"}, {"session_id": "b-2"}, "b-2"),
        ({"X-LiveKit-Job-ID": "j-3"}, {}, "j-3"),
        ({}, {}, "p-4"),
        ({}, {"call": {"id": "x" * 201}, "session_id": "b-2"}, "b-2"),  # one that cannot be a header hides no other
    ],
)
async def test_a_call_is_known_by_the_first_that_names_it(
    line: RealLine, web: aiohttp.ClientSession, url: str, headers: dict[str, str], fields: dict[str, Any], call_id: str
) -> None:
    """In the answer, the record and the log line alike."""
    async with web.post(f"{url}/c/p-4{CHAT}", json={**HELLO, **fields}, headers=headers) as answer:
        trace_id = answer.headers["x-trace-id"]
        assert answer.headers["x-trunkline-call-id"] == call_id

    records = await until(line.records, lambda found: trace_id in found, SETTLE_S)
    assert records[trace_id].call_id == call_id
    assert {told.get("call") for told in line.turn_lines() if told["trace"] == trace_id} == {call_id}


async def test_a_request_that_is_refused_belongs_to_its_call_too(
    line: RealLine, web: aiohttp.ClientSession, url: str
) -> None:
    async with web.post(f"{url}/c/p-5{CHAT}", json={"model": "nobody"}) as answer:
        trace_id = answer.headers["x-trace-id"]

    assert (answer.status, answer.headers["x-trunkline-call-id"]) == (400, "p-5")
    [root] = [span for span in await spans(line, trace_id) if span["name"].startswith("POST ")]
    assert attributes(root)[telemetry.CONVERSATION] == "p-5"


async def test_turns_without_a_call_id_are_told_of_once(
    line: RealLine, web: aiohttp.ClientSession, guarded: str
) -> None:
    for _ in range(3):
        async with web.post(guarded + CHAT, json=HELLO, headers=BEARER) as answer:
            assert answer.status == 200
            assert "x-trunkline-call-id" not in answer.headers

    told = [text for text in line.logs().splitlines() if "without a call id" in text and '"desk"' in text]
    assert len(told) == 1


# --- web pages ---------------------------------------------------------------------------------------


async def test_a_browser_asks_first_and_needs_no_key_for_that(web: aiohttp.ClientSession, guarded: str) -> None:
    asks = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    async with web.options(guarded + CHAT, headers=asks) as answer:
        assert await answer.read() == b""

    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert answer.headers["Access-Control-Allow-Methods"] == "POST"
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization"
    assert answer.headers["Vary"] == "Origin"


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        (CHAT, HELLO, BEARER, 200),
        (CHAT, {**HELLO, "stream": True}, BEARER, 200),
        (CHAT, {**HELLO, "metadata": {"echo.fail": "before:503"}}, BEARER, 502),
        (CHAT, {**HELLO, "stream": True, "metadata": {"echo.fail": "before:503"}}, BEARER, 502),
        (CHAT, {}, BEARER, 400),
        (CHAT, HELLO, {}, 401),
        ("/v1/nowhere", HELLO, BEARER, 404),
        ("/v1/models", HELLO, BEARER, 405),
    ],
)
async def test_a_page_reads_every_answer_errors_and_streams_too(
    web: aiohttp.ClientSession, guarded: str, path: str, body: Any, headers: dict[str, str], status: int
) -> None:
    async with web.post(guarded + path, json=body, headers={**headers, "Origin": PAGE}) as answer:
        assert (answer.status, answer.headers.get("Access-Control-Allow-Origin")) == (status, PAGE)
        assert "x-trunkline-call-id" in answer.headers["Access-Control-Expose-Headers"]
    async with web.post(guarded + path, json=body, headers={**headers, "Origin": "https://evil.example"}) as answer:
        assert (answer.status, answer.headers.get("Access-Control-Allow-Origin")) == (status, None)


async def test_nothing_is_said_of_web_pages_where_none_is_configured(web: aiohttp.ClientSession, url: str) -> None:
    asks = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    async with web.options(url + CHAT, headers=asks) as first, web.post(url + CHAT, json=HELLO, headers=asks) as turn:
        assert (first.status, turn.status) == (405, 200)
        assert not [name for name in (*first.headers, *turn.headers) if "Access-Control" in name or name == "Vary"]


# --- what is no HTTP, and who leaves early -----------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /t/%b/v1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\x00\r\n\r\n",
        b"GET /t/%b/\xff%b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[%b/%b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /t/%b/%b/" + b"y" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_told_without_its_bytes(guarded: str, request_: bytes) -> None:
    host, port = guarded.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    response = ResponseReader()
    body = b""
    try:
        writer.write(request_ % (SECRET.encode(), SECRET.encode()))
        async with asyncio.timeout(5):
            while not response.complete and (data := await reader.read(65536)):
                body += response.feed(data)
    finally:
        writer.close()

    assert response.status == 400
    assert b"Zq9w" not in body
    assert json.loads(body)["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_caller_who_leaves_before_the_status_line_is_a_499(line: RealLine, streamed: bool) -> None:
    waits = {**HELLO, "stream": streamed, "metadata": {"echo.first_ms": str(WAITS_S * 1000)}}
    call = await Call.place(f"{line.edges[2].url}/c/left-{streamed}{CHAT}", waits)
    assert await until(line.workers[0].slots_taken, bool, SETTLE_S) == 1

    call.hang_up()

    async def told() -> list[dict[str, Any]]:
        return [one for one in line.turn_lines() if one.get("call") == f"left-{streamed}"]

    [one] = await until(told, bool, SETTLE_S)
    [root] = [span for span in await spans(line, one["trace"]) if span["name"].startswith("POST ")]
    assert (one["outcome"], one["status"]) == ("interrupted", 499)
    assert attributes(root)[telemetry.HTTP_STATUS] == "499"


async def test_a_caller_who_leaves_after_the_status_line_was_answered_with_it(
    line: RealLine, web: aiohttp.ClientSession, url: str
) -> None:
    """It went out with a ping, though nothing was said yet."""
    waits = {**HELLO, "stream": True, "metadata": {"echo.first_ms": str(WAITS_S * 1000)}}
    async with web.post(f"{url}/c/left-late{CHAT}", json=waits) as answer:
        assert answer.status == 200
        answer.close()

    async def told() -> list[dict[str, Any]]:
        return [one for one in line.turn_lines() if one.get("call") == "left-late"]

    [one] = await until(told, bool, SETTLE_S)
    assert (one["outcome"], one["status"], one.get("ttft_ms")) == ("interrupted", 200, None)


async def test_a_caller_who_leaves_before_the_end_of_its_request_is_one_too(line: RealLine, url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"POST /c/left-early{CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n{{".encode())
    await writer.drain()
    await asyncio.sleep(0.2)  # the edge waits for the rest

    writer.close()

    async def told() -> list[dict[str, Any]]:
        lines = [json.loads(text) for text in line.logs().splitlines() if '"left-early"' in text and "refused" in text]
        return [one for one in lines if one.get("call") == "left-early"]

    [one] = await until(told, bool, SETTLE_S)
    [root] = [span for span in await spans(line, one["trace"]) if span["name"].startswith("POST ")]
    assert (one["status"], one["error"]) == (499, "interrupted")
    assert attributes(root)[telemetry.HTTP_STATUS] == "499"
