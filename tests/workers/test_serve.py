"""Taking jobs, and stopping."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from protocol.codec import Addressed
from protocol.messages import Failed, Finished, Frame, Job
from protocol.wire import Disconnected
from tests.virtual_time import play
from workers.claims import Delivery
from workers.serve import serve

Run = Callable[[Delivery], Awaitable[None]]


class Jobs:
    """A scripted `Jobs`: hands out when told, and notes what is asked of it."""

    def __init__(self) -> None:
        self.start: Callable[[Delivery], None] | None = None
        self.asked: list[str] = []
        self.sent: dict[str, list[Frame | None]] = {}
        self.listens = asyncio.Event()
        self.listens.set()
        self.late: list[Delivery] = []
        self.away = False

    async def pull(self, start: Callable[[Delivery], None]) -> None:
        self.start = start
        await asyncio.Event().wait()

    async def stop_pulling(self) -> None:
        self.asked.append("stop")
        assert self.start is not None
        for delivery in self.late:
            self.start(delivery)

    async def confirm(self, delivery: Delivery) -> None:
        await self.listens.wait()

    async def flush(self) -> None:
        self.asked.append("flush")
        if self.away:
            raise Disconnected

    def delivery(self, name: str) -> Delivery:
        frames = self.sent[name] = []
        job = Job(id=name, model="m", messages=(), budget_ms=1, total_ms=1)

        def send(_: str, frame: Addressed) -> None:
            frames.append(frame.frame)

        made = Delivery(job, pool="p", edge_id="e", line=1, claim=1, ack="a", trace={}, now=0.0, send=send)
        made.start()
        return made

    def take(self, name: str) -> Delivery:
        assert self.start is not None
        made = self.delivery(name)
        self.start(made)
        return made

    def last(self, name: str) -> Frame | None:
        """The last frame, if it is the only one beside the claim."""
        (frame,) = self.sent[name][1:]
        return frame

    def code(self, name: str) -> str:
        frame = self.last(name)
        assert isinstance(frame, Failed)
        return frame.code


def served(
    scene: Callable[[Jobs, asyncio.Event, "asyncio.Task[bool]"], Awaitable[None]], run: Run, drain_s: float
) -> None:
    async def whole() -> None:
        jobs, stop = Jobs(), asyncio.Event()
        serving = asyncio.ensure_future(serve(jobs, run, drain_s=drain_s, stop=stop))
        await asyncio.sleep(0.01)
        await scene(jobs, stop, serving)

    play(whole())


def speaks_for(seconds: float) -> Run:
    async def run(delivery: Delivery) -> None:
        await asyncio.sleep(seconds)
        delivery.emit(Finished("stop"))

    return run


def test_what_runs_when_it_stops_may_finish() -> None:
    async def scene(jobs: Jobs, stop: asyncio.Event, serving: "asyncio.Task[bool]") -> None:
        jobs.take("a")
        stop.set()

        assert await serving is True
        assert jobs.last("a") == Finished("stop")
        assert jobs.asked == ["stop", "flush"]

    served(scene, speaks_for(1.0), drain_s=5.0)


def test_without_anything_to_do_it_stops_at_once() -> None:
    async def scene(jobs: Jobs, stop: asyncio.Event, serving: "asyncio.Task[bool]") -> None:
        stop.set()
        began = asyncio.get_running_loop().time()

        assert await serving is True
        assert asyncio.get_running_loop().time() - began < 0.001

    served(scene, speaks_for(1.0), drain_s=5.0)


def test_what_outlives_the_drain_is_handed_on() -> None:
    async def scene(jobs: Jobs, stop: asyncio.Event, serving: "asyncio.Task[bool]") -> None:
        jobs.take("quick")
        await asyncio.sleep(0.1)
        jobs.take("slow")
        stop.set()

        assert await serving is False
        assert jobs.last("quick") == Finished("stop")
        frame = jobs.last("slow")
        assert isinstance(frame, Failed)
        assert (frame.code, frame.retryable) == ("draining", True)

    served(scene, speaks_for(1.0), drain_s=0.95)


def test_what_had_arrived_is_still_served() -> None:
    async def scene(jobs: Jobs, stop: asyncio.Event, serving: "asyncio.Task[bool]") -> None:
        jobs.late.append(jobs.delivery("late"))
        stop.set()

        assert await serving is True
        assert jobs.last("late") == Finished("stop")

    served(scene, speaks_for(1.0), drain_s=5.0)


def test_a_cancelled_claim_has_its_last_frame_and_no_second_one() -> None:
    async def scene(jobs: Jobs, stop: asyncio.Event, serving: "asyncio.Task[bool]") -> None:
        delivery, neighbour = jobs.take("a"), jobs.take("b")
        await asyncio.sleep(0.1)
        delivery.cancel()
        await asyncio.sleep(0.1)
        assert jobs.code("a") == "interrupted"
        assert not neighbour.closed
        stop.set()
        await serving

    served(scene, speaks_for(1.0), drain_s=5.0)


def test_a_claim_that_is_cancelled_before_it_began_has_its_last_frame_too() -> None:
    async def scene(jobs: Jobs, stop: asyncio.Event, serving: "asyncio.Task[bool]") -> None:
        jobs.take("a").cancel()
        await asyncio.sleep(0.1)

        assert jobs.code("a") == "interrupted"
        stop.set()
        await serving

    served(scene, speaks_for(1.0), drain_s=5.0)


def test_nothing_is_spent_on_a_claim_before_its_edge_is_known_to_listen() -> None:
    began: list[str] = []

    async def run(delivery: Delivery) -> None:
        began.append(delivery.job.id)
        delivery.emit(Finished("stop"))

    async def scene(jobs: Jobs, stop: asyncio.Event, serving: "asyncio.Task[bool]") -> None:
        jobs.listens.clear()
        jobs.take("a")
        gone = jobs.take("b")
        await asyncio.sleep(1.0)
        assert began == []
        gone.cancel()
        jobs.listens.set()
        await asyncio.sleep(0.1)
        assert began == ["a"]
        stop.set()
        await serving

    served(scene, run, drain_s=5.0)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyError("a bug")])
def test_a_bug_in_one_job_ends_no_other(error: Exception) -> None:
    async def run(delivery: Delivery) -> None:
        await asyncio.sleep(0.1)
        if delivery.job.id == "bad":
            raise error
        delivery.emit(Finished("stop"))

    async def scene(jobs: Jobs, stop: asyncio.Event, serving: "asyncio.Task[bool]") -> None:
        jobs.take("bad")
        jobs.take("good")
        await asyncio.sleep(0.2)
        assert jobs.code("bad") == "internal"
        assert "bug" not in str(jobs.last("bad"))
        assert jobs.last("good") == Finished("stop")
        assert not serving.done()
        stop.set()
        assert await serving is True

    served(scene, run, drain_s=5.0)


def test_a_run_that_forgets_its_last_frame_is_a_failure_and_no_silence() -> None:
    async def run(delivery: Delivery) -> None:
        pass

    async def scene(jobs: Jobs, stop: asyncio.Event, serving: "asyncio.Task[bool]") -> None:
        jobs.take("a")
        await asyncio.sleep(0.1)
        assert jobs.code("a") == "internal"
        stop.set()
        await serving

    served(scene, run, drain_s=5.0)


def test_it_stops_while_the_bus_is_away() -> None:
    async def scene(jobs: Jobs, stop: asyncio.Event, serving: "asyncio.Task[bool]") -> None:
        jobs.away = True
        stop.set()
        assert await serving is True

    served(scene, speaks_for(1.0), drain_s=5.0)
