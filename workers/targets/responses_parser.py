"""Bytes of an upstream's response stream -> frames. Pure: split anywhere, the same frames come out.

Takes the events of OpenAI's `POST /responses`, and the one JSON object of an upstream that ignores `stream`. Liberal in
what it takes: an event that cannot be read is skipped and counted, and one that nobody here knows changes nothing.

Source: OpenAI's API reference, "Streaming events" of Responses, read on 2026-11-21.
"""

from collections.abc import Iterator

from protocol.messages import FinishReason, Frame, Text
from workers.targets import upstream_errors
from workers.targets.answer_parser import DONE, SPEECH_BYTES, AnswerParser
from workers.targets.responses_events import Event, Response, decoded, index_of, mended, response_of, text, usage_of
from workers.targets.responses_output import REASONING, REFUSAL, SUMMARY, TEXT, Output

TEXT_DELTA = "response.output_text.delta"
EVENT_LINE = b"event: response.output_text.delta\n"  # before the data of a text; some upstreams leave it out

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


class ResponsesParser(AnswerParser):
    """See `AnswerParser`."""

    ending = "the event that says so"
    form = "response; see its dialect"
    after_end = (DONE,)

    def _begin(self) -> None:
        self._output = Output(spoken=self._spoken, calls=self._calls, seals=self._seals)
        self._outcome: FinishReason = "stop"
        self._why = ""  # it is incomplete, in the upstream's words

    @property
    def said_chars(self) -> int:
        """See `AnswerParser`; arguments are counted with the calls."""
        return self._spoken.said_chars + self._calls.argument_chars

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

    def _our_reason(self) -> FinishReason | None:
        return self._outcome

    def _end_words(self) -> str:
        return f"incomplete: {self._why!r}" if self._why else "it is complete"

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
        self._reason = self._outcome = reason
        self.done = True

    def _fail(self, error: object) -> Iterator[Frame]:
        yield from self._spoken.release()
        raise upstream_errors.from_object(error, target=self._target, key=self._key)


def _limit(why: str) -> FinishReason:
    """Why a response is incomplete: where it is not the filter, a limit of some kind was reached."""
    return "content_filter" if why == "content_filter" else "length"
