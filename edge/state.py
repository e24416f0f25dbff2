"""What calls need from turn to turn, in a key-value bucket that all edges of a line share.

Read beside the offer, written after the turn, and never waited for: where the bucket is slow or away, the turn goes on
without. Two edges may write of one call at once (a platform that asks twice): the last one counts.

Source: NATS architecture decision record 8 (key-value buckets), and 31 (direct get).
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

import msgspec

from edge.calls import CallState
from protocol import streams
from protocol.codec import DecodeError
from protocol.subjects import Subjects, last_token
from protocol.wire import NO_RESPONDERS, Arrived, Disconnected, Wire, tell

log = logging.getLogger(__name__)

READ_S = 1.0  # an answer that is later helps nobody: by then most fillers are due
NOT_FOUND = "404"

Missed = Literal["away", "late", "unreadable"]
Told = Callable[[CallState], None]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(CallState).decode


class Observer(Protocol):
    """Who counts what is missed."""

    def call_state_missed(self, why: Missed) -> None:
        """A turn goes on without its call's record."""


class _Question(NamedTuple):
    told: Told
    timer: asyncio.TimerHandle


class CallStates:
    """One edge's way to the bucket. `heal` makes it again where it is gone."""

    def __init__(
        self, wire: Wire, subjects: Subjects, *, edge_id: str, heal: Callable[[], None], observer: Observer
    ) -> None:
        self._wire = wire
        self._subjects = subjects
        self._edge_id = edge_id
        self._heal = heal
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._number = 0
        self._asked: dict[int, _Question] = {}

    async def open(self) -> None:
        """Listen for answers. Raises Disconnected."""
        await self._wire.subscribe(self._subjects.call_answer(self._edge_id, "*"), self._on_answer)

    def read(self, tenant: str, call_id: str, told: Told) -> None:
        """Ask for a call's record. `told` gets it when it comes, of a new call an empty one; it may never come."""
        self._number += 1
        number = self._number
        where = streams.direct_get(self._subjects.calls_stream, self._subjects.call(tenant, call_id))
        try:
            self._wire.publish(where, b"", reply=self._subjects.call_answer(self._edge_id, number))
        except Disconnected:
            self._observer.call_state_missed("away")
            return
        self._asked[number] = _Question(told, self._loop.call_later(READ_S, self._too_late, number))

    def write(self, tenant: str, call_id: str, state: CallState) -> None:
        """Keep a call's record in place of the one before; where the bus is away, it is lost."""
        tell(self._wire, self._subjects.call(tenant, call_id), _encode(state))

    def _too_late(self, number: int) -> None:
        if self._asked.pop(number, None):
            self._observer.call_state_missed("late")

    def _on_answer(self, arrived: Arrived) -> None:
        question = self._asked.pop(int(last_token(arrived.subject)), None)
        if question is None:
            return
        question.timer.cancel()
        if arrived.status == NO_RESPONDERS:
            self._heal()
            self._observer.call_state_missed("away")
        elif arrived.status == NOT_FOUND or not arrived.data:  # without data: somebody has deleted it
            question.told(CallState())
        else:
            self._tell(question.told, arrived.data)

    def _tell(self, told: Told, data: bytes) -> None:
        try:
            state = _decode(data)
        except DecodeError as error:
            log.warning("a call's record that is none: %s", error)
            self._observer.call_state_missed("unreadable")
        else:
            told(state)
