import mmap
import os
import subprocess
import sys

from bench.load import meter
from bench.load.meter import Reading


def test_what_a_process_used_lies_between_two_readings() -> None:
    groups = {"me": [os.getpid()], "nobody": []}
    before = meter.read(groups)
    with mmap.mmap(-1, 20 << 20) as kept:  # of the system itself: what an allocator gives may have been there before
        kept.write(os.urandom(1 << 20) * 20)
        used = meter.between(before, meter.read(groups))

    assert used["me"].rss_bytes > 10e6
    assert used["me"].cpu_s >= 0
    assert before["me"].voluntary + before["me"].involuntary > 0
    assert used["nobody"] == Reading()


def test_a_process_that_is_gone_counts_nothing() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()

    assert meter.read({"gone": [gone.pid]}) == {"gone": Reading()}
    assert meter.family(gone.pid) == []


def test_a_family_is_a_process_and_its_children() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert set(meter.family(os.getpid())) >= {os.getpid(), child.pid}
        child.kill()


def test_readings_are_added_by_their_parts() -> None:
    one = Reading(1.0, 2.0, 3, 4, 5)

    assert (one + one, one - one, one.cpu_s) == (Reading(2.0, 4.0, 6, 8, 10), Reading(), 3.0)


def test_the_yardstick_is_some_work_and_not_much() -> None:
    assert 0.0 < meter.yardstick_ms() < 1000.0
