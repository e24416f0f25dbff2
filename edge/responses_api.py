"""The handlers of /v1/responses, and the way in and out of its turns."""

import logging
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

import msgspec
from aiohttp import web
from msgspec import Raw

from edge import paths
from edge.asked import AskedT
from edge.dialect import JSON_TYPE
from edge.front import Answering, Front
from edge.live_turns import LiveTurns
from edge.middleware import PLACE, Handler, get
from edge.response_keeper import ResponseKeeper
from edge.response_listing import listed
from edge.response_store import ResponseStore, StoredResponse, is_made_here
from edge.responses import ResponsesAnswer, ResponsesRequest, continued, parse
from protocol.errors import (
    Cancelled,
    PreviousResponseNotFound,
    ResponseNotFound,
    ServiceError,
    StoreAway,
    UnsupportedParameter,
)
from protocol.messages import Job

log = logging.getLogger(__name__)

PAST = "past["  # how the place of a stored item begins, where one of a request's begins with `input[`
OF_RESPONSE = re.compile(r"(?:msg|fc|rs)_([0-9a-f]+)_[0-9]")  # how an item's id begins
MAX_LOOKED_UP = 32  # records that are read for the items that one request only names: as a rule it is one


class Turns(Protocol):
    """Who answers turns."""

    async def turn(self, request: web.Request, front: Front[AskedT]) -> web.StreamResponse:
        """Answer one."""

    def tenant(self, request: web.Request) -> str:
        """Whose request it is. Raises NoKey, InvalidKey."""


class Elsewhere(Protocol):
    """The other edges."""

    async def end(self, tenant: str, response_id: str) -> bytes | None:
        """End a response that one of them answers. The response as it was ended; None: none does."""


class ResponsesApi:
    """Responses: a turn may go on from a stored one, and is stored itself. A `Front`."""

    def __init__(self, turns: Turns, live: LiveTurns, store: ResponseStore, elsewhere: Elsewhere | None = None) -> None:
        self._turns = turns
        self._live = live
        self._store = store
        self._elsewhere = elsewhere

    def routes(self) -> dict[str, dict[str, Handler]]:
        """As `Edge.routes`."""
        return {
            paths.RESPONSES: {"POST": self.create},
            paths.RESPONSE: {**get(self.retrieve), "DELETE": self.delete},
            paths.CANCEL: {"POST": self.cancel},
            paths.INPUT_ITEMS: get(self.input_items),
        }

    # --- turns ---------------------------------------------------------------------------------------

    async def create(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/responses."""
        return await self._turns.turn(request, self)

    async def asked(self, body: bytes, tenant: str) -> ResponsesRequest:
        """See `Front`. Only what goes on from a stored response needs the store."""
        request = parse(body)
        past: tuple[Raw, ...] = ()
        if request.previous_response_id is not None:
            past = await self._past(tenant, request.previous_response_id)
        elif not request.references:
            return request
        found = await self._named(tenant, request.references, past)
        try:
            return continued(request, past, found)
        except ServiceError as error:
            if not (error.param or "").startswith(PAST):
                raise
            log.warning("what led to a stored response cannot be read: %s", error.code)  # another version wrote it
            raise no_previous(request.previous_response_id or "") from None

    async def _past(self, tenant: str, response_id: str) -> tuple[Raw, ...]:
        """All that led to a response, and what it said. Raises PreviousResponseNotFound, StoreAway."""
        record = await self._store.read(tenant, response_id)
        chain = chain_of(record) if record is not None else None
        if chain is None:
            raise no_previous(response_id)
        return chain

    async def _named(self, tenant: str, references: Sequence[str], past: Sequence[Raw]) -> dict[str, Raw]:
        """Items that a request only names, as far as they are found, by id. Raises StoreAway.

        The last one's record has, as a rule, all before it.
        """
        found = by_id(past) if references else {}
        sought = [name for name in dict.fromkeys(references) if name not in found]
        for _ in range(MAX_LOOKED_UP):
            if not sought:
                break
            name = sought.pop()
            response_id = response_id_of_item(name)
            record = await self._store.read(tenant, response_id) if response_id else None
            if record is not None:
                found |= by_id(chain_of(record) or ())
                sought = [name for name in sought if name not in found]
        return found

    def answering(self, asked: ResponsesRequest, job: Job, created: int) -> Answering:
        """See `Front`."""
        answer = ResponsesAnswer(
            turn_id=job.id,
            model=job.model,
            created=created,
            echoed=asked.echoed,
            store=asked.store,
            clock=time.time,
        )
        keeper = ResponseKeeper(self._store, job.tenant, answer, asked.items) if asked.store else None
        return Answering(answer, keeper)

    # --- stored ones ---------------------------------------------------------------------------------

    async def retrieve(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/responses/{id}."""
        tenant = self._turns.tenant(request)
        for name in ("stream", "starting_after"):
            if request.query.get(name, "false").lower() not in ("", "false"):
                raise UnsupportedParameter(
                    f"'{name}' is not supported: only the request that makes a response streams it; leave it out",
                    param=name,
                )
        record = await self._stored(tenant, request[PLACE].response_id)
        return _json(bytes(record.response))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """DELETE /v1/responses/{id}."""
        tenant, response_id = self._turns.tenant(request), request[PLACE].response_id
        if not await self._store.delete(tenant, response_id):
            raise not_found(response_id)
        return _json(msgspec.json.encode({"id": response_id, "object": "response", "deleted": True}))

    async def input_items(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/responses/{id}/input_items."""
        tenant = self._turns.tenant(request)
        record = await self._stored(tenant, request[PLACE].response_id)
        return _json(listed(record.items, request.query))

    async def _stored(self, tenant: str, response_id: str) -> StoredResponse:
        """Raises ResponseNotFound, StoreAway."""
        record = await self._store.read(tenant, response_id)
        if record is None:
            raise not_found(response_id)
        return record

    # --- cancelling ----------------------------------------------------------------------------------

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/responses/{id}/cancel. One that has ended stays as it is, and is shown."""
        tenant, response_id = self._turns.tenant(request), request[PLACE].response_id
        if not is_made_here(response_id):
            raise not_found(response_id)
        ended = (
            await self.end_here(tenant, response_id)
            or await self._ended(tenant, response_id)
            or await self._end_elsewhere(tenant, response_id)
        )
        if ended is None:  # it may have come to its end while the others were asked
            ended = bytes((await self._stored(tenant, response_id)).response)
        return _json(ended)

    def answers(self, tenant: str, response_id: str) -> bool:
        """Whether this edge answers that response now."""
        return isinstance(self._live.answer_of(tenant, turn_id_of(response_id)), ResponsesAnswer)

    async def end_here(self, tenant: str, response_id: str) -> bytes | None:
        """End a response that this edge answers. The response as it was ended; None: it answers none of that id."""
        turn_id = turn_id_of(response_id)
        answer = self._live.answer_of(tenant, turn_id)
        if not isinstance(answer, ResponsesAnswer):  # a chat's turn has an id too
            return None
        cancelled = Cancelled("the response was cancelled by another request")
        if not await self._live.end(tenant, turn_id, cancelled):
            return None
        return answer.cut("cancelled")

    async def _ended(self, tenant: str, response_id: str) -> bytes | None:
        """A stored response; None: there is none, or nobody knows."""
        try:
            record = await self._store.read(tenant, response_id)
        except StoreAway:
            return None
        return bytes(record.response) if record is not None else None

    async def _end_elsewhere(self, tenant: str, response_id: str) -> bytes | None:
        return await self._elsewhere.end(tenant, response_id) if self._elsewhere is not None else None


class _Ids(msgspec.Struct):
    id: str = ""


class _Output(msgspec.Struct):
    output: tuple[Raw, ...] = ()


_id = msgspec.json.Decoder(_Ids).decode
_output = msgspec.json.Decoder(_Output).decode


def chain_of(record: StoredResponse) -> tuple[Raw, ...] | None:
    """All that a turn that goes on from it goes on from, oldest first; None: its response is none that we can read."""
    try:
        return (*record.items, *_output(record.response).output)
    except msgspec.DecodeError as error:
        log.warning("a stored response that is none: %s", error)
        return None


def by_id(items: Sequence[Raw]) -> dict[str, Raw]:
    """Stored items by their ids, as far as they have any."""
    found = {}
    for item in items:
        with suppress(msgspec.DecodeError):
            found[_id(item).id] = item
    return found


def no_previous(response_id: str) -> PreviousResponseNotFound:
    """What is said of a response that cannot be gone on from; nothing of a text that is no id."""
    shown = f" '{response_id}'" if is_made_here(response_id) else ""
    return PreviousResponseNotFound(
        f"no response{shown} is stored for this key; it has expired, was deleted, or was not stored: "
        "send the whole history in 'input'",
        param="previous_response_id",
    )


def turn_id_of(response_id: str) -> str:
    """The turn that made, or makes, a response."""
    return f"turn_{response_id.rpartition('_')[2]}"


def response_id_of_item(item_id: str) -> str | None:
    """The response that an item of ours was part of; None: it is none of ours."""
    found = OF_RESPONSE.match(item_id)
    made = f"resp_{found[1]}" if found else ""
    return made if is_made_here(made) else None


def not_found(response_id: str) -> ResponseNotFound:
    """What is said of a response that there is not; nothing of a text that is no id."""
    shown = f" '{response_id}'" if is_made_here(response_id) else ""
    return ResponseNotFound(
        f"no response{shown} is stored for this key; it has expired, was deleted, was made with 'store': false, or "
        "has not come to its end"
    )


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type=JSON_TYPE)
