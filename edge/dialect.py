"""What the relay asks of a dialect: frames in, bytes out.

One object per turn, pure: no await, no clock, no environment. The relay reads frames off the bus and hands them
over in the lifecycle's order; the dialect alone knows how its API words them.

    streaming        headers, opening(), delta(frame)*, then exactly one of finish(), error()
    not streaming    body(frames, last): one JSON body, once the last frame is in

The relay writes what it gets, one write per call: each piece holds whole server-sent events, so none is ever
spread over two writes. A piece may be empty (a frame of which this API says nothing); then there is nothing to
write. What the edge itself says, before the model does or in its place, is a `Text` too: to a client it is part of the
answer.
Comments (`protocol.sse.PING`) may go between any two pieces. A failure before the headers, or of a turn
that does not stream, is written by `edge.errors` the same way for all of them; the dialect only says how its API calls
the field at fault.
"""

from collections.abc import Iterable
from typing import ClassVar, Protocol

from protocol.errors import ServiceError
from protocol.messages import Finished, Reasoning, Refusal, Text, ToolCall, Usage

Delta = Text | Reasoning | Refusal | ToolCall
"""The frames that carry an answer; `Claimed` and the last frames stay with the relay."""

JSON_TYPE = "application/json"
EVENTS_TYPE = "text/event-stream"


class Dialect(Protocol):
    """Writes one turn's answer.

    Only the streaming functions have state, so a turn that does not stream may be collected, thrown away and
    collected again. `usage` is what the whole turn cost: the last frame knows its own claim's share alone.
    """

    content_type: ClassVar[str]  # of the stream; a body is JSON_TYPE

    def opening(self) -> bytes:
        """What goes out with the headers, before any frame: nothing is said in it yet. It may be asked for after the
        first frames, which bring the headers with them.
        """

    def delta(self, frame: Delta) -> bytes:
        """One frame of the answer. The hot path: called once per token."""

    def finish(self, frame: Finished, *, usage: Usage) -> bytes:
        """The end of an answer that came to its end; nothing may follow."""

    def worded(self, error: ServiceError) -> ServiceError:
        """The error with the field that it names called as in this API. Those of targets, and of the tables, are called
        as in chat completions.
        """

    def error(self, error: ServiceError) -> bytes:
        """The end of one that did not, said openly; nothing may follow."""

    def body(self, frames: Iterable[Delta], last: Finished, *, usage: Usage) -> bytes:
        """The whole answer as one JSON body."""
