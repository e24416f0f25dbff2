"""The turns that an edge answers now: to be let finish, or ended, all of them or one."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from edge.dialect import Dialect
from edge.relay import Relay
from protocol.errors import Draining, ServiceError

END_S = 1.0  # for the ending of a turn that outlived the drain
CANCEL_S = 0.3  # for that of one that is cancelled: whoever asked another edge for it waits little longer


class Live(NamedTuple):
    """One of them."""

    ended: asyncio.Event
    dialect: Dialect


class LiveTurns:
    """Those of one edge. `now` is the clock, in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._turns: dict[Relay, Live] = {}

    def begin(self, relay: Relay, dialect: Dialect) -> None:
        """One more; `dialect` writes its answer."""
        self._turns[relay] = Live(asyncio.Event(), dialect)

    def over(self, relay: Relay) -> None:
        """One less."""
        self._turns.pop(relay).ended.set()

    def answer_of(self, tenant: str, turn_id: str) -> Dialect | None:
        """What writes the answer of a turn of this tenant's; None: there is none of that id."""
        relay = self._find(tenant, turn_id)
        return self._turns[relay].dialect if relay is not None else None

    async def end(self, tenant: str, turn_id: str, error: ServiceError) -> bool:
        """End a turn of this tenant's, and return once it has ended, or soon after. False: there is none, or it has
        come to its own end.
        """
        relay = self._find(tenant, turn_id)
        if relay is None:
            return False
        ended = self._turns[relay].ended
        relay.end_now(error)
        await _any_of([ended], CANCEL_S)
        return relay.ended_with(error)

    async def drain(self, drain_s: float) -> bool:
        """Let them finish for `drain_s` seconds, then end them. True: all finished by themselves."""
        until = self._now() + drain_s
        while self._turns and (left := until - self._now()) > 0:
            await _any_of([live.ended for live in self._turns.values()], left)
        cut = list(self._turns.items())
        for relay, _ in cut:
            relay.end_now(Draining("the edge stops; try again, another one answers", retry_after_s=1))
        if cut:
            await asyncio.wait([asyncio.ensure_future(live.ended.wait()) for _, live in cut], timeout=END_S)
        for relay in list(self._turns):  # their clients do not read
            relay.cut()
        return not cut

    def _find(self, tenant: str, turn_id: str) -> Relay | None:
        return next((relay for relay in self._turns if relay.answers(tenant, turn_id)), None)


async def _any_of(events: list[asyncio.Event], timeout_s: float) -> None:
    """Wait until one of the events is set, or time is up."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
