"""openai for Python over the Responses API, in all the ways it can be asked, against a real edge and worker."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI, OpenAI
from openai.types.responses import Response, ResponseFunctionToolCall, ResponseItem, ResponseReasoningItem

from bench.polling import until
from tests.broker.line_fixture import SETTLE_S, RealLine, real_line
from tests.clients.forms import SLOW, Booking, Time, Weather
from tests.clients.hang_up import freed_by_hanging_up, interrupted
from tests.clients.programs.orders import TOOLS
from workers.targets.echo_script import THOUGHTS

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = "one two three"
KEY, OTHER_KEY = "sk-of-the-desk", "sk-of-the-shop"
OFFERED = [
    openai.pydantic_responses_function_tool(Weather, name="get_weather"),
    openai.pydantic_responses_function_tool(Time, name="get_time"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealLine]:
    """An edge that knows two keys, and a worker."""
    keys = {"TRUNKLINE_API_KEYS": f"desk:{KEY},shop:{OTHER_KEY}"}
    async with real_line(tmp_path_factory.mktemp("line"), env=keys) as line:
        line.add("edge")
        line.add("worker")
        await line.ready()
        yield line
        await line.idle()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(line: RealLine) -> AsyncIterator[AsyncOpenAI]:
    """With asyncio."""
    url = f"{line.edges[0].url}/v1"
    async with AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0, timeout=20) as client:
        yield client


@pytest.fixture
def plain(line: RealLine) -> OpenAI:
    """Without. It blocks: use it in a thread."""
    return OpenAI(base_url=f"{line.edges[0].url}/v1", api_key=KEY, max_retries=0, timeout=20)


def tokens(response: Response) -> tuple[int, int, int]:
    """What it cost."""
    assert response.usage
    return response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens


# --- text ------------------------------------------------------------------------------------------


async def test_create_answers_with_text_and_usage(client: AsyncOpenAI) -> None:
    response = await client.responses.create(model="echo", input=TEXT)

    assert (response.status, response.output_text) == ("completed", TEXT)
    assert tokens(response) == (3, 3, 6)
    assert response.error is None


async def test_a_stream_tells_each_word_and_ends_with_the_whole_response(client: AsyncOpenAI) -> None:
    stream = await client.responses.create(model="echo", input=TEXT, stream=True)
    events = [event async for event in stream]

    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.delta for event in events if event.type == "response.output_text.delta"] == ["one ", "two ", "three"]
    first, last = events[0], events[-1]
    assert first.type == "response.created"
    assert last.type == "response.completed"
    assert first.response.id == last.response.id
    assert (last.response.output_text, tokens(last.response)) == (TEXT, (3, 3, 6))


async def test_the_stream_helper_adds_up_what_it_hears(client: AsyncOpenAI) -> None:
    async with client.responses.stream(model="echo", input=TEXT) as stream:
        snapshots = [event.snapshot async for event in stream if event.type == "response.output_text.delta"]
        response = await stream.get_final_response()

    assert snapshots == ["one ", "one two ", TEXT]
    assert (response.output_text, tokens(response)) == (TEXT, (3, 3, 6))


async def test_the_client_without_asyncio_hears_the_same(plain: OpenAI) -> None:
    def talk() -> tuple[str, list[str], str]:
        with plain:
            response = plain.responses.create(model="echo", input=TEXT)
            events = list(plain.responses.create(model="echo", input=TEXT, stream=True))
            with plain.responses.stream(model="echo", input=TEXT) as stream:
                final = stream.get_final_response()
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        return response.output_text, deltas, final.output_text

    assert await asyncio.to_thread(talk) == (TEXT, ["one ", "two ", "three"], TEXT)


async def test_a_raw_response_shows_the_headers_and_parses(client: AsyncOpenAI) -> None:
    raw = await client.responses.with_raw_response.create(model="echo", input=TEXT)
    response = raw.parse()

    assert isinstance(response, Response)
    assert response.output_text == TEXT
    assert raw.headers["content-type"].startswith("application/json")
    assert raw.request_id
    assert raw.request_id == response._request_id


async def test_a_raw_stream_is_read_line_by_line(client: AsyncOpenAI) -> None:
    asked = client.responses.with_streaming_response.create(model="echo", input=TEXT, stream=True)
    async with asked as raw:
        lines = [line async for line in raw.iter_lines() if line]

    assert raw.headers["content-type"].startswith("text/event-stream")
    assert lines[-1] == "data: [DONE]"
    names = [line.removeprefix("event: ") for line in lines[:-1:2]]
    assert names == [json.loads(line.removeprefix("data: "))["type"] for line in lines[1:-1:2]]


async def test_an_answer_that_is_cut_short_says_why(client: AsyncOpenAI) -> None:
    response = await client.responses.create(model="echo", input=TEXT, max_output_tokens=2)

    assert (response.status, response.output_text) == ("incomplete", "one two ")
    assert response.incomplete_details
    assert response.incomplete_details.reason == "max_output_tokens"


# --- tools, structured output and reasoning ----------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("chained", [False, True])
@pytest.mark.parametrize(
    ("metadata", "called", "last"),
    [({}, ["get_weather"], "Rain in text."), ({"echo.calls": "2"}, ["get_weather", "get_time"], "Ten past nine.")],
)
async def test_a_tool_loop_ends_with_what_is_made_of_the_results(
    client: AsyncOpenAI, metadata: dict[str, str], called: list[str], last: str, chained: bool, streamed: bool
) -> None:
    """Chained: only the results are sent, to be read after the response that asked for them."""
    names: list[str] = []
    asked: dict[str, Any] = {"model": "echo-tools", "tools": OFFERED, "metadata": metadata}
    asked["input"] = [{"role": "user", "content": "Weather? Time?"}]
    while True:
        if streamed:
            async with client.responses.stream(**asked) as stream:
                response = await stream.get_final_response()
        else:
            response = await client.responses.parse(**asked)
        calls = [item for item in response.output if item.type == "function_call"]
        if not calls:
            break
        names += [call.name for call in calls]
        assert isinstance(calls[0].parsed_arguments, Weather)
        results = [{"type": "function_call_output", "call_id": call.call_id, "output": run(call)} for call in calls]
        if chained:
            asked |= {"previous_response_id": response.id, "input": results}
        else:
            asked["input"] = [*asked["input"], *response.output, *results]

    assert names == called
    assert response.output_text == last
    assert tokens(response)[0] == 2 + 3 * len(called)  # words, of the question and of each result


def run(call: ResponseFunctionToolCall) -> str:
    """What a tool says."""
    return TOOLS[call.name](**json.loads(call.arguments))


async def test_one_call_at_a_time_where_that_is_asked_for(client: AsyncOpenAI) -> None:
    response = await client.responses.create(
        model="echo-tools", input="?", tools=OFFERED, parallel_tool_calls=False, metadata={"echo.calls": "2"}
    )

    assert [item.type for item in response.output] == ["function_call"]


async def test_parse_gives_an_object(client: AsyncOpenAI) -> None:
    response = await client.responses.parse(model="echo-json", input="Two.", text_format=Booking)

    assert response.output_parsed == Booking(name="text", guests=0)


async def test_the_stream_helper_parses_too(client: AsyncOpenAI) -> None:
    async with client.responses.stream(model="echo-json", input="Two.", text_format=Booking) as stream:
        response = await stream.get_final_response()

    assert response.output_parsed == Booking(name="text", guests=0)


async def test_what_the_model_thought_is_summed_up_and_may_be_sent_back(client: AsyncOpenAI) -> None:
    async with client.responses.stream(model="echo-reasoning", input=TEXT, reasoning={"summary": "auto"}) as stream:
        thoughts = [event.delta async for event in stream if event.type == "response.reasoning_summary_text.delta"]
        response = await stream.get_final_response()
    thought, said = response.output
    history: Any = [{"role": "user", "content": TEXT}, thought, said, {"role": "user", "content": "four"}]
    again = await client.responses.create(model="echo", input=history)

    assert isinstance(thought, ResponseReasoningItem)
    assert "".join(thoughts) == "".join(part.text for part in thought.summary) == THOUGHTS
    assert response.output_text == TEXT
    assert response.usage
    assert response.usage.output_tokens_details.reasoning_tokens == len(THOUGHTS.split())
    assert (again.output_text, tokens(again)[0]) == ("four", 3 + 3 + 1)


# --- state -------------------------------------------------------------------------------------------


async def test_a_conversation_goes_on_from_any_response(client: AsyncOpenAI) -> None:
    first = await client.responses.create(model="echo", input=TEXT, instructions="Be brief.")
    second = await client.responses.create(model="echo", input="four five", previous_response_id=first.id)
    third = await client.responses.create(model="echo", input="six", previous_response_id=second.id)
    other = await client.responses.create(model="echo", input="seven", previous_response_id=first.id)

    assert (second.previous_response_id, second.output_text) == (first.id, "four five")
    assert tokens(first)[0] == 3 + 2  # the instructions count for their own response alone
    assert tokens(second)[0] == 3 + 3 + 2
    assert tokens(third)[0] == 3 + 3 + 2 + 2 + 1
    assert tokens(other)[0] == 3 + 3 + 1


async def test_what_the_caller_heard_takes_the_place_of_what_was_said(client: AsyncOpenAI) -> None:
    """As LiveKit's plug-in sends it: the beginning of the response that it names."""
    first = await client.responses.create(model="echo", input=TEXT)
    heard: Any = [{"role": "assistant", "content": "one"}, {"role": "user", "content": "four"}]

    second = await client.responses.create(model="echo", input=heard, previous_response_id=first.id)

    assert tokens(second)[0] == 3 + 1 + 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_response_is_retrieved_as_it_was_told(client: AsyncOpenAI, streamed: bool) -> None:
    if streamed:
        async with client.responses.stream(model="echo", input=TEXT) as stream:
            told: Response = await stream.get_final_response()
    else:
        told = await client.responses.create(model="echo", input=TEXT)

    kept = await client.responses.retrieve(told.id)

    assert kept.store  # type: ignore[attr-defined]  # an extra, for the client
    assert kept.output_text == TEXT
    plain = told.to_dict()
    assert without_parsed(plain) == kept.to_dict()


def without_parsed(response: dict[str, Any]) -> dict[str, Any]:
    """Without what the stream helper has put in."""
    for item in response["output"]:
        for part in item["content"]:
            part.pop("parsed", None)
    return response


async def test_what_led_to_a_response_is_listed_page_by_page(client: AsyncOpenAI) -> None:
    first = await client.responses.create(model="echo", input=TEXT)
    second = await client.responses.create(model="echo", input="four", previous_response_id=first.id)

    page = await client.responses.input_items.list(second.id, limit=2, order="asc")
    said = [item async for item in page]
    newest = await client.responses.input_items.list(second.id, limit=1)

    assert (len(page.data), page.has_next_page()) == (2, True)
    assert [text_of(item) for item in said] == [TEXT, TEXT, "four"]
    assert [text_of(item) for item in newest.data] == ["four"]


def text_of(item: ResponseItem) -> str:
    """A message's text, of which it has one part."""
    assert item.type == "message"
    (part,) = item.content
    assert part.type in ("input_text", "output_text")
    return part.text


async def test_a_deleted_response_is_gone(client: AsyncOpenAI) -> None:
    response = await client.responses.create(model="echo", input=TEXT)

    await client.responses.delete(response.id)

    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(response.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.delete(response.id)
    await cannot_go_on(client, response.id)


async def cannot_go_on(client: AsyncOpenAI, response_id: str) -> None:
    """Raises AssertionError: it can."""
    with pytest.raises(openai.BadRequestError) as failed:
        await client.responses.create(model="echo", input="four", previous_response_id=response_id)
    assert (failed.value.code, failed.value.param) == ("previous_response_not_found", "previous_response_id")


async def test_what_is_not_to_be_stored_is_not(client: AsyncOpenAI) -> None:
    response = await client.responses.create(model="echo", input=TEXT, store=False)

    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(response.id)
    await cannot_go_on(client, response.id)


async def test_another_key_finds_nothing(client: AsyncOpenAI) -> None:
    response = await client.responses.create(model="echo", input=TEXT)
    stranger = client.with_options(api_key=OTHER_KEY)

    for look in (stranger.responses.retrieve, stranger.responses.delete, stranger.responses.cancel):
        with pytest.raises(openai.NotFoundError):
            await look(response.id)
    with pytest.raises(openai.NotFoundError):
        await stranger.responses.input_items.list(response.id)
    await cannot_go_on(stranger, response.id)
    assert (await client.responses.retrieve(response.id)).id == response.id


async def test_a_cancelled_response_ends_and_is_shown_so(client: AsyncOpenAI, line: RealLine) -> None:
    stream = await client.responses.create(model="echo", input=TEXT, stream=True, metadata=SLOW)
    async for event in stream:
        if event.type == "response.output_text.delta":
            break
        if event.type == "response.created":
            response_id = event.response.id

    cancelled = await client.responses.cancel(response_id)
    rest = [event async for event in stream]

    assert cancelled.status == "cancelled"
    assert cancelled.output_text.startswith("one ")
    assert rest[-1].type == "response.failed"
    assert rest[-1].response.status == "cancelled"
    assert (await client.responses.retrieve(response_id)).status == "cancelled"
    await line.idle()


# --- errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_error_before_the_stream_is_a_status(client: AsyncOpenAI, streamed: bool) -> None:
    asked: dict[str, Any] = {"model": "echo", "input": TEXT, "stream": streamed}
    with pytest.raises(openai.InternalServerError) as failed:
        await client.responses.create(**asked, metadata={"echo.fail": "before:503"})

    assert (failed.value.status_code, failed.value.code) == (502, "upstream_error")
    assert "target 'echo' answered 503" in failed.value.message
    assert failed.value.request_id


async def test_an_error_within_the_stream_is_raised_after_what_was_said(client: AsyncOpenAI) -> None:
    heard: list[str] = []
    stream = await client.responses.create(model="echo", input=TEXT, stream=True, metadata={"echo.fail": "cut:2"})

    async def hear() -> None:
        async for event in stream:
            if event.type == "response.output_text.delta":
                heard.append(event.delta)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(openai.APIError) as failed:
        await hear()

    assert "".join(heard) == "one two "
    assert "target 'echo' broke off" in failed.value.message
    assert failed.value.code == "upstream_error"


@pytest.mark.parametrize(
    ("asked", "expected", "code", "param"),
    [
        ({"model": "eccho"}, openai.NotFoundError, "model_not_found", "model"),
        ({"background": True}, openai.BadRequestError, "unsupported_parameter", "background"),
        ({"tools": [{"type": "web_search"}]}, openai.BadRequestError, "unsupported_parameter", "tools[0].type"),
        ({"temperature": 3}, openai.BadRequestError, "decimal_above_max_value", "temperature"),
    ],
)
async def test_a_wrong_request_is_told_what_is_wrong(
    client: AsyncOpenAI, asked: dict[str, Any], expected: type[openai.APIStatusError], code: str, param: str
) -> None:
    whole: dict[str, Any] = {"model": "echo", "input": TEXT, **asked}
    with pytest.raises(expected) as failed:
        await client.responses.create(**whole)

    assert (failed.value.code, failed.value.param) == (code, param)


async def test_a_wrong_key_is_refused(client: AsyncOpenAI) -> None:
    stranger = client.with_options(api_key="sk-of-nobody")

    with pytest.raises(openai.AuthenticationError) as failed:
        await stranger.responses.create(model="echo", input=TEXT)

    assert failed.value.code == "invalid_api_key"


async def test_its_websocket_is_told_that_there_is_none(client: AsyncOpenAI) -> None:
    with pytest.raises(Exception, match="HTTP 400") as failed:
        async with client.responses.connect():
            pass

    told = json.loads(failed.value.response.body)["error"]  # type: ignore[attr-defined]  # of the package websockets
    assert told["code"] == "websocket_not_served"
    assert "responses come over HTTP" in told["message"]


# --- hanging up ----------------------------------------------------------------------------------------


async def test_closing_a_stream_frees_the_slot(client: AsyncOpenAI, line: RealLine) -> None:
    before = interrupted(line)
    stream = await client.responses.create(model="echo", input=TEXT, stream=True, metadata=SLOW)
    first = await anext(stream)
    assert await until(line.workers[0].slots_taken, bool, SETTLE_S) == 1

    await stream.close()

    await freed_by_hanging_up(line, before)
    assert first.type == "response.created"
    await cannot_go_on(client, first.response.id)  # nobody has heard its end


async def test_leaving_the_stream_helper_frees_the_slot(client: AsyncOpenAI, line: RealLine) -> None:
    before = interrupted(line)

    async with client.responses.stream(model="echo", input=TEXT, metadata=SLOW) as stream:
        await anext(aiter(stream))

    await freed_by_hanging_up(line, before)


async def test_a_cancelled_task_frees_the_slot(client: AsyncOpenAI, line: RealLine) -> None:
    """As in a barge-in: whoever waits for the answer is cancelled."""
    before = interrupted(line)

    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.responses.create(model="echo", input=TEXT, metadata=SLOW))
        assert await until(line.workers[0].slots_taken, bool, SETTLE_S) == 1
        asking.cancel()

    await freed_by_hanging_up(line, before)


async def test_the_client_without_asyncio_frees_the_slot_too(plain: OpenAI, line: RealLine) -> None:
    before = interrupted(line)

    def hear_and_close() -> None:
        stream = plain.responses.create(model="echo", input=TEXT, stream=True, metadata=SLOW)
        next(stream)
        stream.close()

    await asyncio.to_thread(hear_and_close)

    await freed_by_hanging_up(line, before)
    plain.close()
