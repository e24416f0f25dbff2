"""Everything that a line says, into one `Line`: subscriptions, and questions that are asked again and again."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from msgspec import Struct

from trunkline import run_file
from trunkline.listen import UNANSWERED, Listener
from trunkline.top.admin import look
from trunkline.top.figures import Figures
from trunkline.top.seen import Line

log = logging.getLogger(__name__)

HISTORY = 10_000  # records read at the start, in half a second: a minute of a line with 160 turns/s
OLD_ERRORS = 200  # records read for their errors alone
BUS_POLL_S = 0.2
HEARD_S = 2.0  # every worker says that it lives once a second
NOBODY_S = 3.5  # by then it is certain
"""How long a snapshot listens."""


class Where(Struct, frozen=True, kw_only=True):
    """Where to look beside NATS: admin listeners by name, and the data directory whose line may name more."""

    admins: tuple[str, ...] = ()
    data: Path | None = None


class Watch:
    """Keeps a `Line` up to date while it is open and runs."""

    def __init__(self, listener: Listener, where: Where, *, nats: str, window_s: float, every_s: float) -> None:
        self._listener = listener
        self._where = where
        self._window_s = window_s
        self._every_s = every_s
        self._now = asyncio.get_running_loop().time
        self._line = Line(nats, window_s=window_s, now=self._now())
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        await self._listener.here(lambda pool, here: self._line.hear(pool, here, self._now()))
        await self._listener.turns(lambda record: self._line.record(record, self._now()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    def figures(self) -> Figures:
        """One look at it."""
        self._line.bus(self._listener.connected, self._now())
        return self._line.figures(self._now(), datetime.now().astimezone())

    async def settle(self) -> None:
        """Return once everything has been asked, and every worker had time to say that it lives."""
        await asyncio.gather(self._try_history(), self._hear())
        await asyncio.gather(self._ask_queues(), self._ask_edges())

    async def _hear(self) -> None:
        await asyncio.sleep(HEARD_S)
        if not self.figures().workers:
            await asyncio.sleep(NOBODY_S - HEARD_S)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set, and at once when it is cancelled then.

        A cancellation alone may get lost: before Python 3.12, `asyncio.wait_for`, by which nats-py waits for an answer,
        swallows one that comes together with it.
        """
        async with asyncio.TaskGroup() as asking:
            asking.create_task(self._follow_bus(stop), name="bus")
            asking.create_task(_again_and_again(self._ask_queues, self._every_s, stop), name="queues")
            asking.create_task(_again_and_again(self._ask_edges, self._every_s, stop), name="edges")

    # --- NATS ----------------------------------------------------------------------------------------

    async def _follow_bus(self, stop: asyncio.Event) -> None:
        """Whatever ended while the connection was away is read as soon as it is back and JetStream answers."""
        read_at = None

        async def look_after() -> None:
            nonlocal read_at
            self._line.bus(self._listener.connected, self._now())
            connected_at = self._listener.connected_at
            if self._listener.connected and read_at != connected_at and await self._try_history():
                read_at = connected_at

        await _again_and_again(look_after, BUS_POLL_S, stop)

    async def _try_history(self) -> bool:
        """Whether the records of the window could be read. If not, it begins with this connection."""
        try:
            await self._read_records()
        except UNANSWERED as error:
            log.debug("records: %s", error)
            self._line.known_from(self._listener.connected_at)
            return False
        return True

    async def _read_records(self) -> None:
        """The window's records, and some before them for their errors. Raises one of `UNANSWERED`."""
        stream = await self._listener.stream(self._listener.subjects.turns)
        if stream is None or stream.ts is None:
            self._line.known_from(self._now() - self._window_s)  # nothing ever ended
            return
        asked_at, since = self._now(), stream.ts - timedelta(seconds=self._window_s)
        kept = await self._listener.kept_records(last=HISTORY, since=since)
        if len(kept) < OLD_ERRORS:
            kept = await self._listener.kept_records(last=OLD_ERRORS)
        ages = [(stream.ts - one.at).total_seconds() for one in kept]
        self._line.known_from(asked_at - (max(ages) if len(kept) == HISTORY else self._window_s))
        for one, age_s in zip(kept, ages, strict=True):
            self._line.record(one.record, asked_at - age_s)

    async def _ask_queues(self) -> None:
        try:
            queues = await self._listener.queues()
        except UNANSWERED as error:
            log.debug("queues: %s", error)
            self._line.queue(None)
        else:
            self._line.queue({pool: stream.state.messages for pool, stream in sorted(queues.items())})

    # --- admin listeners -----------------------------------------------------------------------------

    async def _ask_edges(self) -> None:
        urls = dict.fromkeys((*self._where.admins, *self._started_here()))
        self._line.edges(await asyncio.gather(*(look(self._session, url) for url in urls)))

    def _started_here(self) -> list[str]:
        """Read anew each time: an edge that is started again may have another port."""
        if self._where.data is None:
            return []
        with contextlib.suppress(KeyError, TypeError):
            return [str(url) for url in run_file.read(self._where.data)["admin"]["edges"]]
        return []


async def _again_and_again(look: Callable[[], Awaitable[None]], every_s: float, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await look()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(every_s):
                await stop.wait()
