"""The cascade over real connections: what is closed, what is asked, and what is kept for the next turn."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from protocol import settings
from protocol.messages import Failed, Finished, Frame, Text, Tool, ToolCall, Withheld
from protocol.spans import Spans
from tests.workers.fake_upstream import DONE, Answer, Exchange, FakeUpstream, chunk, says, upstream
from tests.workers.target_jobs import job
from trunkline.ports import free_port
from workers.claims import Delivery
from workers.metrics import Metrics
from workers.run import Runner
from workers.targets.build import Models
from workers.targets.connections import open_session

MODEL = "front-desk"


class Worker:
    """One model whose targets are real upstreams on this machine."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.fakes: list[FakeUpstream] = []
        self.frames: list[Frame | None] = []

    async def open(self, *answers: Answer | None, **told: Any) -> None:
        """`None` is a port that nobody listens on; `told` goes for every target."""
        urls = []
        for answer in answers:
            if answer is None:
                urls.append(f"http://127.0.0.1:{free_port('127.0.0.1')}/v1")
                continue
            fake = await self._stack.enter_async_context(upstream(answer))
            self.fakes.append(fake)
            urls.append(fake.url)
        session = await self._stack.enter_async_context(open_session())
        targets = {f"t{at}": settings.Target(base_url=url, model=f"m{at}", **told) for at, url in enumerate(urls)}
        model = settings.Model(targets=tuple(targets), hedge_share=1.0)
        self._models = Models(settings.Settings(models={MODEL: model}, targets=targets), {}, session)
        self._runner = Runner(self._models.route_for, spans=Spans(), metrics=Metrics(), worker_id="w")

    def begin(self, **fields: Any) -> tuple[Delivery, "asyncio.Task[None]"]:
        """One turn."""
        self.frames = frames = list[Frame | None]()
        delivery = Delivery(
            job(model=MODEL, **fields),
            pool="p",
            edge_id="e",
            line=1,
            claim=1,
            ack="a",
            trace={},
            now=0.0,
            send=lambda _, addressed: frames.append(addressed.frame),
        )
        delivery.start()
        task = asyncio.create_task(self._runner.run(delivery))
        delivery.stop = task.cancel
        return delivery, task

    async def answer(self, **fields: Any) -> Finished | Failed:
        """One turn, to its end."""
        async with asyncio.timeout(20):
            await self.begin(**fields)[1]
        last = self.frames[-1]
        assert isinstance(last, Finished | Failed)
        return last

    @property
    def text(self) -> str:
        return "".join(frame.text for frame in self.frames if isinstance(frame, Text))


@pytest.fixture
async def worker() -> Any:
    async with AsyncExitStack() as stack:
        yield Worker(stack)


async def speaks(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.send(says("hi ", "there"))
    await exchange.end()


async def is_silent(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.send(chunk({"role": "assistant"}))


async def is_down(exchange: Exchange) -> None:
    await exchange.plain(503, "{}")


async def fails_inside(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.send('data: {"error": {"message": "out of memory"}}\n\n')
    await exchange.end()


async def breaks_off(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.send(chunk({"content": "one two "}))
    exchange.cut()


async def gone(exchange: Exchange) -> None:
    """Its connection is closed from the other end."""
    async with asyncio.timeout(10):
        await exchange.gone.wait()


async def test_a_turn_goes_on_until_somebody_answers(worker: Worker) -> None:
    await worker.open(None, is_down, fails_inside, speaks, connect_s=10.0, first_content_s=10.0)

    last = await worker.answer()

    assert worker.text == "hi there"
    assert [(one.target, one.outcome) for one in last.attempts] == [
        ("t0", "upstream_error"),
        ("t1", "upstream_error"),
        ("t2", "upstream_error"),
        ("t3", "answered"),
    ]
    assert [len(fake.seen) for fake in worker.fakes] == [1, 1, 1]


async def test_the_loser_of_a_race_is_hung_up_on_and_the_winners_connection_is_kept(worker: Worker) -> None:
    await worker.open(is_silent, speaks, hedge_after_s=0.05, first_content_s=10.0)

    last = await worker.answer()

    slow, fast = worker.fakes
    await gone(slow.seen[0])
    assert worker.text == "hi there"
    assert [one.outcome for one in last.attempts] == ["outrun", "answered"]
    assert (await worker.answer()).target == "t1"
    assert fast.connections == 1


async def test_the_first_of_a_race_may_win_in_a_task_that_is_not_its_own(worker: Worker) -> None:
    """What it has begun in the race's task goes on in the turn's."""
    begin, go_on = asyncio.Event(), asyncio.Event()

    async def late(exchange: Exchange) -> None:
        await exchange.begin()
        await begin.wait()
        await exchange.send(chunk({"content": "slow "}))
        await go_on.wait()
        await exchange.send(says("but sure"))
        await exchange.end()

    await worker.open(late, is_silent, hedge_after_s=0.05, first_content_s=10.0)
    _, turn = worker.begin()
    while len(worker.fakes) < 2 or not worker.fakes[1].seen:  # noqa: ASYNC110 - the hedge is out
        await asyncio.sleep(0.01)

    begin.set()
    await gone(worker.fakes[1].seen[0])
    go_on.set()
    async with asyncio.timeout(10):
        await turn

    assert worker.text == "slow but sure"


async def test_who_hangs_up_during_a_race_closes_both(worker: Worker) -> None:
    await worker.open(is_silent, is_silent, hedge_after_s=0.05, first_content_s=10.0)
    delivery, turn = worker.begin()
    exchanges = [await fake.exchanges.get() for fake in worker.fakes]

    delivery.cancel()
    async with asyncio.timeout(10):
        await turn

    for exchange in exchanges:
        await gone(exchange)
    last = worker.frames[-1]
    assert isinstance(last, Failed)
    assert [one.outcome for one in last.attempts] == ["interrupted", "interrupted"]


async def test_an_answer_that_breaks_off_is_gone_on_with_by_the_next_target(worker: Worker) -> None:
    async def rest(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send(says("three four"))
        await exchange.end()

    await worker.open(breaks_off, rest)

    last = await worker.answer(on_lost="continue")

    assert worker.text == "one two three four"
    assert isinstance(last, Finished)
    half, nudge = worker.fakes[1].seen[0].json["messages"][-2:]
    assert half == {"role": "assistant", "content": "one two "}
    assert nudge["role"] == "user"


# --- arguments that are no JSON object, in each dialect --------------------------------------------

TOOLS = (Tool("look_up", parameters=b'{"type": "object", "properties": {"id": {"type": "integer"}}}'),)


def in_chat(arguments: str) -> str:
    """A whole answer that is one call."""
    told = {"index": 0, "id": "c1", "type": "function", "function": {"name": "look_up", "arguments": arguments}}
    return chunk({"tool_calls": [told]}) + chunk(finish="tool_calls") + DONE


def in_messages(arguments: str) -> str:
    """The same."""
    block = {"type": "tool_use", "id": "c1", "name": "look_up", "input": {}}
    piece = {"type": "input_json_delta", "partial_json": arguments}
    return told(
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": piece},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
        {"type": "message_stop"},
    )


def in_responses(arguments: str) -> str:
    """The same."""
    item = {"type": "function_call", "id": "fc", "call_id": "c1", "name": "look_up", "arguments": arguments}
    return told(
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {"status": "completed", "output": [item]}},
    )


def told(*events: dict[str, Any]) -> str:
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events)


def values_of(body: Any) -> Iterator[Any]:
    """All that is in a body."""
    yield body
    for inner in body.values() if isinstance(body, dict) else body if isinstance(body, list) else ():
        yield from values_of(inner)


DIALECTS = {"chat-completions": in_chat, "messages": in_messages, "responses": in_responses}
SENT = {
    "chat-completions": {"name": "look_up", "arguments": "{}"},
    "messages": {"type": "tool_use", "id": "c1", "name": "look_up", "input": {}},
    "responses": {"type": "function_call", "call_id": "c1", "name": "look_up", "arguments": "{}"},
}
"""The call, as the model that made it is shown it."""


@pytest.mark.parametrize(("dialect", "calling"), DIALECTS.items(), ids=DIALECTS)
@pytest.mark.parametrize("arguments", ['{"id":', "17", '"x"', "[1]"])
async def test_a_model_whose_arguments_are_no_object_is_asked_once_more(
    worker: Worker, dialect: str, calling: Callable[[str], str], arguments: str
) -> None:
    answers = [arguments, '{"id": 7}', arguments, arguments]

    async def calls(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send(calling(answers.pop(0)))
        await exchange.end()

    await worker.open(calls, dialect=dialect)

    mended = await worker.answer(check_tools=True, tools=TOOLS)

    made = [frame for frame in worker.frames if isinstance(frame, ToolCall)]
    assert [(call.index, call.name, call.arguments) for call in made] == [(0, "look_up", '{"id": 7}')]
    assert [(one.outcome, one.reason) for one in mended.attempts] == [("answered", ""), ("answered", "tool_repair")]
    again = list(values_of(worker.fakes[0].seen[1].json))
    assert SENT[dialect] in again
    assert any(isinstance(text, str) and "its arguments were no JSON object" in text for text in again)

    withheld = await worker.answer(check_tools=True, tools=TOOLS)

    assert not any(isinstance(frame, ToolCall) for frame in worker.frames)
    assert isinstance(withheld, Finished)
    assert (withheld.reason, withheld.withheld) == ("stop", (Withheld("look_up", "invalid"),))
    assert answers == []


@pytest.mark.parametrize(("dialect", "calling"), DIALECTS.items(), ids=DIALECTS)
async def test_where_calls_are_not_checked_such_an_answer_is_broken(
    worker: Worker, dialect: str, calling: Callable[[str], str]
) -> None:
    async def calls(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send(calling("[1]"))
        await exchange.end()

    await worker.open(calls, dialect=dialect)

    last = await worker.answer(tools=TOOLS)

    assert isinstance(last, Failed)
    assert (last.code, "no object" in last.message) == ("upstream_error", True)
    assert not any(isinstance(frame, ToolCall) for frame in worker.frames)
