"""A platform's turn through real processes: its extra body in the prompt, what its model leaks out of the answer."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.broker.line_fixture import real_line
from tests.workers.fake_upstream import Exchange, FakeUpstream, says, upstream

LEAK = ["One ", "moment. <tool", '_call>{"name": "end_call", "argu', 'ments": {"reason": "done"}}</tool_', "call> Bye."]
END_CALL = {"name": "end_call", "parameters": {"type": "object", "properties": {"reason": {"type": "string"}}}}
TURN: dict[str, Any] = {
    "model": "front-desk",
    "stream": True,
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Thank you, bye."}],
    "tools": [{"type": "function", "function": END_CALL}],
    "elevenlabs_extra_body": {"customer_name": "Ann", "tenant": "t-4711"},
}
CONFIG = """
[models.front-desk]
targets = ["fake"]
prompt = "You speak with {{{{ extra.customer_name }}}}."
[targets.fake]
base_url = "{url}"
model = "up-1"
"""


async def leaks(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.send(says(*LEAK))
    await exchange.end()


@pytest.fixture
async def fake() -> AsyncIterator[FakeUpstream]:
    async with upstream(leaks) as fake:
        yield fake


async def answered(url: str, body: dict[str, Any]) -> list[Any]:
    """The chunks of a stream."""
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as answer:
        assert answer.status == 200
        lines = (await answer.text()).splitlines()
    events = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert events.pop() == "[DONE]"
    return [json.loads(event) for event in events]


def said(chunks: list[Any]) -> str:
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


async def test_a_call_that_leaked_is_made_and_the_prompt_knows_the_caller(tmp_path: Path, fake: FakeUpstream) -> None:
    config = tmp_path / "trunkline.toml"
    config.write_text(CONFIG.format(url=fake.url))
    async with real_line(tmp_path, env={"TRUNKLINE_CONFIG": str(config)}) as line:
        line.add("edge")
        line.add("worker")
        await line.ready()
        chunks = await answered(f"{line.edges[0].url}/p/elevenlabs/v1/chat/completions", TURN)
        plain = await answered(f"{line.edges[0].url}/p/openai/v1/chat/completions", TURN)

    calls = [call for chunk in chunks for choice in chunk["choices"] for call in choice["delta"].get("tool_calls", ())]
    assert said(chunks).strip() == "One moment."
    assert [call["function"] for call in calls] == [{"name": "end_call", "arguments": '{"reason":"done"}'}]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert said(plain) == "".join(LEAK)

    first, _ = fake.seen
    prompt, theirs, question = first.json["messages"]
    assert prompt["role"] == "system"
    assert prompt["content"].endswith('You speak with <data name="customer_name">Ann</data>.')
    assert (theirs["content"], question["content"]) == ("Be brief.", "Thank you, bye.")
    assert b"4711" not in first.body
    assert b"extra_body" not in first.body
