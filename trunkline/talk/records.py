"""The line's own records of our turns, where its NATS can be reached; without it nothing waits and nothing fails."""

import asyncio
from collections import deque

from protocol.messages import TurnRecord
from protocol.settings import Settings
from protocol.wire import Disconnected
from trunkline.listen import listen

KEPT = 1000  # other callers' turns end too
CONNECT_S = 10.0  # in the background


class Records:
    """Hears records. A turn is known by its id, else by the call id, which nobody else has."""

    def __init__(self, call_id: str) -> None:
        self._call_id = call_id
        self._heard: deque[TurnRecord] = deque(maxlen=KEPT)
        self._news = asyncio.Event()
        self._told: set[str] = set()
        self.ready = asyncio.Event()

    async def run(self, settings: Settings) -> None:
        """Listen until cancelled; returns when there is nobody to listen to."""
        try:
            async with listen(settings, wait_s=CONNECT_S) as listener:
                await listener.turns(self.hear)
                await listener.flush()
                self.ready.set()
                await asyncio.Event().wait()
        except (Disconnected, TimeoutError, OSError):
            return

    def hear(self, record: TurnRecord) -> None:
        """One turn has ended."""
        self._heard.append(record)
        self._news.set()

    async def until_ready(self, wait_s: float) -> None:
        """Return once records can be heard, or after `wait_s` seconds."""
        await _within(self.ready, wait_s)

    async def of(self, turn_id: str | None, wait_s: float) -> TurnRecord | None:
        """The record of our latest turn; None: it has not come within `wait_s` seconds."""
        until = asyncio.get_running_loop().time() + wait_s
        while (found := self._find(turn_id)) is None and self.ready.is_set():
            left = until - asyncio.get_running_loop().time()
            if left <= 0:
                break
            self._news.clear()
            await _within(self._news, left)
        return found

    def _find(self, turn_id: str | None) -> TurnRecord | None:
        for record in self._heard:
            ours = record.id == turn_id if turn_id else record.call_id == self._call_id and record.id not in self._told
            if ours:
                self._told.add(record.id)
                return record
        return None


async def _within(event: asyncio.Event, wait_s: float) -> None:
    try:
        async with asyncio.timeout(wait_s):
            await event.wait()
    except TimeoutError:
        pass
