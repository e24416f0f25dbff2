"""One offer, as the edge holds it."""

from collections.abc import Mapping
from enum import Enum, auto

from edge.inbox import Event, Inbox
from protocol.lifecycle import Claim, Fence


class Stage(Enum):
    """Where an offer stands."""

    WAITING = auto()  # published, unclaimed
    CLAIMED = auto()  # a worker runs it
    STOPPING = auto()  # given up: waiting for its last frame
    CLOSED = auto()


class Line:
    """An offer with its number, its fence and the inbox of its turn. Times are the event loop's, in seconds."""

    __slots__ = (
        "cancels",
        "data",
        "fence",
        "headers",
        "inbox",
        "kept",
        "model",
        "number",
        "offered_at",
        "pool",
        "published_at",
        "stage",
        "stopped_at",
        "stored",
        "subject",
        "unhealed",
    )

    def __init__(
        self, number: int, pool: str, model: str, subject: str, data: bytes, headers: Mapping[str, str], inbox: Inbox
    ) -> None:
        self.number = number
        self.pool = pool
        self.model = model
        self.subject = subject
        self.data = data
        self.headers = headers
        self.inbox = inbox
        self.fence = Fence()
        self.stage = Stage.WAITING
        self.stored = False  # the queue has said that it holds the job
        self.unhealed = False  # one attempt to make its stream again has failed
        self.kept = False  # it did, before the bus was away
        self.offered_at = self.published_at = self.stopped_at = 0.0
        self.cancels = 0

    def tell(self, event: Event) -> None:
        """Hand an event to the turn, unless the line is closed."""
        if self.stage is not Stage.CLOSED:
            self.inbox.push(event)

    @property
    def finished(self) -> bool:
        """Whether the last frame has come."""
        return self.fence.state is Claim.CLOSED
