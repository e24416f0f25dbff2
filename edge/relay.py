"""The one streaming loop: write, keep alive, cancel on hang-up."""

import asyncio
import logging
import math
from collections.abc import Callable

from msgspec.structs import replace

from edge.answers import Answer
from edge.bus import EdgeBus
from edge.calls import CallState
from edge.dialect import Delta
from edge.due import Due, Pace
from edge.guard import Guard
from edge.inbox import Event, Inbox, Lost, Refused, Stored
from edge.lines import Line, Stage
from edge.turn import Close, End, Fail, Next, Offer, Turn
from edge.watch import TurnWatch
from protocol import codec
from protocol.errors import Internal, Interrupted, Overloaded, ServiceError, SlowClient, UpstreamTimeout
from protocol.messages import (
    LAST,
    Claimed,
    Failed,
    Finished,
    Job,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    TurnRecord,
    Usage,
)

CONFIRM_S = 1.5  # the bus closes a stopped line after 1 s: this is a bound on a bug of ours


log = logging.getLogger(__name__)

DELTAS = (Text, Reasoning, Refusal, ToolCall)
STUCK_S = 5.0  # after its end a turn waits no longer for a client that has stopped to read


class Relay:
    """One turn between the bus and its client.

    `now` is the clock, in seconds, with the event loop's epoch: uvloop's own is cut to milliseconds, too coarse to
    measure with.

    `run` returns when the answer has ended, one way or another, and raises CancelledError when the client hung up.
    Either way `record` is due afterwards; before it, where the turn is not `over`, `settle`.
    """

    def __init__(
        self,
        bus: EdgeBus,
        pool: str,
        job: Job,
        turn: Turn,
        answer: Answer,
        watch: TurnWatch,
        *,
        began: float,
        pace: Pace,
        now: Callable[[], float],
        guard: Guard | None = None,
    ) -> None:
        self._bus = bus
        self._pool = pool
        self._job = job
        self._turn = turn
        self._answer = answer
        self._watch = watch
        self._now = now
        self._inbox = Inbox()
        self._inbox.on_note = self._on_offer
        self._line: Line | None = None
        self._guard = guard
        self._due = Due(job, began=began, pace=pace, stream=watch.stream, guard=guard)
        self._last: Event | None = None
        self._ended: Next | None = None

    @property
    def inbox(self) -> Inbox:
        """Where the bus tells what becomes of the turn."""
        return self._inbox

    def know(self, call: CallState) -> None:
        """What the turn's call was before; at any time, or never."""
        if self._guard is not None:
            self._guard.know(fillers=call.fillers, last_filler=call.last_filler)

    async def run(self) -> None:
        """Offer the turn and relay its answer until it has ended."""
        try:
            async with asyncio.timeout(self._job.total_ms / 1000 + STUCK_S):
                done = await self._next(Offer())
                while not done:
                    events = await self._inbox.take(self._due.wake_at(headers_sent=self._turn.headers_sent))
                    done = await self._handle(events) or await self._on_time(idle=not events)
        except asyncio.CancelledError:
            self._left(slow=self._inbox.overflowed)
            raise
        except ConnectionError:
            self._left(slow=self._inbox.overflowed)
        except TimeoutError:  # only a write can wait for so long
            self._left(slow=True)
            self._answer.abort()
        except Exception:
            log.exception("turn %s", self._job.id)
            await self._broken()
        finally:
            self._inbox.on_speech = None

    async def _broken(self) -> None:
        """A bug of ours ends this turn openly, and no other."""
        if self._line is not None:
            self._bus.stop(self._line)
        error = Internal("something went wrong here; the log says more under this request id")
        self._watch.gave_up(error)
        try:
            await self._next(self._turn.give_up(error))
        except Exception:  # the same bug again
            self._answer.abort()

    def answers(self, tenant: str, turn_id: str) -> bool:
        """Whether it is this turn."""
        return (self._job.tenant, self._job.id) == (tenant, turn_id)

    def end_now(self, error: ServiceError) -> None:
        """End the turn as its settings ask for: the process stops, or its client wants no more of it."""
        if self._line is not None:
            self._bus.stop(self._line)
        self._inbox.push(Refused(error))

    def ended_with(self, error: ServiceError) -> bool:
        """Whether it was, or is about to be, `end_now` that has ended it: not its own end, nor another failure."""
        return self._ended is None or (isinstance(self._ended, Fail) and self._ended.error is error)

    def cut(self) -> None:
        """Drop the client's connection: there is no more time to wait for it."""
        self._answer.abort()

    @property
    def over(self) -> bool:
        """Whether nothing more is to be heard of the turn; else `settle` waits for it."""
        return self._line is None or self._line.stage is Stage.CLOSED

    async def settle(self) -> None:
        """Wait for the last frame of a claim that was cancelled: it says what the turn cost."""
        if self._line is None or self.over:
            return
        self._bus.stop(self._line)
        until = self._now() + CONFIRM_S
        while not await self._confirmed(until):
            pass

    def record(self) -> TurnRecord:
        """What the turn was; once, when it is over or settled."""
        self._settle_finished()
        self._inbox.close()
        return self._watch.end(self._turn, now=self._now())

    def _settle_finished(self) -> None:
        """A claim may have come to its end before its client left: that is on the bill too."""
        if self._watch.interrupted:
            self._confirm([self._last] if self._last is not None else self._inbox.rest())

    async def _confirmed(self, until: float) -> bool:
        events = await self._inbox.take(until)
        return self._confirm(events) or not events

    def _confirm(self, events: list[Event]) -> bool:
        """Whether a last frame, or the loss of its claim, is among them."""
        for event in events:
            if isinstance(event, Finished | Failed):
                self._turn.told(event)
                self._watch.confirmed(event, self._now())
                return True
            if isinstance(event, Lost):
                self._turn.lost(event)
                return True
            if isinstance(event, DELTAS):
                self._watch.unwritten(event)
        return False

    def _left(self, *, slow: bool) -> None:
        """The client is gone, or might as well be: nothing generated from here on is worth its price."""
        if self._line is not None:
            self._bus.stop(self._line)
        error = SlowClient("the client does not read") if slow else Interrupted("the client hung up")
        self._watch.left(error, self._now())

    # --- time ----------------------------------------------------------------------------------------

    async def _on_time(self, *, idle: bool) -> bool:
        """What the clock asks for; `idle`: nothing has come meanwhile. True: the turn has ended."""
        now, due, headers_sent = self._now(), self._due, self._turn.headers_sent
        if now >= due.deadline:
            return await self._too_late()
        if due.guard is not None and now >= due.guard.due_at:
            await self._speak_for(due.guard, now)
        elif idle and now >= due.sign_at(headers_sent=headers_sent):
            await (self._answer.ping() if headers_sent else self._answer.begin())
            due.wrote_at = now
        return False

    async def _speak_for(self, guard: Guard, now: float) -> None:
        """Nothing has come that a caller could hear: say something instead."""
        if said := guard.next(now):
            self._due.wrote_at = now
            if said.filler:
                self._turn.fillers.append(said.text)
            await self._speak_up(said.text)

    async def _speak_up(self, text: str, *, ends: bool = False) -> None:
        self._turn.spoke(text)
        self._inbox.writing = True
        await self._answer.say([Text(text)], ends=ends)
        self._inbox.writing = False

    async def _too_late(self) -> bool:
        unclaimed = self._line is not None and self._line.stage is Stage.WAITING
        if self._line is not None:
            self._bus.stop(self._line)
        self._watch.too_late()
        if unclaimed:
            return await self._next(self._turn.give_up(Overloaded("no worker was free in time", retry_after_s=1)))
        what = "its end" if self._due.answers else "its first content"
        return await self._next(self._turn.give_up(UpstreamTimeout(f"the model did not come to {what} in time")))

    # --- events --------------------------------------------------------------------------------------

    async def _handle(self, events: list[Event]) -> bool:
        """True: the turn has ended."""
        frames: list[Delta] = []
        if events and isinstance(events[-1], LAST):
            self._last = events[-1]  # it is on the bill, even if the client leaves while the rest is written
        for event in events:
            if isinstance(event, DELTAS):
                if (frame := self._turn.taken(event)) is not None:
                    frames.append(frame)
            else:
                await self._say(frames, ends=isinstance(event, Finished))
                frames = []
                if await self._next(self._decide(event)):
                    return True
        await self._say(frames)
        return False

    def _on_offer(self, event: Stored | Claimed) -> None:
        now = self._now()
        if isinstance(event, Stored):
            self._watch.stored(now)
        elif self._line is not None and self._line.fence.owner is not None:
            self._watch.claimed(now, self._line.offered_at, self._line.fence.owner.worker_id)

    async def _say(self, frames: list[Delta], *, ends: bool = False) -> None:
        if self._turn.reads_on:
            frames = self._turn.joined(frames)
        if not frames:
            return
        now = self._now()
        for frame in frames:
            self._turn.hear(frame)
        if self._turn.worded and not all(isinstance(frame, Reasoning) for frame in frames):
            self._due.content(now)
            self._watch.content(now)
        self._inbox.writing = True
        if await self._answer.say(frames, ends=ends):
            self._due.wrote_at = now
        self._inbox.writing = False
        if self._watch.stream and self._due.has_content and not self._turn.reads_on:
            self._inbox.on_speech = self._speak

    def _speak(self, texts: list[Text]) -> bool:
        """Text in the middle of an answer, while `run` waits for what comes next. False: `run` is to see to it."""
        if not self._answer.say_now(texts):
            return False
        now = self._due.wrote_at = self._now()
        for text in texts:
            self._turn.hear(text)
        self._watch.content(now)
        return True

    def _decide(self, event: Event) -> Next:
        if isinstance(event, Finished):
            self._watch.finished(event)
            step = self._turn.finished(event)
            if not isinstance(step, End):
                self._last = None
            return step
        if isinstance(event, Failed):
            self._last = None  # what it cost is on the bill now
            self._watch.failed(event)
            return self._turn.failed(event)
        if isinstance(event, Refused):
            return self._turn.give_up(event.error)
        assert isinstance(event, Lost)
        self._watch.lost(event, self._now())
        return self._turn.lost(event)

    async def _next(self, step: Next) -> bool:
        """Take a step. True: it was the last."""
        if isinstance(step, Offer):
            try:
                self._offer(step.said)
            except ServiceError as error:
                return await self._next(self._turn.give_up(error))
            return False
        self._ended = step
        if isinstance(step, End):
            await self._say_last(step.text, step.call)
            await self._answer.finish(step.last, self._turn.usage(step.last.usage))
            self._watch.completed(step.last, self._now())
        elif isinstance(step, Close):
            await self._close(step)
        elif isinstance(step, Fail):
            self._watch.gave_up(step.error)
            await self._answer.fail(step.error)
        self._watch.status = self._answer.response.status
        self._watch.last_byte(self._now())
        return True

    async def _close(self, step: Close) -> None:
        self._watch.gave_up(step.error)
        await self._say_last("" if self._turn.called else step.text, step.call)
        await self._answer.finish(Finished("stop"), self._turn.usage(Usage()))

    async def _say_last(self, text: str, call: ToolCall | None) -> None:
        """Words or a call of ours that leave with the end."""
        if text:
            await self._speak_up(text, ends=True)
        if call is not None:
            self._turn.called_by_edge.append(call.name)
            await self._answer.say([call], ends=True)

    def _offer(self, said: str) -> None:
        now = self._now()
        budget_s, total_s = self._due.offered(now)
        self._inbox.on_speech = None  # the first word of this offer is for `_say`
        job = replace(
            self._job,
            budget_ms=math.ceil(budget_s * 1000),
            total_ms=math.ceil(total_s * 1000),
            said=said,
        )
        self._last = None  # an earlier claim's is on the bill already
        trace = self._watch.offering(self._pool, now)
        self._line = self._bus.offer(
            self._pool, job.model, codec.encode(job), budget_s=budget_s, trace=trace, inbox=self._inbox
        )
        self._turn.offered()
