"""Bytes of an upstream's message stream -> frames. Pure: split anywhere, the same frames come out.

Takes the events of Anthropic's `POST /v1/messages`, and the one JSON object of an upstream that ignores `stream`.
Liberal in what it takes: an event that cannot be read is skipped and counted, unknown ones and `ping` change nothing,
and what the wire calls in its own way (stop reasons, thinking) has one name from here on.

Source: Anthropic's API documentation, "Streaming messages" and "Handling stop reasons", read on 2026-11-21.
"""

from collections.abc import Iterator

import msgspec

from protocol.messages import FinishReason, Frame, Text
from workers.targets import upstream_errors
from workers.targets.answer_parser import DONE, SPEECH_BYTES, AnswerParser
from workers.targets.messages_event import Block, Delta, Event, decoded, mended, only_text, usage_in, usage_of
from workers.targets.tool_calls import Fragment

OUTPUT = "output_tokens"
EVENT_LINE = b"event: content_block_delta\n"  # before the data of a text; some upstreams leave it out

REASONS: dict[str, FinishReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""Upstream's stop reason -> ours. Any other is a `stop`: `end_turn`, `stop_sequence`, and `pause_turn`, which comes of
tools that run at Anthropic: none is offered."""


class MessagesParser(AnswerParser):
    """See `AnswerParser`."""

    ending = "a stop reason"
    form = "message"
    after_end = (DONE,)

    def _begin(self) -> None:
        self._inputs: dict[int | None, str] = {}  # by a tool block's index: the arguments that came with its beginning
        self._figures: dict[str, object] = {}  # of `usage`, the latest ones

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

    def _our_reason(self) -> FinishReason | None:
        return REASONS.get(self._reason or "")

    def _end_words(self) -> str:
        return f"stop reason {self._reason!r}"

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
                yield from self._think(block.thinking)

    def _delta(self, index: int | None, delta: Delta) -> Iterator[Frame]:
        match delta.type:
            case _ if self._reason is not None:
                return
            case "text_delta":
                yield from self._say(delta.text)
            case "thinking_delta":
                yield from self._think(delta.thinking)
            case "input_json_delta" if delta.partial_json and index in self._inputs:  # not of a tool that runs there
                self._inputs[index] = ""
                yield from self._piece(Fragment(index, arguments=delta.partial_json))

    def _say(self, text: str | None) -> Iterator[Frame]:
        if text and not self._calls.sent:  # once a call is out, nothing more is spoken
            yield from self._spoken.content(text)

    def _think(self, thought: str | None) -> Iterator[Frame]:
        """Signatures, and thoughts that are all signature, stay here: they are not shown to the upstream again."""
        if thought and not self._calls.sent:
            yield from self._spoken.thought(thought)

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
