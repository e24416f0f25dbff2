"""A talk: turn after turn, until the person leaves."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct

from protocol.messages import TurnRecord
from trunkline.talk.chunks import Call
from trunkline.talk.client import Client
from trunkline.talk.figures import figures, trace_of
from trunkline.talk.history import History
from trunkline.talk.keyboard import Dropped, Keyboard, Left
from trunkline.talk.records import Records
from trunkline.talk.show import Show
from trunkline.talk.tools import Tools
from trunkline.talk.turn import Turn, take_turn

PROMPT = "you> "
RECORD_S = 0.3  # a record comes within milliseconds; for a late one the prompt does not wait
LATE_RECORD_S = 2.0  # the line itself waits no longer for the model of a caller who left
LEAVE = "Ctrl-C once more, Ctrl-D or /quit leaves"


class Leave(Exception):
    """The person says goodbye."""


class Last(Struct, frozen=True):
    """The turn before, for whoever asks about it."""

    turn: Turn
    record: TurnRecord | None


class Conversation:
    """What the commands may change, and the turns that use it."""

    def __init__(
        self,
        client: Client,
        keyboard: Keyboard,
        show: Show,
        records: Records,
        *,
        model: str,
        system: str | None,
        metadata: Mapping[str, str],
    ) -> None:
        self.client = client
        self.keyboard = keyboard
        self.show = show
        self.model = model
        self.history = History(system)
        self.tools = Tools()
        self.last: Last | None = None
        self._records = records
        self._metadata = metadata
        self._late: asyncio.Task[None] | None = None

    async def run(self, obey: Callable[["Conversation", str], Awaitable[None]]) -> None:
        """Talk until the person leaves. `obey` runs a line that is a command."""
        dropped = False
        try:
            while True:
                try:
                    text = (await self._line(PROMPT)).strip()
                    dropped = False
                    await self._take(text, obey)
                except Dropped:
                    if dropped:
                        return
                    dropped = True
                    self.show.note(LEAVE)
        except (Left, Leave):
            pass
        finally:
            await self._write_late()

    async def answer(self) -> None:
        """Have the history answered, as it is. The person plays the tools, until the model speaks."""
        while (turn := await self._turn()).calls and not turn.interrupted:
            results = await self._results(turn.calls)
            if results is None:
                self.show.note("the calls are dropped; the history does not know them")
                self.history.heard(turn.text)
                return
            self.history.called(turn.text, turn.calls, results)

    async def _take(self, text: str, obey: Callable[["Conversation", str], Awaitable[None]]) -> None:
        if text.startswith("/"):
            await obey(self, text)
        elif text:
            self.history.said(text)
            await self.answer()

    async def _turn(self) -> Turn:
        """One turn: asked, shown, measured. What was heard is in the history, except beside tool calls."""
        body = self.history.body(self.model, tools=self.tools.sent, metadata=self._metadata)
        hung_up = asyncio.Event()
        self.show.begin(self.model)
        with self.keyboard.interrupting(hung_up):
            turn = await take_turn(self.client, body, self.show.hear, hung_up)
        self.show.end(turn.calls)
        if turn.interrupted or not turn.calls:
            self.history.heard(turn.text, turn.refusal)
        if turn.failure is not None:
            self.show.trouble(str(turn.failure))
        await self._measure(turn)
        return turn

    async def _measure(self, turn: Turn) -> None:
        """Write the turn's figures: now, or above the next prompt when the line's record is late."""
        self.last = Last(turn, None)
        record = await self._records.of(turn.turn_id, RECORD_S)
        if record is None and self._records.ready.is_set() and turn.failure is None:
            self._late = asyncio.create_task(self._wait_for_late(turn), name="late record")
        else:
            self._write(turn, record)

    async def _wait_for_late(self, turn: Turn) -> None:
        record = None
        try:
            record = await self._records.of(turn.turn_id, LATE_RECORD_S)
        finally:
            await self.keyboard.above(lambda: self._write(turn, record))

    async def _write_late(self) -> None:
        """The next thing begins: figures that still wait for their record are written without it."""
        late, self._late = self._late, None
        if late is not None:
            late.cancel()
            await asyncio.gather(late, return_exceptions=True)

    def _write(self, turn: Turn, record: TurnRecord | None) -> None:
        if self.last is not None and self.last.turn is turn:
            self.last = Last(turn, record)
        if turn.failure is None or trace_of(turn, record):  # a request that never arrived has no figures
            self.show.note(figures(turn, record))

    async def _results(self, calls: tuple[Call, ...]) -> list[str] | None:
        """What the person has each tool return. None: nothing at all."""
        try:
            return [await self._line(f"{call.function.name} returns> ") for call in calls]
        except (Dropped, Left):
            return None

    async def _line(self, prompt: str) -> str:
        try:
            return await self.keyboard.line(prompt)
        finally:
            await self._write_late()
