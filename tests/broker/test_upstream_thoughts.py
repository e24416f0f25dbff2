"""What an upstream thinks in tags reaches a caller as reasoning, at any split: only speech is spoken."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from protocol import sse
from tests.broker.line_fixture import real_line, user
from tests.workers.fake_upstream import Exchange, FakeUpstream, says, upstream
from workers import tokens

pytestmark = pytest.mark.asyncio(loop_scope="module")

THOUGHT, SPEECH = "They greet me: 1 < 2.", "Hello, <caller>."
TAGGED = f"<think>\n{THOUGHT}</think>\n\n{SPEECH}"
ANSWERS = {"tagged": TAGGED, "thinks-first": TAGGED.removeprefix("<think>"), "silent": TAGGED.removesuffix(SPEECH)}


async def as_asked(exchange: Exchange) -> None:
    """The model's answer, in pieces as long as the caller's words say."""
    answer, size = ANSWERS[exchange.json["model"]], int(exchange.json["messages"][-1]["content"])
    await exchange.begin()
    await exchange.send(says(*(answer[at : at + size] for at in range(0, len(answer), size))))
    await exchange.end()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fake() -> AsyncIterator[FakeUpstream]:
    async with upstream(as_asked) as fake:
        yield fake


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(tmp_path_factory: pytest.TempPathFactory, fake: FakeUpstream) -> AsyncIterator[aiohttp.ClientSession]:
    directory = tmp_path_factory.mktemp("line")
    config = directory / "trunkline.toml"
    tables = [
        f'[models.{name}]\ntargets = ["{name}"]\n[targets.{name}]\nbase_url = "{fake.url}"\nmodel = "{name}"\n'
        for name in ANSWERS
    ]
    config.write_text("".join(tables).replace('model = "thinks-first"', 'model = "thinks-first"\nthinks_first = true'))
    async with real_line(directory, env={"TRUNKLINE_CONFIG": str(config)}) as line:
        line.add("edge")
        line.add("worker")
        await line.ready()
        async with aiohttp.ClientSession(line.edges[0].url, timeout=aiohttp.ClientTimeout(total=20)) as session:
            yield session
        await line.idle()


async def ask(web: aiohttp.ClientSession, model: str, size: int, *, stream: bool) -> tuple[int, list[Any]]:
    """The status, and every JSON object of the answer."""
    body = {"model": model, "messages": [user(str(size))], "stream": stream}
    async with web.post("/v1/chat/completions", json=body) as answer:
        data = await answer.read()
    if not answer.content_type.endswith("event-stream"):
        return answer.status, [json.loads(data)]
    events = list(sse.EventReader(limit_bytes=1 << 20).feed(data))
    assert events.pop() == b"[DONE]"
    return answer.status, [json.loads(event) for event in events]


def joined(parts: list[Any], field: str) -> str:
    return "".join(part.get(field) or "" for part in parts)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("size", [1, 3, 8, 1000])
@pytest.mark.parametrize("model", ["tagged", "thinks-first"])
async def test_a_thought_is_reasoning_content(web: aiohttp.ClientSession, model: str, size: int, stream: bool) -> None:
    status, objects = await ask(web, model, size, stream=stream)
    told = [choice["delta" if stream else "message"] for one in objects for choice in one["choices"]]
    assert status == 200
    assert (joined(told, "reasoning_content"), joined(told, "content")) == (THOUGHT, SPEECH)


async def test_it_is_counted_as_reasoning(web: aiohttp.ClientSession) -> None:
    _, (body,) = await ask(web, "tagged", 3, stream=False)
    counted = tokens._counter()  # here alone: what is loaded for all would change other tests' bills
    reasoning = body["usage"]["completion_tokens_details"]["reasoning_tokens"]
    assert 0 < reasoning < body["usage"]["completion_tokens"]
    assert reasoning in (counted(THOUGHT), tokens.by_characters(THOUGHT)), "with the vocabulary, or before it is loaded"


async def test_an_answer_that_is_all_thought_is_an_empty_one(web: aiohttp.ClientSession) -> None:
    status, (body,) = await ask(web, "silent", 3, stream=False)
    assert (status, body["error"]["code"]) == (502, "upstream_error")
    assert "empty answer" in body["error"]["message"]
