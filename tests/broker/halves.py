"""Both halves of the bus in this process, each on its own connection to a real server, under a prefix of their own."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any, NamedTuple, TypeVar

import msgspec
import nats.aio.client

from edge.bus import EdgeBus
from edge.inbox import Event, Inbox, Stored
from edge.lines import Line
from protocol import codec
from protocol.ids import new_id
from protocol.messages import Claimed, Finished, Frame, Job, Message, Text
from protocol.streams import JobLimits
from protocol.subjects import Subjects
from protocol.wire import Arrived, Callback, NatsWire, Subscription
from workers.bus import WorkerBus
from workers.claims import Delivery
from workers.serve import serve

GUARD_S = 20.0  # no test waits for this long unless something hangs
LOOK_S = 0.01
MODEL = "m"
SMALL = JobLimits(max_msgs=100, max_bytes=1 << 20)  # a stream reserves its bytes when it is made

E = TypeVar("E")
T = TypeVar("T")


async def eventually(holds: Callable[[], bool], *, what: str = "") -> None:
    """Until it holds."""
    try:
        async with asyncio.timeout(GUARD_S):
            while not holds():  # noqa: ASYNC110 - what it looks at tells nobody
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise AssertionError(f"never came true: {what or holds}") from None


async def within(awaitable: Awaitable[T]) -> T:
    """Its result; a bound against hanging."""
    async with asyncio.timeout(GUARD_S):
        return await awaitable


class Sent(NamedTuple):
    """One message that is about to leave."""

    subject: str
    data: bytes
    reply: str = ""
    headers: Mapping[str, str] | None = None


class TappedWire(NatsWire):
    """A real connection on which a test may lose messages, or hold them back."""

    def __init__(self, url: str, *, name: str = "test", wait_s: float = 10.0) -> None:
        super().__init__(nats.aio.client.Client, url, name=name, wait_s=wait_s)
        self.sent: list[Sent] = []  # all that left
        self.held: list[Sent] = []  # all that did not
        self.holds: Callable[[Sent], bool] = lambda sent: False
        self.ignores: Callable[[Arrived], bool] = lambda arrived: False
        self.ignored: list[tuple[Callback, Arrived]] = []

    def publish(self, subject: str, data: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None) -> None:
        sent = Sent(subject, data, reply, headers)
        if self.holds(sent):
            self.held.append(sent)
            return
        super().publish(subject, data, reply=reply, headers=headers)
        self.sent.append(sent)

    def release(self) -> None:
        """What was held back leaves now, and nothing more is held."""
        self.holds = lambda sent: False
        held, self.held = self.held, []
        for sent in held:
            self.publish(*sent[:2], reply=sent.reply, headers=sent.headers)

    async def cut(self) -> None:
        """It is gone, without a last word."""
        self.connected = False
        await self.__aexit__()

    def hear_late(self) -> None:
        """What was ignored arrives now, and nothing more is ignored."""
        self.ignores = lambda arrived: False
        ignored, self.ignored = self.ignored, []
        for callback, arrived in ignored:
            callback(arrived)

    async def request(
        self, subject: str, data: bytes, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> bytes:
        sent = Sent(subject, data, "", headers)
        if self.holds(sent):
            self.held.append(sent)
            await asyncio.sleep(timeout_s)
            raise TimeoutError
        self.sent.append(sent)
        return await super().request(subject, data, timeout_s=timeout_s, headers=headers)

    async def subscribe(self, subject: str, callback: Callback) -> Subscription:
        def hear(arrived: Arrived) -> None:
            if self.ignores(arrived):
                self.ignored.append((callback, arrived))
            else:
                callback(arrived)

        return await super().subscribe(subject, hear)


class Counts:
    """An observer for both halves."""

    def __init__(self) -> None:
        self.fenced_frames = self.offers = self.losses = self.claims = self.terminations = 0

    def fenced(self, count: int) -> None:
        self.fenced_frames += count

    def offered(self) -> None:
        self.offers += 1

    def worker_lost(self) -> None:
        self.losses += 1

    def claimed(self) -> None:
        self.claims += 1

    def terminated(self) -> None:
        self.terminations += 1


class Turn:
    """One offer, seen from the edge."""

    def __init__(self, line: Line, inbox: Inbox) -> None:
        self.line = line
        self.events: list[Event] = []  # all that was taken so far
        self._inbox = inbox
        self._ahead: list[Event] = []

    async def until(self, kind: type[E]) -> E:
        """The next event of a kind; what comes before it is kept in `events`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + GUARD_S
        while loop.time() < end:
            while self._ahead:
                event = self._ahead.pop(0)
                self.events.append(event)
                if isinstance(event, kind):
                    return event
            self._ahead = await self._inbox.take(end)
        raise AssertionError(f"no {kind.__name__} came, only {self.events}")

    async def answer(self) -> str:
        """All text up to the end of a good answer."""
        await self.until(Finished)
        return self.text

    @property
    def text(self) -> str:
        """What the caller has heard."""
        return "".join(event.text for event in self.events if isinstance(event, Text))

    def count(self, kind: type[Event]) -> int:
        """How often a kind of event came."""
        return sum(isinstance(event, kind) for event in self.events)


class Edge:
    """The edge's half."""

    def __init__(self, bus: EdgeBus, wire: TappedWire, counts: Counts, task: "asyncio.Task[None]") -> None:
        self.bus = bus
        self.wire = wire
        self.counts = counts
        self._task = task

    def offer(self, text: str = "hello", *, pool: str = "default", budget_s: float = 60.0) -> Turn:
        """A turn in which the caller says `text`."""
        inbox = Inbox()
        return Turn(self.bus.offer(pool, MODEL, a_job(text), budget_s=budget_s, trace={}, inbox=inbox), inbox)

    async def offer_stored(self, text: str = "hello", *, pool: str = "default") -> Turn:
        """As `offer`; the queue holds it."""
        turn = self.offer(text, pool=pool)
        await turn.until(Stored)
        return turn

    async def die(self) -> None:
        """Nothing of it is left: no task, no connection."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self.wire.cut()


class _Noted:
    """A worker's bus, and a note of each claim that it makes."""

    def __init__(self, bus: WorkerBus, claims: list[Delivery]) -> None:
        self._claims = claims
        self.stop_pulling = bus.stop_pulling
        self.confirm = bus.confirm
        self.flush = bus.flush
        self._pull = bus.pull

    async def pull(self, start: Callable[[Delivery], None]) -> None:
        def note(delivery: Delivery) -> None:
            self._claims.append(delivery)
            start(delivery)

        await self._pull(note)


class Worker:
    """The worker's half, whose answers the test gives."""

    def __init__(self, bus: WorkerBus, wire: TappedWire, counts: Counts, *, answer: str | None) -> None:
        self.bus = bus
        self.wire = wire
        self.counts = counts
        self.claims: list[Delivery] = []  # all that were ever made; some are cancelled before they begin
        self.taken: list[Delivery] = []  # those that began, which is a little after their edge has heard of them
        self._answer = answer
        self._started: asyncio.Queue[Delivery] = asyncio.Queue()
        self._over: dict[int, asyncio.Event] = {}
        self._stop = asyncio.Event()
        self._serving: asyncio.Task[bool] | None = None

    def start(self) -> None:
        """Begin to take jobs."""
        self._serving = asyncio.create_task(self._serve(), name="worker under test")

    async def _serve(self) -> bool:
        clock = asyncio.create_task(self.bus.keep_time())
        try:
            return await serve(_Noted(self.bus, self.claims), self._run, drain_s=GUARD_S, stop=self._stop)
        finally:
            clock.cancel()

    async def _run(self, delivery: Delivery) -> None:
        over = self._over[delivery.claim] = asyncio.Event()
        self.taken.append(delivery)
        self._started.put_nowait(delivery)
        if self._answer is not None:
            self.finish(delivery, self._answer)
        await over.wait()

    async def next(self) -> Delivery:
        """The next claim that starts here."""
        return await within(self._started.get())

    def finish(self, delivery: Delivery, *texts: str) -> None:
        """Say these, and that it was all."""
        for text in texts:
            delivery.emit(Text(text))
        delivery.emit(Finished("stop"))
        self._over[delivery.claim].set()

    def heard(self) -> list[str]:
        """What callers said, by jobs that began."""
        return [str(delivery.job.messages[0].content) for delivery in self.taken]

    async def drain(self) -> None:
        """Stop as on SIGTERM."""
        self._stop.set()
        assert self._serving is not None
        assert await within(asyncio.shield(self._serving))

    def begin_to_drain(self) -> None:
        """SIGTERM, without waiting for its end."""
        self._stop.set()

    async def die(self) -> None:
        """Nothing of it is left: its connection first, so that it says no last words."""
        await self.wire.cut()
        if self._serving is not None and not self._serving.done():
            self._serving.cancel()
            with suppress(asyncio.CancelledError):
                await self._serving


class Halves:
    """Makes edges and workers, and takes them down. A context manager."""

    def __init__(self, url: str, *, limits: JobLimits = SMALL) -> None:
        self.url = url
        self.limits = limits
        self.subjects = Subjects(f"test-{new_id()}")
        self._stack = AsyncExitStack()
        self.wires: list[TappedWire] = []
        self._api: NatsWire | None = None

    async def __aenter__(self) -> "Halves":
        await self._stack.__aenter__()
        self._stack.push_async_callback(self._clean)
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._stack.__aexit__(*error)

    async def wire(self) -> TappedWire:
        """A connection that is nobody's."""
        wire = TappedWire(self.url)
        await self._stack.enter_async_context(wire)
        self.wires.append(wire)
        return wire

    async def edge(self, *, pools: Iterable[str] = ("default",)) -> Edge:
        """An edge that runs."""
        wire, counts = await self.wire(), Counts()
        bus = EdgeBus(wire, self.subjects, self.limits, edge_id=new_id(), pools=pools, observer=counts)
        await bus.open()
        edge = Edge(bus, wire, counts, asyncio.create_task(bus.run(), name="edge under test"))
        self._stack.push_async_callback(edge.die)
        await asyncio.sleep(0)  # it runs
        return edge

    async def worker(
        self,
        *,
        pools: Iterable[str] = ("default",),
        slots: int = 4,
        answer: str | None = None,
        start: bool = True,
        **told: Any,
    ) -> Worker:
        """A worker that runs; with `answer` it says that to every job at once. `start`: it takes jobs."""
        wire, counts = await self.wire(), Counts()
        bus = WorkerBus(
            wire,
            self.subjects,
            self.limits,
            worker_id=new_id(),
            pools=pools,
            slots=slots,
            models=(MODEL,),
            config="",
            observer=counts,
            **told,
        )
        await bus.open()
        worker = Worker(bus, wire, counts, answer=answer)
        self._stack.push_async_callback(worker.die)
        if start:
            worker.start()
        return worker

    # --- what is on the server -----------------------------------------------------------------------

    async def api(self, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request to JetStream, with its answer, an error or not."""
        if self._api is None:
            self._api = await self.wire()
        data = msgspec.json.encode(body) if body is not None else b""
        answer: dict[str, Any] = msgspec.json.decode(await self._api.request(f"$JS.API.{verb}", data, timeout_s=5.0))
        return answer

    async def stream(self, pool: str = "default") -> dict[str, Any]:
        """What JetStream says of a pool's queue."""
        return await self.api(f"STREAM.INFO.{self.subjects.jobs_stream(pool)}")

    async def depth(self, pool: str = "default") -> int:
        """Jobs in a pool's queue, waiting or unacknowledged."""
        info = await self.stream(pool)
        return int(info["state"]["messages"]) if "state" in info else 0

    async def until_depth(self, depth: int, pool: str = "default") -> None:
        """Until a pool's queue holds so many."""
        found = -1
        try:
            async with asyncio.timeout(GUARD_S):
                while (found := await self.depth(pool)) != depth:  # noqa: ASYNC110 - the server tells nobody
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise AssertionError(f"the queue holds {found} jobs, never {depth}") from None

    async def delete_stream(self, pool: str = "default") -> None:
        """As an operator would."""
        answer = await self.api(f"STREAM.DELETE.{self.subjects.jobs_stream(pool)}")
        assert answer.get("success"), answer

    async def _clean(self) -> None:
        """Leave nothing on a server that others use: streams reserve what they may hold."""
        with suppress(Exception):
            async with asyncio.timeout(5.0), TappedWire(self.url, wait_s=0.5) as wire:
                names = msgspec.json.decode(await wire.request("$JS.API.STREAM.NAMES", b"", timeout_s=1.0))["streams"]
                for name in names or ():
                    if name.removeprefix("KV_").startswith(self.subjects.turns.removesuffix("TURNS")):
                        await wire.request(f"$JS.API.STREAM.DELETE.{name}", b"", timeout_s=1.0)


def a_job(text: str) -> bytes:
    """One turn as it travels."""
    return codec.encode(
        Job(id=new_id(), model=MODEL, messages=(Message(role="user", content=text),), budget_ms=60_000, total_ms=60_000)
    )


def frames_in(sent: Sent) -> list[Frame | None]:
    """The frames of a batch; none where it is no batch."""
    try:
        return [addressed.frame for addressed in codec.decode_batch(sent.data)[1]]
    except codec.DecodeError:
        return []


def carries(kind: type[Frame]) -> Callable[[Sent], bool]:
    """Whether a message carries a frame of this kind."""
    return lambda sent: ".edge." in sent.subject and any(isinstance(frame, kind) for frame in frames_in(sent))


def says(text: str) -> Callable[[Sent], bool]:
    """Whether a message carries exactly this text in a frame."""
    return lambda sent: ".edge." in sent.subject and Text(text) in frames_in(sent)


claims = carries(Claimed)


def is_ack(sent: Sent) -> bool:
    """Whether a message settles a delivery as done."""
    return sent.subject.startswith("$JS.ACK.") and sent.data == b"+ACK"


def is_cancel(sent: Sent) -> bool:
    """Whether a message is a Cancel."""
    if ".worker." not in sent.subject:
        return False
    try:
        return type(codec.decode_control(sent.data)).__name__ == "Cancel"
    except codec.DecodeError:
        return False
