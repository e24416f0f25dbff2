import signal
import sys
from pathlib import Path

import pytest

from bench.line import Upstream
from bench.processes import Family, StartFailed

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
HAVE_A_CHILD = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print("{}", flush=True)
time.sleep(60)
"""


async def test_a_child_that_outlives_its_parent_is_found_and_ended(tmp_path: Path) -> None:
    family = Family(tmp_path)
    parent = family.start("parent", [sys.executable, "-c", HAVE_A_CHILD])
    await parent.first_line()

    parent.send(signal.SIGKILL)
    await parent.exited(5.0)

    assert len(family.alive()) == 1
    assert len(await family.stop()) == 1
    assert family.alive() == {}


async def test_who_ends_when_told_leaves_nothing_to_report(tmp_path: Path) -> None:
    family = Family(tmp_path)
    process = family.start("sleep", SLEEP)

    assert await family.stop() == []
    assert process.exit_code == -signal.SIGTERM


async def test_a_process_that_ends_before_it_is_ready_shows_its_log(tmp_path: Path) -> None:
    family = Family(tmp_path)
    process = family.start("broken", [sys.executable, "-c", "raise SystemExit('no such key')"])

    with pytest.raises(StartFailed, match="no such key"):
        await process.first_line()
    await family.stop()


async def test_what_the_caller_has_set_does_not_change_a_drill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUNKLINE_WORKER__SLOTS", "1")
    family = Family(tmp_path)
    show = "import json, os; print(json.dumps({'set': [key for key in os.environ if key.startswith('TRUNKLINE_')]}))"

    process = family.start("show", [sys.executable, "-c", show], {"TRUNKLINE_EDGE__PORT": "0"})

    assert await process.first_line() == {"set": ["TRUNKLINE_EDGE__PORT"]}
    await family.stop()


async def test_the_upstream_is_a_process_of_its_own(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path)
    await upstream.start()

    seen = await upstream.generations()
    killed = await upstream.stop()

    assert (seen, killed) == ([], [])
