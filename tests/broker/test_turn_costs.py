"""What a turn cost, on a real line: its record, its log line, whatever became of its targets."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from bench.client import Call
from bench.polling import until
from protocol.messages import TurnRecord, Usage
from tests.broker.line_fixture import RealLine, real_line, user
from tests.workers.fake_upstream import DONE, Exchange, FakeUpstream, chunk, says, upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTLE_S = 10.0
QUESTION = "What is the weather like in San Francisco?"
TOLD = {"prompt_tokens": 1000, "completion_tokens": 50, "prompt_tokens_details": {"cached_tokens": 400}}
CONFIG = """
[models.desk]
targets = ["first", "second"]

[targets.first]
base_url = "{first}"
model = "one"
prices = {{ input = 100, output = 200 }}

[targets.second]
base_url = "{second}"
model = "two"
prices = {{ input = 2, output = 8, cached = 0.5 }}

[models.free]
targets = ["second-free"]

[targets.second-free]
base_url = "{second}"
model = "two"
"""


class Desk:
    """Two upstreams behind a line."""

    def __init__(self, line: RealLine, first: FakeUpstream, second: FakeUpstream) -> None:
        self.line = line
        self.first = first
        self.second = second
        self.url = f"{line.edges[0].url}/v1/chat/completions"

    async def ask(self, model: str = "desk") -> TurnRecord:
        """One turn, to its end."""
        body = {"model": model, "messages": [user(QUESTION)]}
        async with aiohttp.ClientSession() as session, session.post(self.url, json=body) as answer:
            await answer.read()
            return await self.record_of(answer.headers["x-trace-id"])

    async def record_of(self, trace_id: str) -> TurnRecord:
        records = await until(self.line.records, lambda found: trace_id in found, SETTLE_S)
        return records[trace_id]

    async def interrupted(self) -> TurnRecord:
        """The one turn that was."""

        async def those() -> list[TurnRecord]:
            return [one for one in (await self.line.records()).values() if one.outcome == "interrupted"]

        (one,) = await until(those, bool, SETTLE_S)
        return one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    directory: Path = tmp_path_factory.mktemp("desk")
    async with upstream(_nothing) as first, upstream(_nothing) as second:
        config = directory / "trunkline.toml"
        config.write_text(CONFIG.format(first=first.url, second=second.url))
        async with real_line(directory, env={"TRUNKLINE_CONFIG": str(config)}) as line:
            line.add("edge")
            line.add("worker")
            await line.ready()
            yield Desk(line, first, second)


async def _nothing(exchange: Exchange) -> None:
    raise AssertionError("each test says what is answered")


async def _is_down(exchange: Exchange) -> None:
    await exchange.plain(503, "{}")


async def _tells(exchange: Exchange) -> None:
    await _says(exchange, chunk({"content": "Sunny."}) + chunk(finish="stop") + chunk(usage=TOLD) + DONE)


async def _keeps_it_to_itself(exchange: Exchange) -> None:
    await _says(exchange, says("Sunny, ", "and warm."))


async def _says(exchange: Exchange, text: str) -> None:
    await exchange.begin()
    await exchange.send(text)
    await exchange.end()


async def _goes_on(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.send(chunk({"content": "Sunny, and"}))
    await exchange.gone.wait()


def paid(usage: Usage, *, input_price: float, output_price: float) -> Any:
    return pytest.approx((usage.prompt * input_price + usage.completion * output_price) / 1e6)


async def test_what_an_upstream_tells_is_the_bill(desk: Desk) -> None:
    desk.first.answer = _tells

    record = await desk.ask()

    (one,) = record.attempts
    assert record.usage == one.usage == Usage(1000, 50, cached=400)
    assert (one.target, one.outcome, record.cost) == ("first", "answered", 0.11)  # no price of its own for the cached


async def test_a_target_that_was_down_costs_nothing_and_the_next_one_its_own_price(desk: Desk) -> None:
    desk.first.answer, desk.second.answer = _is_down, _tells

    record = await desk.ask()

    down, answered = record.attempts
    assert (down.target, down.outcome, down.usage, down.cost) == ("first", "upstream_error", Usage(), 0.0)
    assert (answered.target, record.target, record.cost) == ("second", "second", 0.0018)
    line = next(line for line in desk.line.turn_lines() if line["turn"] == record.id)
    assert (line["target"], line["attempts"], line["cost"]) == ("second", 2, 0.0018)


async def test_an_upstream_that_tells_nothing_is_counted(desk: Desk) -> None:
    desk.first.answer = _keeps_it_to_itself

    record = await desk.ask()

    assert record.usage.estimated
    assert (record.usage.prompt, record.usage.completion) == (16, 5)  # o200k_base: 9 and 5, and 7 around one message
    assert record.cost == paid(record.usage, input_price=100, output_price=200)


async def test_a_barge_in_costs_what_was_said_until_then(desk: Desk) -> None:
    desk.first.answer = _goes_on
    call = await Call.place(desk.url, {"model": "desk", "stream": True, "messages": [user(QUESTION)]})
    assert await call.heard()

    call.hang_up()

    record = await desk.interrupted()
    assert record.usage == Usage(16, 3, estimated=True)
    assert record.cost == paid(record.usage, input_price=100, output_price=200)
    assert (record.unheard, record.unheard_cost) == (0, 0.0), "all of it had reached the client"


async def test_without_prices_tokens_are_counted_and_there_is_no_cost(desk: Desk) -> None:
    desk.second.answer = _tells

    record = await desk.ask("free")

    assert (record.usage.prompt, record.cost) == (1000, None)
    assert [attempt.cost for attempt in record.attempts] == [None]


async def test_edges_count_what_each_target_cost(desk: Desk) -> None:
    desk.second.answer, desk.first.answer = _tells, _is_down
    await desk.ask()

    metrics = await desk.line.edges[0].metrics()

    assert 'trunkline_cost_total{target="second"} 0.00' in metrics
    assert "second-free" not in metrics
