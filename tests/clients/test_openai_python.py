"""openai for Python in all the ways it can be asked, against a real edge and worker."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionMessageFunctionToolCall, ChatCompletionMessageParam

from bench.polling import until
from tests.broker.line_fixture import SETTLE_S, RealLine, user
from tests.clients.forms import SLOW, Booking, Time, Weather
from tests.clients.hang_up import freed_by_hanging_up, interrupted
from tests.clients.programs.orders import TOOLS

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = "one two three"
OFFERED = [
    openai.pydantic_function_tool(Weather, name="get_weather"),  # strict, as the client makes them
    openai.pydantic_function_tool(Time, name="get_time"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(echo_line: RealLine) -> AsyncIterator[AsyncOpenAI]:
    """With asyncio."""
    url = f"{echo_line.edges[0].url}/v1"
    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0, timeout=20) as client:
        yield client


@pytest.fixture
def plain(echo_line: RealLine) -> OpenAI:
    """Without. It blocks: use it in a thread."""
    return OpenAI(base_url=f"{echo_line.edges[0].url}/v1", api_key="none", max_retries=0, timeout=20)


# --- text ------------------------------------------------------------------------------------------


async def test_create_answers_with_text_and_usage(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="echo", messages=[user(TEXT)])

    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (3, 3, 6)


async def test_the_stream_helper_adds_up_what_it_hears(client: AsyncOpenAI) -> None:
    heard: list[str] = []
    options: Any = {"include_usage": True}
    async with client.chat.completions.stream(model="echo", messages=[user(TEXT)], stream_options=options) as stream:
        async for event in stream:
            if event.type == "content.delta":
                heard.append(event.delta)  # noqa: PERF401 - the helper's state counts while it is read
        answer = await stream.get_final_completion()

    assert heard == ["", "one ", "two ", "three"]  # the first chunk has the role
    assert answer.choices[0].message.content == TEXT
    assert answer.usage
    assert answer.usage.total_tokens == 6


async def test_the_client_without_asyncio_hears_the_same(plain: OpenAI) -> None:
    def talk() -> tuple[str | None, list[str], str | None]:
        with plain:
            answer = plain.chat.completions.create(model="echo", messages=[user(TEXT)])
            chunks = list(plain.chat.completions.create(model="echo", messages=[user(TEXT)], stream=True))
            with plain.chat.completions.stream(model="echo", messages=[user(TEXT)]) as stream:
                final = stream.get_final_completion()
        pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]
        return answer.choices[0].message.content, [piece for piece in pieces if piece], final.choices[0].message.content

    assert await asyncio.to_thread(talk) == (TEXT, ["one ", "two ", "three"], TEXT)


async def test_a_raw_response_shows_the_headers_and_parses(client: AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(model="echo", messages=[user(TEXT)])
    answer = raw.parse()

    assert isinstance(answer, ChatCompletion)
    assert answer.choices[0].message.content == TEXT
    assert raw.headers["content-type"].startswith("application/json")
    assert raw.request_id
    assert raw.request_id == answer._request_id


async def test_a_raw_stream_is_read_line_by_line(client: AsyncOpenAI) -> None:
    asked = client.chat.completions.with_streaming_response.create(model="echo", messages=[user(TEXT)], stream=True)
    async with asked as raw:
        lines = [line async for line in raw.iter_lines() if line]

    assert raw.headers["content-type"].startswith("text/event-stream")
    assert lines[-1] == "data: [DONE]"
    assert all(json.loads(line.removeprefix("data: "))["object"] == "chat.completion.chunk" for line in lines[:-1])


# --- tools and structured output ---------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("metadata", "called", "last"),
    [({}, ["get_weather"], "Rain in text."), ({"echo.calls": "2"}, ["get_weather", "get_time"], "Ten past nine.")],
)
async def test_a_tool_loop_ends_with_what_is_made_of_the_results(
    client: AsyncOpenAI, metadata: dict[str, str], called: list[str], last: str, streamed: bool
) -> None:
    messages: list[ChatCompletionMessageParam] = [user("Weather? Time?")]
    names: list[str] = []
    while True:
        asked: dict[str, Any] = {"model": "echo-tools", "messages": messages, "tools": OFFERED, "metadata": metadata}
        if streamed:
            async with client.chat.completions.stream(**asked) as stream:
                message = (await stream.get_final_completion()).choices[0].message
        else:
            message = (await client.chat.completions.parse(**asked)).choices[0].message
        if not message.tool_calls:
            break
        messages.append(message.to_dict())  # type: ignore[arg-type]  # as the client's own examples send it back
        for call in message.tool_calls:
            assert isinstance(call, ChatCompletionMessageFunctionToolCall)
            names.append(call.function.name)
            result = TOOLS[call.function.name](**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})

    assert names == called
    assert message.content == last


async def test_parse_gives_an_object(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.parse(model="echo-json", messages=[user("Two.")], response_format=Booking)

    assert answer.choices[0].message.parsed == Booking(name="text", guests=0)


async def test_the_stream_helper_parses_too(client: AsyncOpenAI) -> None:
    async with client.chat.completions.stream(
        model="echo-json", messages=[user("Two.")], response_format=Booking
    ) as stream:
        answer = await stream.get_final_completion()

    assert answer.choices[0].message.parsed == Booking(name="text", guests=0)


# --- errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_error_before_the_stream_is_a_status(client: AsyncOpenAI, streamed: bool) -> None:
    asked: dict[str, Any] = {"model": "echo", "messages": [user(TEXT)], "stream": streamed}
    with pytest.raises(openai.InternalServerError) as failed:
        await client.chat.completions.create(**asked, metadata={"echo.fail": "before:503"})

    assert (failed.value.status_code, failed.value.code) == (502, "upstream_error")
    assert "target 'echo' answered 503" in failed.value.message
    assert failed.value.request_id


async def test_an_error_within_the_stream_is_raised_after_what_was_said(client: AsyncOpenAI) -> None:
    heard: list[str] = []
    asked: dict[str, Any] = {"model": "echo", "messages": [user(TEXT)], "stream": True}
    stream = await client.chat.completions.create(**asked, metadata={"echo.fail": "cut:2"})

    async def hear() -> None:
        async for chunk in stream:
            heard.append(chunk.choices[0].delta.content or "")  # noqa: PERF401 - what came before the error counts

    with pytest.raises(openai.APIError) as failed:
        await hear()

    assert "".join(heard) == "one two "
    assert "target 'echo' broke off" in failed.value.message
    assert failed.value.code == "upstream_error"


# --- hanging up ----------------------------------------------------------------------------------------


async def test_closing_a_stream_frees_the_slot(client: AsyncOpenAI, echo_line: RealLine) -> None:
    before = interrupted(echo_line)
    stream = await client.chat.completions.create(model="echo", messages=[user(TEXT)], stream=True, metadata=SLOW)
    await anext(stream)
    assert await echo_line.workers[0].slots_taken() == 1

    await stream.close()

    await freed_by_hanging_up(echo_line, before)


async def test_leaving_the_stream_helper_frees_the_slot(client: AsyncOpenAI, echo_line: RealLine) -> None:
    before = interrupted(echo_line)

    async with client.chat.completions.stream(model="echo", messages=[user(TEXT)], metadata=SLOW) as stream:
        await anext(aiter(stream))

    await freed_by_hanging_up(echo_line, before)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_cancelled_task_frees_the_slot(client: AsyncOpenAI, echo_line: RealLine, streamed: bool) -> None:
    """As in a barge-in: whoever waits for the answer is cancelled."""
    before = interrupted(echo_line)

    async def ask() -> None:
        asked: dict[str, Any] = {"model": "echo", "messages": [user(TEXT)], "metadata": SLOW, "stream": streamed}
        answer = await client.chat.completions.create(**asked)
        async for _ in answer:
            pass

    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(ask())
        assert await until(echo_line.workers[0].slots_taken, bool, SETTLE_S) == 1
        asking.cancel()

    await freed_by_hanging_up(echo_line, before)


async def test_the_client_without_asyncio_frees_the_slot_too(plain: OpenAI, echo_line: RealLine) -> None:
    before = interrupted(echo_line)

    def hear_and_close() -> None:
        stream = plain.chat.completions.create(model="echo", messages=[user(TEXT)], stream=True, metadata=SLOW)
        next(stream)
        stream.close()

    await asyncio.to_thread(hear_and_close)

    await freed_by_hanging_up(echo_line, before)
    plain.close()
