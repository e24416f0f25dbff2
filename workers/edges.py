"""Edges, as a worker knows them: whether they still listen. Times are the event loop's, in seconds."""

from enum import Enum, auto

QUIET_S = 1.0  # an edge that has not asked for so long is asked itself
SUSPICION_S = 0.15  # between the first "no responders" and the second that counts
FORGIVEN_S = 1.0  # a suspicion that nothing confirms
GONE_S = 10.0  # so long one "no responders" is enough


class Sign(Enum):
    """What a "no responders" status means."""

    FIRST = auto()  # ask the edge once more, in `SUSPICION_S`
    NOTHING = auto()
    GONE = auto()


class Edges:
    """The edges whose jobs this worker runs or ran lately."""

    def __init__(self) -> None:
        self._asked_at: dict[str, float] = {}
        self._probed_at: dict[str, float] = {}
        self._suspected_at: dict[str, float] = {}
        self._gone_at: dict[str, float] = {}

    def heard(self, edge_id: str, now: float) -> None:
        """It asked, or is back: it lives."""
        self._asked_at[edge_id] = now
        self._suspected_at.pop(edge_id, None)
        self._gone_at.pop(edge_id, None)

    def met(self, edge_id: str, now: float) -> None:
        """A job of it came. That is no sign of life: a job may wait for longer than its edge lives."""
        self._asked_at[edge_id] = now

    def no_responders(self, edge_id: str, now: float, *, settled: bool = True) -> Sign:
        """NATS says that nobody listens to this edge's frames.

        Not `settled`: we have just come back ourselves, and so may it. That is a suspicion and never more.
        """
        if settled and self.gone(edge_id, now):
            return Sign.GONE
        since = self._suspected_at.get(edge_id)
        if since is None or not settled or now - since > FORGIVEN_S:
            self._suspected_at[edge_id] = now
            return Sign.FIRST
        if now - since < SUSPICION_S:
            return Sign.NOTHING
        self._gone_at[edge_id] = now
        self._suspected_at.pop(edge_id)
        return Sign.GONE

    def suspected(self, edge_id: str, now: float) -> bool:
        """Whether it may be gone: no second sign has come yet, and there is still time for one."""
        since = self._suspected_at.get(edge_id)
        return since is not None and now - since <= 2 * SUSPICION_S

    def gone(self, edge_id: str, now: float) -> bool:
        """Whether it was found gone lately."""
        at = self._gone_at.get(edge_id)
        return at is not None and now - at < GONE_S

    def to_probe(self, edge_ids: set[str], now: float) -> list[str]:
        """Which of these have been quiet and are to be asked now; they count as asked."""
        due = [e for e in edge_ids if now - max(self._asked_at.get(e, 0.0), self._probed_at.get(e, 0.0)) >= QUIET_S]
        for edge_id in due:
            self._probed_at[edge_id] = now
        return due

    def forget(self, live: set[str], now: float) -> None:
        """Drop what concerns no claim any more."""
        for table in (self._asked_at, self._probed_at, self._suspected_at, self._gone_at):
            for edge_id in [e for e, at in table.items() if e not in live and now - at > GONE_S]:
                del table[edge_id]
