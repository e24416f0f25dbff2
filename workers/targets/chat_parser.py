"""Bytes of an upstream chat completion -> frames. Pure: split anywhere, the same frames come out.

Takes an event stream, and the one JSON object of an upstream that ignores `stream`. Liberal in what it takes: an event
that cannot be read is skipped and counted, bytes that are no UTF-8 become U+FFFD, and what the wire calls in many ways
(reasoning, finish reasons, legacy functions) has one name from here on.
"""

from collections.abc import Iterator

import msgspec

from protocol import sse
from protocol.errors import UpstreamError
from protocol.messages import Finished, FinishReason, Frame, Reasoning, Refusal, Text, TokenLogprob, Usage
from workers.targets import upstream_errors
from workers.targets.chat_chunk import (
    Choice,
    Chunk,
    Delta,
    Function,
    content_of,
    decoded,
    logprobs_of,
    of_the_end,
    only_text,
    usage_of,
)
from workers.targets.thinking import Thinking
from workers.targets.tool_calls import CallCollector, Fragment

SPEECH_BYTES = 16 << 10  # far below what a frame may hold
MAX_LINE_BYTES = 1024 * 1024  # a chunk is some hundred bytes; a whole tool call in one may be long
BOM = b"\xef\xbb\xbf"

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


class ChatParser:
    """Feed it bytes, take frames; `end()` gives the last ones.

    `may_be_empty`: a continuation may find nothing left to say. `max_calls`: tool calls beyond it are dropped.
    `thinks_first`: its content begins in the middle of a thought. `key` is kept out of what an upstream's error says.
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
    ) -> None:
        self._target = target
        self._key = key
        self._may_be_empty = may_be_empty
        self._head: bytes | None = b""  # until the first visible byte tells which kind of body this is
        self._body: bytearray | None = None  # of a body that is one JSON object
        self._events = sse.EventReader(limit_bytes=MAX_LINE_BYTES)
        self._calls = CallCollector(job_id=job_id, limit=max_calls)
        self._logprobs: tuple[TokenLogprob, ...] = ()  # of tokens whose text is still to come
        self._mixed = False  # some of them may be of a thought, a tag or a call
        self._thinking = Thinking(inside=thinks_first)
        self._reason: str | None = None
        self._understood = False
        self._audible = False
        self.done = False  # [DONE] was read: nothing after it counts
        self.skipped = 0  # events that could not be read
        self.usage: Usage | None = None  # as the upstream told it
        self.said_chars = 0  # of every kind of frame, for an estimate
        self.thought_chars = 0  # of reasoning, which is among them

    @property
    def stray_end(self) -> bool:
        """A thought ended that never began, as far as the upstream's content goes: it was spoken."""
        return self._thinking.stray_end

    @property
    def finished(self) -> bool:
        """A finish reason was read: what may follow is usage."""
        return self._reason is not None

    @property
    def answering(self) -> bool:
        """Content has come, or a tool call has begun."""
        return self._audible or self._calls.begun > 0

    @property
    def progress(self) -> int:
        """Grows with everything that brings the answer on: not with comments, roles or what could not be read."""
        return self.said_chars + self._calls.begun + (self._reason is not None)

    def speech(self, data: bytes) -> str:
        """The text of a read that holds whole events of text and nothing else, as nearly every one does in the middle
        of an answer. Else nothing, and nothing is taken: it is for `feed`.
        """
        if not (self._may_just_speak and self._events.between and self._audible) or len(data) > SPEECH_BYTES:
            return ""
        texts = []
        for event in data.removesuffix(b"\n\n").split(b"\n\n") if data.endswith(b"\n\n") else ():
            chunk = decoded(event[6:]) if event.startswith(b"data: ") else None
            text = only_text(chunk) if chunk is not None else ""
            if not text:
                return ""
            texts.append(text)
        speech = "".join(texts)
        if not self._thinking.plain(speech):
            return ""
        self._heard(speech)
        return speech

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole now; never the last one. To be read to its end before more is fed.

        Raises:
            ServiceError: the upstream reports one, or answers what nobody can use.
        """
        if self._head is not None:
            data = self._begin(data)
        if self._body is not None:
            self._body += data
            self._bound(self._body)
        else:
            yield from self._read(self._events.feed(data))

    def end(self) -> Iterator[Frame]:
        """What is left when the upstream has said all that it will say: the last frame is `Finished`.

        Raises:
            ServiceError: that was no whole answer.
        """
        yield from self._read(self._events.end() if self._body is None else iter([bytes(self._body)]))
        yield from self._release()
        if self._reason is None:
            raise UpstreamError(f"target {self._target!r} {self._how_it_broke_off()}")
        if not (self._audible or self._may_be_empty):
            raise UpstreamError(f"empty answer from target {self._target!r} ({self._why_empty()})")
        yield Finished(self._last_reason(), self.usage or Usage())

    def _read(self, events: Iterator[bytes]) -> Iterator[Frame]:
        """Frames of events, until [DONE]."""
        try:
            for event in events:
                if self.done:
                    return
                yield from self._event(event)
        except sse.TooLong as error:
            raise UpstreamError(f"target {self._target!r}: {error}") from None

    def _why_empty(self) -> str:
        if self.thought_chars and REASONS.get(self._reason or "") == "length":
            return "its thought used up the limit of tokens: ask for a higher max_completion_tokens"
        return f"finish reason {self._reason!r}"

    def _how_it_broke_off(self) -> str:
        if self._understood:
            return "broke off: its answer ended without a finish reason"
        return "answered something that is no chat completion"

    def _last_reason(self) -> FinishReason:
        """`tool_calls` where there are calls, and nowhere else."""
        if self._calls.sent:
            return "tool_calls"
        reason = REASONS.get(self._reason or "", "stop")
        return "stop" if reason == "tool_calls" or not self._audible else reason

    def _begin(self, data: bytes) -> bytes:
        """Hold the first bytes until one of them is visible: `{` starts a JSON body, anything else an event stream."""
        head = (self._head or b"") + data
        self._bound(head)
        visible = head.removeprefix(BOM).lstrip()
        if not visible or BOM.startswith(head):
            self._head = head
            return b""
        self._head = None
        if visible.startswith(b"{"):
            self._body = bytearray()
            return visible
        return head

    def _bound(self, data: bytes | bytearray) -> None:
        if len(data) > MAX_LINE_BYTES:
            raise UpstreamError(f"target {self._target!r}: a body without events is longer than {MAX_LINE_BYTES} bytes")

    def _event(self, data: bytes) -> Iterator[Frame]:
        chunk = decoded(data)
        if chunk is not None:
            text = only_text(chunk)
            if text and self._may_just_speak and self._thinking.plain(text):
                self._understood = True
                self._heard(text)
                yield Text(text)
            else:
                yield from self._chunk(chunk)
        elif data.strip() == b"[DONE]":
            self.done = True
        elif not data or data.isspace():
            return
        elif b"\n" in data:  # an upstream that leaves the blank lines out: every line is an event
            yield from self._read(iter(data.split(b"\n")))
        else:
            self.skipped += 1

    @property
    def _may_just_speak(self) -> bool:
        """Nothing that has come before says what is to be done with text."""
        return self._reason is None and not self._calls.sent and not self._logprobs

    def _chunk(self, chunk: Chunk) -> Iterator[Frame]:
        if chunk.error:
            yield from self._release()
            raise upstream_errors.from_object(chunk.error, target=self._target, key=self._key)
        self.usage = usage_of(chunk.usage) or self.usage
        for choice in chunk.choices or ():
            if not choice.index:  # 0, or not told: one choice was asked for
                self._understood = True
                yield from self._choice(choice)

    def _choice(self, choice: Choice) -> Iterator[Frame]:
        delta = choice.delta or choice.message
        if self._reason is not None:
            return
        if choice.logprobs:
            self._logprobs += logprobs_of(choice.logprobs)
        if delta is not None:
            yield from self._delta(delta)
        if choice.finish_reason is not None and choice.finish_reason not in NO_REASON:
            yield from self._finish(choice.finish_reason)

    def _delta(self, delta: Delta) -> Iterator[Frame]:
        calls = bool(delta.tool_calls or delta.function_call)
        if not self._calls.sent:  # once a call is out, nothing more is spoken
            self._mixed |= calls
            yield from self._spoken(delta)
        if calls:
            self._logprobs = ()
        for call in delta.tool_calls or ():
            yield from self._call(call.index, call.id, call.function)
        if delta.function_call is not None:
            yield from self._call(0, None, delta.function_call)

    def _spoken(self, delta: Delta) -> Iterator[Frame]:
        thought, content = content_of(delta.content)
        for reasoning in (delta.reasoning_content or delta.reasoning, thought):
            if isinstance(reasoning, str) and reasoning:
                self._thinking.told_apart()
                self._mixed = True
                self._logprobs = self._logprobs if content else ()
                yield from self._apart(reasoning, "")
        if content:
            yield from self._content(content)
        if delta.refusal:
            yield from self._release()
            self._heard(delta.refusal)
            yield Refusal(delta.refusal)

    def _content(self, content: str) -> Iterator[Frame]:
        thinking = self._thinking
        held = thinking.holding
        thought, text = thinking.push(content)
        self._mixed |= held or thinking.holding or text != content
        if not (text or thinking.holding):
            self._logprobs = ()
        yield from self._apart(thought, text)

    def _release(self) -> Iterator[Frame]:
        """What was held back, because it might have become a tag."""
        yield from self._apart(*self._thinking.flush())

    def _apart(self, thought: str, text: str) -> Iterator[Frame]:
        if thought:
            self.said_chars += len(thought)
            self.thought_chars += len(thought)
            yield Reasoning(thought)
        if text:
            logprobs, self._logprobs = self._logprobs, ()
            if self._mixed:
                logprobs = of_the_end(text, logprobs) if self._thinking.at_end else ()
                self._mixed = self._thinking.holding
            self._heard(text)
            yield Text(text, logprobs or None)

    def _heard(self, text: str) -> None:
        self._audible = True
        self.said_chars += len(text)

    def _call(self, index: int | None, call_id: str | None, function: Function | None) -> Iterator[Frame]:
        name, arguments = (function.name, function.arguments) if function else (None, None)
        if isinstance(arguments, dict):  # an object where the wire has text: its meaning is plain
            arguments = msgspec.json.encode(arguments).decode()
        self.said_chars += len(arguments or "")
        calls = self._calls.add(Fragment(index, call_id, name, arguments or ""))
        if calls:
            yield from self._release()
            self._audible = True
        yield from calls

    def _finish(self, reason: str) -> Iterator[Frame]:
        yield from self._release()
        if reason in BROKEN_REASONS:
            raise UpstreamError(f"target {self._target!r} broke off: finish reason {reason!r}")
        calls = self._calls.end()
        self._audible |= bool(calls)
        self._reason = reason
        yield from calls
