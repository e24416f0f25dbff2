"""What processes cost: CPU time, memory and context switches, read before and after."""

import contextlib
import re
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
from msgspec import Struct

PERCENT_BUSY = 85.0
"""Above it a machine delays everybody: gaps say more about it than about what was measured."""


SWITCHES = re.compile(rb"voluntary_ctxt_switches:\s*(\d+)")
"""Matches both lines: `voluntary_…`, then `nonvoluntary_…`."""


class Reading(Struct, frozen=True):
    """One group of processes at one moment, or, where two were subtracted, between two."""

    user_s: float = 0.0
    system_s: float = 0.0
    rss_bytes: int = 0
    voluntary: int = 0  # context switches: it waited for something
    involuntary: int = 0  # it was made to wait

    @property
    def cpu_s(self) -> float:
        return self.user_s + self.system_s

    def __add__(self, other: "Reading") -> "Reading":
        return self._with(other, 1)

    def __sub__(self, other: "Reading") -> "Reading":
        return self._with(other, -1)

    def _with(self, other: "Reading", sign: int) -> "Reading":
        return Reading(
            self.user_s + sign * other.user_s,
            self.system_s + sign * other.system_s,
            self.rss_bytes + sign * other.rss_bytes,
            self.voluntary + sign * other.voluntary,
            self.involuntary + sign * other.involuntary,
        )


Readings = dict[str, Reading]


def read(groups: Mapping[str, Sequence[int]]) -> Readings:
    """Each group of pids by its name; a process that is gone counts nothing."""
    return {name: sum((_process(pid) for pid in pids), Reading()) for name, pids in groups.items()}


def between(before: Readings, after: Readings) -> Readings:
    """What each group has used, and by how much its memory has grown."""
    return {name: after[name] - before[name] for name in before}


def _process(pid: int) -> Reading:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            cpu, memory = process.cpu_times(), process.memory_info()
            return Reading(cpu.user, cpu.system, memory.rss, *_switches(process))
    except psutil.Error:
        return Reading()


def _switches(process: psutil.Process) -> tuple[int, int]:
    """Of all threads: psutil counts the first one's. Source: proc_pid_status(5)."""
    found = [0, 0]
    for status in Path(f"/proc/{process.pid}/task").glob("*/status"):
        with contextlib.suppress(OSError):  # a thread may end meanwhile
            for index, count in enumerate(SWITCHES.findall(status.read_bytes())):
                found[index] += int(count)
    return found[0], found[1]


def yardstick_ms() -> float:
    """How long this machine takes for a fixed piece of work, now: the median of some tries, in milliseconds of CPU.

    A core that is shared with strangers is twice as fast in one minute as in the next, and what a process is said to
    have used grows with it.
    """
    return statistics.median(_piece_ms() for _ in range(5))


def _piece_ms() -> float:
    began = time.process_time()
    sum(number * number for number in range(20_000))
    return (time.process_time() - began) * 1000


def family(pid: int) -> list[int]:
    """A process and its children, as long as it is there."""
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []
    return [pid, *(child.pid for child in children)]
