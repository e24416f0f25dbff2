"""One turn of a call that is remembered: what is known of the call, and what becomes of it."""

from collections.abc import Callable

from edge.calls import CallState, after
from edge.heard import heard
from edge.state import CallStates
from edge.turn import Turn
from protocol.messages import Heard, Job, Text, TurnRecord


class CallTurn:
    """Asks for the call's record when it is made; `know` is told, should it come."""

    def __init__(
        self, states: CallStates, call_id: str, job: Job, turn: Turn, know: Callable[[CallState], None] | None
    ) -> None:
        self._states = states
        self._call_id = call_id
        self._job = job
        self._turn = turn
        self._tell = know
        self._state: CallState | None = None  # not known, so that there is nothing that could be put in its place
        states.read(job.tenant, call_id, self._know)

    def _know(self, state: CallState) -> None:
        self._state = state
        if self._tell is not None:
            self._tell(state)

    def over(self, record: TurnRecord) -> Heard | None:
        """Keep what the next turn needs; what the history of this one has shown of the turn before."""
        turn, history = self._turn, self._job.messages
        if self._state is None:
            return None
        state = after(self._state, record, said=_said(turn), history=history, fillers=turn.fillers)
        self._states.write(self._job.tenant, self._call_id, state)
        return heard(self._state, self._job)


def _said(turn: Turn) -> str:
    return turn.said or "".join(frame.text for frame in turn.heard if isinstance(frame, Text))
