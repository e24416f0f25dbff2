"""Bytes of an upstream chat completion -> frames. Pure: split anywhere, the same frames come out.

Takes an event stream, and the one JSON object of an upstream that ignores `stream`. Liberal in what it takes: an event
that cannot be read is skipped and counted, bytes that are no UTF-8 become U+FFFD, and what the wire calls in many ways
(reasoning, finish reasons, legacy functions) has one name from here on.
"""

from collections.abc import Iterator

import msgspec

from protocol.errors import UpstreamError
from protocol.messages import FinishReason, Frame, Text
from workers.targets import upstream_errors
from workers.targets.answer_parser import DONE, SPEECH_BYTES, AnswerParser
from workers.targets.chat_chunk import (
    Choice,
    Chunk,
    Delta,
    Function,
    content_of,
    decoded,
    likely,
    mended,
    only_text,
    usage_of,
)
from workers.targets.tool_calls import Fragment

REASONS: dict[str, FinishReason] = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "safety": "content_filter",
}
"""Upstream's finish reason -> ours. Any other (`eos`, `end_turn`, `stop_sequence`, …) is a `stop`."""

BROKEN_REASONS = frozenset({"error", "insufficient_system_resource"})  # OpenRouter's and DeepSeek's word for a cut
NO_REASON = frozenset({"", "null"})  # in every chunk of some upstreams


class ChatParser(AnswerParser):
    """See `AnswerParser`."""

    ending = "a finish reason"
    form = "chat completion"

    def speech(self, data: bytes) -> str:
        """The text of a read that holds whole events of text and nothing else, as nearly every one does in the middle
        of an answer. Else nothing, and nothing is taken: it is for `feed`.
        """
        if not (self._may_just_speak and self._events.between and self._spoken.audible) or len(data) > SPEECH_BYTES:
            return ""
        texts = []
        for event in data.removesuffix(b"\n\n").split(b"\n\n") if data.endswith(b"\n\n") else ():
            chunk = decoded(event[6:]) if event.startswith(b"data: ") else None
            text = only_text(chunk) if chunk is not None else ""
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
        return f"finish reason {self._reason!r}"

    def _event(self, data: bytes) -> Iterator[Frame]:
        chunk = decoded(data)
        if chunk is not None:
            text = only_text(chunk)
            if text and self._may_just_speak and self._spoken.plain(text):
                self._understood = True
                self._spoken.heard(text)
                yield Text(text)
            else:
                yield from self._chunk(chunk)
        elif data.strip() == DONE:
            self.done = True
        elif not data or data.isspace():
            return
        elif (chunk := mended(data)) is not None:
            self.faults.add("no_text")
            yield from self._chunk(chunk)
        elif b"\n" in data:  # an upstream that leaves the blank lines out: every line is an event
            yield from self._read(iter(data.split(b"\n")))
        else:
            self.skipped += 1

    def _chunk(self, chunk: Chunk) -> Iterator[Frame]:
        if chunk.error:
            yield from self._spoken.release()
            raise upstream_errors.from_object(chunk.error, target=self._target, key=self._key)
        self.usage = usage_of(chunk.usage) or self.usage
        for choice in chunk.choices or ():
            if choice.index:  # 0, or not told: one choice was asked for
                self.faults.add("other_choice")
            else:
                self._understood = True
                yield from self._choice(choice)

    def _choice(self, choice: Choice) -> Iterator[Frame]:
        delta = choice.delta or choice.message
        if self._reason is not None:
            if choice.finish_reason:
                self.faults.add("second_finish")
            return
        if choice.logprobs:
            self._spoken.likely(likely(choice.logprobs))
        if delta is not None:
            yield from self._delta(delta)
        if choice.finish_reason is not None and choice.finish_reason not in NO_REASON:
            yield from self._finish(choice.finish_reason)

    def _delta(self, delta: Delta) -> Iterator[Frame]:
        calls = bool(delta.tool_calls or delta.function_call)
        if not self._calls.sent:  # once a call is out, nothing more is spoken
            if calls:
                self._spoken.call_begins()
            yield from self._said(delta)
        if calls:
            self._spoken.call_ends()
        for call in delta.tool_calls or ():
            yield from self._call(call.index, call.id, call.function)
        if delta.function_call is not None:
            yield from self._call(0, None, delta.function_call)

    def _said(self, delta: Delta) -> Iterator[Frame]:
        thought, content = content_of(delta.content)
        for reasoning in (delta.reasoning_content or delta.reasoning, thought):
            if isinstance(reasoning, str) and reasoning:
                yield from self._spoken.thought(reasoning, before=content)
        if content:
            yield from self._spoken.content(content)
        if delta.refusal:
            yield from self._spoken.refusal(delta.refusal)

    def _call(self, index: int | None, call_id: str | None, function: Function | None) -> Iterator[Frame]:
        name, arguments = (function.name, function.arguments) if function else (None, None)
        if isinstance(arguments, dict):  # an object where the wire has text: its meaning is plain
            arguments = msgspec.json.encode(arguments).decode()
        self._spoken.said_chars += len(arguments or "")
        calls = self._calls.add(Fragment(index, call_id, name, arguments or ""))
        if calls:
            yield from self._spoken.release()
            self._spoken.audible = True
        yield from calls

    def _finish(self, reason: str) -> Iterator[Frame]:
        yield from self._spoken.release()
        if reason in BROKEN_REASONS:
            raise UpstreamError(f"target {self._target!r} broke off: finish reason {reason!r}")
        calls = self._calls.end(cut=REASONS.get(reason) == "length")
        self._spoken.audible |= bool(calls)
        self._reason = reason
        yield from calls
