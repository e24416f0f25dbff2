"""One turn of a call that is remembered: what is known of the call, and what becomes of it."""

from collections.abc import Callable

from edge.calls import CallState, Ended, after
from edge.heard import heard
from edge.state import CallStates
from edge.turn import Turn
from edge.watch import TurnWatch
from protocol.messages import Heard, Job, Text


class CallTurn:
    """Asks for the call's record when it is made; `know` is told, should it come."""

    def __init__(
        self,
        states: CallStates,
        call_id: str,
        job: Job,
        turn: Turn,
        watch: TurnWatch,
        know: Callable[[CallState], None] | None,
    ) -> None:
        self._states = states
        self._call_id = call_id
        self._job = job
        self._turn = turn
        self._watch = watch
        self._tell = know
        self._state: CallState | None = None  # not known, so that there is nothing that could be put in its place
        states.read(job.tenant, call_id, self._know)

    def _know(self, state: CallState) -> None:
        self._state = state
        if self._tell is not None:
            self._tell(state)

    def over(self) -> Heard | None:
        """Keep what the next turn needs; what the history of this one has shown of the turn before.

        A caller who interrupts is answered by the next request, which may come within a millisecond: what the cut turn
        cost is asked for only afterwards.
        """
        if self._state is None:
            return None
        ended = Ended(
            turn_id=self._job.id,
            trace_id=self._watch.trace_id,
            history=self._job.messages,
            said=_said(self._turn),
            spoken=tuple(self._turn.spoken_by_edge),
            fillers=tuple(self._turn.fillers),
            interrupted=self._watch.interrupted,
        )
        self._states.write(self._job.tenant, self._call_id, after(self._state, ended))
        return heard(self._state, self._job)


def _said(turn: Turn) -> str:
    return turn.said or "".join(frame.text for frame in turn.heard if isinstance(frame, Text))
