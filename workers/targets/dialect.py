"""What an upstream's API is to the client that asks it: how it is asked, and how its answer is read. Pure."""

from collections.abc import Iterator
from typing import Protocol

from protocol.messages import Frame, Job, Usage
from protocol.settings import Target

HEADERS = {
    "Accept": "text/event-stream",
    "Accept-Encoding": "identity",  # compression would hold tokens back
    "Content-Type": "application/json",
    "User-Agent": "trunkline",
}
"""Of every request, in every dialect."""


class Parser(Protocol):
    """Feed it bytes, split anywhere, take frames; `end()` gives the last ones. One per answer."""

    done: bool  # nothing after this counts: the connection need not be read on
    skipped: int  # events that could not be read
    faults: set[str]  # kinds of what no upstream should send and this answer survived; for metrics
    usage: Usage | None  # as the upstream told it

    @property
    def said_chars(self) -> int:
        """Of every kind of frame, for an estimate."""

    @property
    def thought_chars(self) -> int:
        """Of reasoning, which is among them."""

    @property
    def stray_end(self) -> bool:
        """A thought ended that never began: it was spoken."""

    @property
    def finished(self) -> bool:
        """A finish reason was read: what may follow is usage."""

    @property
    def answering(self) -> bool:
        """Content has come, or a tool call has begun."""

    @property
    def progress(self) -> int:
        """Grows with everything that brings the answer on: not with comments, roles or what could not be read."""

    def speech(self, data: bytes) -> str:
        """The text of a read that holds whole events of text and nothing else, in the middle of an answer. Else
        nothing, and nothing is taken: it is for `feed`.
        """

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole now; never the last one. Raises ServiceError."""

    def end(self) -> Iterator[Frame]:
        """What is left when the upstream has said all: the last frame is `Finished`. Raises ServiceError."""


class Dialect(Protocol):
    """One API. `told` is the target with its preset's values filled in."""

    def url(self, told: Target) -> str:
        """Where to post: `base_url` may end in a slash, or be that URL already."""

    def headers(self, told: Target, key: str | None) -> dict[str, str]:
        """The headers of every request, the key's included."""

    def body(self, job: Job, told: Target) -> bytes:
        """What to post; an allow-list. Raises UnsupportedValue, UnsupportedParameter: it cannot be said here."""

    def parser(self, job: Job, told: Target, *, name: str, key: str | None) -> Parser:
        """Reads the answer to `job`. `name` is the target's, for errors; `key` is kept out of them."""
