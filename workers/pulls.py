"""The standing pull: jobs are asked for only into free slots. Pure; the bus sends what is decided here."""

from collections.abc import Iterable

EXPIRES_S = 1.0
GRACE_S = 0.5  # after the expiry, for a server that says nothing
HEAL_S = 0.1  # before a pull that found no stream is tried again
OPEN_S = 0.03  # by then the server has sent what had been waiting when the pull came


class Pull:
    """One pool's pull. At most one is open. Times are the event loop's, in seconds."""

    def __init__(self, pool: str) -> None:
        self.pool = pool
        self.number = 0
        self.open_slots = 0  # asked for, not yet delivered
        self.closes_at = 0.0
        self.not_before = 0.0
        self.pulled_at = 0.0

    def sent(self, batch: int, now: float) -> int:
        """A new pull is out; its number."""
        self.number += 1
        self.open_slots = batch
        self.pulled_at = now
        self.closes_at = now + EXPIRES_S + GRACE_S
        return self.number

    def stood_open(self, now: float) -> bool:
        """Whether it has waited for jobs, and not they for it: what comes now was offered a moment ago."""
        return self.open_slots > 0 and now - self.pulled_at >= OPEN_S

    def delivered(self) -> bool:
        """One job came; True: the batch is full."""
        self.open_slots = max(0, self.open_slots - 1)
        return self.open_slots == 0

    def closed(self, *, wait_s: float = 0.0, now: float = 0.0) -> None:
        """The server, or time, has ended it; the next goes out `wait_s` seconds after `now`."""
        self.open_slots = 0
        self.not_before = now + wait_s


class Pulls:
    """All pools of one worker. What is asked for never exceeds the free slots."""

    def __init__(self, pools: Iterable[str]) -> None:
        self.by_pool = {pool: Pull(pool) for pool in pools}

    def due(self, free: int, now: float) -> list[tuple[Pull, int]]:
        """Which pulls to send now, and for how many jobs; pools that waited longest first."""
        for pull in self.by_pool.values():
            if pull.open_slots and now >= pull.closes_at:
                pull.closed(now=now)
        left = free - sum(pull.open_slots for pull in self.by_pool.values())
        fair = max(1, free // max(1, len(self.by_pool)))
        due = []
        for pull in sorted(self.by_pool.values(), key=lambda pull: pull.pulled_at):
            batch = min(left, fair)
            if batch > 0 and not pull.open_slots and now >= pull.not_before:
                due.append((pull, batch))
                left -= batch
        return due

    def next_at(self, now: float) -> float:
        """When to look again where nothing happens."""
        times = [
            pull.closes_at if pull.open_slots else max(pull.not_before, now + GRACE_S) for pull in self.by_pool.values()
        ]
        return min(times, default=now + EXPIRES_S)

    def reset(self) -> None:
        """After a reconnect no pull is open any more."""
        for pull in self.by_pool.values():
            pull.closed()
