"""What the parsers of all dialects share: how bytes become events, what is known of an answer, how one ends. Pure.

A dialect's own is what an event says (`_event`), its words for an end, and `speech`, which is asked once a read.
"""

from collections.abc import Iterator
from typing import ClassVar

from protocol.errors import ServiceError, UpstreamError
from protocol.messages import Finished, FinishReason, Frame, Usage
from workers.targets import upstream_errors
from workers.targets.answer_events import AnswerEvents
from workers.targets.seals import Seals
from workers.targets.spoken import Spoken
from workers.targets.tool_calls import KIND, CallCollector

SPEECH_BYTES = 16 << 10  # of a read that may be `speech`: far below what a frame may hold
DONE = b"[DONE]"  # ends a chat completion; some gateways end every stream with it


class AnswerParser:
    """Feed it bytes, take frames; `end()` gives the last ones.

    `may_be_empty`: a continuation may find nothing left to say. `max_calls`: tool calls beyond it are dropped.
    `calls_are_checked`: before they go out, so that one may have arguments that are no JSON object.
    `thinks_first`: its content begins in the middle of a thought. `is_data`: JSON was asked for. `seals` mark what it
    has sealed; None: nothing sealed is handed out. `key` is kept out of what an upstream's error says.
    """

    ending: ClassVar[str]  # what an answer ends with, in the dialect's words
    form: ClassVar[str]  # what its events make
    after_end: ClassVar[tuple[bytes, ...]] = ()  # what may follow its end, and says nothing

    def __init__(
        self,
        *,
        job_id: str,
        target: str = "",
        key: str | None = None,
        may_be_empty: bool = False,
        max_calls: int | None = None,
        calls_are_checked: bool = False,
        thinks_first: bool = False,
        is_data: bool = False,
        seals: Seals | None = None,
    ) -> None:
        self._target = target
        self._key = key
        self._may_be_empty = may_be_empty
        self._seals = seals
        self._events = AnswerEvents(target=target)
        self._spoken = Spoken(thinks_first=thinks_first, is_data=is_data)
        self._calls = CallCollector(job_id=job_id, limit=max_calls, are_checked=calls_are_checked)
        self._reason: str | None = None
        self._understood = False
        self.done = False  # the last event was read: nothing after it counts
        self.skipped = 0  # events that could not be read
        self.faults: set[str] = set()  # kinds of what was wrong and could be lived with
        self.usage: Usage | None = None  # as the upstream told it; before the end it may know the prompt alone
        self._begin()

    def _begin(self) -> None:
        """What a dialect keeps of an answer beside all this."""

    @property
    def said_chars(self) -> int:
        """Of every kind of frame, for an estimate."""
        return self._spoken.said_chars

    @property
    def thought_chars(self) -> int:
        """Of reasoning, which is among them."""
        return self._spoken.thought_chars

    @property
    def stray_end(self) -> bool:
        """A thought ended that never began, as far as the upstream's content goes: it was spoken."""
        return self._spoken.stray_end

    @property
    def finished(self) -> bool:
        """Why the answer ends was read: nothing that may follow is said."""
        return self._reason is not None

    @property
    def answering(self) -> bool:
        """Content has come, or a tool call has begun."""
        return self._spoken.audible or self._calls.begun > 0

    @property
    def progress(self) -> int:
        """Grows with everything that brings the answer on: not with comments, roles or what could not be read."""
        return self.said_chars + self._calls.begun + (self._reason is not None)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole now; never the last one. To be read to its end before more is fed.

        Raises:
            ServiceError: the upstream reports one, or answers what nobody can use.
        """
        return self._read(self._events.feed(data))

    def end(self) -> Iterator[Frame]:
        """What is left when the upstream has said all that it will say: the last frame is `Finished`.

        Raises:
            ServiceError: that was no whole answer.
        """
        yield from self._read(self._events.end())
        yield from self._spoken.release()
        if self._calls.broken:
            self.faults.add(KIND)
        if self._reason is None:
            raise UpstreamError(f"target {self._target!r} {self._how_it_broke_off()}")
        if not (self._spoken.audible or self._may_be_empty):
            raise self._nothing()
        yield Finished(self._last_reason(), self.usage or Usage())

    def _event(self, data: bytes) -> Iterator[Frame]:
        """The frames of one event. Raises ServiceError."""
        raise NotImplementedError

    def _our_reason(self) -> FinishReason | None:
        """The upstream's reason in our words; None: any other."""
        raise NotImplementedError

    def _end_words(self) -> str:
        """The end in the upstream's own words, for the error about an answer with nothing in it."""
        raise NotImplementedError

    @property
    def _may_just_speak(self) -> bool:
        """Nothing that has come before says what is to be done with text."""
        return self._reason is None and not self._calls.sent

    def _read(self, events: Iterator[bytes]) -> Iterator[Frame]:
        """Frames of events, until the last one."""
        for event in events:
            if self.done:
                if event.strip() not in self.after_end:
                    self.faults.add("after_its_end")
                return
            yield from self._event(event)

    def _nothing(self) -> ServiceError:
        return upstream_errors.from_nothing(
            self._our_reason(),
            self._end_words(),
            target=self._target,
            has_thought=bool(self.thought_chars or (self.usage and self.usage.reasoning)),
            has_called=self._calls.begun > 0,
        )

    def _how_it_broke_off(self) -> str:
        if self._understood:
            return f"broke off: its answer ended without {self.ending}"
        return f"answered something that is no {self.form}"

    def _last_reason(self) -> FinishReason:
        """`tool_calls` where there are calls, and nowhere else."""
        if self._calls.sent:
            return "tool_calls"
        reason = self._our_reason() or "stop"
        return "stop" if reason == "tool_calls" or not self._spoken.audible else reason
