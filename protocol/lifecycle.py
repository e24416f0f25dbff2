"""Which frame may follow which, whose frames count, and what is asked for again. Pure; both sides step through it."""

from enum import Enum, auto
from typing import Literal, NamedTuple

from protocol.codec import Addressed
from protocol.messages import Claimed, Failed, Finished, Frame, Reasoning, Refusal, Text, ToolCall


class Claim(Enum):
    """Where one claim stands."""

    NEW = auto()  # nothing heard of it yet
    RUNNING = auto()  # a worker runs it; nothing is said, so the turn may still move to another
    SPEAKING = auto()  # the caller has heard something: it may be continued, never repeated
    CALLING = auto()  # a tool call is out: nothing more is spoken
    CLOSED = auto()  # the last frame is out


AUDIBLE = frozenset({Claim.SPEAKING, Claim.CALLING})

NEXT: dict[Claim, dict[type[Frame], Claim]] = {
    Claim.NEW: {Claimed: Claim.RUNNING},
    Claim.RUNNING: {
        Reasoning: Claim.RUNNING,
        Text: Claim.SPEAKING,
        Refusal: Claim.SPEAKING,
        ToolCall: Claim.CALLING,
        Finished: Claim.CLOSED,
        Failed: Claim.CLOSED,
    },
    Claim.SPEAKING: {
        Reasoning: Claim.SPEAKING,
        Text: Claim.SPEAKING,
        Refusal: Claim.SPEAKING,
        ToolCall: Claim.CALLING,
        Finished: Claim.CLOSED,
        Failed: Claim.CLOSED,
    },
    Claim.CALLING: {ToolCall: Claim.CALLING, Finished: Claim.CLOSED, Failed: Claim.CLOSED},
    Claim.CLOSED: {},
}


class ProtocolViolation(Exception):
    """A frame that cannot stand where it came: a bug of whoever sent it."""


def advance(state: Claim, frame: Frame) -> Claim:
    """The state after `frame`.

    Raises:
        ProtocolViolation: the table has no such step.
    """
    after = NEXT[state].get(type(frame))
    if after is None:
        raise ProtocolViolation(f"{type(frame).__name__} cannot follow {state.name}")
    return after


class Owner(NamedTuple):
    """One claim of one worker."""

    worker_id: str
    claim: int


Verdict = Literal["accepted", "repeated", "hole", "foreign"]


class Fence:
    """Whose frames one line takes, and in which order.

    The first claim heard of owns the line, whatever its frame. From the owner a frame is `accepted` in its
    turn, `repeated` (dropped silently) below it, and a `hole` above it: dropped, to be asked for from `expected`.
    Any other claim is `foreign`.
    """

    __slots__ = ("expected", "owner", "state")

    def __init__(self) -> None:
        self.owner: Owner | None = None
        self.expected = 0
        self.state = Claim.NEW

    def judge(self, worker_id: str, frame: Addressed) -> Verdict:
        """What to do with a frame; an accepted one moves the line on.

        Raises:
            ProtocolViolation: the owner sent what cannot follow. The claim is worth nothing any more.
        """
        owner = self.owner
        if owner is None:
            self.owner = Owner(worker_id, frame.claim)
        elif owner.claim != frame.claim or owner.worker_id != worker_id:
            return "foreign"
        if frame.seq < self.expected:
            return "repeated"
        if frame.seq > self.expected:
            return "hole"
        if frame.frame is not None:  # a kind of a newer version counts as received, and is ignored
            self.state = advance(self.state, frame.frame)
        self.expected += 1
        return "accepted"
