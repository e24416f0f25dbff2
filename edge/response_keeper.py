"""Has one turn's response stored before its client reads of the end."""

import logging
from collections.abc import Iterable

from msgspec import Raw

from edge.dialect import Delta
from edge.response_store import ResponseStore, StoredResponse
from edge.responses import ResponsesAnswer
from protocol.errors import Cancelled, ServiceError
from protocol.messages import Finished, Usage

log = logging.getLogger(__name__)


class ResponseKeeper:
    """A `Keeper` of a response that is to be stored. `items`: all that led to it."""

    def __init__(self, store: ResponseStore, tenant: str, answer: ResponsesAnswer, items: tuple[Raw, ...]) -> None:
        self._store = store
        self._tenant = tenant
        self._answer = answer
        self._items = items

    async def keep(self, frames: Iterable[Delta], last: Finished, usage: Usage) -> None:
        """See `Keeper`."""
        try:
            self._answer.kept = await self._write(self._answer.whole(frames, last, usage))
        except Exception:  # a bug in here must not take the answer from its client
            self._answer.kept = False
            log.exception("a response could not be stored")

    async def keep_failed(self, error: ServiceError) -> None:
        """See `Keeper`. A response that was cancelled can be read again; any other that failed cannot."""
        self._answer.kept = False
        if not isinstance(error, Cancelled):
            return
        try:
            self._answer.kept = True  # as what is stored is to say
            self._answer.kept = await self._write(self._answer.cut("cancelled"))
        except Exception:
            self._answer.kept = False
            log.exception("a cancelled response could not be stored")

    async def _write(self, response: bytes) -> bool:
        record = StoredResponse(Raw(response), self._items)
        return await self._store.write(self._tenant, self._answer.id, record)
