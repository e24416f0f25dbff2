"""The cascade over real connections: what is closed, what is asked, and what is kept for the next turn."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from protocol import settings
from protocol.messages import Failed, Finished, Frame, Text
from protocol.spans import Spans
from tests.workers.fake_upstream import Answer, Exchange, FakeUpstream, chunk, says, upstream
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
