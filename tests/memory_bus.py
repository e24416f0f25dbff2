"""A NATS server and its clients in one process, under the simulation's clock. Messages cross it as bytes.

It speaks `protocol.wire.Wire`, so both halves of the bus run on it unchanged, each in a loop of its own. Every
connection keeps its order, as TCP does, until a fate says otherwise: a `Fate` may lose, double, delay and so reorder
single messages. A party can be cut off, with or without its knowledge, and the server can go away and come back.
"""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from contextlib import suppress

from protocol.subjects import last_token
from protocol.wire import FLUSH_S, NO_RESPONDERS, Arrived, Callback, Disconnected, NoResponders, Subscription
from tests.memory_streams import ACKS, API, BUCKETS, DIRECT_GET, JetStream, matches
from tests.virtual_time import Simulation, VirtualLoop

HOP_S = 0.0001  # from a party to the server, or back
UNHEARD_S = 1.2  # two pings unanswered: the connection is given up, at both its ends
RECONNECT_S = 0.06
MAX_PAYLOAD = 12 << 20

Fate = Callable[[str], tuple[float, ...]]
"""What becomes of the next message of a kind: one delay in seconds for each copy that arrives; none: it is lost."""

AS_IT_IS = (0.0,)
_inboxes = itertools.count()


def kind_of(message: Arrived) -> str:
    """What a party publishes, by its subject: a batch, an ask, a cancel, an ack, a `here`, an offer, …"""
    subject = message.subject
    if subject.startswith(ACKS):
        return "ack"
    if subject.startswith(BUCKETS):
        return "call state"
    if subject.startswith(DIRECT_GET):
        return "call read"
    if subject.startswith(API):
        return "pull" if "MSG.NEXT" in subject else "purge" if "PURGE" in subject else "api"
    if subject.startswith("_INBOX."):
        return "answer"
    _, _, family, *rest = subject.split(".")
    if rest[-1] == "self":
        return "echo"
    if family == "edge":
        return "batch"
    return {"job": "offer", "worker": "ask" if message.reply else "cancel"}.get(family, family)


class Server:
    """Routes core messages and keeps streams."""

    def __init__(self, simulation: Simulation, fate: Fate = lambda _: AS_IT_IS) -> None:
        self.simulation = simulation
        self.fate = fate
        self.streams = JetStream(simulation, self._send, self._listens)
        self.up = True
        self._links: list[Link] = []

    def connect(self, loop: VirtualLoop) -> "MemoryWire":
        """A connection for one process."""
        link = Link(self, loop)
        self._links.append(link)
        link.open()
        return link.wire

    def _listens(self, subject: str) -> bool:
        return any(link.listens(subject) for link in self._links)

    def _send(self, kind: str, to: str, message: Arrived) -> None:
        """A message of the server's own."""
        self._fated(kind, lambda: self._route(to, message))

    def _fated(self, kind: str, action: Callable[[], object]) -> None:
        for delay_s in self.fate(kind):
            if delay_s:
                self.simulation.call_later(delay_s, action)
            else:
                action()

    def _route(self, to: str, message: Arrived) -> bool:
        listening = [link for link in self._links if link.listens(to)]
        for link in listening:
            link.down(to, message)
        return bool(listening)

    def take(self, link: "Link", message: Arrived) -> None:
        """A party has published."""
        self._fated(kind_of(message), lambda: self._taken(link, message))

    def _taken(self, link: "Link", message: Arrived) -> None:
        subject = message.subject
        if subject.startswith(ACKS):
            self.streams.acknowledge(subject, message.data)
            return
        if subject.startswith(f"{API}CONSUMER.MSG.NEXT."):
            heard = self.streams.pull(subject, message)
        elif subject.startswith(DIRECT_GET):
            heard = self.streams.direct_get(subject, message.reply)
        elif subject.startswith(API):
            heard = True
            self._send("api answer", message.reply, Arrived(message.reply, self.streams.api(subject, message.data)))
        else:
            stream = self.streams.takes(subject)
            if stream is not None:
                self.streams.publish(stream, message)
            heard = self._route(subject, message) or stream is not None
        if not heard and message.reply:
            status = Arrived(message.reply, b"", status=NO_RESPONDERS)
            self._fated("no responders", lambda: link.down(message.reply, status))

    def stop(self) -> None:
        """As by SIGKILL: every connection ends, what was in memory is gone."""
        self.up = False
        self.streams.restart()
        for link in self._links:
            link.drop()

    def start(self) -> None:
        """There again; everybody comes back soon."""
        self.up = True


class Link:
    """One connection, as the server has it."""

    def __init__(self, server: Server, loop: VirtualLoop) -> None:
        self._server = server
        self._simulation = server.simulation
        self._loop = loop
        self._subscriptions: set[str] = set()
        self._epoch = 0  # the number of this connection; 0: there is none
        self._epochs = itertools.count(1)
        self._held: list[Callable[[], None]] | None = None  # what a broken wire has not let through
        self._closed = False
        self.reachable = True
        self.wire = MemoryWire(self, loop)

    # --- the connection ------------------------------------------------------------------------------

    def open(self) -> None:
        """Connect, now or as soon as the server can be reached."""
        if self._closed or self._epoch:
            return
        if not (self._server.up and self.reachable):
            self._simulation.call_later(RECONNECT_S, self.open)
            return
        self._epoch = next(self._epochs)
        self._held = None
        epoch = self._epoch
        self._subscriptions = set(self.wire.patterns)
        self._loop.call_soon(lambda: self.wire.came(epoch))

    def drop(self) -> None:
        """The connection ends; its party hears of it as soon as it listens, and tries again."""
        if self._epoch:
            self._epoch = 0
            self._held = None
            self._subscriptions.clear()
            self._loop.call_soon(self.wire.went)
            self._simulation.call_later(RECONNECT_S, self._open_when_awake)

    def _open_when_awake(self) -> None:
        if self._loop.frozen and not self._closed:
            self._simulation.call_later(RECONNECT_S, self._open_when_awake)
        else:
            self.open()

    def close(self) -> None:
        """For good: the process is gone."""
        self._closed = True
        self._epoch = 0
        self._subscriptions.clear()

    def stall(self) -> None:
        """Nothing comes through, and nobody is told: what is sent waits in the network."""
        if self._held is None and self._epoch:
            self._held = []
            epoch = self._epoch
            self.reachable = False
            self._simulation.call_later(UNHEARD_S, lambda: self._give_up(epoch))

    def heal(self) -> None:
        """What waited comes through, unless the connection was given up meanwhile."""
        self.reachable = True
        held, self._held = self._held or [], None
        for passage in held:
            passage()

    def _give_up(self, epoch: int) -> None:
        if self._held is not None and self._epoch == epoch:
            self.drop()

    def unheard(self) -> None:
        """The party is frozen and answers no ping."""
        epoch = self._epoch

        def look() -> None:
            if self._loop.frozen and self._epoch == epoch:
                self.drop()

        self._simulation.call_later(UNHEARD_S, look)

    # --- messages ------------------------------------------------------------------------------------

    def _through(self, epoch: int, action: Callable[[], object]) -> None:
        def passage() -> None:
            if self._epoch != epoch or self._closed:
                return
            if self._held is not None:
                self._held.append(passage)
            else:
                action()

        self._simulation.call_later(HOP_S, passage)

    def up(self, epoch: int, action: Callable[[], object]) -> None:
        """From the party to the server, in order."""
        self._through(epoch, action)

    def publish(self, epoch: int, message: Arrived) -> None:
        """From the party to whoever listens."""
        self.up(epoch, lambda: self._server.take(self, message))

    def down(self, to: str, message: Arrived) -> None:
        """From the server to the party, in order."""
        self._through(self._epoch, lambda: self._loop.call_soon(self.wire.arrive, to, message))

    def pong(self, epoch: int, action: Callable[[], object]) -> None:
        """There and back."""
        self.up(epoch, lambda: self._through(epoch, lambda: self._loop.call_soon(action)))

    def subscribe(self, pattern: str) -> None:
        """Interest, as the server knows it."""
        self._subscriptions.add(pattern)

    def unsubscribe(self, pattern: str) -> None:
        """No interest any more."""
        self._subscriptions.discard(pattern)

    def listens(self, subject: str) -> bool:
        """Whether the party has interest in a subject."""
        return any(matches(pattern, subject) for pattern in self._subscriptions)


class MemoryWire:
    """One party's connection: `protocol.wire.Wire`."""

    def __init__(self, link: Link, loop: VirtualLoop) -> None:
        self.link = link
        self.connected = False
        self.connected_at = 0.0
        self.max_payload = MAX_PAYLOAD
        self.clustered = False
        self._loop = loop
        self._epoch = 0
        self._callbacks: dict[str, Callback] = {}
        self._answers: dict[str, asyncio.Future[Arrived]] = {}
        self._watchers: list[Callable[[bool], None]] = []
        self._inbox = f"_INBOX.{next(_inboxes)}"
        self._requests = itertools.count()

    @property
    def patterns(self) -> list[str]:
        """What it has subscribed to."""
        return [*self._callbacks, f"{self._inbox}.*"]

    def came(self, epoch: int) -> None:
        """The connection is there."""
        self._epoch = epoch
        again, self.connected, self.connected_at = bool(self.connected_at), True, self._loop.time()
        if again:
            for watcher in self._watchers:
                watcher(True)

    def went(self) -> None:
        """The connection is gone."""
        if self.connected:
            self.connected = False
            for watcher in self._watchers:
                watcher(False)

    def arrive(self, to: str, message: Arrived) -> None:
        """Hand a message to whoever has subscribed."""
        if to.startswith("_INBOX."):
            answer = self._answers.get(last_token(to))
            if answer is not None and not answer.done():
                answer.set_result(message)
            return
        for pattern, callback in list(self._callbacks.items()):
            if matches(pattern, to):
                callback(message)

    def on_connection(self, callback: Callable[[bool], None]) -> None:
        self._watchers.append(callback)

    def publish(self, subject: str, data: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None) -> None:
        if not self.connected:
            raise Disconnected("the bus is away")
        size = len(data) + sum(len(key) + len(value) + 4 for key, value in (headers or {}).items())
        assert size <= self.max_payload, "the real client would close for good"
        self.link.publish(self._epoch, Arrived(subject, bytes(data), reply, dict(headers) if headers else None))

    async def subscribe(self, subject: str, callback: Callback) -> Subscription:
        self._callbacks[subject] = callback
        self.link.up(self._epoch, lambda: self.link.subscribe(subject))
        return _Subscription(self, subject)

    async def unsubscribe(self, subject: str) -> None:
        """What arrives until the server knows is still handed over."""
        self.link.up(self._epoch, lambda: self.link.unsubscribe(subject))
        with suppress(TimeoutError, Disconnected):
            await self.flush()
        self._callbacks.pop(subject, None)

    async def request(
        self, subject: str, data: bytes, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> bytes:
        number = str(next(self._requests))
        self._answers[number] = self._loop.create_future()
        try:
            self.publish(subject, data, reply=f"{self._inbox}.{number}", headers=headers)
            async with asyncio.timeout(timeout_s):
                answer = await self._answers[number]
        finally:
            del self._answers[number]
        if answer.status == NO_RESPONDERS:
            raise NoResponders(subject)
        return answer.data

    async def flush(self) -> None:
        if not self.connected:
            raise Disconnected("the bus is away")
        done = asyncio.Event()
        self.link.pong(self._epoch, done.set)
        async with asyncio.timeout(FLUSH_S):
            await done.wait()


class _Subscription:
    def __init__(self, wire: MemoryWire, subject: str) -> None:
        self._wire = wire
        self._subject = subject

    async def unsubscribe(self) -> None:
        await self._wire.unsubscribe(self._subject)
