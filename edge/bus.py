"""The edge's half of NATS: offer jobs, acknowledge claims, take frames, ask, cancel, withdraw."""

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping
from typing import Protocol

import nats.aio.client

from edge.inbox import Inbox, Lost, Refused, Stored
from edge.lines import Line, Stage
from edge.peers import Peer, Watcher
from edge.presence import Presence
from protocol import codec, streams
from protocol.codec import Addressed
from protocol.errors import NoWorker, Overloaded, ServiceError, TooLarge
from protocol.lifecycle import ProtocolViolation
from protocol.messages import LAST, Cancel, Claimed, Heard, TurnRecord
from protocol.streams import JobLimits, StreamError, Streams
from protocol.subjects import Subjects, last_token
from protocol.wire import Arrived, Disconnected, NatsWire, NoResponders, Wire, tell

log = logging.getLogger(__name__)

ACK_LATE_S = 0.3  # a publish ack that takes longer is taken for lost: publish again with the same id
REPEAT_S = 1.0  # an unclaimed line is published again so often: a duplicate, unless the job was lost
CANCEL_EVERY_S, CANCELS = 0.25, 4
STOP_S = 1.0  # a line stays open so long for the last frame of a claim that was cancelled
AWAY_S = 1.5  # live turns wait so long for the bus to come back: a server frozen for 2 s is noticed after 1.0 to 1.5
TICK_S = 0.05
HEADER_OVERHEAD = 64  # "NATS/1.0" and the separators
ACK = b"+ACK"
CALLS = ""  # beside the pools that are healed: none has this name
WITHDRAWN_S = 30.0  # how long a late publish ack of a withdrawn line is still waited for


def connect(url: str, *, name: str, wait_s: float) -> NatsWire:
    """A connection to NATS, to be entered as a context manager."""
    return NatsWire(nats.aio.client.Client, url, name=name, wait_s=wait_s)


class Observer(Protocol):
    """Who counts what the bus meets."""

    def fenced(self, count: int) -> None:
        """Frames that were dropped: of a claim that does not own its line, or for a line that is none."""

    def offered(self) -> None:
        """One publication of a new line."""

    def worker_lost(self) -> None:
        """A claim was lost."""


class EdgeBus:
    """Lines of one edge process. Everything here runs on the event loop; callbacks never wait."""

    def __init__(
        self,
        wire: Wire,
        subjects: Subjects,
        limits: JobLimits,
        *,
        edge_id: str,
        pools: Iterable[str],
        observer: Observer,
    ) -> None:
        self.edge_id = edge_id
        self.presence = Presence()
        self._wire = wire
        self._subjects = subjects
        self._pools = tuple(pools)
        self._observer = observer
        self._streams = Streams(self._api, subjects, limits)
        self._loop = asyncio.get_running_loop()
        self._tasks: asyncio.TaskGroup | None = None
        self._lines: dict[int, Line] = {}
        self._waiting: dict[int, Line] = {}
        self._stopping: dict[int, Line] = {}
        self._withdrawn: dict[int, Line] = {}
        self._peers: dict[str, Peer] = {}
        self._healing: set[str] = set()
        self._next_line = 0
        self._echo_sent = self._echo_back = 0
        self._away_since: float | None = None
        self._watcher = Watcher(wire, subjects.worker, edge_id, self, self._lost)

    # --- life ----------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Subscribe and find or make the streams.

        Raises:
            StreamError, TimeoutError, Disconnected, NoResponders: JetStream is not usable.
        """
        await self._subscribe()
        for pool in self._pools:
            await self._streams.jobs(pool, replace_leaderless=self._wire.clustered)
        await self._streams.turns()
        await self._heal_calls()

    async def run(self) -> None:
        """Keep time until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            self._wire.on_connection(self._connection)
            while True:
                await asyncio.sleep(TICK_S)
                self._tick(self._loop.time())

    async def _subscribe(self) -> None:
        names = self._subjects
        await self._wire.subscribe(names.edge(self.edge_id), self._on_batch)
        await self._wire.subscribe(names.edge_echo(self.edge_id), self._on_echo)
        await self._wire.subscribe(names.pub_ack(self.edge_id, "*"), self._on_pub_ack)
        await self._wire.subscribe(names.here("*"), self._on_here)

    async def _api(self, subject: str, data: bytes, timeout_s: float) -> bytes:
        return await self._wire.request(subject, data, timeout_s=timeout_s)

    def _connection(self, connected: bool) -> None:
        if not connected:
            self._away_since = self._loop.time()
            return
        self._away_since = None
        for pool in self._pools:
            self._heal(pool)
        self._spawn(self._heal_turns())
        self._spawn(self._heal_calls())
        for line in list(self._waiting.values()):
            self._publish_anew(line)
        for peer in self._peers.values():
            peer.ask_now()

    async def _heal_turns(self) -> None:
        try:
            await self._streams.turns()
        except (StreamError, TimeoutError, NoResponders, Disconnected) as error:
            log.warning("the stream of turn records is not there: %s", error)

    def heal_calls(self) -> None:
        """Make the bucket of calls again, where it is gone; once at a time."""
        if self._tasks is not None and CALLS not in self._healing:
            self._healing.add(CALLS)
            self._spawn(self._heal_calls())

    async def _heal_calls(self) -> None:
        """Turns go on without it."""
        try:
            await self._streams.calls(replace_leaderless=self._wire.clustered)
        except (StreamError, TimeoutError, NoResponders, Disconnected) as error:
            log.warning("the bucket of calls is not there: %s", error)
        finally:
            self._healing.discard(CALLS)

    def _spawn(self, coroutine: Coroutine[object, object, None]) -> None:
        if self._tasks is None:
            raise RuntimeError("the bus does not run")
        self._tasks.create_task(_guarded(coroutine))

    # --- offers --------------------------------------------------------------------------------------

    def offer(
        self, pool: str, model: str, job: bytes, *, budget_s: float, trace: Mapping[str, str], inbox: Inbox
    ) -> Line:
        """Publish a job as a new line. What becomes of it arrives in `inbox`.

        Raises:
            NoWorker: the bus is away, or no living worker serves the model.
            TooLarge: the job does not fit the server's `max_payload`.
        """
        self.check_served(pool, model)
        self._next_line += 1
        number = self._next_line
        subject = self._subjects.job(pool, self.edge_id, number)
        headers = streams.job_headers(f"{self.edge_id}.{number}", budget_s, dict(trace))
        size = len(job) + sum(len(k) + len(v) + 4 for k, v in headers.items()) + HEADER_OVERHEAD
        if size > self._wire.max_payload:
            raise TooLarge(
                f"the turn is {size} bytes as a job; the bus takes {self._wire.max_payload}: shorten the history"
            )
        line = Line(number, pool, model, subject, job, headers, inbox)
        self._lines[number] = self._waiting[number] = line
        self._observer.offered()
        self._publish(line)
        line.offered_at = line.published_at
        return line

    def check_served(self, pool: str, model: str) -> None:
        """Raises NoWorker: nobody would take a turn of this model now."""
        if not self._wire.connected:
            raise NoWorker("the edge has lost its bus; try again in a moment", retry_after_s=1)
        if self._absence_known() and not self.presence.serves(pool, model, self._loop.time()):
            raise NoWorker(
                f"no worker of pool {pool!r} serves model {model!r} now; start one, or try again", retry_after_s=1
            )

    def _absence_known(self) -> bool:
        """Nobody counts as absent before the edge itself has been connected for a while."""
        return self._loop.time() - self._wire.connected_at >= 3.0

    def _publish(self, line: Line) -> None:
        line.published_at = self._loop.time()
        reply = self._subjects.pub_ack(self.edge_id, line.number)
        tell(self._wire, line.subject, line.data, reply=reply, headers=line.headers)  # again when the bus is back

    def _publish_anew(self, line: Line) -> None:
        """After an absence. Whoever took us for gone may have ended the job, whose id the queue knows for long.

        It may be there still: then it is claimed twice, and the second claim is fenced. A purge could overtake the
        publish and take both.
        """
        line.kept, line.stored = line.kept or line.stored, False
        line.headers = {**line.headers, "Nats-Msg-Id": f"{self.edge_id}.{line.number}.{self._loop.time()}"}
        self._publish(line)

    def _on_pub_ack(self, message: Arrived) -> None:
        number = int(last_token(message.subject))
        line = self._waiting.get(number)
        if line is None:
            self._on_late_ack(number)
            return
        if message.status is not None:  # nobody keeps this subject: the stream is gone
            self._heal(line.pool)
            return
        ack = streams.parse_pub_ack(message.data)
        if ack.full and line.kept:
            line.stored = True  # the copy from before the absence waits in there
        elif ack.full:
            if line.published_at > line.offered_at:  # the repetition may have found room
                self._withdraw(line)
            self._refuse(
                line, Overloaded("more turns wait than the queue holds; try again in a moment", retry_after_s=1)
            )
        elif ack.error:
            log.error("the queue refuses a job: %s", ack.error, extra={"line": number})
            self._refuse(line, Overloaded("the queue does not take the turn; try again in a moment", retry_after_s=1))
        elif not line.stored:
            line.stored = True
            line.tell(Stored(number))

    def _on_late_ack(self, number: int) -> None:
        """A purge can overtake a publish: withdraw once more what was stored after all."""
        line = self._withdrawn.get(number)
        if line is not None:
            self._purge(line)

    def _refuse(self, line: Line, error: ServiceError) -> None:
        line.tell(Refused(error))
        self._close(line)

    def _heal(self, pool: str) -> None:
        """Make a pool's stream again, then publish what waits; once at a time."""
        if pool not in self._healing:
            self._healing.add(pool)
            self._spawn(self._heal_jobs(pool))

    async def _heal_jobs(self, pool: str) -> None:
        try:
            await self._streams.jobs(pool, replace_leaderless=self._wire.clustered)
        except (StreamError, TimeoutError, NoResponders, Disconnected) as error:
            log.warning("the job stream of pool %s is not there: %s", pool, error)
            refusal = NoWorker("the queue of this line is not there; try again in a moment", retry_after_s=1)
            for line in [line for line in self._waiting.values() if line.pool == pool and not line.stored]:
                if line.unhealed and self._wire.connected:
                    self._refuse(line, refusal)
                line.unhealed = True
        else:
            for line in [line for line in self._waiting.values() if line.pool == pool]:
                self._publish(line)  # also what was stored: it may have gone with its stream; else it is a duplicate
        finally:
            self._healing.discard(pool)

    # --- giving up -----------------------------------------------------------------------------------

    def stop(self, line: Line) -> None:
        """Give a line up: withdraw it where it waits, else cancel its claim and wait for the last frame."""
        if line.stage is Stage.WAITING:
            self._withdraw(line)
            self._close(line)
        elif line.stage is Stage.CLAIMED:
            line.stage = Stage.STOPPING
            line.stopped_at = self._loop.time()
            self._stopping[line.number] = line
            self._cancel_owner(line)

    def _withdraw(self, line: Line) -> None:
        """Take the job back now, and again should a late publish ack say that it was stored."""
        self._purge(line)
        self._withdrawn[line.number] = line
        line.data = b""  # it is kept for its number alone
        line.stopped_at = self._loop.time()

    def _purge(self, line: Line) -> None:
        subject, body = streams.purge_request(self._subjects.jobs_stream(line.pool), line.subject)
        # Where it is lost, the message's time to live is the bound.
        tell(self._wire, subject, body, reply=self._subjects.pub_ack(self.edge_id, 0))

    def _cancel_owner(self, line: Line) -> None:
        if line.fence.owner is not None:
            line.cancels += 1
            self._cancel(line.fence.owner.worker_id, line.fence.owner.claim)

    def _cancel(self, worker_id: str, claim: int) -> None:
        tell(self._wire, self._subjects.worker(worker_id), codec.encode(Cancel(claim)))  # else the lease ends it

    def _close(self, line: Line) -> None:
        line.stage = Stage.CLOSED
        for table in (self._lines, self._waiting, self._stopping):
            table.pop(line.number, None)
        owner = line.fence.owner
        if owner is not None and (peer := self._peers.get(owner.worker_id)):
            peer.claims.pop(owner.claim, None)
            if not peer.claims:
                peer.wake.set()

    # --- frames --------------------------------------------------------------------------------------

    def _on_batch(self, message: Arrived) -> None:
        if not message.data:
            return  # a worker asks whether we are there
        try:
            worker_id, frames = codec.decode_batch(message.data)
        except codec.DecodeError as error:
            log.warning("a batch that is none: %s", error)
            return
        now = self._loop.time()
        foreign: dict[int, int] = {}
        for frame in frames:
            if isinstance(frame.frame, Claimed):
                # Every one that is heard of: the one that is accepted, and any other beside its cancel.
                tell(self._wire, frame.frame.ack, ACK)
            line = self._lines.get(frame.line)
            if line is None or not self._take(line, worker_id, frame, now):
                foreign[frame.claim] = foreign.get(frame.claim, 0) + 1
        if foreign:
            self._fence(worker_id, foreign, over={frame.claim for frame in frames if isinstance(frame.frame, LAST)})

    def _fence(self, worker_id: str, foreign: dict[int, int], *, over: set[int]) -> None:
        """Claims that sent frames to lines which are not theirs are to end; `over`: those that have."""
        for claim, count in foreign.items():
            self._observer.fenced(count)
            if claim not in over:  # its answer would be the last frame again, and so on without end
                self._cancel(worker_id, claim)

    def _take(self, line: Line, worker_id: str, frame: Addressed, now: float) -> bool:
        """False: the frame is foreign to its line."""
        unowned = line.fence.owner is None
        try:
            verdict = line.fence.judge(worker_id, frame)
        except ProtocolViolation as violation:
            log.error("worker %s breaks the protocol: %s", worker_id, violation)
            self._cancel(worker_id, frame.claim)
            self._lost(self._peer(worker_id, now), line)
            return True
        if verdict == "foreign":
            return False
        if unowned:
            self._own(line, worker_id, frame.claim, now)
        if verdict == "hole":
            self._peer(worker_id, now).ask_now()
        elif verdict == "accepted":
            self._accept(line, worker_id, frame, now)
        return True

    def _accept(self, line: Line, worker_id: str, frame: Addressed, now: float) -> None:
        self._peer(worker_id, now).heard(now)
        if frame.frame is None:
            return
        line.inbox.push(frame.frame)
        if line.finished:
            self._close(line)

    def _own(self, line: Line, worker_id: str, claim: int, now: float) -> None:
        line.stage = Stage.CLAIMED
        self._waiting.pop(line.number, None)
        peer = self._peer(worker_id, now)
        peer.claims[claim] = line
        if not peer.watched:
            peer.watched = True
            peer.heard(now)
            peer.asked_at = now
            self._spawn(self._watch(peer))

    def _peer(self, worker_id: str, now: float) -> Peer:
        peer = self._peers.get(worker_id)
        if peer is None:
            peer = self._peers[worker_id] = Peer(worker_id, now)
        return peer

    async def _watch(self, peer: Peer) -> None:
        try:
            await self._watcher.watch(peer)
        finally:
            peer.watched = False
            if not peer.claims:
                self._peers.pop(peer.worker_id, None)

    def _lost(self, peer: Peer, line: Line) -> None:
        """A claim is lost: its turn decides what now. Should the worker wake up, its claim is to end."""
        owner = line.fence.owner
        if owner is not None:
            peer.claims.pop(owner.claim, None)
            self._cancel(owner.worker_id, owner.claim)
        self._observer.worker_lost()
        line.tell(Lost(peer.worker_id))
        self._close(line)

    # --- the rest ------------------------------------------------------------------------------------

    def send(self) -> int:
        """A ping to ourselves over the bus; its number."""
        self._echo_sent += 1
        self._wire.publish(self._subjects.edge_echo(self.edge_id), str(self._echo_sent).encode())
        return self._echo_sent

    def came_back(self, number: int) -> bool:
        """Whether it, or a later one, has returned."""
        return self._echo_back >= number

    def _on_echo(self, message: Arrived) -> None:
        self._echo_back = max(self._echo_back, int(message.data))

    def _on_here(self, message: Arrived) -> None:
        try:
            here = codec.decode_here(message.data)
        except codec.DecodeError:
            return  # of a newer version
        self.presence.hear(last_token(message.subject), here, self._loop.time())

    def _tick(self, now: float) -> None:
        if self._away_since is not None:
            if now - self._away_since >= AWAY_S:
                self._cut_off()
            return
        for line in list(self._waiting.values()):
            self._look_after(line, now)
        for line in list(self._stopping.values()):
            self._press(line, now)
        for line in [line for line in self._withdrawn.values() if now - line.stopped_at > WITHDRAWN_S]:
            del self._withdrawn[line.number]
        self.presence.forget_old(now)

    def _look_after(self, line: Line, now: float) -> None:
        """A line that nobody has claimed: its job may be lost, or its workers may be gone."""
        if now - line.published_at >= (REPEAT_S if line.stored else ACK_LATE_S):
            self._publish(line)
        if self._absence_known() and not self.presence.serves(line.pool, line.model, now):
            self._withdraw(line)
            self._refuse(line, NoWorker(f"the last worker that serves model {line.model!r} is gone", retry_after_s=1))

    def _press(self, line: Line, now: float) -> None:
        """A claim that was cancelled and has not said its last."""
        if now - line.stopped_at >= STOP_S:
            line.tell(Lost())
            self._close(line)
        elif line.cancels < CANCELS and now - line.stopped_at >= line.cancels * CANCEL_EVERY_S:
            self._cancel_owner(line)

    def _cut_off(self) -> None:
        """The bus has been away too long: every live turn ends as lost, without a new offer."""
        for line in list(self._lines.values()):
            line.tell(Lost(cut_off=True))
            self._close(line)

    def watch(self, pools: Iterable[str]) -> None:
        """Keep the streams of these pools too."""
        for pool in sorted(set(pools).difference(self._pools)):
            self._pools += (pool,)
            self._heal(pool)

    def warm(self, pool: str) -> None:
        """Tell the workers of a pool that turns may come soon."""
        tell(self._wire, self._subjects.warm(pool), b"")  # else the first turn warms

    @property
    def connected(self) -> bool:
        """Whether the bus is there."""
        return self._wire.connected

    @property
    def waiting(self) -> int:
        """Offers that nobody has claimed."""
        return len(self._waiting)

    async def record(self, record: TurnRecord | Heard) -> None:
        """Keep a turn record, or the amendment to one. The same one twice is kept once.

        Raises:
            TimeoutError, NoResponders, Disconnected: it is not known to be kept; try again.
        """
        if isinstance(record, Heard):
            subject, msg_id = self._subjects.heard(record.tenant, record.amends), f"{record.amends}.heard"
        else:
            subject, msg_id = self._subjects.turn(record.tenant), record.id
        data = codec.encode_record(record)
        await self._wire.request(subject, data, timeout_s=1.0, headers={"Nats-Msg-Id": msg_id})


async def _guarded(coroutine: Coroutine[object, object, None]) -> None:
    """A bug in one task must not end its neighbours."""
    try:
        await coroutine
    except Exception:
        log.exception("a task of the bus failed")
