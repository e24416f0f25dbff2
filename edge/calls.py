"""What a call needs from one turn to the next. Pure; `edge.state` keeps it in `CALLS`."""

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from msgspec import Struct

from protocol.messages import Message, TurnRecord

TURNS_KEPT = 64  # the last ones of a call
SAID_KEPT = 8_000  # characters: minutes of speech
TOOLS_KEPT = 64
FILLER_ENDS = ("... ", "...<flush /> ")  # as `edge.guard` words it

Kind = Literal["space", "filler", "sentence"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class CallState(Struct, frozen=True, omit_defaults=True):
    """One call's record, by API key and call id. A call whose record is away, or that is new, has an empty one."""

    turn_id: str = ""  # of the last turn that was written down
    said: str = ""  # by its model, as far as it went out to the client
    spoken: tuple[str, ...] = ()  # by the edge, in that turn
    asked: int = 0  # messages of the caller's in the history that it answered
    interrupted: bool = False  # the client hung up on it
    fillers: int = 0  # in the whole call so far
    last_filler: str = ""
    tools: tuple[str, ...] = ()  # names of the functions called so far, each once
    turns: tuple[tuple[str, str], ...] = ()  # (turn id, trace id), the last ones


def after(
    state: CallState, record: TurnRecord, *, said: str, history: Iterable[Message], fillers: Sequence[str] = ()
) -> CallState:
    """The call's record after one more turn, which answered `history` with `said`. `fillers`: those of the guard's."""
    messages = tuple(history)
    past = [call.name for message in messages for call in message.tool_calls]
    return CallState(
        turn_id=record.id,
        said=said[:SAID_KEPT],
        spoken=record.spoken_by_edge,
        asked=asked(messages),
        interrupted=record.outcome == "interrupted",
        fillers=state.fillers + len(fillers),
        last_filler=fillers[-1] if fillers else state.last_filler,
        tools=tuple(dict.fromkeys((*state.tools, *past)))[:TOOLS_KEPT],
        turns=(*state.turns, (record.id, record.trace_id or ""))[-TURNS_KEPT:],
    )


def kind_of(spoken: str) -> Kind:
    """Of what the edge said by itself."""
    if not spoken.strip():
        return "space"
    return "filler" if spoken.endswith(FILLER_ENDS) else "sentence"


def asked(messages: Iterable[Message]) -> int:
    """Messages of the caller's."""
    return sum(message.role == "user" for message in messages)
