"""The worker's half of NATS: the standing pull, claims, the outbox, the control subject."""

import asyncio
import itertools
import logging
import secrets
from collections.abc import Callable, Iterable
from typing import Protocol

import nats.aio.client

from protocol import codec, streams
from protocol.codec import Addressed
from protocol.errors import Draining, Interrupted, NoSlot, Unheard
from protocol.messages import LAST, Answer, Ask, Cancel, Here
from protocol.streams import JobLimits, StreamError, Streams
from protocol.subjects import JobSubject, Subjects, last_token
from protocol.version import own_version
from protocol.wire import NO_RESPONDERS, Arrived, Disconnected, NatsWire, NoResponders, Subscription, Wire, tell
from workers.claims import Delivery
from workers.edges import SUSPICION_S, Edges, Sign
from workers.outbox import Outbox
from workers.pulls import EXPIRES_S, HEAL_S, Pull, Pulls

log = logging.getLogger(__name__)

HERE_S = 1.0
TICK_S = 0.1
LEASE_S = 3.0  # a claim that no Ask has listed for so long: nobody is listening, and every token costs money
KEPT_S = 3.0  # a claim's frames are kept so long after the last one
SETTLED_S = 1.0  # no edge is buried before this worker itself has been connected for so long
LOOK_S = 0.02
ECHO_S = 0.5
TERMINATE = b"+TERM"
TRACE_HEADERS = ("traceparent", "tracestate")
_UNREACHABLE = (StreamError, TimeoutError, NoResponders, Disconnected)


def connect(url: str, *, name: str, wait_s: float) -> NatsWire:
    """A connection to NATS, to be entered as a context manager."""
    return NatsWire(nats.aio.client.Client, url, name=name, wait_s=wait_s)


class Observer(Protocol):
    """Who counts what the bus meets."""

    def claimed(self) -> None:
        """One delivery was taken."""

    def terminated(self) -> None:
        """A delivery whose edge is gone was ended unstarted, or with its claim."""


class WorkerBus:
    """Claims of one worker process. Everything here runs on the event loop; callbacks never wait."""

    def __init__(
        self,
        wire: Wire,
        subjects: Subjects,
        limits: JobLimits,
        *,
        worker_id: str,
        pools: Iterable[str],
        slots: int,
        models: tuple[str, ...],
        config: str,
        observer: Observer,
        open_targets: Callable[[], tuple[str, ...]] = tuple,
        warm: Callable[[], None] = lambda: None,
    ) -> None:
        """`open_targets`: those that are passed over now. `warm` is called when turns may come soon."""
        self.worker_id = worker_id
        self.slots = slots
        self.draining = False
        self._wire = wire
        self._subjects = subjects
        self._models = models
        self._config = config
        self._observer = observer
        self._open_targets = open_targets
        self._open: tuple[str, ...] = ()  # as every edge was told
        self._warm = warm
        self._streams = Streams(self._api, subjects, limits)
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox(worker_id, self._publish_batch)
        self._pulls = Pulls(pools)
        self._consumers: dict[str, str] = {}
        self._inboxes: list[Subscription] = []
        self._claims: dict[int, Delivery] = {}  # all whose frames are kept
        self._running: dict[int, Delivery] = {}  # those whose last frame is still to come
        self._closed: dict[int, float] = {}  # claim -> when its last frame went out
        self._edges = Edges()
        self._echoes: dict[int, list[asyncio.Future[bool]]] = {}
        self._echo_number = 0
        self._echo_for: list[asyncio.Future[bool]] = []  # what is claimed together shares the next one
        self._wake = asyncio.Event()
        self._away_since: float | None = None
        self._here_at = 0.0
        self._start: Callable[[Delivery], None] | None = None

    @property
    def pools(self) -> tuple[str, ...]:
        """The pools that it pulls from."""
        return tuple(self._pulls.by_pool)

    @property
    def live(self) -> int:
        """Claims that run now."""
        return len(self._running)

    @property
    def free(self) -> int:
        """Slots that hold no claim."""
        return max(0, self.slots - len(self._running))

    @property
    def connected(self) -> bool:
        """Whether the bus is there."""
        return self._wire.connected

    # --- life ----------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Subscribe and find or make the streams.

        Raises:
            StreamError, TimeoutError, Disconnected, NoResponders: JetStream is not usable at the start.
        """
        await self._wire.subscribe(self._subjects.worker(self.worker_id), self._on_control)
        await self._wire.subscribe(self._subjects.worker_echo(self.worker_id), self._on_echo)
        await self._wire.subscribe(self._subjects.gone(self.worker_id, "*"), self._on_gone)
        for pool in self._pulls.by_pool:
            inbox = self._subjects.pull(self.worker_id, pool, "*")
            self._inboxes.append(await self._wire.subscribe(inbox, self._receiver(pool)))
            await self._wire.subscribe(self._subjects.warm(pool), lambda _: self._warm())
            self._consumers[pool] = await self._streams.jobs(pool)
        self._wire.on_connection(self._connection)

    async def pull(self, start: Callable[[Delivery], None]) -> None:
        """Take jobs into free slots, and hand each to `start`, until cancelled."""
        self._start = start
        self.say_here()
        while True:
            for pull, batch in self._pulls.due(self.free, self._loop.time()):
                await self._send_pull(pull, batch)
            self._wake.clear()
            wait = self._pulls.next_at(self._loop.time()) - self._loop.time()
            try:
                async with asyncio.timeout(max(wait, 0.001)):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def stop_pulling(self) -> None:
        """Leave what is not here yet to others. What had arrived is still handed to `start`."""
        self.draining = True
        self.say_here()
        for inbox in self._inboxes:
            await inbox.unsubscribe()

    async def keep_time(self) -> None:
        """Leases, probes and `Here`, until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self._tick(self._loop.time())

    async def _api(self, subject: str, data: bytes, timeout_s: float) -> bytes:
        return await self._wire.request(subject, data, timeout_s=timeout_s)

    def _connection(self, connected: bool) -> None:
        if not connected:
            self._away_since = self._loop.time()
            return
        self._away_since = None
        self._consumers.clear()  # the server may be a new one: look before the next pull
        self._pulls.reset()
        self._wake.set()
        self.say_here()

    # --- pulls and claims ----------------------------------------------------------------------------

    async def _send_pull(self, pull: Pull, batch: int) -> None:
        now = self._loop.time()
        try:
            if pull.pool not in self._consumers:
                self._consumers[pull.pool] = await self._streams.jobs(pull.pool)
            number = pull.sent(batch, self._loop.time())
            subject, body = streams.pull_request(
                self._subjects.jobs_stream(pull.pool), self._consumers[pull.pool], batch, EXPIRES_S
            )
            self._wire.publish(subject, body, reply=self._subjects.pull(self.worker_id, pull.pool, number))
        except _UNREACHABLE as error:
            log.debug("no pull from pool %s: %s", pull.pool, error)
            pull.closed(wait_s=HEAL_S, now=now)

    def _receiver(self, pool: str) -> Callable[[Arrived], None]:
        pull = self._pulls.by_pool[pool]

        def receive(message: Arrived) -> None:
            if message.status is None:
                fresh = pull.stood_open(self._loop.time()) and streams.is_first_delivery(message.reply)
                if pull.delivered():
                    self._wake.set()
                self._take(pool, message, fresh=fresh)
            elif last_token(message.subject) == str(pull.number) and message.status != "100":
                self._on_status(pull, message.status)

        return receive

    def _on_status(self, pull: Pull, status: str) -> None:
        """408: nothing came in time. 404, 409, 503: the consumer, or its stream, may be gone."""
        if status == "408":
            pull.closed()
        else:
            self._consumers.pop(pull.pool, None)
            pull.closed(wait_s=HEAL_S, now=self._loop.time())
        self._wake.set()

    def _take(self, pool: str, message: Arrived, *, fresh: bool) -> None:
        """Claim a delivery before anything else is done with it."""
        address = self._subjects.parse_job(message.subject)
        now = self._loop.time()
        delivery = self._claim(pool, message, address, now, fresh=fresh)
        if delivery is None:
            return
        if len(self._running) > self.slots:
            delivery.fail(NoSlot("the worker has no free slot"))
        elif self._start is None:
            delivery.fail(Draining("the worker does not take jobs"))
        else:
            self._start(delivery)

    def _claim(self, pool: str, message: Arrived, address: JobSubject, now: float, *, fresh: bool) -> Delivery | None:
        headers = message.headers or {}
        try:
            job = codec.decode_job(message.data)
        except codec.DecodeError as error:
            # Of another version. Unclaimed, it comes to somebody else, or ends with its budget.
            log.error("a job that this worker cannot read: %s", error, extra={"edge": address.edge_id})
            return None
        delivery = Delivery(
            job,
            pool=pool,
            edge_id=address.edge_id,
            line=address.line,
            claim=self._draw(),
            ack=message.reply,
            trace={name: headers[name] for name in TRACE_HEADERS if name in headers},
            now=now,
            send=self._send_frame,
            fresh=fresh,
        )
        self._claims[delivery.claim] = self._running[delivery.claim] = delivery
        self._observer.claimed()
        self._edges.met(address.edge_id, now)
        delivery.start()
        return delivery

    def _draw(self) -> int:
        while (claim := secrets.randbits(32)) in self._claims:
            pass
        return claim

    def _send_frame(self, edge_id: str, frame: Addressed) -> None:
        if isinstance(frame.frame, LAST):
            self._closed[frame.claim] = self._loop.time()
            del self._running[frame.claim]
            self._wake.set()
        self._outbox.put(edge_id, frame)

    def _publish_batch(self, edge_id: str, data: bytes) -> None:
        # Where it is lost, it is kept with the claim: the edge asks for it.
        tell(self._wire, self._subjects.edge(edge_id), data, reply=self._subjects.gone(self.worker_id, edge_id))

    async def confirm(self, delivery: Delivery) -> None:
        """Return when the claim is with the server and its edge listens there; a dead edge's job never begins.

        The server answers in order: where nobody listens, it says so before our echo comes back. Where it does, the
        claim waits for the verdict, and is cancelled by it. A fresh job's edge need not be looked for: that would cost
        every turn a way to the server and back.
        """
        suspected = self._edges.suspected(delivery.edge_id, self._loop.time())
        if delivery.fresh and self._wire.connected and not suspected:
            return
        while not await self._echo() or self._edges.suspected(  # noqa: ASYNC110 - no event ends a suspicion
            delivery.edge_id, self._loop.time()
        ):
            await asyncio.sleep(LOOK_S)

    async def _echo(self) -> bool:
        """Send something to ourselves, after all that was sent before; whether it came back."""
        if not self._echo_for:
            self._loop.call_soon(self._send_echo)
        back: asyncio.Future[bool] = self._loop.create_future()
        self._echo_for.append(back)
        return await back

    def _send_echo(self) -> None:
        waiting, self._echo_for = self._echo_for, []
        self._outbox.flush()
        self._echo_number += 1
        try:
            self._wire.publish(self._subjects.worker_echo(self.worker_id), str(self._echo_number).encode())
        except Disconnected:
            _tell_all(waiting, False)
        else:
            self._echoes[self._echo_number] = waiting
            self._loop.call_later(ECHO_S, self._echoed, self._echo_number, False)

    def _on_echo(self, message: Arrived) -> None:
        self._echoed(int(message.data), True)

    def _echoed(self, number: int, came_back: bool) -> None:
        _tell_all(self._echoes.pop(number, []), came_back)

    def _terminate(self, ack: str) -> None:
        self._observer.terminated()
        tell(self._wire, ack, TERMINATE)  # else redelivered, and terminated then

    # --- control -------------------------------------------------------------------------------------

    def _on_control(self, message: Arrived) -> None:
        try:
            control = codec.decode_control(message.data)
        except codec.DecodeError as error:
            log.warning("a control message that is none: %s", error)
            return
        if isinstance(control, Cancel):
            self._on_cancel(control.claim)
        else:
            self._on_ask(control, message.reply)

    def _on_cancel(self, claim: int) -> None:
        delivery = self._claims.get(claim)
        if delivery is None:
            return
        if delivery.closed:  # the edge has not heard the last frame
            self._outbox.put(delivery.edge_id, (delivery.again(delivery.next_seq - 1) or [])[-1])
        delivery.cancel(Interrupted("the caller is gone"))

    def _on_ask(self, ask: Ask, reply: str) -> None:
        now = self._loop.time()
        self._edges.heard(ask.edge_id, now)
        answer = codec.encode(Answer(tuple(self._listed(claim, start, now) for claim, start in ask.claims)))
        self._outbox.flush()  # what is sent again comes before the answer
        tell(self._wire, reply, answer)

    def _listed(self, claim: int, start: int, now: float) -> int | None:
        """Renew a claim's lease and send its frames again; the next number, or None."""
        delivery = self._claims.get(claim)
        frames = delivery.again(start) if delivery is not None else None
        if delivery is None or frames is None:
            return None
        delivery.listed_at = now
        for frame in frames:
            self._outbox.put(delivery.edge_id, frame)
        return delivery.next_seq

    def _on_gone(self, message: Arrived) -> None:
        if message.status != NO_RESPONDERS:
            return
        edge_id = last_token(message.subject)
        now = self._loop.time()
        sign = self._edges.no_responders(edge_id, now, settled=now - self._wire.connected_at >= SETTLED_S)
        if sign is Sign.FIRST:
            self._loop.call_later(SUSPICION_S + LOOK_S, self._probe, edge_id)
        elif sign is Sign.GONE:
            self._bury(edge_id)

    def _probe(self, edge_id: str) -> None:
        """An empty batch: only its reply subject matters."""
        self._publish_batch(edge_id, b"")

    def _bury(self, edge_id: str) -> None:
        claims = [delivery for delivery in self._running.values() if delivery.edge_id == edge_id]
        if claims:
            log.warning("edge gone", extra={"edge": edge_id, "claims": len(claims)})
        for delivery in claims:
            self._terminate(delivery.ack)
            delivery.cancel(Unheard("the edge is gone"))

    # --- time ----------------------------------------------------------------------------------------

    def _tick(self, now: float) -> None:
        self._cancel_unheard(now)
        self._forget(now)
        live = {delivery.edge_id for delivery in self._running.values()}
        for edge_id in self._edges.to_probe(live, now):
            self._probe(edge_id)
        self._edges.forget(live, now)
        if now - self._here_at >= HERE_S or self._open_targets() != self._open:
            self.say_here()

    def _forget(self, now: float) -> None:
        """Keep no frames of what has been over for long; the oldest come first."""
        for claim, _ in list(itertools.takewhile(lambda one: now - one[1] > KEPT_S, self._closed.items())):
            del self._closed[claim], self._claims[claim]

    def _cancel_unheard(self, now: float) -> None:
        cut_off = self._away_since is not None and now - self._away_since >= LEASE_S
        for delivery in list(self._running.values()):
            if cut_off or now - delivery.listed_at >= LEASE_S:
                delivery.cancel(Unheard("nobody listens"))

    def follow(self, models: tuple[str, ...], config: str) -> None:
        """Say from now on that it answers these models, with the configuration of this hash."""
        self._models, self._config = models, config
        self.say_here()

    def say_here(self) -> None:
        """Tell every edge that this worker lives, and what it can take."""
        self._here_at = self._loop.time()
        self._open = self._open_targets()
        here = Here(
            worker_id=self.worker_id,
            models=self._models,
            slots=self.slots,
            free=self.free,
            draining=self.draining,
            config=self._config,
            version=own_version(),
            open=self._open,
        )
        for pool in self._pulls.by_pool:
            tell(self._wire, self._subjects.here(pool), codec.encode(here))

    async def flush(self) -> None:
        """Return once the server has all frames. Raises TimeoutError, Disconnected."""
        self._outbox.flush()
        await self._wire.flush()


def _tell_all(waiting: list["asyncio.Future[bool]"], what: bool) -> None:
    for future in waiting:
        if not future.done():
            future.set_result(what)
