"""Bytes of an upstream's response stream -> frames. Pure: split anywhere, the same frames come out.

Takes the events of OpenAI's `POST /responses`, and the one JSON object of an upstream that ignores `stream`. Liberal in
what it takes: an event that cannot be read is skipped and counted, and one that nobody here knows changes nothing.

Source: OpenAI's API reference, "Streaming events" of Responses, read on 2026-11-21.
"""

from collections.abc import Iterator

from protocol.errors import ServiceError, UpstreamError
from protocol.messages import Finished, FinishReason, Frame, Text, Usage
from workers.targets import upstream_errors
from workers.targets.answer_events import AnswerEvents
from workers.targets.responses_events import Event, Response, decoded, index_of, mended, response_of, text, usage_of
from workers.targets.responses_output import REASONING, REFUSAL, SUMMARY, TEXT, Output
from workers.targets.spoken import Spoken
from workers.targets.tool_calls import CallCollector

SPEECH_BYTES = 16 << 10  # far below what a frame may hold
TEXT_DELTA = "response.output_text.delta"
EVENT_LINE = b"event: response.output_text.delta\n"  # before the data of a text; some upstreams leave it out
DONE = b"[DONE]"  # at the end of some servers' streams

RUNS = {
    "response.output_text": TEXT,
    "response.refusal": REFUSAL,
    "response.reasoning_summary_text": SUMMARY,
    "response.reasoning_text": REASONING,
    "response.reasoning": REASONING,  # Open Responses has it shorter
}
"""What comes as `.delta` and `.done` -> the kind of run."""

ENDS = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
    "response.cancelled": "cancelled",
}
"""The last event -> the response's status."""


class ResponsesParser:
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
        self._output = Output(spoken=self._spoken, calls=self._calls)
        self._reason: FinishReason | None = None
        self._why = ""  # it is incomplete, in the upstream's words
        self._understood = False
        self.done = False  # the last event was read: nothing after it counts
        self.skipped = 0  # events that could not be read
        self.faults: set[str] = set()  # kinds of what was wrong and could be lived with
        self.usage: Usage | None = None  # as the upstream told it

    @property
    def said_chars(self) -> int:
        """Of every kind of frame, for an estimate."""
        return self._spoken.said_chars + self._calls.argument_chars

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
        """The last event was read."""
        return self._reason is not None

    @property
    def answering(self) -> bool:
        """Content has come, or a tool call has begun."""
        return self._spoken.audible or self._calls.begun > 0

    @property
    def progress(self) -> int:
        """Grows with everything that brings the answer on: not with beginnings, ends or what could not be read."""
        return self.said_chars + self._calls.begun + (self._reason is not None)

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
            more = self._only_text(event) if event is not None else ""
            if not more:
                return ""
            texts.append(more)
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
            raise self._nothing(self._reason)
        yield Finished(self._last_reason(self._reason), self.usage or Usage())

    def _read(self, events: Iterator[bytes]) -> Iterator[Frame]:
        """Frames of events, until the last one."""
        for event in events:
            if self.done:
                if event.strip() != DONE:
                    self.faults.add("after_its_end")
                return
            yield from self._event(event)

    def _how_it_broke_off(self) -> str:
        if self._understood:
            return "broke off: its answer ended without the event that says so"
        return "answered something that is no response; see its dialect"

    def _nothing(self, reason: FinishReason) -> ServiceError:
        return upstream_errors.from_nothing(
            reason,
            f"incomplete: {self._why!r}" if self._why else "it is complete",
            target=self._target,
            has_thought=bool(self.thought_chars or (self.usage and self.usage.reasoning)),
            has_called=self._calls.begun > 0,
        )

    def _last_reason(self, reason: FinishReason) -> FinishReason:
        """`tool_calls` where there are calls, and nowhere else."""
        if self._calls.sent:
            return "tool_calls"
        return reason if self._spoken.audible else "stop"

    @property
    def _may_just_speak(self) -> bool:
        """Nothing that has come before says what is to be done with text."""
        return self._reason is None and not self._calls.sent

    def _only_text(self, event: Event) -> str:
        """The text of an event that goes on with the run before it and carries nothing else, as nearly every one."""
        if event.type != TEXT_DELTA or event.logprobs or not self._output.goes_on(event):
            return ""
        return text(event.delta)

    def _event(self, data: bytes) -> Iterator[Frame]:
        event = decoded(data)
        if event is not None:
            more = self._only_text(event)
            if more and self._may_just_speak and self._spoken.plain(more):
                self._spoken.heard(more)
                yield Text(more)
            else:
                yield from self._tell(event, data)
        elif data.strip() == DONE:
            self.done = True
        elif not data or data.isspace():
            return
        elif (event := mended(data)) is not None:
            self.faults.add("no_text")
            yield from self._tell(event, data)
        elif b"\n" in data:  # an upstream that leaves the blank lines out: every line is an event
            yield from self._read(iter(data.split(b"\n")))
        else:
            self.skipped += 1

    def _tell(self, event: Event, data: bytes) -> Iterator[Frame]:
        kind = text(event.type)
        name, _, step = kind.rpartition(".")
        self._understood |= kind.startswith("response.")
        if kind in ENDS:
            yield from self._end(ENDS[kind], response_of(event.response))
        elif kind == "error":
            yield from self._fail(event.error or {"code": event.code, "message": event.message})
        elif not kind:
            yield from self._body(response_of(data))
        elif step in ("delta", "done"):
            yield from self._run_or_item(name, event, is_whole=step == "done")
        elif kind == "response.output_item.added" and isinstance(event.item, dict):
            yield from self._output.begin(index_of(event.output_index), event.item)

    def _run_or_item(self, name: str, event: Event, *, is_whole: bool) -> Iterator[Frame]:
        if name in RUNS:
            yield from self._output.piece(RUNS[name], event, is_whole=is_whole)
        elif name == "response.function_call_arguments":
            yield from self._output.arguments(event, is_whole=is_whole)
        elif name == "response.output_item" and isinstance(event.item, dict):
            yield from self._output.item(index_of(event.output_index), event.item)

    def _body(self, response: Response) -> Iterator[Frame]:
        """What has no type: a whole body, or an error."""
        if response.error:
            yield from self._fail(response.error)
        elif isinstance(response.output, list):
            self._understood = True
            yield from self._end(text(response.status) or "completed", response)

    def _end(self, status: str, response: Response) -> Iterator[Frame]:
        self.usage = usage_of(response.usage) or self.usage
        yield from self._spoken.release()
        if response.error or status not in ("completed", "incomplete"):
            yield from self._fail(response.error or {"message": f"its response is {status}"})
        details = response.incomplete_details
        self._why = text(details.get("reason")) if isinstance(details, dict) else ""
        reason: FinishReason = "stop" if status == "completed" else _limit(self._why)
        yield from self._output.rest(response.output, cut=reason == "length")
        yield from self._spoken.release()
        self._reason = reason
        self.done = True

    def _fail(self, error: object) -> Iterator[Frame]:
        yield from self._spoken.release()
        raise upstream_errors.from_object(error, target=self._target, key=self._key)


def _limit(why: str) -> FinishReason:
    """Why a response is incomplete: where it is not the filter, a limit of some kind was reached."""
    return "content_filter" if why == "content_filter" else "length"
