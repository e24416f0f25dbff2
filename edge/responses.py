"""/v1/responses: body -> what is asked for, frames -> SSE bytes or one JSON body. Pure.

Source: the API contract, sections 1.10 to 1.14.
"""

from collections.abc import Callable, Iterable
from typing import ClassVar, Literal

import msgspec
from msgspec import Raw

from edge.dialect import EVENTS_TYPE, Delta
from edge.errors import to_openai
from edge.responses_body import ResponsesRequest, continued, parse
from edge.responses_errors import worded
from edge.responses_output import Output
from protocol import sse
from protocol.errors import Cancelled, ServiceError
from protocol.messages import Finished, FinishReason, Usage

__all__ = ["ResponsesAnswer", "ResponsesRequest", "continued", "parse"]

Status = Literal["in_progress", "completed", "incomplete", "failed", "cancelled"]

INCOMPLETE: dict[FinishReason, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}
OPENING = ("response.created", "response.in_progress")

_json = msgspec.json.Encoder().encode


def response_id_of(turn_id: str) -> str:
    """The id of the response that a turn makes."""
    return f"resp_{turn_id.rpartition('_')[2]}"


class ResponsesAnswer:
    """One turn's answer as a response: a `Dialect`.

    What repeats the request is encoded once, here; per token only the text is. An answer in which nothing came has no
    items: an empty message would be no valid form of what was asked for, and would go into the history.

    `created` is in whole seconds since 1970, and so is what `clock` says. `kept` is what the end says of `store`: it is
    set by whoever has tried to keep the response.
    """

    content_type: ClassVar[str] = EVENTS_TYPE

    def __init__(
        self,
        *,
        turn_id: str,
        model: str,
        created: int,
        echoed: dict[str, object],
        store: bool,
        clock: Callable[[], float],
    ) -> None:
        self.id = response_id_of(turn_id)
        self.kept = store
        self._created = created
        self._clock = clock
        self._completed_at: int | None = None
        self._head = _json({"id": self.id, "object": "response", "created_at": created})[:-1]
        self._tail = _one_line(_json({"background": False, "model": model, **echoed}))[1:]
        self._output = Output(self.id, number=len(OPENING))

    def opening(self) -> bytes:
        """`response.created` and `response.in_progress`: always the first two events, whenever they are asked for."""
        response = self._response("in_progress", Raw(b"[]"))
        opening = Output(self.id, number=0)
        return b"".join(opening.event(kind, response=response) for kind in OPENING)

    def delta(self, frame: Delta) -> bytes:
        """One frame of the answer, with the events that open and close what it belongs to."""
        return self._output.delta(frame)

    def finish(self, frame: Finished, *, usage: Usage) -> bytes:
        """What is open is closed, and the terminal event; then the end mark."""
        status = _status(frame, self._output)
        closing = self._output.close(status)
        response = self._ended(self._output, frame, usage)
        return closing + self._output.event(f"response.{status}", response=response) + sse.DONE

    def worded(self, error: ServiceError) -> ServiceError:
        """See `edge.responses_errors`."""
        return worded(error)

    def error(self, error: ServiceError) -> bytes:
        """An `error` event, `response.failed`, and the end mark. A response that was cancelled is no failure that a
        client has to be told of: it is said by the status alone, for there is no event of its own.
        """
        if isinstance(error, Cancelled):
            return self._output.event("response.failed", response=Raw(self.cut("cancelled"))) + sse.DONE
        status, told = to_openai(worded(error))
        fields = told["error"]
        message = {"code": _code(status), "message": fields["message"]}
        event = self._output.event("error", **{key: fields[key] for key in ("code", "message", "param")}, error=fields)
        failed = self._response("failed", self._output.items("incomplete"), error=message)
        return event + self._output.event("response.failed", response=failed) + sse.DONE

    def body(self, frames: Iterable[Delta], last: Finished, *, usage: Usage) -> bytes:
        """The whole response."""
        output = Output(self.id, number=0)
        for frame in frames:
            output.delta(frame)
        return bytes(self._ended(output, last, usage))

    def whole(self, frames: Iterable[Delta], last: Finished, usage: Usage) -> bytes:
        """The response as it is kept, and read again: what `finish` or `body` is about to say. `frames`: those that
        `delta` was not given.
        """
        taken = list(frames)
        return self.body(taken, last, usage=usage) if taken else bytes(self._ended(self._output, last, usage))

    def cut(self, status: Status) -> bytes:
        """The response as far as it has come, ended with this status."""
        return bytes(self._response(status, self._output.items("incomplete")))

    def _ended(self, output: Output, last: Finished, usage: Usage) -> Raw:
        """The response that came to its end, with this output."""
        status = _status(last, output)
        if self._completed_at is None:  # what is kept and what is said name one time
            self._completed_at = max(self._created, int(self._clock()))
        return self._response(
            status,
            output.items(status),
            completed_at=self._completed_at if status == "completed" else None,
            incomplete_details={"reason": INCOMPLETE[last.reason]} if status == "incomplete" else None,
            usage=_usage(usage),
        )

    def _response(
        self,
        status: Status,
        output: Raw,
        *,
        completed_at: int | None = None,
        error: dict[str, object] | None = None,
        incomplete_details: dict[str, object] | None = None,
        usage: dict[str, object] | None = None,
    ) -> Raw:
        """The response with every key that it has."""
        told = {
            "completed_at": completed_at,
            "status": status,
            "error": error,
            "incomplete_details": incomplete_details,
            "output": output,
            "store": self.kept,
            "usage": usage,
        }
        return Raw(b"%b,%b,%b" % (self._head, _json(told)[1:-1], self._tail))


def _one_line(data: bytes) -> bytes:
    """What came with the request may be spread over lines; the data of an event is not."""
    return msgspec.json.format(data, indent=-1) if b"\n" in data or b"\r" in data else data


def _status(last: Finished, output: Output) -> Literal["completed", "incomplete"]:
    """Calls that were made decide, whatever the target says, as with chat: they are whole, and whoever runs them goes
    on. LiveKit takes an incomplete response for a failure.
    """
    return "incomplete" if last.reason in INCOMPLETE and not output.has_called else "completed"


def _code(status: int) -> str:
    """The response's own code for a failure, by its HTTP status: it has only these, and clients refuse others."""
    if status == 429:
        return "rate_limit_exceeded"
    return "invalid_prompt" if status in (400, 413) else "server_error"


def _usage(usage: Usage) -> dict[str, object]:
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.completion,
    }
