"""How often something happened lately. Pure: the clock is given, in seconds."""

from collections import deque

SLOTS = 10  # what is old leaves a tenth of the window at a time


class Window:
    """Two counts over the last `span_s`: of all, and of those that `some` was said of."""

    def __init__(self, span_s: float) -> None:
        self._slot_s = span_s / SLOTS
        self._slots: deque[tuple[int, int, int]] = deque()  # number, all, some

    def add(self, now: float, *, whole: int = 0, some: int = 0) -> None:
        """So many more of each."""
        slot = int(now / self._slot_s)
        if self._slots and self._slots[-1][0] == slot:
            _, before, some_before = self._slots.pop()
            whole, some = whole + before, some + some_before
        self._slots.append((slot, whole, some))
        self._forget(slot)

    def counts(self, now: float) -> tuple[int, int]:
        """All and some, in the window that ends now."""
        self._forget(int(now / self._slot_s))
        return sum(slot[1] for slot in self._slots), sum(slot[2] for slot in self._slots)

    def clear(self) -> None:
        """As if nothing had happened."""
        self._slots.clear()

    def _forget(self, slot: int) -> None:
        while self._slots and self._slots[0][0] <= slot - SLOTS:
            self._slots.popleft()
