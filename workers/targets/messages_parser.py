"""Bytes of an upstream's message stream -> frames. Pure: split anywhere, the same frames come out.

Takes the events of Anthropic's `POST /v1/messages`, and the one JSON object of an upstream that ignores `stream`.
Liberal in what it takes: an event that cannot be read is skipped and counted, unknown ones and `ping` change nothing,
and what the wire calls in its own way (stop reasons, thinking) has one name from here on.

Source: Anthropic's API documentation, "Streaming messages" and "Handling stop reasons", read on 2026-11-21.
"""

from collections.abc import Iterator

import msgspec

from protocol.errors import ServiceError, UpstreamError
from protocol.messages import Finished, FinishReason, Frame, Reasoning, Text, Usage
from workers.targets import upstream_errors
from workers.targets.answer_events import AnswerEvents
from workers.targets.messages_event import Block, Delta, Event, decoded, mended, only_text, usage_in, usage_of
from workers.targets.spoken import Spoken
from workers.targets.tool_calls import CallCollector, Fragment

SPEECH_BYTES = 16 << 10  # far below what a frame may hold
OUTPUT = "output_tokens"
DONE = b"[DONE]"  # some gateways end every stream with it
EVENT_LINE = b"event: content_block_delta\n"  # before the data of a text; some upstreams leave it out

REASONS: dict[str, FinishReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""Upstream's stop reason -> ours. Any other is a `stop`: `end_turn`, `stop_sequence`, and `pause_turn`, which comes of
tools that run at Anthropic: none is offered."""


class MessagesParser:
    """Feed it bytes, take frames; `end()` gives the last ones.

    `may_be_empty`: a continuation may find nothing left to say. `max_calls`: tool calls beyond it are dropped.
    `thinks_first`: its content begins in the middle of a thought. `is_data`: JSON was asked for. `key` is kept out of
    what an upstream's error says.
    """

    def __init__(
        self,
        *,
        job_id: str,
        target: str = "",
        key: str | None = None,
        may_be_empty: bool = False,
        max_calls: int | None = None,
        thinks_first: bool = False,
        is_data: bool = False,
    ) -> None:
        self._target = target
        self._key = key
        self._may_be_empty = may_be_empty
        self._events = AnswerEvents(target=target)
        self._spoken = Spoken(thinks_first=thinks_first, is_data=is_data)
        self._calls = CallCollector(job_id=job_id, limit=max_calls)
        self._inputs: dict[int | None, str] = {}  # by a tool block's index: the arguments that came with its beginning
        self._figures: dict[str, object] = {}  # of `usage`, the latest ones
        self._reason: str | None = None
        self._understood = False
        self.done = False  # `message_stop` was read: nothing after it counts
        self.skipped = 0  # events that could not be read
        self.faults: set[str] = set()  # kinds of what was wrong and could be lived with
        self.usage: Usage | None = None  # as the upstream told it; before the end it knows the prompt alone

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
        """A stop reason was read: nothing that may follow is said."""
        return self._reason is not None

    @property
    def answering(self) -> bool:
        """Content has come, or a tool call has begun."""
        return self._spoken.audible or self._calls.begun > 0

    @property
    def progress(self) -> int:
        """Grows with everything that brings the answer on: not with pings, beginnings or what could not be read."""
        return self._spoken.said_chars + self._calls.begun + (self._reason is not None)

    def speech(self, data: bytes) -> str:
        """The text of a read that holds whole events of text and nothing else, as nearly every one does in the middle
        of an answer. Else nothing, and nothing is taken: it is for `feed`.
        """
        if not (self._may_just_speak and self._events.between and self._spoken.audible) or len(data) > SPEECH_BYTES:
            return ""
        texts = []
        for told in data.removesuffix(b"\n\n").split(b"\n\n") if data.endswith(b"\n\n") else ():
            line = told.removeprefix(EVENT_LINE)
            event = decoded(line[6:]) if line.startswith(b"data: ") else None
            text = only_text(event) if event is not None else ""
            if not text:
                return ""
            texts.append(text)
        speech = "".join(texts)
        if not self._spoken.plain(speech):
            return ""
        self._spoken.heard(speech)
        return speech

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
        if self._reason is None:
            raise UpstreamError(f"target {self._target!r} {self._how_it_broke_off()}")
        if not (self._spoken.audible or self._may_be_empty):
            raise self._nothing()
        yield Finished(self._last_reason(), self.usage or Usage())

    def _read(self, events: Iterator[bytes]) -> Iterator[Frame]:
        """Frames of events, until the last one."""
        for event in events:
            if self.done:
                if event.strip() != DONE:
                    self.faults.add("after_its_end")
                return
            yield from self._event(event)

    def _nothing(self) -> ServiceError:
        return upstream_errors.from_nothing(
            REASONS.get(self._reason or ""),
            f"stop reason {self._reason!r}",
            target=self._target,
            has_thought=bool(self.thought_chars or (self.usage and self.usage.reasoning)),
            has_called=self._calls.begun > 0,
        )

    def _how_it_broke_off(self) -> str:
        if self._understood:
            return "broke off: its answer ended without a stop reason"
        return "answered something that is no message"

    def _last_reason(self) -> FinishReason:
        """`tool_calls` where there are calls, and nowhere else."""
        if self._calls.sent:
            return "tool_calls"
        reason = REASONS.get(self._reason or "", "stop")
        return "stop" if reason == "tool_calls" or not self._spoken.audible else reason

    @property
    def _may_just_speak(self) -> bool:
        """Nothing that has come before says what is to be done with text."""
        return self._reason is None and not self._calls.sent

    def _event(self, data: bytes) -> Iterator[Frame]:
        event = decoded(data)
        if event is not None:
            text = only_text(event)
            if text and self._may_just_speak and self._spoken.plain(text):
                self._understood = True
                self._spoken.heard(text)
                yield Text(text)
            else:
                yield from self._told(event)
        elif not data or data.isspace():
            return
        elif (event := mended(data)) is not None:
            self.faults.add("no_text")
            yield from self._told(event)
        elif b"\n" in data:  # an upstream that leaves the blank lines out: every line is an event
            yield from self._read(iter(data.split(b"\n")))
        elif data.strip() != DONE:
            self.skipped += 1

    def _told(self, event: Event) -> Iterator[Frame]:
        match event.type:
            case "content_block_delta" if event.delta is not None:
                self._understood = True
                yield from self._delta(event.index, event.delta)
            case "content_block_start" if event.content_block is not None:
                self._understood = True
                yield from self._block(event.index, event.content_block)
            case "content_block_stop":
                self._close(event.index)
            case "message_start":
                self._understood = True
                self._cost(event.message.get("usage") if isinstance(event.message, dict) else None, begins=True)
            case "message_delta":
                self._cost(event.usage)
                yield from self._finish(event.delta.stop_reason if event.delta else None)
            case "message_stop":
                self.done = True
            case "message":
                yield from self._message(event)
            case "error" | None if event.type or event.error:
                yield from self._spoken.release()
                raise upstream_errors.from_object(event.error, target=self._target, key=self._key)

    def _message(self, event: Event) -> Iterator[Frame]:
        """The whole answer at once."""
        self._understood = True
        for index, block in enumerate(event.content or ()):
            yield from self._block(index, block)
            self._close(index)
        self._cost(event.usage)
        yield from self._finish(event.stop_reason)
        self.done = True

    def _block(self, index: int | None, block: Block) -> Iterator[Frame]:
        """What a block begins with; in a stream that is nearly nothing."""
        match block.type:
            case _ if self._reason is not None:
                return
            case "tool_use":
                yield from self._call(index, block)
            case "text":
                yield from self._say(block.text)
            case "thinking":
                yield from self._think(block.thinking, block.signature)
            case "redacted_thinking":
                yield from self._think(None, block.data)

    def _delta(self, index: int | None, delta: Delta) -> Iterator[Frame]:
        match delta.type:
            case _ if self._reason is not None:
                return
            case "text_delta":
                yield from self._say(delta.text)
            case "thinking_delta" | "signature_delta":
                yield from self._think(delta.thinking, delta.signature)
            case "input_json_delta" if delta.partial_json and index in self._inputs:  # not of a tool that runs there
                self._inputs[index] = ""
                yield from self._piece(Fragment(index, arguments=delta.partial_json))

    def _say(self, text: str | None) -> Iterator[Frame]:
        if text and not self._calls.sent:  # once a call is out, nothing more is spoken
            yield from self._spoken.content(text)

    def _think(self, thought: str | None, encrypted: str | None) -> Iterator[Frame]:
        """`encrypted` is the signature by which the upstream knows its own thought again, or all there is of it."""
        if self._calls.sent:
            return
        if thought:
            yield from self._spoken.thought(thought)
        if encrypted:
            yield Reasoning("", encrypted=encrypted)

    def _call(self, index: int | None, block: Block) -> Iterator[Frame]:
        given = msgspec.json.encode(block.input).decode() if block.input else ""
        self._close(index)  # an index that is used again is another call
        self._inputs[index] = given
        yield from self._piece(Fragment(index, block.id, block.name or ""))

    def _close(self, index: int | None) -> None:
        """A block is over: arguments that came with its beginning, and not in pieces, are its arguments."""
        if given := self._inputs.pop(index, ""):
            self._spoken.said_chars += len(given)
            self._calls.add(Fragment(index, arguments=given))

    def _piece(self, fragment: Fragment) -> Iterator[Frame]:
        self._spoken.said_chars += len(fragment.arguments)
        calls = self._calls.add(fragment)
        if calls:
            yield from self._spoken.release()
            self._spoken.audible = True
        yield from calls

    def _cost(self, told: object, *, begins: bool = False) -> None:
        """What an answer has cost when it begins is no figure of the whole."""
        figures = usage_in(told)
        self._figures |= {name: value for name, value in figures.items() if not (begins and name == OUTPUT)}
        self.usage = usage_of(self._figures, whole=self._reason is not None) or self.usage

    def _finish(self, reason: str | None) -> Iterator[Frame]:
        if not reason:
            return
        if self._reason is not None:
            self.faults.add("second_finish")
            return
        for index in list(self._inputs):
            self._close(index)
        yield from self._spoken.release()
        calls = self._calls.end(cut=REASONS.get(reason) == "length")
        self._spoken.audible |= bool(calls)
        self._reason = reason
        self._cost(None)
        yield from calls
