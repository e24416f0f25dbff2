"""Asking workers: ping, resend and lease in one, and the verdict on those that do not answer."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from edge.lines import Line
from protocol import codec
from protocol.messages import Ask
from protocol.wire import Disconnected, NoResponders, Wire

log = logging.getLogger(__name__)

QUIET_S = 0.1  # an owner that has said nothing for so long is asked
ASK_EVERY_S = 0.5  # and every worker that runs one of our claims at least so often
ANSWER_S = 0.4  # an ask unanswered for so long is a miss
KNOCK_S = (
    0.15  # and for so long, it may have been under way when its worker died: the next one would be refused at once
)
MISSES = 2
SUSPICION_S = 0.15  # between the first "no responders" and the verdict: one alone is common at every reconnect
SETTLED_S = 1.0  # nobody is buried before the edge itself has been connected for so long
HOLE_S = 0.01  # between two asks for the same hole


class Echo(Protocol):
    """The edge's ask to itself: it tells a late or cut-off edge from a dead worker."""

    def send(self) -> int:
        """A ping to ourselves over the bus; its number."""

    def came_back(self, number: int) -> bool:
        """Whether it, or a later one, has returned."""


class Peer:
    """One worker that runs claims of this edge. Watched by one task while it does."""

    __slots__ = ("asked_at", "claims", "heard_at", "hole", "misses", "suspected_at", "wake", "watched", "worker_id")

    def __init__(self, worker_id: str, now: float) -> None:
        self.worker_id = worker_id
        self.claims: dict[int, Line] = {}
        self.heard_at = now
        self.asked_at = now
        self.misses = 0
        self.suspected_at: float | None = None
        self.hole = False
        self.watched = False
        self.wake = asyncio.Event()

    def heard(self, now: float) -> None:
        """An accepted frame or an answer: it lives."""
        self.heard_at = now
        self.misses = 0
        self.suspected_at = None

    def ask_now(self) -> None:
        """A number is missing."""
        self.hole = True
        self.wake.set()

    def due_at(self) -> float:
        """When the next ask is due."""
        if self.hole:
            return self.asked_at + HOLE_S
        if self.suspected_at is not None:
            return self.suspected_at + SUSPICION_S
        return max(min(self.heard_at + QUIET_S, self.asked_at + ASK_EVERY_S), self.asked_at + HOLE_S)


class Watcher:
    """Asks one worker after the other's claims until none is left; tells `lost` what it finds."""

    def __init__(
        self, wire: Wire, subject_of: Callable[[str], str], edge_id: str, echo: Echo, lost: Callable[[Peer, Line], None]
    ) -> None:
        self._wire = wire
        self._subject_of = subject_of
        self._edge_id = edge_id
        self._echo = echo
        self._lost = lost
        self._loop = asyncio.get_running_loop()

    async def watch(self, peer: Peer) -> None:
        """Ask when it is due, one ask at a time."""
        while peer.claims:
            await self._until_due(peer)
            if not peer.claims:
                return
            if self._wire.connected:
                await self._ask(peer)
            else:
                await asyncio.sleep(HOLE_S)

    async def _until_due(self, peer: Peer) -> None:
        while (wait := peer.due_at() - self._loop.time()) > 0 and peer.claims:
            peer.wake.clear()
            try:
                async with asyncio.timeout(wait):
                    await peer.wake.wait()
            except TimeoutError:
                pass

    async def _ask(self, peer: Peer) -> None:
        asked = [(claim, line.fence.expected) for claim, line in peer.claims.items()]
        peer.hole = False
        peer.asked_at = self._loop.time()
        data = codec.encode(Ask(self._edge_id, tuple(asked)))
        try:
            echo = self._echo.send()
            answer = await self._request(peer, data)
        except NoResponders:
            self._no_responders(peer)
        except TimeoutError:
            self._no_answer(peer, echo)
        except Disconnected:
            peer.suspected_at = None
        else:
            self._answered(peer, asked, answer)

    async def _request(self, peer: Peer, data: bytes) -> bytes:
        """The answer to an ask. Raises as `Wire.request`; NoResponders also where that shows while we wait."""
        subject = self._subject_of(peer.worker_id)
        asking = asyncio.ensure_future(self._wire.request(subject, data, timeout_s=ANSWER_S))
        asking.add_done_callback(lambda asked: asked.cancelled() or asked.exception())  # nobody may be left to wait
        try:
            await asyncio.wait({asking}, timeout=KNOCK_S)
            if not asking.done():
                with suppress(TimeoutError):
                    knock = codec.encode(Ask(self._edge_id, ()))
                    await self._wire.request(subject, knock, timeout_s=ANSWER_S - KNOCK_S)
                    peer.heard(self._loop.time())
            return await asking
        finally:
            asking.cancel()

    def _no_responders(self, peer: Peer) -> None:
        now = self._loop.time()
        if peer.suspected_at is None:
            peer.suspected_at = now
        elif now - self._wire.connected_at >= SETTLED_S:
            self._bury(peer, "it has left the bus")
        else:
            peer.suspected_at = now

    def _no_answer(self, peer: Peer, echo: int) -> None:
        if peer.heard_at > peer.asked_at:
            return  # it spoke meanwhile
        if self._echo.came_back(echo):
            peer.misses += 1
        if peer.misses >= MISSES:
            self._bury(peer, "it does not answer")

    def _bury(self, peer: Peer, why: str) -> None:
        log.warning("worker lost", extra={"worker": peer.worker_id, "why": why, "claims": len(peer.claims)})
        for line in list(peer.claims.values()):
            self._lost(peer, line)
        peer.misses = 0
        peer.suspected_at = None

    def _answered(self, peer: Peer, asked: list[tuple[int, int]], data: bytes) -> None:
        try:
            answer = codec.decode_answer(data)
        except codec.DecodeError:
            log.warning("worker %s answers an ask with nonsense", peer.worker_id)
            return
        peer.heard(self._loop.time())
        for (claim, _), following in zip(asked, answer.next, strict=False):
            line = peer.claims.get(claim)
            if line is None:
                continue
            if following is None:
                self._lost(peer, line)
            elif line.fence.expected < following:
                peer.ask_now()  # what it sent again has not come either
