"""What becomes of single messages between the two halves of the bus."""

from collections import Counter
from collections.abc import Iterable, Mapping

from tests.memory_bus import AS_IT_IS

LOST: tuple[float, ...] = ()


def late(by_s: float) -> tuple[float, ...]:
    """It comes later, and so behind others."""
    return (by_s,)


def twice(again_s: float) -> tuple[float, ...]:
    """It comes, and then once more."""
    return (0.0, again_s)


class Fates:
    """A `Fate`: `always[kind]` is what all of a kind meet, `of[kind, n]` what its message number `n` does."""

    def __init__(
        self,
        always: Mapping[str, tuple[float, ...]] | None = None,
        of: Mapping[tuple[str, int], tuple[float, ...]] | None = None,
    ) -> None:
        self.always = dict(always or {})
        self.of = dict(of or {})
        self.seen: Counter[str] = Counter()

    def __call__(self, kind: str) -> tuple[float, ...]:
        number = self.seen[kind]
        self.seen[kind] += 1
        return self.of.get((kind, number), self.always.get(kind, AS_IT_IS))

    def lose_all(self, *kinds: str) -> None:
        """From now on none of these arrives."""
        self.always.update(dict.fromkeys(kinds, LOST))

    def lose_next(self, kind: str, count: int = 1) -> None:
        """The next ones of a kind do not arrive."""
        self.of.update({(kind, self.seen[kind] + at): LOST for at in range(count)})

    def let_through(self, kinds: Iterable[str] | None = None) -> None:
        """From now on these, or all, arrive as they are."""
        for kind in list(self.always if kinds is None else kinds):
            self.always.pop(kind, None)
