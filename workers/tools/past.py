"""What a history says of the tools that were called: which, with what, and what came of it. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from protocol.codec import DecodeError
from protocol.messages import Message, text_of
from protocol.tool_results import Result, result_of


class Called(Struct):
    """One call of the history. `turn`: how many messages of the user's came before it. `told`: its result."""

    name: str
    arguments: str
    turn: int
    told: Message | None = None

    @property
    def result(self) -> Result:
        """What came of it. Most calls of a history are never asked."""
        return Result.UNKNOWN if self.told is None else result_of(text_of(self.told))


class Past:
    """A history's calls, in order. `turn` is the one that runs now."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.turn = sum(message.role == "user" for message in messages)
        self.calls = _calls(messages)

    def has_done(self, name: str) -> bool:
        """Whether it was called, and the result is known to be no error."""
        return any(call.name == name and call.result is Result.DONE for call in self.calls)

    def may_have_done(self, name: str) -> list[Called]:
        """Its calls but those that failed: of what nobody knows, it may have been carried out."""
        return [call for call in self.calls if call.name == name and call.result is not Result.FAILED]


def same_arguments(one: str, other: str) -> bool:
    """As JSON values: neither white space nor the order of an object's fields makes a difference."""
    return one == other or _canonical(one) == _canonical(other)


def _canonical(arguments: str) -> bytes:
    try:
        return msgspec.json.encode(_plain(msgspec.json.decode(arguments or "{}")), order="sorted")
    except DecodeError:
        return arguments.encode(errors="replace")


def _plain(value: Any) -> Any:
    """JSON has one kind of number: 1.0 is 1."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _calls(messages: Iterable[Message]) -> list[Called]:
    calls: list[Called] = []
    waiting: dict[str | None, Called] = {}  # a later call may have the id of an earlier one
    turn = 0
    for message in messages:
        turn += message.role == "user"
        for past in message.tool_calls:
            waiting[past.id] = Called(past.name, past.arguments, turn)
            calls.append(waiting[past.id])
        if message.role == "tool" and message.tool_call_id in waiting:
            waiting[message.tool_call_id].told = message
    return calls
