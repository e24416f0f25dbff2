"""One turn as its caller sees it: what was heard, and when."""

import asyncio
import time
from collections.abc import Callable

from msgspec import Struct

from trunkline.talk.chunks import Call, Called, Declined, Ended, Piece, Said, Spent
from trunkline.talk.client import Client, Opened
from trunkline.talk.failure import Failure


class Turn(Struct, kw_only=True):
    """Times in seconds of one clock; None: it never came so far."""

    began: float
    first_at: float | None = None  # content or a tool call: neither reasoning nor white space is heard
    last_at: float | None = None
    ended: float = 0.0
    text: str = ""
    refusal: str = ""
    calls: tuple[Call, ...] = ()
    reason: str | None = None
    pieces: int = 0  # of content
    spent: int | None = None  # tokens, where the other end counts them
    turn_id: str | None = None
    trace_id: str | None = None
    interrupted: bool = False
    failure: Failure | None = None

    def hear(self, piece: Opened | Piece, now: float) -> None:
        """One more piece of it."""
        match piece:
            case Opened(turn_id, trace_id):
                self.turn_id, self.trace_id = turn_id, trace_id
            case Said(text):
                self.text += text
                self._content(now, is_heard=not text.isspace())
            case Declined(text):
                self.refusal += text
                self._content(now)
            case Called(calls):
                self.calls = calls
                self._content(now)
            case Spent(tokens):
                self.spent = tokens
            case Ended(reason):
                self.reason = reason

    @property
    def tokens(self) -> int:
        """Of the answer, as counted at the other end, else piece by piece."""
        return self.pieces if self.spent is None else self.spent

    @property
    def tokens_per_s(self) -> float | None:
        """After the first; None: too few to say."""
        if self.first_at is None or self.last_at is None or self.last_at <= self.first_at or self.tokens < 2:
            return None
        return (self.tokens - 1) / (self.last_at - self.first_at)

    def _content(self, now: float, *, is_heard: bool = True) -> None:
        self.pieces += 1
        self.last_at = now
        if self.first_at is None and is_heard:
            self.first_at = now


async def take_turn(
    client: Client,
    body: bytes,
    hear: Callable[[Opened | Piece], None],
    hung_up: asyncio.Event,
    *,
    now: Callable[[], float] = time.perf_counter,
) -> Turn:
    """Ask, and listen until the answer has ended or `hung_up` is set: then its connection is closed at once."""
    turn = Turn(began=now())

    def listen(piece: Opened | Piece) -> None:
        turn.hear(piece, now())
        hear(piece)

    asking = asyncio.create_task(client.ask(body, listen))
    waiting = asyncio.create_task(hung_up.wait())
    try:
        await asyncio.wait({asking, waiting}, return_when=asyncio.FIRST_COMPLETED)
        turn.interrupted = not asking.done()
    finally:
        asking.cancel()
        waiting.cancel()
        turn.ended = now()
        results = await asyncio.gather(asking, waiting, return_exceptions=True)
    _settle(turn, results[0])
    return turn


def _settle(turn: Turn, result: BaseException | None) -> None:
    """How the asking ended. Raises what is a bug."""
    if isinstance(result, Failure):
        turn.failure = result
    elif isinstance(result, Exception):
        raise result
