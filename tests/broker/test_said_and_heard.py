"""A caller who interrupts, on a real line: what was heard of the answer, and what of it was generated for nobody."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bench.client import Call
from bench.polling import until
from protocol.messages import TurnRecord
from protocol.settings import parse
from tests.broker.line_fixture import RealLine, real_line, user
from tests.workers.fake_upstream import Exchange, chunk, says, upstream
from trunkline.listen import listen

END_S = 10.0
SAID = "Your parcel left Oslo on Monday"
HEADERS = {"X-Call-Id": "call-4711"}
CONFIG = """
[models.desk]
targets = ["gpt"]

[targets.gpt]
base_url = "{url}"
model = "one"
prices = {{ input = 100, output = 200 }}
"""


async def _goes_on_until_it_is_interrupted(exchange: Exchange) -> None:
    await exchange.begin()
    if len(exchange.json["messages"]) > 1:
        await exchange.send(says("It comes on Friday."))
        await exchange.end()
        return
    await exchange.send(chunk({"content": SAID}))
    await exchange.gone.wait()


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[RealLine]:
    async with upstream(_goes_on_until_it_is_interrupted) as fake:
        config = tmp_path / "trunkline.toml"
        config.write_text(CONFIG.format(url=fake.url))
        async with real_line(tmp_path, env={"TRUNKLINE_CONFIG": str(config)}) as line:
            line.add("edge")
            line.add("worker")
            await line.ready()
            yield line


async def kept(line: RealLine, good: Callable[[list[TurnRecord]], bool]) -> list[TurnRecord]:
    """The records, each with its amendment, once they are as they should be."""
    async with listen(parse(None, {"TRUNKLINE_NATS__URL": line.nats.url})) as listener:
        return await until(lambda: listener.records(last=10), good, END_S)


async def interrupt(line: RealLine, profile: str) -> None:
    """A turn that its caller leaves once it has begun."""
    body: dict[str, Any] = {"model": "desk", "stream": True, "messages": [user("Where is it?")]}
    call = await Call.place(f"{line.edges[0].url}/p/{profile}/v1/chat/completions", body, headers=HEADERS)
    assert await call.heard()
    call.hang_up()
    await until(line.records, lambda found: len(found) == 1, END_S)


async def ask_on(line: RealLine, profile: str, answer: str) -> None:
    """The next turn, in whose history the platform shows how far the answer was played."""
    history = [user("Where is it?"), {"role": "assistant", "content": answer}, user("And when?")]
    url = f"{line.edges[0].url}/p/{profile}/v1/chat/completions"
    body = {"model": "desk", "messages": history}
    async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=HEADERS) as reply:
        assert (await reply.json())["choices"][0]["message"]["content"] == "It comes on Friday."


async def test_the_record_of_a_cut_turn_says_what_its_caller_has_heard(line: RealLine) -> None:
    await interrupt(line, "vapi")

    await ask_on(line, "vapi", "Your parcel left...")

    cut, following = await kept(line, lambda found: len(found) == 2 and found[0].heard is not None)
    assert (cut.outcome, cut.profile, cut.unheard, cut.unheard_cost) == ("interrupted", "vapi", 0, 0.0)
    assert cut.heard is not None
    assert (cut.heard.heard_words, cut.heard.said_words, cut.heard.by) == (3, 6, following.id)
    assert (following.outcome, following.heard) == ("completed", None)
    assert "trunkline_turns_cut_total 1.0" in await line.edges[0].metrics()


async def test_for_api_clients_nothing_is_remembered_from_turn_to_turn(line: RealLine) -> None:
    await interrupt(line, "openai")

    await ask_on(line, "openai", "Your parcel left...")

    records = await kept(line, lambda found: len(found) == 2)
    assert [record.heard for record in records] == [None, None]
    assert "trunkline_turns_cut_total 0.0" in await line.edges[0].metrics()


async def test_an_answer_of_which_nothing_was_sent_was_generated_for_nobody(line: RealLine) -> None:
    """A caller who wants it in one piece has heard nothing before its end."""
    body = {"model": "desk", "messages": [user("Where is it?")]}
    call = await Call.place(f"{line.edges[0].url}/p/vapi/v1/chat/completions", body, headers=HEADERS)
    await until(line.workers[0].slots_taken, lambda taken: taken == 1, END_S)
    await asyncio.sleep(0.2)  # most of the time the worker has heard the model by then
    call.hang_up()

    (record,) = await kept(line, lambda found: len(found) == 1)

    assert record.outcome == "interrupted"
    assert record.unheard == record.usage.completion
    assert record.unheard_cost == pytest.approx(record.usage.completion * 200 / 1e6)
