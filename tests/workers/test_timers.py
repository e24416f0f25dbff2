"""How long a request may be silent, and what wakes its reader."""

import asyncio

from workers.targets.timers import FINISH_GRACE_S, LAST_CHANCE_S, Deadlines, Watch


def told(deadlines: Deadlines) -> str:
    return str(deadlines.error("t"))


def test_until_content_only_the_budget_counts() -> None:
    deadlines = Deadlines(100.0, budget_s=8, stall_s=3, total_s=60)
    assert deadlines.due == 108
    assert told(deadlines) == "target 't': no content within 8 s (the turn's budget)"


def test_where_another_target_is_left_the_first_content_has_a_time_of_its_own() -> None:
    deadlines = Deadlines(100.0, budget_s=8, stall_s=3, total_s=60, first_content_s=1.5)
    assert deadlines.due == 101.5
    assert told(deadlines) == "target 't': no content within 1.5 s (first_content_s)"
    deadlines.progress(101.0)
    assert deadlines.due == 104


def test_the_turns_budget_counts_where_it_is_shorter() -> None:
    deadlines = Deadlines(100.0, budget_s=1, stall_s=3, total_s=60, first_content_s=1.5)
    assert deadlines.due == 101
    assert told(deadlines) == "target 't': no content within 1 s (the turn's budget)"


def test_progress_buys_the_stall_time() -> None:
    deadlines = Deadlines(100.0, budget_s=8, stall_s=3, total_s=60)
    deadlines.progress(101.0)
    assert deadlines.due == 104
    deadlines.progress(120.0)
    assert deadlines.due == 123
    assert told(deadlines) == "target 't': stalled for 3 s (stall_s)"


def test_the_total_bounds_everything() -> None:
    deadlines = Deadlines(100.0, budget_s=8, stall_s=3, total_s=5)
    assert deadlines.due == 105
    deadlines.progress(104.0)
    assert deadlines.due == 105
    assert told(deadlines) == "target 't': not at its end within 5 s (total_s)"


def test_after_a_finish_reason_little_is_waited_for() -> None:
    deadlines = Deadlines(100.0, budget_s=8, stall_s=3, total_s=60)
    deadlines.progress(101.0, finished=True)
    assert deadlines.due == 101 + FINISH_GRACE_S


class FakeLoop:
    """The two methods that a `Watch` uses, on a clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.made = 0
        self.handles: list[FakeHandle] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: object) -> "FakeHandle":
        self.made += 1
        self.handles.append(FakeHandle(when, callback))
        return self.handles[-1]

    def move(self, now: float) -> None:
        """One turn of the loop at that time."""
        self.now = now
        due = [handle for handle in self.handles if handle.at <= now]
        self.handles = [handle for handle in self.handles if handle.at > now]
        for handle in due:
            if not handle.cancelled:
                handle.callback()  # type: ignore[operator]


class FakeHandle:
    def __init__(self, at: float, callback: object) -> None:
        self.at = at
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


def watch(loop: FakeLoop) -> tuple[Watch, list[float]]:
    woken: list[float] = []
    return Watch(loop, lambda: woken.append(loop.now)), woken  # type: ignore[arg-type]


def test_a_reader_that_waits_too_long_is_woken() -> None:
    loop = FakeLoop()
    watching, woken = watch(loop)
    watching.waiting(5.0)
    loop.move(5.0)
    assert not woken, "what has arrived by now is read first"
    loop.move(5.0 + LAST_CHANCE_S)
    assert woken == [5.0 + LAST_CHANCE_S]
    assert watching.expired


def test_bytes_that_came_at_the_last_moment_are_read() -> None:
    """A process that was frozen wakes to a timer that is due and a socket that is full."""
    loop = FakeLoop()
    watching, woken = watch(loop)
    watching.waiting(5.0)
    loop.move(9.0)
    watching.done()
    watching.waiting(12.0)
    loop.move(9.0 + LAST_CHANCE_S)
    assert not woken
    loop.move(12.0)
    loop.move(12.0 + LAST_CHANCE_S)
    assert woken == [12.0 + LAST_CHANCE_S]


def test_many_reads_share_one_timer() -> None:
    loop = FakeLoop()
    watching, woken = watch(loop)
    for read in range(100):
        loop.move(read / 100)
        watching.waiting(read / 100 + 3.0)
        watching.done()
    assert loop.made == 1
    watching.waiting(4.0)
    loop.move(3.0)
    assert (loop.made, woken) == (2, [])


def test_an_earlier_time_is_obeyed() -> None:
    loop = FakeLoop()
    watching, woken = watch(loop)
    watching.waiting(8.0)
    watching.done()
    watching.waiting(3.0)
    loop.move(3.0)
    loop.move(3.0 + LAST_CHANCE_S)
    assert woken == [3.0 + LAST_CHANCE_S]


def test_a_consumer_that_takes_its_time_is_no_stall() -> None:
    loop = FakeLoop()
    watching, woken = watch(loop)
    watching.waiting(3.0)
    watching.done()
    loop.move(50.0)
    loop.move(51.0)
    assert not woken
    watching.waiting(53.0)
    watching.stop()
    loop.move(60.0)
    loop.move(61.0)
    assert not woken


async def test_on_a_real_loop() -> None:
    woken = asyncio.Event()
    loop = asyncio.get_running_loop()
    watching = Watch(loop, woken.set)
    watching.waiting(loop.time() + 0.01)
    await woken.wait()
    assert watching.expired
