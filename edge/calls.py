"""What a call needs from one turn to the next. Pure; `edge.state` keeps it in `CALLS`."""

from collections.abc import Iterable
from typing import Literal, get_args

from msgspec import Struct

from protocol.messages import Message

TURNS_KEPT = 64  # the last ones of a call
SAID_KEPT = 8_000  # characters: minutes of speech
TOOLS_KEPT = 64
FILLER_ENDS = ("... ", "...<flush /> ")  # as `edge.guard` words it

Kind = Literal["space", "filler", "sentence"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class CallState(Struct, frozen=True, omit_defaults=True):
    """One call's record, by API key and call id. A call whose record is away, or that is new, has an empty one."""

    turn_id: str = ""  # of the last turn that ended
    said: str = ""  # by its model, as far as it went out to the client
    spoken: tuple[str, ...] = ()  # by the edge, in that turn
    asked: int = 0  # messages of the caller's in the history that it answered
    interrupted: bool = False  # the client hung up on it
    fillers: int = 0  # in the whole call so far
    last_filler: str = ""
    tools: tuple[str, ...] = ()  # names of the functions called so far, each once
    turns: tuple[tuple[str, str], ...] = ()  # (turn id, trace id), the last ones


class Ended(Struct, frozen=True, kw_only=True):
    """What its call has to know of a turn, which is known when the client has its end, or has left."""

    turn_id: str
    trace_id: str
    history: tuple[Message, ...] = ()  # that it answered
    said: str = ""
    spoken: tuple[str, ...] = ()
    fillers: tuple[str, ...] = ()  # among that, the guard's
    interrupted: bool = False


def after(state: CallState, turn: Ended) -> CallState:
    """The call's record after one more turn."""
    past = [call.name for message in turn.history for call in message.tool_calls]
    return CallState(
        turn_id=turn.turn_id,
        said=turn.said[:SAID_KEPT],
        spoken=turn.spoken,
        asked=asked(turn.history),
        interrupted=turn.interrupted,
        fillers=state.fillers + len(turn.fillers),
        last_filler=turn.fillers[-1] if turn.fillers else state.last_filler,
        tools=tuple(dict.fromkeys((*state.tools, *past)))[:TOOLS_KEPT],
        turns=(*state.turns, (turn.turn_id, turn.trace_id))[-TURNS_KEPT:],
    )


def kind_of(spoken: str) -> Kind:
    """Of what the edge said by itself."""
    if not spoken.strip():
        return "space"
    return "filler" if spoken.endswith(FILLER_ENDS) else "sentence"


def asked(messages: Iterable[Message]) -> int:
    """Messages of the caller's."""
    return sum(message.role == "user" for message in messages)
