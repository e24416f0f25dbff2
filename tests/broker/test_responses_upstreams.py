"""What upstreams of every dialect get of a response's request: the whole conversation, and each its own thoughts."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from protocol import sse
from tests.broker.line_fixture import real_line
from tests.workers.fake_upstream import Exchange, FakeUpstream, says, upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

Fields = dict[str, Any]

SEAL = "gAAAAABsealed-by-the-upstream"
PRIVATE = "private-to-the-caller"
PIXEL = "data:image/png;base64,cGl4ZWw="
SCHEMA: Fields = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
WEATHER: Fields = {"name": "weather", "description": "The weather.", "parameters": SCHEMA, "strict": True}

TARGETS = {
    "chat": 'dialect = "chat-completions"',
    "responses": 'dialect = "responses"',
    "messages": 'dialect = "messages"',
    "other": 'dialect = "responses"',
    "down": 'dialect = "responses"',
    "openai": 'dialect = "responses"\npreset = "openai"\napi_key_env = "FAKE_KEY"',
}
"""Each is asked for a model of its name; `down` answers the first request alone."""

MODELS = {**{name: [name] for name in TARGETS}, "cascade": ["down", "responses"]}


# --- the upstream ------------------------------------------------------------------------------------


def event(kind: str, **told: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **told})}\n\n"


def thinks_and_says(text: str) -> str:
    """As OpenAI tells a response with a thought that it has sealed."""
    place = {"output_index": 0, "item_id": "rs_up", "summary_index": 0}
    summary = {"type": "summary_text", "text": "hm"}
    thought = {"type": "reasoning", "id": "rs_up", "summary": [summary], "encrypted_content": SEAL}
    said = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    message = {"type": "message", "id": "msg_up", "role": "assistant", "status": "completed", "content": [said]}
    return (
        event("response.output_item.added", output_index=0, item={**thought, "summary": [], "encrypted_content": "gA"})
        + event("response.reasoning_summary_text.delta", **place, delta="hm")
        + event("response.output_item.done", output_index=0, item=thought)
        + event("response.output_text.delta", output_index=1, item_id="msg_up", content_index=0, delta=text)
        + event("response.output_item.done", output_index=1, item=message)
        + event("response.completed", response={"status": "completed", "output": [thought, message]})
    )


def blocks(text: str) -> str:
    """As Anthropic tells a message with a thought that it has signed."""
    return (
        event("message_start", message={"usage": {"input_tokens": 1}})
        + event("content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""})
        + event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"})
        + event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": SEAL})
        + event("content_block_start", index=1, content_block={"type": "text", "text": ""})
        + event("content_block_delta", index=1, delta={"type": "text_delta", "text": text})
        + event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 1})
        + event("message_stop")
    )


ANSWERS: dict[str, Callable[[str], str]] = {
    "/v1/chat/completions": says,
    "/v1/responses": thinks_and_says,
    "/v1/messages": blocks,
}


async def answer(exchange: Exchange) -> None:
    if exchange.json["model"] == "down" and SEAL in exchange.body.decode():
        await exchange.plain(500, '{"error": {"message": "down"}}')
        return
    await exchange.begin()
    await exchange.send(ANSWERS[exchange.path]("Hi."))
    await exchange.end()


# --- the line ----------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fake() -> AsyncIterator[FakeUpstream]:
    async with upstream(answer) as fake:
        yield fake


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(tmp_path_factory: pytest.TempPathFactory, fake: FakeUpstream) -> AsyncIterator[aiohttp.ClientSession]:
    directory = tmp_path_factory.mktemp("line")
    config = directory / "trunkline.toml"
    tables = [
        *(f"[models.{name}]\ntargets = {json.dumps(targets)}\n" for name, targets in MODELS.items()),
        *(f'[targets.{name}]\nbase_url = "{fake.url}"\nmodel = "{name}"\n{more}\n' for name, more in TARGETS.items()),
    ]
    config.write_text("".join(tables))
    async with real_line(directory, env={"TRUNKLINE_CONFIG": str(config), "FAKE_KEY": "sk-5d"}) as line:
        line.add("edge")
        line.add("worker")
        await line.ready()
        async with aiohttp.ClientSession(line.edges[0].url, timeout=aiohttp.ClientTimeout(total=30)) as session:
            yield session
        await line.idle()


async def respond(web: aiohttp.ClientSession, model: str, **fields: Any) -> Fields:
    """A response that comes to its end."""
    async with web.post("/v1/responses", json={"model": model, **fields}) as answer:
        response: Fields = await answer.json()
    assert (answer.status, response.get("status")) == (200, "completed"), response
    return response


def events_of(stream: bytes) -> list[Fields]:
    """The objects before its end mark."""
    *events, end = sse.EventReader(limit_bytes=1 << 20).feed(stream)
    assert end == b"[DONE]"
    return [json.loads(event) for event in events]


@pytest.fixture(autouse=True)
def nothing_from_before(fake: FakeUpstream) -> None:
    while not fake.exchanges.empty():
        fake.exchanges.get_nowait()


def received(fake: FakeUpstream, count: int = 1) -> list[Fields]:
    """What has arrived in this test, all of it."""
    assert fake.exchanges.qsize() == count
    return [fake.exchanges.get_nowait().json for _ in range(count)]


# --- a whole conversation, in every dialect ------------------------------------------------------------

CONVERSATION: list[Fields] = [
    {"role": "developer", "content": "Today is Monday."},
    {
        "role": "user",
        "content": [
            {"type": "input_text", "text": "What is this?"},
            {"type": "input_image", "image_url": PIXEL, "detail": "low"},
        ],
    },
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
    {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "Rain, I think.", "annotations": [], "logprobs": []}],
    },
    {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "weather", "arguments": '{"at": 1}'},
    {"type": "function_call", "call_id": "c2", "name": "weather", "arguments": "{}", "status": "completed"},
    {"type": "function_call_output", "call_id": "c1", "output": "rain"},
    {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "sun"}]},
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "I won't say."}]},
    {"role": "user", "content": "Go on."},
]
ASKED: Fields = {
    "instructions": "Be brief.",
    "input": CONVERSATION,
    "tools": [{"type": "function", **WEATHER}, {"type": "function", "name": "time", "strict": False}],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "weather"}]},
    "parallel_tool_calls": False,
    "text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA, "strict": True}},
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "truncation": "auto",
    "max_output_tokens": 50,
    "user": "u-1",
    "metadata": {"a": PRIVATE},
    "safety_identifier": PRIVATE,
    "prompt_cache_key": PRIVATE,
    "elevenlabs_extra_body": {"conversation_id": PRIVATE},
}


def called(id_: str, arguments: str) -> Fields:
    return {"id": id_, "type": "function", "function": {"name": "weather", "arguments": arguments}}


SENT: dict[str, Fields] = {
    "chat": {
        "model": "chat",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "system", "content": "Today is Monday."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
                ],
            },
            {
                "role": "assistant",
                "content": "Rain, I think.",
                "tool_calls": [called("c1", '{"at": 1}'), called("c2", "{}")],
            },
            {"role": "tool", "content": "rain", "tool_call_id": "c1"},
            {"role": "tool", "content": "sun", "tool_call_id": "c2"},
            {"role": "assistant", "content": None, "refusal": "I won't say."},
            {"role": "user", "content": "Go on."},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [{"type": "function", "function": WEATHER}],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA, "strict": True}},
        "reasoning_effort": "low",
        "max_tokens": 50,
        "user": "u-1",
    },
    "responses": {
        "model": "responses",
        "input": [
            {"type": "message", "role": "system", "content": "Be brief."},
            {"type": "message", "role": "system", "content": "Today is Monday."},
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "What is this?"},
                    {"type": "input_image", "image_url": PIXEL, "detail": "low"},
                ],
            },
            {"type": "message", "role": "assistant", "content": "Rain, I think."},
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"at": 1}'},
            {"type": "function_call", "call_id": "c2", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "rain"},
            {"type": "function_call_output", "call_id": "c2", "output": "sun"},
            {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "I won't say."}]},
            {"type": "message", "role": "user", "content": "Go on."},
        ],
        "stream": True,
        "store": False,
        "tools": [{"type": "function", **WEATHER}],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA, "strict": True}},
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "truncation": "auto",
        "max_output_tokens": 50,
        "user": "u-1",
    },
    "messages": {
        "model": "messages",
        "system": "Be brief.\n\nToday is Monday.",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "cGl4ZWw="}},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Rain, I think."},
                    {"type": "tool_use", "id": "c1", "name": "weather", "input": {"at": 1}},
                    {"type": "tool_use", "id": "c2", "name": "weather", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": "rain"},
                    {"type": "tool_result", "tool_use_id": "c2", "content": "sun"},
                ],
            },
            {"role": "assistant", "content": "I won't say."},
            {"role": "user", "content": "Go on."},
        ],
        "stream": True,
        "max_tokens": 50,
        "tools": [
            {"name": "weather", "description": "The weather.", "input_schema": SCHEMA, "strict": True},
        ],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "thinking": {"type": "adaptive", "display": "summarized"},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
        "metadata": {"user_id": "u-1"},
    },
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", SENT)
async def test_a_conversation_arrives_whole(
    web: aiohttp.ClientSession, fake: FakeUpstream, model: str, stream: bool
) -> None:
    async with web.post("/v1/responses", json={"model": model, "stream": stream, **ASKED}) as told:
        assert (told.status, "Hi." in await told.text()) == (200, True)

    assert received(fake) == [SENT[model]]


@pytest.mark.parametrize("model", SENT)
async def test_what_is_gone_on_from_arrives_with_it(web: aiohttp.ClientSession, fake: FakeUpstream, model: str) -> None:
    """All but the instructions: they are of one response alone."""
    first = await respond(web, model, **{**ASKED, "input": CONVERSATION[:-1], "store": True})
    again = {name: told for name, told in ASKED.items() if name != "instructions"}
    second = await respond(web, model, **{**again, "input": "Go on.", "previous_response_id": first["id"]})
    await respond(web, model, **{**again, "input": "And on.", "previous_response_id": second["id"]})

    whole = await respond(web, model, **{**again, "input": [*CONVERSATION[:-1], *first["output"], CONVERSATION[-1]]})
    _, by_id, _, by_hand = received(fake, 4)
    assert by_id == by_hand
    assert whole["output"][-1]["content"][0]["text"] == "Hi."
    assert json.dumps(by_id).count("Be brief.") == 0


async def test_a_third_turn_has_all_before_it(web: aiohttp.ClientSession, fake: FakeUpstream) -> None:
    before: Fields = {}
    for text in ("one", "two", "three"):
        before = {"previous_response_id": (await respond(web, "chat", input=text, **before))["id"]}

    said = [message["content"] for message in received(fake, 3)[-1]["messages"]]
    assert said == ["one", "Hi.", "two", "Hi.", "three"]


# --- thoughts ------------------------------------------------------------------------------------------

SHOWN = {
    "type": "reasoning",
    "id": "rs_up",
    "summary": [{"type": "summary_text", "text": "hm"}],
    "encrypted_content": SEAL,
}


def thoughts(sent: Fields) -> list[Fields]:
    return [item for item in sent["input"] if item["type"] == "reasoning"]


async def thought_of(web: aiohttp.ClientSession, model: str = "responses", **fields: Any) -> Fields:
    """A response with a sealed thought."""
    response = await respond(web, model, input="one", **fields)
    thought, _ = response["output"]
    assert (thought["type"], thought["summary"]) == ("reasoning", [{"type": "summary_text", "text": "hm"}])
    assert thought["encrypted_content"].endswith(f".rs_up.{SEAL}")
    return response


async def test_a_sealed_thought_goes_back_to_its_upstream_by_the_responses_id(
    web: aiohttp.ClientSession, fake: FakeUpstream
) -> None:
    first = await thought_of(web)
    await respond(web, "responses", input="two", previous_response_id=first["id"])

    _, sent = received(fake, 2)
    kinds = [(item["type"], item.get("role")) for item in sent["input"]]
    assert kinds == [("message", "user"), ("reasoning", None), ("message", "assistant"), ("message", "user")]
    assert thoughts(sent) == [SHOWN]


async def test_and_with_the_items_that_its_client_kept(web: aiohttp.ClientSession, fake: FakeUpstream) -> None:
    first = await thought_of(web, store=False, include=["reasoning.encrypted_content"])
    history = [{"role": "user", "content": "one"}, *first["output"], {"role": "user", "content": "two"}]
    await respond(web, "responses", store=False, input=history)

    assert thoughts(received(fake, 2)[1]) == [SHOWN]


async def test_who_neither_stores_it_nor_asks_for_it_is_told_nothing_sealed(
    web: aiohttp.ClientSession, fake: FakeUpstream
) -> None:
    response = await respond(web, "responses", input="one", store=False)

    (sent,) = received(fake)
    assert "include" not in sent
    assert SEAL not in json.dumps(response)
    assert response["output"][0]["summary"] == [{"type": "summary_text", "text": "hm"}]


async def test_the_client_of_a_stream_gets_it_in_its_order(web: aiohttp.ClientSession, fake: FakeUpstream) -> None:
    async with web.post("/v1/responses", json={"model": "responses", "input": "one", "stream": True}) as told:
        events = events_of(await told.read())

    received(fake)
    items = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert [item["type"] for item in items] == ["reasoning", "message"]
    assert items[0]["encrypted_content"].endswith(f".rs_up.{SEAL}")
    assert events[-1]["response"]["output"] == items


@pytest.mark.parametrize("model", ["chat", "messages", "other", "openai"])
async def test_nobody_else_is_shown_it(web: aiohttp.ClientSession, fake: FakeUpstream, model: str) -> None:
    first = await thought_of(web)
    await respond(web, model, input="two", previous_response_id=first["id"])

    _, sent = received(fake, 2)
    assert "reasoning" not in json.dumps(sent)
    assert SEAL not in json.dumps(sent)
    assert "Hi." in json.dumps(sent)


async def test_the_next_target_answers_without_it(web: aiohttp.ClientSession, fake: FakeUpstream) -> None:
    first = await thought_of(web, "cascade")
    second = await respond(web, "cascade", input="two", previous_response_id=first["id"])

    _, to_its_own, to_the_next = received(fake, 3)
    assert (thoughts(to_its_own), thoughts(to_the_next)) == ([SHOWN], [])
    assert second["output"][1]["content"][0]["text"] == "Hi."


@pytest.mark.parametrize(("model", "shown"), [("openai", True), ("responses", False), ("chat", False)])
async def test_one_that_comes_from_elsewhere_is_openais(
    web: aiohttp.ClientSession, fake: FakeUpstream, model: str, shown: bool
) -> None:
    history = [{"role": "user", "content": "one"}, SHOWN, {"role": "assistant", "content": "Hi."}]
    await respond(web, model, store=False, input=[*history, {"role": "user", "content": "two"}])

    (sent,) = received(fake)
    assert (SEAL in json.dumps(sent)) is shown
    if shown:
        assert thoughts(sent) == [SHOWN]


async def test_a_thought_of_another_dialect_is_told_and_its_signature_is_not(
    web: aiohttp.ClientSession, fake: FakeUpstream
) -> None:
    response = await respond(web, "messages", input="one")

    received(fake)
    assert response["output"][0]["summary"] == [{"type": "summary_text", "text": "hm"}]
    assert SEAL not in json.dumps(response)


async def test_a_chat_completion_is_told_the_thought_and_nothing_sealed(
    web: aiohttp.ClientSession, fake: FakeUpstream
) -> None:
    body = {"model": "responses", "messages": [{"role": "user", "content": "one"}], "stream": True}
    async with web.post("/v1/chat/completions", json=body) as told:
        events = events_of(await told.read())

    received(fake)
    deltas = [event["choices"][0]["delta"] for event in events]
    assert [delta["reasoning_content"] for delta in deltas if "reasoning_content" in delta] == ["hm"]
    assert SEAL not in json.dumps(events)


async def test_the_built_in_model_knows_its_thoughts_again(web: aiohttp.ClientSession) -> None:
    first = await respond(web, "echo-reasoning", input="one")
    second = await respond(web, "echo-reasoning", input="two", previous_response_id=first["id"])
    third = await respond(web, "echo-reasoning", input="three", previous_response_id=second["id"])

    told = [response["output"][0]["summary"][0]["text"] for response in (first, second, third)]
    assert [text.endswith(f"I remember {count} of my thoughts.") for count, text in enumerate(told)] == [
        False,
        True,
        True,
    ]
    assert [response["output"][1]["content"][0]["text"] for response in (first, second, third)] == [
        "one",
        "two",
        "three",
    ]
