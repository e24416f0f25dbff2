"""Names on the bus, built and parsed. No caller's text ever becomes part of one.

Every name begins with a configurable prefix and the protocol's major number, so that one NATS server can be
shared and two majors never meet.
"""

import re
from hashlib import sha256
from typing import NamedTuple

MAJOR = 1
DIGEST_CHARS = 32
_TOKEN = re.compile(r"[A-Za-z0-9_-]+")


class JobSubject(NamedTuple):
    """What the subject of a job says."""

    pool: str
    edge_id: str
    line: int


class Subjects:
    """The table of design section 3 for one prefix."""

    def __init__(self, prefix: str) -> None:
        if not _TOKEN.fullmatch(prefix):
            raise ValueError(f"bus prefix {prefix!r}: use letters, digits, '_' and '-' alone")
        self.root = f"{prefix}.{MAJOR}"
        self._stream_root = f"{prefix}_{MAJOR}"
        self.turns = f"{self._stream_root}_TURNS"
        self.all_turns = f"{self.root}.turn.>"
        self.calls = f"{self._stream_root}_CALLS"  # a key-value bucket
        self.calls_stream = f"KV_{self.calls}"
        self.responses = f"{self._stream_root}_RESPONSES"  # a key-value bucket
        self.responses_stream = f"KV_{self.responses}"
        self.hooks = f"{self._stream_root}_WEBHOOKS"
        self.all_hooks = f"{self.root}.hook.>"

    def job(self, pool: str, edge_id: str, line: int) -> str:
        """One offer; edge -> any worker of the pool."""
        return f"{self.root}.job.{pool}.{edge_id}.{line}"

    def jobs(self, pool: str) -> str:
        """All offers of a pool."""
        return f"{self.root}.job.{pool}.>"

    def parse_job(self, subject: str) -> JobSubject:
        """Raises ValueError: `subject` is no job's."""
        head, _, rest = subject.partition(f"{self.root}.job.")
        parts = rest.split(".")
        if head or len(parts) != 3:
            raise ValueError(f"no job subject: {subject}")
        return JobSubject(parts[0], parts[1], int(parts[2]))

    def jobs_stream(self, pool: str) -> str:
        """The stream that keeps a pool's offers."""
        return f"{self._stream_root}_JOBS_{pool}"

    def edge(self, edge_id: str) -> str:
        """Batches of frames; worker -> that edge."""
        return f"{self.root}.edge.{edge_id}"

    def edge_echo(self, edge_id: str) -> str:
        """An edge -> itself: tells a late or cut-off edge from a dead worker."""
        return f"{self.root}.edge.{edge_id}.self"

    def pub_ack(self, edge_id: str, line: int | str) -> str:
        """Where JetStream answers an edge's offer."""
        return f"{self.root}.edge.{edge_id}.ack.{line}"

    def worker(self, worker_id: str) -> str:
        """Cancel and Ask; edge -> that worker."""
        return f"{self.root}.worker.{worker_id}"

    def worker_echo(self, worker_id: str) -> str:
        """A worker -> itself: what it sent before has reached the server."""
        return f"{self.root}.worker.{worker_id}.self"

    def pull(self, worker_id: str, pool: str, number: int | str) -> str:
        """Where the answers to one of a worker's pulls arrive."""
        return f"{self.root}.worker.{worker_id}.pull.{pool}.{number}"

    def gone(self, worker_id: str, edge_id: str) -> str:
        """Where NATS tells a worker that nobody listens to its frames."""
        return f"{self.root}.gone.{worker_id}.{edge_id}"

    def here(self, pool: str) -> str:
        """Worker -> every edge: I live."""
        return f"{self.root}.here.{pool}"

    def warm(self, pool: str) -> str:
        """Edge -> every worker of the pool: turns may come soon. No content."""
        return f"{self.root}.warm.{pool}"

    def turn(self, tenant: str) -> str:
        """The record of one finished turn."""
        return f"{self.root}.turn.{tenant}"

    def heard(self, tenant: str, turn_id: str) -> str:
        """The amendment to such a record: what the caller has heard of the turn."""
        return f"{self.root}.turn.{tenant}.heard.{turn_id}"

    def call(self, tenant: str, call_id: str) -> str:
        """What a call needs from turn to turn. The id is a caller's text: its digest stands for it."""
        return f"$KV.{self.calls}.{tenant}.{_digest(call_id)}"

    def call_answer(self, edge_id: str, number: int | str) -> str:
        """Where JetStream answers an edge that reads such a record."""
        return f"{self.root}.edge.{edge_id}.call.{number}"

    def response(self, tenant: str, response_id: str) -> str:
        """A stored response. The id may be a caller's text: its digest stands for it."""
        return f"$KV.{self.responses}.{tenant}.{_digest(response_id)}"

    def responses_of(self, tenant: str) -> str:
        """All stored responses of one tenant."""
        return f"$KV.{self.responses}.{tenant}.*"

    def response_cancel(self) -> str:
        """Edge -> every edge: whoever answers this response now is to end it. The answer comes to the reply subject."""
        return f"{self.root}.response.cancel"

    def hook(self, platform: str, conversation_id: str) -> str:
        """What a platform sends after a call. The id is a caller's text: its digest stands for it."""
        return f"{self.root}.hook.{platform}.{_digest(conversation_id)}"


def _digest(text: str) -> str:
    return sha256(text.encode(errors="surrogatepass")).hexdigest()[:DIGEST_CHARS]


def last_token(subject: str) -> str:
    """The last part of a subject: a worker's, an edge's or a pool's name."""
    return subject.rpartition(".")[2]
