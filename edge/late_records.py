"""Records that could not be written in time, until they are. Pure.

A client that goes on from its last response, whatever that said of `store`, would find nothing for the rest of a call.
"""

from typing import NamedTuple

LATE_S = 60.0  # a conversation that has not gone on until then is over
LATE_BYTES = 32 << 20  # of all of them; the oldest make room


class _Late(NamedTuple):
    data: bytes
    until: float


class LateRecords:
    """By their subjects, oldest first. `now` is of one clock, in seconds."""

    def __init__(self) -> None:
        self._kept: dict[str, _Late] = {}
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._kept)

    def put(self, subject: str, data: bytes, now: float) -> None:
        """One more."""
        self.pop(subject)
        self._kept[subject] = _Late(data, now + LATE_S)
        self._bytes += len(data)
        while self._bytes > LATE_BYTES:
            self.pop(next(iter(self._kept)))

    def get(self, subject: str) -> bytes:
        """One's data; empty: it is none of them."""
        late = self._kept.get(subject)
        return late.data if late is not None else b""

    def pop(self, subject: str) -> bytes:
        """The same, and it is none of them any more."""
        late = self._kept.pop(subject, None)
        if late is None:
            return b""
        self._bytes -= len(late.data)
        return late.data

    def waiting(self, now: float) -> list[tuple[str, bytes]]:
        """Those that are still worth writing; the others are gone."""
        for subject in [subject for subject, late in self._kept.items() if late.until < now]:
            self.pop(subject)
        return [(subject, late.data) for subject, late in self._kept.items()]
