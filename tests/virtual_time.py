"""Several event loops, one per process, under one clock that jumps: seconds of timeouts pass in milliseconds.

Nothing here is random and nothing looks at the wall clock, so a run repeats itself exactly. The test is outside of all
loops: it makes things happen and lets time pass until something is true. A loop that is frozen keeps what arrives for
it and does nothing; when it wakes up, its timers are late.
"""

import asyncio
import heapq
import itertools
from asyncio import events
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

TURN_S = 1e-6  # what one turn of a loop costs: a loop that waits for time to pass must see it pass
START_S = 1000.0  # no clock begins at 0

T = TypeVar("T")


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop without sockets whose time is the simulation's."""

    def __init__(self, simulation: "Simulation") -> None:
        super().__init__()
        self._simulation = simulation
        self._selector = _Nothing()
        self.frozen = False
        self.failures: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.failures.append(context))

    def time(self) -> float:
        return self._simulation.now

    def _process_events(self, _: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def next_at(self) -> float | None:
        """When it has something to do; None: never."""
        inner: Any = self
        if inner._ready:
            return self.time()
        while inner._scheduled and inner._scheduled[0]._cancelled:
            heapq.heappop(inner._scheduled)._scheduled = False
            inner._timer_cancelled_count -= 1
        return inner._scheduled[0]._when if inner._scheduled else None

    def turn(self) -> None:
        """Run what is due, once."""
        inner: Any = self
        events._set_running_loop(self)
        try:
            inner._run_once()
        finally:
            events._set_running_loop(None)

    def finish(self) -> None:
        """Let what has begun to stop do so, then cancel every task and run until none is left; time stands still."""
        for _ in range(10):
            self.turn()
        for _ in range(1000):
            tasks = asyncio.all_tasks(self)
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            self.turn()
        self.close()


class _Nothing:
    def select(self, _: float | None) -> list[Any]:
        return []


class Simulation:
    """The clock, the loops, and what happens between them."""

    def __init__(self) -> None:
        self.now = START_S
        self._loops: list[VirtualLoop] = []
        self._between: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()

    def new_loop(self) -> VirtualLoop:
        """One more process."""
        loop = VirtualLoop(self)
        self._loops.append(loop)
        return loop

    def call_later(self, delay_s: float, action: Callable[[], object]) -> None:
        """Let something happen outside of all loops; of two at the same moment the first one asked for goes first."""
        heapq.heappush(self._between, (self.now + delay_s, next(self._order), action))

    def until(self, true: Callable[[], object], *, within_s: float = 30.0) -> None:
        """Let time pass until `true()` is. Raises AssertionError when it never is."""
        end = self.now + within_s
        while not true():
            assert self._step(end), f"not so within {within_s:g} s: {getattr(true, '__doc__', None) or true}"

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self._step(end):
            pass
        self.now = max(self.now, end)

    def _step(self, end: float) -> bool:
        """Go to the next moment and do what is due then. False: nothing is until `end`."""
        due = [(at, loop) for loop in self._loops if not loop.frozen and (at := loop.next_at()) is not None]
        soonest = min((at for at, _ in due), default=end + 1)
        if self._between:
            soonest = min(soonest, self._between[0][0])
        if soonest > end:
            return False
        self.now = max(self.now, soonest)
        while self._between and self._between[0][0] <= self.now:
            heapq.heappop(self._between)[2]()
        for at, loop in due:
            if at <= self.now and not loop.frozen:
                loop.turn()
                self.now += TURN_S
        return True

    def close(self) -> list[dict[str, Any]]:
        """End every loop; what went wrong in them."""
        self._between.clear()
        for loop in self._loops:
            loop.finish()
        return [failure for loop in self._loops for failure in loop.failures]


def play(scene: Coroutine[Any, Any, T], *, within_s: float = 600.0) -> T:
    """Run one scene on a loop of its own, to its end."""
    simulation = Simulation()
    task = simulation.new_loop().create_task(scene)
    try:
        simulation.until(task.done, within_s=within_s)
    finally:
        failures = simulation.close()
    assert not failures, failures
    return task.result()
