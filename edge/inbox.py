"""What happens to one turn, from the bus to its relay."""

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from msgspec import Struct

from protocol.errors import Internal, ServiceError
from protocol.messages import Claimed, Frame, Reasoning, Refusal, Text, ToolCall

log = logging.getLogger(__name__)

UNSENT_BYTES = 256 << 10  # what may wait for a client that reads slowly
CLOCK_S = 0.001  # uvloop's clock is cut to milliseconds
SPOKEN = (Text, Reasoning, Refusal)


class Stored(Struct, frozen=True):
    """The queue holds the offer; `line` says which."""

    line: int


class Lost(Struct, frozen=True):
    """The claim, or the whole line, is gone. `cut_off`: it is the edge itself that lost the bus."""

    worker_id: str | None = None
    cut_off: bool = False


class Refused(Struct, frozen=True):
    """The offer was not taken."""

    error: ServiceError


Event = Frame | Stored | Lost | Refused
NOTED = (Stored, Claimed)


def size_of(event: Event) -> int:
    """Bytes, roughly, that an event adds to what waits for the client."""
    if type(event) is Text or isinstance(event, SPOKEN):  # by far the most, asked for first
        return len(event.text)
    return len(event.arguments) if isinstance(event, ToolCall) else 0


class Inbox:
    """Events in order, taken all at once.

    When more than `UNSENT_BYTES` wait for a client that does not read, it calls `on_overflow`, once.
    """

    __slots__ = (
        "_bytes",
        "_events",
        "_fires_at",
        "_loop",
        "_settling",
        "_timer",
        "_until",
        "_waiter",
        "on_note",
        "on_overflow",
        "on_speech",
        "overflowed",
        "writing",
    )

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._waiter: asyncio.Future[None] | None = None
        self._bytes = 0
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None  # one lasts for many waits
        self._fires_at = self._until = 0.0
        self.overflowed = False
        self.writing = False  # the relay waits for the client to read
        self.on_overflow: Callable[[], None] | None = None
        self.on_note: Callable[[Stored | Claimed], None] | None = None
        """Takes what is only written down, at once: no relay is woken for that."""
        self.on_speech: Callable[[list[Text]], bool] | None = None
        """Takes texts while the relay has nothing else to do, and says whether it did: waking a task for each token
        would cost as much as writing it."""
        self._settling = False

    def push(self, event: Event) -> None:
        """Hand over; never waits."""
        if self.on_note is not None and isinstance(event, NOTED):
            self.on_note(event)
            return
        self._events.append(event)
        self._bytes += size_of(event)
        if self._bytes > UNSENT_BYTES and self.writing and not self.overflowed:
            self.overflowed = True
            if self.on_overflow:
                self.on_overflow()
        if self.on_speech is None or type(event) is not Text:
            self._wake()
        elif not self._settling:
            self._settling = True
            self._loop.call_soon(self._settle)

    def _settle(self) -> None:
        """What was read together is spoken together; anything but text is for the relay."""
        self._settling = False
        events = self._events
        if not events or self._waiter is None or self._waiter.done():
            return
        if self._speaks(events):
            self.rest()
        else:
            self._wake()

    def _speaks(self, events: list[Event]) -> bool:
        if self.on_speech is None or not all(type(event) is Text for event in events):
            return False
        try:
            return self.on_speech(cast(list[Text], events))
        except Exception:  # a bug of ours. Whether they were spoken nobody knows: nothing is said twice, the turn ends
            log.exception("text could not be spoken")
            self._events = [Refused(Internal("something went wrong here; the log says more"))]
            return False

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def rest(self) -> list[Event]:
        """What has come and was not taken."""
        events, self._events, self._bytes = self._events, [], 0
        return events

    async def take(self, until: float) -> list[Event]:
        """All that has come; where nothing has, what comes first. Empty: `until` (the loop's clock) has passed."""
        if not self._events:
            self._until = until
            if self._timer is None or self._fires_at > until:
                self._arm(until)
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self.rest()

    def close(self) -> None:
        """Nobody takes any more."""
        self._disarm()

    def _arm(self, at: float) -> None:
        self._disarm()
        self._fires_at = at
        self._timer = self._loop.call_at(at, self._fire)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        """A wait that was set for later than the timer goes on."""
        self._timer = None
        if self._waiter is None:
            return
        if self._until - self._loop.time() > CLOCK_S:
            self._arm(self._until)
        else:
            self._wake()
