"""The API as its callers see it: the official client against real edges and workers on a real NATS server."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageParam, ChatCompletionToolParam
from openai.types.chat.chat_completion_message_function_tool_call_param import Function
from pydantic import BaseModel

from bench.client import Call, End
from bench.line import Upstream
from bench.polling import until
from protocol import telemetry
from tests.broker.line_fixture import SETTLE_S, Member, RealLine, Tap, real_line, shared_port, tap, user

pytestmark = pytest.mark.asyncio(loop_scope="module")

HEADERS_AFTER_S, PING_S = 0.4, 0.1
UPSTREAM_KEY, OPENAI_KEY, CALLER_KEY = "sk-upstream-1f", "sk-openai-2e", "sk-caller-3d"
KEYS = {"Authorization": f"Bearer {CALLER_KEY}"}
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
HELLO: dict[str, Any] = {"model": "echo", "messages": [{"role": "user", "content": "one two three"}]}


class Taps:
    """What came to each upstream's socket."""

    def __init__(self, upstream: Tap, openai: Tap) -> None:
        self.upstream = upstream
        self.openai = openai


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def taps(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Taps]:
    """One fake upstream behind two addresses."""
    upstream = Upstream(tmp_path_factory.mktemp("upstream"))
    await upstream.start()
    async with tap(upstream.url) as first, tap(upstream.url) as second:
        yield Taps(first, second)
    assert await upstream.stop() == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line(tmp_path_factory: pytest.TempPathFactory, taps: Taps) -> AsyncIterator[RealLine]:
    """Two edges on one port, a third that demands a key, and one worker."""
    env = {
        "TRUNKLINE_UPSTREAM__URL": taps.upstream.url,
        "TRUNKLINE_UPSTREAM__MODEL": "fake",
        "TRUNKLINE_UPSTREAM__KEY_ENV": "THE_UPSTREAM_KEY",
        "TRUNKLINE_EDGE__HEADERS_AFTER_S": str(HEADERS_AFTER_S),
        "TRUNKLINE_EDGE__PING_S": str(PING_S),
    }
    keys = {"THE_UPSTREAM_KEY": UPSTREAM_KEY, "OPENAI_API_KEY": OPENAI_KEY, "OPENAI_BASE_URL": taps.openai.url}
    async with real_line(tmp_path_factory.mktemp("line"), env=env) as line:
        with shared_port() as port:
            shared = {"TRUNKLINE_EDGE__PORT": str(port)}
            line.add("edge", shared, "--reuse-port")
            line.add("edge", shared, "--reuse-port")
            line.add("edge", {"TRUNKLINE_API_KEYS": f"desk:{CALLER_KEY}"})
            line.add("worker", keys)
            await line.ready()
        yield line
        await line.idle()


@pytest.fixture
def url(line: RealLine) -> str:
    """Where the edges without keys listen."""
    return line.edges[0].url


@pytest.fixture
def guarded(line: RealLine) -> Member:
    """The edge that demands a key."""
    return line.edges[2]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(line: RealLine) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{line.edges[0].url}/v1", api_key="none", max_retries=0, timeout=20) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(line: RealLine) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


async def stream(client: AsyncOpenAI, model: str = "echo", text: str = "one two three", **more: Any) -> list[Any]:
    """All chunks of a streamed answer."""
    chunks: list[ChatCompletionChunk] = []
    async for chunk in await client.chat.completions.create(model=model, messages=[user(text)], stream=True, **more):
        chunks.append(chunk)  # noqa: PERF401 - create() is overloaded on `stream`, a comprehension hides it
    return chunks


async def until_it_fails(
    answer: openai.AsyncStream[ChatCompletionChunk],
) -> tuple[list[ChatCompletionChunk], openai.APIError]:
    """What a stream says, and the error that it ends with."""
    chunks: list[ChatCompletionChunk] = []
    try:
        async for chunk in answer:
            chunks.append(chunk)  # noqa: PERF401 - what came before the error counts
    except openai.APIError as failed:
        return chunks, failed
    raise AssertionError(f"no error after {said(chunks)!r}")


def said(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def events(body: bytes) -> list[str]:
    """The data of every event, or its comment. Raises AssertionError: bytes that the contract does not have."""
    assert body.endswith(b"\n\n")
    blocks = body.decode().removesuffix("\n\n").split("\n\n")
    assert all(block == ": ping" or (block.startswith("data: ") and "\n" not in block) for block in blocks)
    return [block.removeprefix("data: ") for block in blocks]


# --- answers -----------------------------------------------------------------------------------------


async def test_an_answer_comes_back_whole(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="echo", messages=[user("one two three")])

    choice = answer.choices[0]
    assert (choice.message.content, choice.finish_reason) == ("one two three", "stop")
    assert choice.message.tool_calls is None
    assert choice.logprobs is None
    assert (answer.model, answer.object) == ("echo", "chat.completion")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (3, 3, 6)


async def test_an_answer_comes_back_word_by_word(client: AsyncOpenAI) -> None:
    chunks = await stream(client)

    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "one ", "two ", "three", None]
    assert [chunk.choices[0].delta.role for chunk in chunks] == ["assistant", None, None, None, None]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, None, "stop"]
    assert all(chunk.usage is None and chunk.choices[0].logprobs is None for chunk in chunks)
    assert len({(chunk.id, chunk.created, chunk.model, chunk.system_fingerprint) for chunk in chunks}) == 1


async def test_usage_is_streamed_when_it_is_asked_for(client: AsyncOpenAI) -> None:
    *others, last = await stream(client, stream_options={"include_usage": True})

    assert last.choices == []
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (3, 3)
    assert all("usage" in chunk.model_fields_set and chunk.usage is None for chunk in others)


async def test_the_client_without_asyncio_is_answered_alike(url: str) -> None:
    def talk() -> tuple[str | None, str]:
        with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
            plain = client.chat.completions.create(model="echo", messages=[user("one two")])
            streamed = list(client.chat.completions.create(model="echo", messages=[user("one two")], stream=True))
        return plain.choices[0].message.content, said(streamed)

    assert await asyncio.to_thread(talk) == ("one two", "one two")


async def test_many_turns_at_once_are_not_mixed_up(client: AsyncOpenAI) -> None:
    texts = [f"caller {number} says {number * 7}" for number in range(40)]

    assert [said(chunks) for chunks in await asyncio.gather(*(stream(client, text=text) for text in texts))] == texts


# --- tools, JSON, reasoning --------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_tool_is_called_and_its_result_is_answered(client: AsyncOpenAI, streamed: bool) -> None:
    messages: list[ChatCompletionMessageParam] = [user("How is the weather in Oslo?")]
    if streamed:
        async with client.chat.completions.stream(model="echo-tools", messages=messages, tools=[WEATHER]) as told:
            answer: ChatCompletion = await told.get_final_completion()
    else:
        answer = await client.chat.completions.create(model="echo-tools", messages=messages, tools=[WEATHER])
    [call] = answer.choices[0].message.tool_calls or []

    assert call.type == "function"
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.content is None
    assert call.function.name == "get_weather"
    assert list(json.loads(call.function.arguments)) == ["city"]

    function: Function = {"name": call.function.name, "arguments": call.function.arguments}
    messages.append({"role": "assistant", "tool_calls": [{"id": call.id, "type": "function", "function": function}]})
    messages.append({"role": "tool", "tool_call_id": call.id, "content": "Four degrees and rain."})
    second = await client.chat.completions.create(model="echo-tools", messages=messages, tools=[WEATHER])

    assert second.choices[0].message.content == "Four degrees and rain."
    assert second.choices[0].finish_reason == "stop"


async def test_parallel_calls_come_one_after_the_other(client: AsyncOpenAI) -> None:
    chunks = await stream(client, "upstream", "#parallel tokens=3 tool=2", tools=[WEATHER])
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]

    assert all(len(chunk.choices[0].delta.tool_calls or []) <= 1 for chunk in chunks)
    assert [call.index for call in calls] == sorted(call.index for call in calls)
    assert {call.index for call in calls} == {0, 1}
    for index in (0, 1):
        same = [call for call in calls if call.index == index]
        assert same[0].id
        assert same[0].function.name == "get_weather"
        assert all(call.id is None and call.function.name is None for call in same[1:])
        assert json.loads("".join(call.function.arguments or "" for call in same)) == {"text": "g1.0 g1.1 g1.2 "}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("more", "calls"),
    [
        ({"parallel_tool_calls": False}, 1),
        ({}, 2),
        ({"tool_choice": "none"}, 0),
        ({"tool_choice": "required"}, 2),
        ({"tool_choice": {"type": "function", "function": {"name": "get_weather"}}}, 2),
    ],
)
async def test_the_choice_of_tools_is_kept_to(client: AsyncOpenAI, more: dict[str, Any], calls: int) -> None:
    answer = await client.chat.completions.create(
        model="echo-tools", messages=[user("Oslo")], tools=[WEATHER], metadata={"echo.calls": "2"}, **more
    )

    assert len(answer.choices[0].message.tool_calls or []) == calls


class Booking(BaseModel):
    """What a caller wants."""

    name: str
    guests: int
    by_the_window: bool


async def test_json_comes_in_the_form_that_was_asked_for(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.parse(
        model="echo-json", messages=[user("A table for two.")], response_format=Booking
    )

    assert isinstance(answer.choices[0].message.parsed, Booking)


async def test_reasoning_is_no_part_of_what_is_said(client: AsyncOpenAI) -> None:
    chunks = await stream(client, "echo-reasoning", "one two")
    thought = [getattr(chunk.choices[0].delta, "reasoning_content", None) for chunk in chunks]

    assert said(chunks) == "one two"
    assert "".join(filter(None, thought)).startswith("The caller said")
    assert all(not (thinks and chunk.choices[0].delta.content) for thinks, chunk in zip(thought, chunks, strict=True))


# --- what an answer is known by ----------------------------------------------------------------------


async def test_every_answer_has_an_id_of_its_own(client: AsyncOpenAI, web: aiohttp.ClientSession, url: str) -> None:
    first = await client.chat.completions.create(model="echo", messages=[user("one")])
    second = await client.chat.completions.create(model="echo", messages=[user("one")])
    with pytest.raises(openai.NotFoundError) as refused:
        await client.chat.completions.create(model="nobody", messages=[user("one")])
    async with web.post(f"{url}/v1/chat/completions", json={**HELLO, "stream": True}) as streamed:
        ids = [first._request_id, second._request_id, refused.value.request_id, streamed.headers["x-request-id"]]
    async with (
        web.get(f"{url}/v1/nowhere") as lost,
        web.get(f"{url}/v1/models") as models,
        web.get(f"{url}/ready") as r,
    ):
        ids += [lost.headers["x-request-id"], models.headers["x-request-id"], r.headers["x-request-id"]]

    assert all(ids)
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("headers", "fields", "call_id"),
    [
        ({"X-Conversation-Id": "conv_7"}, {}, "conv_7"),
        ({"x-call-id": "call-8"}, {"session_id": "not-this"}, "call-8"),
        ({}, {"elevenlabs_extra_body": {"conversation_id": "conv_9"}}, "conv_9"),
        ({}, {"call": {"id": "vapi-1"}}, "vapi-1"),
        ({}, {"session_id": "s-2"}, "s-2"),
        ({}, {"metadata": {"call_id": "m-3"}}, "m-3"),
        ({}, {}, None),
        ({"X-Conversation-Id": "two words"}, {}, None),
    ],
)
async def test_a_call_is_known_by_what_the_platform_says_of_it(
    web: aiohttp.ClientSession, url: str, headers: dict[str, str], fields: dict[str, Any], call_id: str | None
) -> None:
    async with web.post(f"{url}/v1/chat/completions", json={**HELLO, **fields}, headers=headers) as answer:
        assert answer.status == 200
        assert answer.headers.get("x-trunkline-call-id") == call_id


async def test_the_callers_trace_goes_on(web: aiohttp.ClientSession, url: str) -> None:
    """Its sampled flag is not obeyed, and nonsense begins a trace of its own."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    shown = []
    for traceparent in (f"00-{trace}-b7ad6b7169203331-00", "00-nonsense", ""):
        headers = {"traceparent": traceparent} if traceparent else {}
        async with web.post(f"{url}/v1/chat/completions", json=HELLO, headers=headers) as answer:
            shown.append(answer.headers["x-trace-id"])

    assert shown[0] == trace
    assert len(set(shown)) == 3
    assert all(len(bytes.fromhex(one)) == 16 for one in shown)


# --- bytes and headers -------------------------------------------------------------------------------


async def test_a_stream_is_written_as_the_contract_has_it(web: aiohttp.ClientSession, url: str) -> None:
    body = {**HELLO, "stream": True, "stream_options": {"include_usage": True}}
    async with web.post(
        f"{url}/v1/chat/completions", json=body, headers={"Accept-Encoding": "gzip, deflate"}
    ) as answer:
        *chunks, last = events(await answer.read())

    assert answer.status == 200
    assert answer.content_type == "text/event-stream"
    assert answer.charset in (None, "utf-8")
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert "Content-Encoding" not in answer.headers
    assert last == "[DONE]"
    parsed = [json.loads(chunk) for chunk in chunks]
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in parsed)
    assert all(chunk["choices"][0].keys() >= {"finish_reason", "logprobs", "delta"} for chunk in parsed[:-1])
    assert parsed[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert parsed[-2]["choices"][0]["delta"] == {}


async def test_a_body_is_written_as_the_contract_has_it(web: aiohttp.ClientSession, url: str) -> None:
    async with web.post(f"{url}/v1/chat/completions", json=HELLO, headers={"Accept-Encoding": "gzip"}) as answer:
        body = await answer.json()

    assert answer.content_type == "application/json"
    assert "Content-Encoding" not in answer.headers
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "one two three", "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]


async def test_a_stream_ends_its_body_and_keeps_its_connection(url: str) -> None:
    """The SDK reads 0.1 s past [DONE], then drops the connection: an open body costs a reconnect per turn."""
    host, port = url.removeprefix("http://").split(":")
    body = json.dumps({**HELLO, "stream": True}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for _ in range(3):
            writer.write(head + body)
            async with asyncio.timeout(5):
                answer = await reader.readuntil(b"data: [DONE]\n\n")
                rest = await reader.readuntil(b"0\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\nconnection: close" not in answer.lower()
            assert rest in (b"\r\n0\r\n\r\n", b"0\r\n\r\n")
    finally:
        writer.close()


async def test_the_official_client_needs_one_connection_for_many_turns(url: str) -> None:
    async with tap(f"{url}/v1") as tapped, AsyncOpenAI(base_url=tapped.url, api_key="none", max_retries=0) as client:
        for _ in range(3):
            assert said(await stream(client)) == "one two three"
            await client.chat.completions.create(model="echo", messages=[user("one")])
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="nobody", messages=[user("one")])
        assert said(await stream(client)) == "one two three"

    assert len(tapped.seen) == 8
    assert tapped.connections == 1


async def test_a_silent_model_is_covered_by_pings(web: aiohttp.ClientSession, url: str) -> None:
    body = {**HELLO, "stream": True, "metadata": {"echo.first_ms": str(HEADERS_AFTER_S * 1000 + PING_S * 4500)}}
    began = time.monotonic()
    async with web.post(f"{url}/v1/chat/completions", json=body) as answer:
        opened = time.monotonic() - began
        found = events(await answer.read())

    pings = found.count(": ping")
    assert opened >= HEADERS_AFTER_S * 0.9
    assert pings >= 2
    assert found[:pings] == [": ping"] * pings  # none once it speaks
    assert found[-1] == "[DONE]"


async def test_the_official_client_does_not_hear_pings(client: AsyncOpenAI) -> None:
    waits = str(HEADERS_AFTER_S * 1000 + PING_S * 2500)

    assert said(await stream(client, metadata={"echo.first_ms": waits})) == "one two three"


# --- failures ----------------------------------------------------------------------------------------


async def test_before_the_first_word_a_failure_is_a_status(client: AsyncOpenAI) -> None:
    for streamed in (False, True):
        with pytest.raises(openai.InternalServerError) as failed:
            await client.chat.completions.create(
                model="echo", messages=[user("one")], stream=streamed, metadata={"echo.fail": "before:503"}
            )
        assert (failed.value.status_code, failed.value.code) == (502, "upstream_error")


@pytest.mark.parametrize(
    ("model", "text", "metadata", "heard"),
    [
        ("echo", "one two three", {"echo.fail": "cut:2"}, "one two "),
        ("upstream", "#cut tokens=4 fail=cut:2", {}, "g1.0 g1.1 "),
        ("upstream", "#error tokens=4 fail=error:2", {}, "g1.0 g1.1 "),
    ],
)
async def test_after_it_the_failure_is_an_error_in_the_stream(
    client: AsyncOpenAI, model: str, text: str, metadata: dict[str, str], heard: str
) -> None:
    answer = await client.chat.completions.create(model=model, messages=[user(text)], stream=True, metadata=metadata)
    chunks, failed = await until_it_fails(answer)

    assert said(chunks) == heard
    assert all(chunk.choices[0].finish_reason is None for chunk in chunks)
    assert not isinstance(failed, openai.APIStatusError)
    assert (failed.type, failed.code) == ("server_error", "upstream_error")


async def test_an_error_in_a_stream_is_followed_by_no_end_mark(web: aiohttp.ClientSession, url: str) -> None:
    body = {**HELLO, "stream": True, "metadata": {"echo.fail": "cut:2"}}
    async with web.post(f"{url}/v1/chat/completions", json=body) as answer:
        found = events(await answer.read())

    error = json.loads(found[-1])["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("server_error", "upstream_error")
    assert "[DONE]" not in found


async def test_a_client_that_waits_less_is_told_in_time(url: str) -> None:
    """Its own timeout is no answer: a 504 before it is, or an error in the stream."""

    async def ask(create: Any, *, stream: bool) -> openai.APIError:
        waits = {"echo.first_ms": "30000"}
        try:
            answer = await create(model="echo", messages=[user("one")], stream=stream, metadata=waits)
        except openai.APIError as failed:
            return failed
        return (await until_it_fails(answer))[1]

    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=1.2) as hasty:
        create = hasty.chat.completions.create
        plain, streamed = await asyncio.gather(ask(create, stream=False), ask(create, stream=True))

    assert isinstance(plain, openai.InternalServerError)
    assert plain.status_code == 504
    assert plain.code == streamed.code == "upstream_timeout"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, None),
        ({"Authorization": ""}, None),
        ({"Authorization": "Bearer"}, None),
        ({"Authorization": "Bearer "}, None),
        ({"Authorization": f"Basic {CALLER_KEY}"}, None),
        ({"api-key": CALLER_KEY}, None),
        ({"Authorization": "Bearer sk-wrong"}, "invalid_api_key"),
        ({"Authorization": f"Bearer {CALLER_KEY}x"}, "invalid_api_key"),
        ({"Authorization": f"Bearer {CALLER_KEY[:-1]}"}, "invalid_api_key"),
        ({"Authorization": "Bearer ключ"}, "invalid_api_key"),
    ],
)
async def test_without_a_key_there_is_no_answer(
    web: aiohttp.ClientSession, guarded: Member, headers: dict[str, str], code: str | None
) -> None:
    """Not of the models either: LiveKit's prewarm is that call and is meant to cost nothing."""
    places = [("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("GET", "/v1/models/echo")]
    for method, path in places:
        async with web.request(method, guarded.url + path, data=b"{", headers=headers) as answer:
            error = (await answer.json())["error"]
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.headers["x-request-id"]
        assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, None)
        assert "sk-" not in error["message"]


async def test_with_a_key_there_is(web: aiohttp.ClientSession, guarded: Member) -> None:
    async with AsyncOpenAI(base_url=f"{guarded.url}/v1", api_key=CALLER_KEY, max_retries=0) as client:
        assert said(await stream(client)) == "one two three"
    async with web.get(f"{guarded.url}/v1/models", headers={"authorization": f"bearer  {CALLER_KEY} "}) as answer:
        assert answer.status == 200


async def test_health_and_admin_need_no_key(web: aiohttp.ClientSession, line: RealLine, guarded: Member) -> None:
    urls = [f"{guarded.url}/health", f"{guarded.url}/ready"]
    urls += [f"{member.admin}/{path}" for member in (guarded, *line.workers) for path in ("health", "ready", "metrics")]
    for one in urls:
        async with web.get(one) as answer:
            assert answer.status == 200, one
    async with web.get(f"{guarded.url}/metrics") as answer:
        assert answer.status == 404


@pytest.mark.parametrize(
    ("method", "path", "status", "allow", "code"),
    [
        ("GET", "/", 404, None, None),
        ("GET", "/v1/nowhere", 404, None, None),
        ("POST", "/v1/completions", 404, None, None),
        ("GET", "/v1/chat/completions", 405, "POST", "method_not_supported"),
        ("PUT", "/v1/chat/completions", 405, "POST", "method_not_supported"),
        ("OPTIONS", "/v1/chat/completions", 405, "POST", "method_not_supported"),
        ("POST", "/v1/models", 405, "GET, HEAD", "method_not_supported"),
        ("DELETE", "/v1/models/echo", 405, "GET, HEAD", "method_not_supported"),
        ("POST", "/health", 405, "GET, HEAD", "method_not_supported"),
    ],
)
async def test_an_unknown_path_or_method_is_told_as_an_error_object(
    web: aiohttp.ClientSession, url: str, method: str, path: str, status: int, allow: str | None, code: str | None
) -> None:
    async with web.request(method, url + path) as answer:
        error = (await answer.json())["error"]

    assert (answer.status, answer.headers.get("Allow")) == (status, allow)
    assert answer.content_type == "application/json"
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", None, code)


# --- models, health, metrics -------------------------------------------------------------------------


async def test_models_are_listed_and_looked_up(client: AsyncOpenAI) -> None:
    listed = [model async for model in client.models.list()]
    one = await client.models.retrieve("echo")

    assert {model.id for model in listed} == {"echo", "echo-tools", "echo-json", "echo-reasoning", "upstream"}
    assert all((model.object, type(model.created)) == ("model", int) and model.owned_by for model in listed)
    assert one in listed


@pytest.mark.parametrize("name", ["nobody", "a/b/c", "openai", "openai/*", "echo/x", "%20", "echo%2Fx"])
async def test_an_unknown_model_is_a_404(web: aiohttp.ClientSession, url: str, name: str) -> None:
    async with web.get(f"{url}/v1/models/{name}") as answer:
        error = (await answer.json())["error"]

    assert answer.status == 404
    assert (error["code"], error["param"]) == ("model_not_found", "model")


@pytest.mark.parametrize("path", ["/p/livekitt/v1/models", "/p/livekitt/v1/models/echo"])
async def test_models_under_a_profile_that_there_is_not_are_refused_as_turns_are(
    web: aiohttp.ClientSession, url: str, path: str
) -> None:
    async with web.get(f"{url}{path}") as answer:
        error = (await answer.json())["error"]

    assert answer.status == 400
    assert "known: assemblyai, deepgram" in error["message"]
    async with web.get(f"{url}{path.replace('livekitt', 'livekit')}") as answer:
        assert answer.status == 200


async def test_a_model_that_is_passed_through_can_be_looked_up(client: AsyncOpenAI) -> None:
    """Its id holds a slash."""
    model = await client.models.retrieve("openai/gpt-4.1-mini")

    assert model.id == "openai/gpt-4.1-mini"


async def test_readiness_says_what_it_depends_on(web: aiohttp.ClientSession, line: RealLine) -> None:
    async def free(member: Member) -> int:
        return int((await member.readiness())[1]["pools"]["default"]["slots_free"])

    for member in (line.edges[0], line.edges[2], line.workers[0]):
        assert await until(lambda: free(member), lambda slots: slots == 256, SETTLE_S) == 256  # noqa: B023
    for one in (line.edges[0].url, line.edges[0].admin, line.workers[0].admin):
        async with web.get(f"{one}/ready") as answer:
            said = await answer.json()
        assert answer.status == 200
        assert (said["ready"], said["nats"], said["draining"]) == (True, True, False)
        assert said["pools"]["default"]["workers"] == 1
    async with web.get(f"{line.edges[0].url}/health") as answer:
        assert answer.status == 200


async def test_metrics_have_the_names_that_dashboards_know(line: RealLine, client: AsyncOpenAI) -> None:
    await stream(client)
    edge = (await asyncio.gather(*(edge.metrics() for edge in line.edges)))[0]
    worker = await line.workers[0].metrics()

    names = {"trunkline_turn_first_content_seconds", "trunkline_queue_depth", "trunkline_cancel_seconds"}
    names |= {"trunkline_frames_fenced_total", "trunkline_offers_total"}
    assert {
        name for name in names if f"# TYPE {name} " in edge or f"# TYPE {name.removesuffix('_total')}" in edge
    } == names
    assert 'trunkline_turns_total{outcome="completed"}' in "".join([await edge.metrics() for edge in line.edges])
    assert f"\n{telemetry.GENERATIONS_LIVE} " in worker
    assert f"\n{telemetry.SLOTS_FREE} 256.0" in worker


async def test_two_edges_share_one_port(line: RealLine, url: str) -> None:
    async def turn(number: int) -> str:
        answer = await (await Call.place(f"{url}/v1/chat/completions", {**HELLO, "stream": True})).ended()
        return answer.text

    assert line.edges[0].url == line.edges[1].url
    assert set(await asyncio.gather(*(turn(number) for number in range(40)))) == {"one two three"}
    for edge in line.edges[:2]:
        assert 'trunkline_turns_total{outcome="completed"}' in await edge.metrics()


# --- hang-ups ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("speaks", [True, False])
async def test_a_caller_who_hangs_up_frees_the_slot(line: RealLine, url: str, streamed: bool, speaks: bool) -> None:
    commands = {"echo.rate": "10", "echo.tokens": "500", "echo.first_ms": "0" if speaks else "5000"}
    call = await Call.place(f"{url}/v1/chat/completions", {**HELLO, "stream": streamed, "metadata": commands})
    assert await until(line.workers[0].slots_taken, bool, SETTLE_S) == 1
    if streamed and speaks:
        assert await call.heard(2)

    call.hang_up(reset=not speaks)

    await line.idle()
    assert (await call.ended()).end is End.HUNG_UP


async def test_a_client_that_closes_its_stream_frees_the_slot(line: RealLine, client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="echo", messages=[user("one")], stream=True, metadata={"echo.rate": "10", "echo.tokens": "500"}
    )
    async for _ in answer:
        break
    assert await line.workers[0].slots_taken() == 1

    await answer.close()

    await line.idle()


# --- upstreams ---------------------------------------------------------------------------------------


async def test_an_upstream_answers_through_the_line(client: AsyncOpenAI) -> None:
    plain = await client.chat.completions.create(model="upstream", messages=[user("#plain tokens=3")])
    chunks = await stream(client, "upstream", "#streamed tokens=3", stream_options={"include_usage": True})

    assert plain.choices[0].message.content == said(chunks) == "g1.0 g1.1 g1.2 "
    assert plain.model == chunks[0].model == "upstream"
    assert chunks[-1].usage.completion_tokens == 3


async def test_an_id_after_openai_is_passed_through(client: AsyncOpenAI, taps: Taps) -> None:
    chunks = await stream(client, "openai/gpt-4.1-mini", "#through tokens=2")
    [request] = taps.openai.about("#through")

    assert said(chunks) == "g1.0 g1.1 "
    assert chunks[0].model == "openai/gpt-4.1-mini"
    assert json.loads(request.body)["model"] == "gpt-4.1-mini"
    assert request.target == "/v1/chat/completions"
    assert not taps.upstream.about("#through")


async def test_an_upstream_gets_its_own_key_and_nobody_elses(taps: Taps, guarded: Member) -> None:
    async with AsyncOpenAI(base_url=f"{guarded.url}/v1", api_key=CALLER_KEY, max_retries=0) as client:
        await asyncio.gather(
            stream(client, "upstream", "#keys tokens=1"), stream(client, "openai/some-model", "#keys tokens=1")
        )

    for own, tapped in ((UPSTREAM_KEY, taps.upstream), (OPENAI_KEY, taps.openai)):
        [request] = tapped.about("#keys")
        assert request.headers["authorization"] == f"Bearer {own}"
        assert request.headers["accept-encoding"] == "identity"
        others = {UPSTREAM_KEY, OPENAI_KEY, CALLER_KEY} - {own}
        assert not any(other in str(request) for other in others)


async def test_an_upstream_gets_only_fields_that_are_allowed(web: aiohttp.ClientSession, url: str, taps: Taps) -> None:
    """No field of a body can choose a URL, a key or a header, and a stranger's reaches nobody."""
    sent = {
        "model": "upstream",
        "messages": [
            {"role": "developer", "content": "Be brief.", "stranger": 1},
            {"role": "user", "name": "ann", "content": "#allowed tokens=1", "cache_control": {"type": "ephemeral"}},
        ],
        "temperature": 0.5,
        "max_tokens": 7,
        "stop": "END",
        "seed": 4,
        "user": "ann",
        "n": 1,
        "store": True,
        "metadata": {"secret_note": "stays here"},
        "logit_bias": {"50256": -100},
        "response_format": {"type": "text"},
        "tools": [{**WEATHER, "stranger": 1}],
        "tool_choice": "none",
        "base_url": "http://127.0.0.1:1/v1",
        "url": "http://127.0.0.1:1",
        "api_key": "sk-evil",
        "extra_headers": {"X-Evil": "1"},
        "headers": {"X-Evil": "1"},
        "extra_body": {"evil": 1},
        "elevenlabs_extra_body": {"conversation_id": "conv_1", "evil": 1},
    }
    headers = {"X-Evil": "1", "Cookie": "evil=1", "X-Forwarded-For": "6.6.6.6", "OpenAI-Organization": "org-evil"}
    async with web.post(f"{url}/v1/chat/completions", json=sent, headers=headers) as answer:
        assert answer.status == 200
    [request] = taps.upstream.about("#allowed")
    body = json.loads(request.body)

    assert body == {
        "model": "fake",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "name": "ann", "content": "#allowed tokens=1"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "max_tokens": 7,
        "stop": ["END"],
        "seed": 4,
        "user": "ann",
        "logit_bias": {"50256": -100},
        "tools": [WEATHER],
        "tool_choice": "none",
    }
    expected = {"host", "accept", "accept-encoding", "content-type", "user-agent", "authorization", "content-length"}
    assert request.headers.keys() == expected | {"traceparent"}
    assert "evil" not in str(request)
