"""Frames on their way to the edges: what one turn of the event loop produces leaves as one message per edge."""

import asyncio
from collections.abc import Callable

from protocol import codec
from protocol.codec import Addressed

BATCH_BYTES = 64 << 10


class Outbox:
    """`publish(edge_id, data)` sends one batch; it never waits and never raises."""

    def __init__(self, worker_id: str, publish: Callable[[str, bytes], None]) -> None:
        self._worker_id = worker_id
        self._publish = publish
        self._pending: dict[str, list[Addressed]] = {}
        self._loop = asyncio.get_running_loop()
        self._scheduled = False

    def put(self, edge_id: str, frame: Addressed) -> None:
        """A lone frame leaves at once: nothing waits on a timer."""
        frames = self._pending.get(edge_id)
        if frames is None:
            self._pending[edge_id] = [frame]
            if not self._scheduled:
                self._scheduled = True
                self._loop.call_soon(self.flush)
        else:
            frames.append(frame)

    def flush(self) -> None:
        """Send what is there now."""
        self._scheduled = False
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
