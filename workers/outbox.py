"""Frames on their way to the edges: what is said at the same time leaves as one message per edge."""

import asyncio
from collections.abc import Callable

from protocol import codec
from protocol.codec import Addressed

BATCH_BYTES = 64 << 10
TURNS = 8
"""A batch stays open for so many turns of the event loop, and no longer than they bring more frames. An idle loop sends
a lone frame after two, some microseconds; a busy one gathers what its sockets hold, at half the CPU per frame."""


class Outbox:
    """`publish(edge_id, data)` sends one batch; it never waits and never raises."""

    def __init__(self, worker_id: str, publish: Callable[[str, bytes], None]) -> None:
        self._worker_id = worker_id
        self._publish = publish
        self._pending: dict[str, list[Addressed]] = {}
        self._loop = asyncio.get_running_loop()
        self._open = False
        self._turns = 0  # of the loop, that the open batch has seen
        self._more = False  # the last one brought frames

    def put(self, edge_id: str, frame: Addressed) -> None:
        """Nothing waits on a timer."""
        frames = self._pending.get(edge_id)
        if frames is None:
            self._pending[edge_id] = [frame]
        else:
            frames.append(frame)
        self._more = True
        if not self._open:
            self._open = True
            self._turns = 0
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turns += 1
        if self._more and self._turns < TURNS:
            self._more = False
            self._loop.call_soon(self._turn)
        else:
            self._open = False
            self.flush()

    def flush(self) -> None:
        """Send what is there now."""
        pending, self._pending = self._pending, {}
        for edge_id, frames in pending.items():
            self._send(edge_id, frames)

    def _send(self, edge_id: str, frames: list[Addressed]) -> None:
        data = codec.encode_batch(self._worker_id, frames)
        if len(data) <= BATCH_BYTES or len(frames) == 1:
            self._publish(edge_id, data)
            return
        middle = len(frames) // 2
        self._send(edge_id, frames[:middle])
        self._send(edge_id, frames[middle:])
