"""One claim, as its worker holds it: the frames it has said, and whether anybody still wants them."""

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from protocol.codec import Addressed
from protocol.errors import Interrupted, ServiceError, TooLarge, to_failed
from protocol.lifecycle import Claim, advance
from protocol.messages import Claimed, Frame, Job, Reasoning, Refusal, Text, ToolCall, Usage

FRAME_BYTES = 256 << 10  # one frame over this is a fault of the target
KEPT_BYTES = 1 << 20  # of one claim, for an edge that asks again


def size_of(frame: Frame) -> int:
    """Bytes of text in a frame, roughly."""
    if type(frame) is Text or isinstance(frame, Refusal):  # by far the most, asked for first
        return len(frame.text)
    if isinstance(frame, Reasoning):
        return len(frame.text) + len(frame.encrypted or "")
    return len(frame.arguments) if isinstance(frame, ToolCall) else 0


class Delivery:
    """One claimed job. `emit` never waits; exactly one last frame leaves. Times are the event loop's, in seconds."""

    def __init__(
        self,
        job: Job,
        *,
        pool: str,
        edge_id: str,
        line: int,
        claim: int,
        ack: str,
        trace: Mapping[str, str],
        now: float,
        send: Callable[[str, Addressed], None],
        fresh: bool = False,
    ) -> None:
        self.job = job
        self.pool = pool
        self.edge_id = edge_id
        self.line = line
        self.claim = claim
        self.ack = ack
        self.trace = trace
        self.listed_at = now
        self.fresh = fresh  # its edge lived a moment ago
        self.state = Claim.NEW
        self.stop: Callable[[], object] | None = None  # cancels the task that runs it
        self.stopped_for: ServiceError | None = None
        self._send = send
        self._kept: list[Addressed] = []
        self._kept_bytes = 0
        self._first_kept = 0

    @property
    def closed(self) -> bool:
        """Whether the last frame is out."""
        return self.state is Claim.CLOSED

    @property
    def next_seq(self) -> int:
        """The number of the frame that comes next."""
        return self._first_kept + len(self._kept)

    @property
    def keeps_all(self) -> bool:
        """Whether every frame is still kept."""
        return self._first_kept == 0

    def start(self) -> None:
        """Tell the edge, before anything else is done."""
        self.emit(Claimed(self.ack))

    def emit(self, frame: Frame) -> None:
        """Into the outbox.

        Raises:
            ProtocolViolation: `frame` cannot stand here.
            TooLarge: it is larger than a frame may be.
        """
        size = size_of(frame)
        if size > FRAME_BYTES:
            raise TooLarge(f"the model sent {size} bytes at once; a frame holds {FRAME_BYTES}")
        self.state = advance(self.state, frame)
        addressed = Addressed(self.line, self.claim, self.next_seq, frame)
        self._keep(addressed, size)
        self._send(self.edge_id, addressed)

    def fail(self, error: ServiceError, *, usage: Usage | None = None) -> None:
        """The last frame of a job that came to no end. Nothing happens where one is out."""
        if not self.closed:
            self.emit(replace(to_failed(error), usage=usage or Usage()))

    def cancel(self, why: ServiceError | None = None) -> None:
        """Stop the task that runs this claim; it answers with a last frame. Repeated: nothing."""
        if self.stopped_for is None and not self.closed:
            self.stopped_for = why or Interrupted("the caller is gone")
            if self.stop is not None:
                self.stop()

    def again(self, start: int) -> list[Addressed] | None:
        """The frames from number `start` on; None: some of them are kept no more."""
        if start < self._first_kept:
            return None
        return self._kept[start - self._first_kept :]

    def since(self, number: int) -> list[Frame]:
        """The frames from `number` on that are still kept: what one try has brought."""
        kept = self._kept[max(0, number - self._first_kept) :]
        return [addressed.frame for addressed in kept if addressed.frame is not None]

    def _keep(self, frame: Addressed, size: int) -> None:
        self._kept.append(frame)
        self._kept_bytes += size
        while self._kept_bytes > KEPT_BYTES and len(self._kept) > 1:
            dropped = self._kept.pop(0)
            self._first_kept += 1
            if dropped.frame is not None:
                self._kept_bytes -= size_of(dropped.frame)
