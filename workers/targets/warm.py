"""Connections that are open before a turn asks for one: TCP and TLS may take longer than a first word.

Nothing is asked of an upstream for it: a connection is opened and left idle in the pool, where the next turn finds it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping

from aiohttp import ClientError, ClientSession
from msgspec import Struct, field
from yarl import URL

from protocol.settings import Target
from workers.targets.connections import Connector, connector_of

log = logging.getLogger(__name__)

LOOK_S = 5.0  # upstreams close idle connections when they like
CONNECT_S = 5.0  # nobody waits
AWAY_S = 1.0  # after a failure, and then twice as long each time
MOST_AWAY_S = 60.0
SIGNAL_S = 1.0  # signals that come faster are as good as one


class Origin(Struct):
    """A host and port that targets have in common."""

    url: str
    targets: tuple[str, ...]
    count: int
    keepalive_s: float
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def look_s(self) -> float:
        """How often to look after its connections: each is renewed before it expires."""
        return min(LOOK_S, self.keepalive_s / 4)


class Warm:
    """Keeps `warm` connections open to every target's host. `run` it for as long as the session is open."""

    def __init__(self, session: ClientSession, targets: Mapping[str, Target]) -> None:
        self._connector = connector_of(session)
        self._origins = origins(targets)
        self._changed = asyncio.Event()
        self._signal_at: float | None = None

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            self._changed.clear()
            self._connector.keep({address(origin.url): origin.keepalive_s for origin in self._origins})
            async with asyncio.TaskGroup() as tasks:
                keepers = [
                    tasks.create_task(_keep(origin, self._connector)) for origin in self._origins if origin.count
                ]
                await self._changed.wait()
                for keeper in keepers:
                    keeper.cancel()

    def change(self, targets: Mapping[str, Target]) -> None:
        """Other targets from now on. What is open to the former ones idles until its time is over."""
        self._origins = origins(targets)
        self._changed.set()

    def warm_now(self) -> None:
        """A turn is about to come: open now what is missing. At most once a second, however often it is called."""
        now = asyncio.get_running_loop().time()
        if self._signal_at is not None and now - self._signal_at < SIGNAL_S:
            return
        self._signal_at = now
        for origin in self._origins:
            origin.wake.set()


def origins(targets: Mapping[str, Target]) -> list[Origin]:
    """Where the targets are: what the most demanding of one host wants, for as long as the least patient allows."""
    found: dict[tuple[str, int | None], Origin] = {}
    for name, told in targets.items():
        one = found.setdefault(address(told.base_url), Origin(told.base_url, (), told.warm, told.keepalive_s))
        one.targets += (name,)
        one.count = max(one.count, told.warm)
        one.keepalive_s = min(one.keepalive_s, told.keepalive_s)
    return list(found.values())


def address(url: str) -> tuple[str, int | None]:
    """Host and port."""
    parts = URL(url)
    return parts.raw_host or "", parts.port


async def _keep(origin: Origin, connector: Connector) -> None:
    """Fill up again and again; tell the log when that begins or ceases to fail, and nothing in between."""
    names, failures = ", ".join(origin.targets), 0
    while True:
        try:
            await _fill(origin, connector)
        except (ClientError, OSError, ValueError) as error:
            if not failures:
                log.warning("target %s: no connection in advance: %s: %s", names, type(error).__name__, error)
            failures += 1
            wait_s = min(AWAY_S * 2 ** min(failures - 1, 10), MOST_AWAY_S)
        else:
            if failures:
                log.info("target %s: connections in advance again", names)
            failures, wait_s = 0, origin.look_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await origin.wake.wait()
        origin.wake.clear()


async def _fill(origin: Origin, connector: Connector) -> None:
    """Open what is missing, at the same time. Raises what the first failure is."""
    missing = origin.count - connector.good_ones(origin.url, in_s=origin.look_s)
    opening = [connector.open_one(origin.url, within_s=CONNECT_S) for _ in range(missing)]
    outcomes = await asyncio.gather(*opening, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
