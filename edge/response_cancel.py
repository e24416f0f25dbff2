"""A response is cancelled on whichever edge answers it: every edge is asked, and who answers it now replies."""

import asyncio
import logging
from typing import Protocol

import msgspec
from msgspec import Struct

from protocol.codec import DecodeError
from protocol.subjects import Subjects
from protocol.wire import Arrived, Disconnected, NoResponders, Wire, tell

log = logging.getLogger(__name__)

ANSWER_S = 0.5  # the longest that a cancel waits for another edge


class Here(Protocol):
    """This edge."""

    def answers(self, tenant: str, response_id: str) -> bool:
        """Whether it answers that response now."""

    async def end_here(self, tenant: str, response_id: str) -> bytes | None:
        """End it. The response as it was ended; None: it came to its own end."""


class Wanted(Struct, frozen=True):
    """Which response is to end."""

    tenant: str
    response_id: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Wanted).decode


class OtherEdges:
    """One edge's way to the others, and theirs to it. Who does not answer a response says nothing: another one may."""

    def __init__(self, wire: Wire, subjects: Subjects, tasks: asyncio.TaskGroup) -> None:
        self._wire = wire
        self._subject = subjects.response_cancel()
        self._tasks = tasks
        self._here: Here | None = None

    async def open(self, here: Here) -> None:
        """Listen. Raises Disconnected."""
        self._here = here
        await self._wire.subscribe(self._subject, self._on_wanted)

    async def end(self, tenant: str, response_id: str) -> bytes | None:
        """The response as it was ended; None: nobody answers it, or nobody can be asked."""
        try:
            data = _encode(Wanted(tenant, response_id))
            return await self._wire.request(self._subject, data, timeout_s=ANSWER_S)
        except (TimeoutError, NoResponders, Disconnected):
            return None

    def _on_wanted(self, arrived: Arrived) -> None:
        try:
            wanted = _decode(arrived.data)
        except DecodeError as error:
            log.warning("a cancel that is none: %s", error)
            return
        if self._here is not None and self._here.answers(wanted.tenant, wanted.response_id):
            self._tasks.create_task(self._answer(self._here, wanted, arrived.reply), name="cancel")

    async def _answer(self, here: Here, wanted: Wanted, reply: str) -> None:
        try:
            ended = await here.end_here(wanted.tenant, wanted.response_id)
        except Exception:
            log.exception("a response could not be cancelled")
            return
        if ended is not None:
            tell(self._wire, reply, ended)
