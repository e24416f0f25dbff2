"""Turn records, and amendments to them, on their way to the bus: kept in the background, retried a few times, waited
for by no client.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from protocol.messages import Heard, TurnRecord
from protocol.wire import Disconnected, NoResponders

log = logging.getLogger(__name__)

WAITING = 10_000  # records that wait while the bus is away
AT_ONCE = 64
GATHER_S = 0.02  # what ends meanwhile is one write and one read, for us and for the server
TRIES = 20
PAUSE_S = 0.25

Record = TurnRecord | Heard
Send = Callable[[Record], Awaitable[None]]
"""Raises TimeoutError, NoResponders, Disconnected: not known to be kept."""


class Records:
    """A bounded queue and the tasks that empty it."""

    def __init__(self, send: Send, dropped: Callable[[], None]) -> None:
        self._send = send
        self._dropped = dropped
        self._loop = asyncio.get_running_loop()
        self._gathered: list[Record] = []
        self._queue: asyncio.Queue[Record] = asyncio.Queue(WAITING)

    def put(self, record: Record) -> None:
        """Hand over; never waits."""
        if not self._gathered:
            self._loop.call_later(GATHER_S, self._release)
        self._gathered.append(record)

    def _release(self) -> None:
        gathered, self._gathered = self._gathered, []
        for record in gathered:
            try:
                self._queue.put_nowait(record)
            except asyncio.QueueFull:
                self._dropped()

    async def run(self) -> None:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as senders:
            for _ in range(AT_ONCE):
                senders.create_task(self._sender())

    async def flush(self, timeout_s: float) -> None:
        """Return once every record is sent or given up. Raises TimeoutError."""
        self._release()
        async with asyncio.timeout(timeout_s):
            await self._queue.join()

    async def _sender(self) -> None:
        while True:
            record = await self._queue.get()
            try:
                await self._keep(record)
            except Exception:
                log.exception("turn record %s", _turn_of(record))
            finally:
                self._queue.task_done()

    async def _keep(self, record: Record) -> None:
        for _ in range(TRIES):
            try:
                await self._send(record)
                return
            except (TimeoutError, NoResponders, Disconnected):
                await asyncio.sleep(PAUSE_S)  # the same id again: a record that was kept is not kept twice
        self._dropped()
        log.warning("turn record lost", extra={"turn": _turn_of(record)})


def _turn_of(record: Record) -> str:
    return record.amends if isinstance(record, Heard) else record.id
