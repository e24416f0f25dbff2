"""What an upstream receives for each parameter of a request, at its socket: the allow-list, and nothing else."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from edge.parameters import OPENAI, PLATFORMS
from tests.broker.line_fixture import real_line
from tests.workers.fake_upstream import Exchange, FakeUpstream, says, upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

Fields = dict[str, Any]

KEY = "sk-of-the-target-5d"
SECRET = "secret-of-the-caller-7a"
PRIVATE = "private-to-the-caller"  # in every value below that is to stay on this side
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
HELLO = {"role": "user", "content": "hello"}
PLAIN: Fields = {
    "model": "up-1",
    "messages": [HELLO],
    "stream": True,
    "stream_options": {"include_usage": True},
}

SCHEMA = '{"type" : "object","properties":{"city":{"type":"string","\\u00e9":"é"},"n":{"minimum":1.0,"maximum":1e400}},'
SCHEMA += '"required":["city","n"],  "additionalProperties":false,"$defs":{"a":{"$ref":"#/$defs/a"}}}'
PARAMETERS: Fields = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
FUNCTION = {"name": "weather", "description": "The weather.", "parameters": PARAMETERS, "strict": True}
WEATHER = {"type": "function", "function": FUNCTION}
TIME = {"type": "function", "function": {"name": "time"}}
NAMED = {"type": "function", "function": {"name": "weather"}}
ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED]}}
FORM = {"type": "json_schema", "json_schema": {"name": "a", "schema": PARAMETERS, "strict": True, "description": "d"}}
CALLS = [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}]
PARTS = [
    {"type": "text", "text": "see"},
    {"type": "image_url", "image_url": {"url": "https://images.invalid/a", "detail": "low"}},
    {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
    {"type": "file", "file": {"file_id": "f"}},
]
HISTORY = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": PARTS, "name": "Ann"},
    {"role": "assistant", "content": None, "tool_calls": CALLS},
    {"role": "tool", "content": "rain", "tool_call_id": "c1"},
    {"role": "assistant", "content": None, "refusal": "No."},
    HELLO,
]
PRIVATE_OBJECT = {"id": PRIVATE, "conversation_id": "conv-" + PRIVATE, "nested": {"a": [PRIVATE]}}


def same(**fields: Any) -> tuple[Fields, Fields]:
    """These arrive as they were sent."""
    return fields, fields


# what a caller sends beside model and messages -> what the upstream receives beside `PLAIN`
HONOURED: dict[str, tuple[Fields, Fields]] = {
    "messages": same(messages=HISTORY),
    "messages of a developer": (
        {"messages": [{"role": "developer", "content": "Be brief."}, HELLO]},
        {"messages": [{"role": "system", "content": "Be brief."}, HELLO]},
    ),
    "stream": ({"stream": False}, {}),
    "stream_options": ({"stream": True, "stream_options": {"include_usage": False, "include_obfuscation": True}}, {}),
    "n": ({"n": 1}, {}),
    "modalities": ({"modalities": ["text"]}, {}),
    "temperature": same(temperature=0.5),
    "top_p": same(top_p=0.25),
    "presence_penalty": same(presence_penalty=-0.5),
    "frequency_penalty": same(frequency_penalty=2.0),
    "max_completion_tokens": ({"max_completion_tokens": 7, "max_tokens": 9}, {"max_tokens": 7}),
    "max_tokens": same(max_tokens=9),
    "max_tokens without a limit": ({"max_tokens": -1}, {}),
    "stop": ({"stop": "\n"}, {"stop": ["\n"]}),
    "stop in a list": ({"stop": ["a", "", "b"]}, {"stop": ["a", "b"]}),
    "seed": same(seed=-(2**63)),
    "logprobs": same(logprobs=True, top_logprobs=3),
    "top_logprobs": ({"logprobs": True, "top_logprobs": None}, {"logprobs": True}),
    "logit_bias": same(logit_bias={"50256": -100}),
    "reasoning_effort": same(reasoning_effort="minimal"),
    "verbosity": same(verbosity="low"),
    "service_tier": same(service_tier="flex"),
    "user": ({"user": "u-1", "user_id": PRIVATE}, {"user": "u-1"}),
    "user_id": ({"user_id": "u-2"}, {"user": "u-2"}),
    "tools": same(tools=[WEATHER, TIME]),
    "no tools": ({"tools": [], "tool_choice": "auto", "parallel_tool_calls": True}, {}),
    "tool_choice": same(tools=[WEATHER], tool_choice="required"),
    "tool_choice of one": (
        {"tools": [WEATHER, TIME], "tool_choice": NAMED},
        {"tools": [WEATHER], "tool_choice": NAMED},
    ),
    "tool_choice among some": (
        {"tools": [WEATHER, TIME], "tool_choice": ALLOWED},
        {"tools": [WEATHER], "tool_choice": "required"},
    ),
    "parallel_tool_calls": same(tools=[WEATHER], parallel_tool_calls=False),
    "functions": (
        {"functions": [FUNCTION], "function_call": {"name": "weather"}},
        {"tools": [WEATHER], "tool_choice": NAMED, "parallel_tool_calls": False},
    ),
    "function_call": (
        {"functions": [FUNCTION], "function_call": "none"},
        {"tools": [WEATHER], "tool_choice": "none", "parallel_tool_calls": False},
    ),
    "response_format": same(response_format=FORM),
    "response_format of any object": same(response_format={"type": "json_object"}),
    "response_format of text": ({"response_format": {"type": "text"}}, {}),
}
KEPT_HERE: dict[str, Any] = {
    "metadata": {"call_id": "call-" + PRIVATE, "echo.rate": PRIVATE},
    "store": True,
    "audio": {"voice": PRIVATE, "format": "wav"},
    "moderation": {"model": PRIVATE},
    "prediction": {"type": "content", "content": PRIVATE},
    "prompt_cache_key": PRIVATE,
    "prompt_cache_options": {"a": PRIVATE},
    "prompt_cache_retention": "24h",
    "safety_identifier": PRIVATE,
    "elevenlabs_extra_body": PRIVATE_OBJECT,
    "fishaudio_extra_body": PRIVATE_OBJECT,
    "extra_metadata": PRIVATE_OBJECT,
    "context": PRIVATE_OBJECT,
    "call": PRIVATE_OBJECT,
    "session_id": PRIVATE,
    # nobody's: above all none that some upstream or gateway would obey
    "api_key": PRIVATE,
    "api_base": f"http://{PRIVATE}.invalid",
    "base_url": f"http://{PRIVATE}.invalid",
    "url": f"http://{PRIVATE}.invalid",
    "headers": {"authorization": PRIVATE},
    "extra_headers": {"authorization": PRIVATE},
    "extra_body": {"a": PRIVATE},
    "provider": {"order": [PRIVATE]},
    "top_k": 7,
    "chat_template_kwargs": {"enable_thinking": False, "a": PRIVATE},
    "said": PRIVATE,
    "tenant": PRIVATE,
    "tags": [PRIVATE],
}
HEADERS = {
    "Authorization": f"Bearer {SECRET}",
    "X-API-Key": PRIVATE,
    "api-key": PRIVATE,
    "Cookie": f"session={PRIVATE}",
    "OpenAI-Organization": PRIVATE,
    "OpenAI-Project": PRIVATE,
    "Idempotency-Key": PRIVATE,
    "X-LiveKit-Worker-Token": PRIVATE,
    "X-Conversation-Id": PRIVATE,
    "X-Stainless-Lang": PRIVATE,
    "X-Forwarded-For": PRIVATE,
    "Forwarded": f"for={PRIVATE}",
    "User-Agent": PRIVATE,
    "Accept-Language": PRIVATE,
    "Accept-Encoding": "gzip",
    "baggage": f"a={PRIVATE}",
    "tracestate": f"a={PRIVATE}",
    "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01",
}


# --- the line ----------------------------------------------------------------------------------------


async def hi(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.send(says("Hi."))
    await exchange.end()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fake() -> AsyncIterator[FakeUpstream]:
    async with upstream(hi) as fake:
        yield fake


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(tmp_path_factory: pytest.TempPathFactory, fake: FakeUpstream) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a line whose one model is the fake upstream's."""
    directory = tmp_path_factory.mktemp("line")
    config = directory / "trunkline.toml"
    config.write_text(
        f"""
        [models]
        front-desk.targets = ["fake"]
        [targets.fake]
        base_url = "{fake.url}"
        model = "up-1"
        api_key_env = "FAKE_KEY"
        """
    )
    env = {"TRUNKLINE_CONFIG": str(config), "TRUNKLINE_API_KEYS": f"acme:{SECRET}", "FAKE_KEY": KEY}
    async with real_line(directory, env=env) as line:
        line.add("edge")
        line.add("worker")
        await line.ready()
        async with aiohttp.ClientSession(
            line.edges[0].url, timeout=aiohttp.ClientTimeout(total=20), headers=HEADERS
        ) as session:
            yield session
        await line.idle()
        assert not [word for word in (KEY, SECRET) if word in line.logs()]


async def received(web: aiohttp.ClientSession, fake: FakeUpstream, body: str) -> Exchange:
    """What arrives at the upstream for one turn that goes well."""
    async with web.post("/v1/chat/completions", data=body, headers={"Content-Type": "application/json"}) as answer:
        assert (answer.status, "Hi." in await answer.text()) == (200, True)
    assert fake.exchanges.qsize() == 1
    return fake.exchanges.get_nowait()


def asking(**fields: Any) -> str:
    return json.dumps({"model": "front-desk", "messages": [HELLO], **fields})


# --- its body ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "sent"), HONOURED.values(), ids=HONOURED)
async def test_what_a_parameter_becomes(
    web: aiohttp.ClientSession, fake: FakeUpstream, given: Fields, sent: Fields
) -> None:
    assert (await received(web, fake, asking(**given))).json == PLAIN | sent


@pytest.mark.parametrize("name", KEPT_HERE)
async def test_what_stays_here(web: aiohttp.ClientSession, fake: FakeUpstream, name: str) -> None:
    assert (await received(web, fake, asking(**{name: KEPT_HERE[name]}))).json == PLAIN


async def test_no_parameter_is_left_out_of_this_table() -> None:
    served = {name for name, parameter in {**OPENAI, **PLATFORMS}.items() if parameter.fate != "refused"}
    assert served - {name for given, _ in HONOURED.values() for name in given} - {*KEPT_HERE} == {"model"}


async def test_fields_inside_of_others_stay_here_too(web: aiohttp.ClientSession, fake: FakeUpstream) -> None:
    """Platforms mark messages, tools and calls with what is theirs."""
    own = {"cache_control": {"type": PRIVATE}, "id_": PRIVATE, "extra_content": {"a": PRIVATE}}
    told = asking(
        messages=[
            {**HELLO, **own},
            {"role": "assistant", **own, "tool_calls": [{**CALLS[0], **own}]},
            {"role": "tool", "content": [{"type": "text", "text": "rain", **own}], "tool_call_id": "c1", **own},
        ],
        tools=[{**WEATHER, **own, "function": {**FUNCTION, **own}}],
        tool_choice={**NAMED, **own},
        response_format={**FORM, **own},
    )
    assert (await received(web, fake, told)).json == PLAIN | {
        "messages": [
            HELLO,
            {"role": "assistant", "content": None, "tool_calls": CALLS},
            {"role": "tool", "content": [{"type": "text", "text": "rain"}], "tool_call_id": "c1"},
        ],
        "tools": [WEATHER],
        "tool_choice": NAMED,
        "response_format": FORM,
    }


async def test_schemas_arrive_byte_for_byte(web: aiohttp.ClientSession, fake: FakeUpstream) -> None:
    """Strict tools are checked by their schema: a number that was rounded, or a key that moved, is another one."""
    told = asking(
        tools=[{"type": "function", "function": {"name": "a", "strict": True, "parameters": "HERE"}}],
        response_format={"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": "HERE"}},
    )
    body = (await received(web, fake, told.replace('"HERE"', SCHEMA))).body.decode()
    assert (body.count(SCHEMA), body.count('"strict":true')) == (2, 2)


# --- its headers -------------------------------------------------------------------------------------


async def test_no_header_is_the_callers(web: aiohttp.ClientSession, fake: FakeUpstream) -> None:
    """The trace goes on, in a span of our own; what a platform adds to it stays here."""
    exchange = await received(web, fake, asking())
    traceparent = exchange.headers.pop("traceparent").split("-")
    assert traceparent[1] == TRACE
    assert traceparent[2] not in HEADERS["traceparent"]
    assert exchange.headers == {
        "host": fake.url.split("/")[2],
        "authorization": f"Bearer {KEY}",
        "accept": "text/event-stream",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "content-length": str(len(exchange.body)),
        "user-agent": "trunkline",
    }


async def test_no_path_is_the_callers(web: aiohttp.ClientSession, fake: FakeUpstream) -> None:
    """Nor is a query: either may carry a secret."""
    path = f"/t/{SECRET}/c/{PRIVATE}/v1/chat/completions?key={PRIVATE}"
    async with web.post(path, data=asking(), headers={"Content-Type": "application/json"}) as answer:
        assert answer.status == 200
    assert fake.exchanges.get_nowait().path == "/v1/chat/completions"


async def test_nothing_that_is_private_to_a_caller_has_arrived(web: aiohttp.ClientSession, fake: FakeUpstream) -> None:
    """Neither in the tests before this one, nor with all of it at once."""
    await received(web, fake, asking(**KEPT_HERE))
    for exchange in fake.seen:
        arrived = f"{exchange.path} {exchange.headers} {exchange.body.decode()}"
        assert not [word for word in (PRIVATE, SECRET) if word in arrived]
