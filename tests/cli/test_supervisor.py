"""The supervisor, with children that are a few lines of Python each."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cli.conftest import Terminal, until
from tests.own_terminal import own_terminal
from trunkline.supervisor import DEATHS, DRAIN_RAN_OUT, Plan, StartFailed, Supervisor

READY = "import json, os, signal, sys, time; print(json.dumps({'pid': os.getpid()}), flush=True); "
STAYS = READY + "time.sleep(60)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {STAYS}"


def plan(code: str, log: Path | None = None, name: str = "child-0") -> Plan:
    return Plan(name, [sys.executable, "-S", "-c", code], dict(os.environ), log)


def draining(code: int) -> str:
    return f"import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit({code})); {STAYS}"


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    made = Supervisor(restart=True)
    yield made
    await made.kill()


async def test_a_child_is_ready_when_it_says_so(supervisor: Supervisor) -> None:
    child = await supervisor.start(plan(STAYS))

    assert child.said == {"pid": child.process.pid}


async def test_children_lead_sessions_of_their_own(supervisor: Supervisor) -> None:
    """Ctrl-C on the terminal is for us alone: a child that got it too would be told twice."""
    child = await supervisor.start(plan(STAYS))

    assert os.getsid(child.process.pid) == child.process.pid


async def test_a_child_that_ends_before_it_is_ready_fails_the_start_with_its_last_words(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    log = tmp_path / "child-0.log"
    log.write_text("from an earlier life\n")

    with pytest.raises(StartFailed, match=r"^child-0 ended with exit code 7: no luck today \(see .*child-0.log\)$"):
        await supervisor.start(plan("import sys; print('no luck today', file=sys.stderr); sys.exit(7)", log))

    assert supervisor.children == []


async def test_a_childs_sentence_is_told_though_a_thread_of_its_library_writes_after_it(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    program = "import sys; print('trunkline: no luck today\\nnative: exiting', file=sys.stderr); sys.exit(2)"

    with pytest.raises(StartFailed, match=r"^child-0 ended with exit code 2: no luck today "):
        await supervisor.start(plan(program, tmp_path / "child-0.log"))


@pytest.mark.parametrize(("code", "ours"), [(1, 1), (2, 2), (3, 3), (4, 1)])
async def test_a_start_that_fails_for_a_known_reason_keeps_its_exit_code(
    supervisor: Supervisor, code: int, ours: int
) -> None:
    with pytest.raises(StartFailed) as failed:
        await supervisor.start(plan(f"raise SystemExit({code})"))

    assert failed.value.exit_code == ours


async def test_a_child_that_is_never_ready_is_killed(supervisor: Supervisor) -> None:
    with pytest.raises(StartFailed, match=r"was not ready within 0.3 s"):
        await supervisor.start(plan("import time; time.sleep(60)")._replace(start_s=0.3))


async def test_a_program_that_is_not_there_fails_the_start(supervisor: Supervisor) -> None:
    with pytest.raises(StartFailed, match=r"child-0 cannot be started: .*No such file"):
        await supervisor.start(Plan("child-0", ["/nowhere/at-all"], {}))


async def test_a_child_that_dies_is_started_again() -> None:
    changes: list[int] = []
    supervisor = Supervisor(restart=True, changed=lambda: changes.append(1))
    child = await supervisor.start(plan(STAYS))
    first = child.process.pid

    child.process.send(signal.SIGKILL)
    await until(lambda: child.said["pid"] != first)

    assert child.alive
    assert changes == [1]
    await supervisor.kill()
    assert not child.alive


async def test_a_child_stays_dead_when_nothing_is_restarted() -> None:
    supervisor = Supervisor(restart=False)
    child = await supervisor.start(plan(STAYS))

    child.process.send(signal.SIGKILL)
    await child.process.exited()
    await asyncio.sleep(0.3)

    assert not child.alive
    assert not supervisor.broken.is_set()
    assert await supervisor.stop(supervisor.children, grace_s=1) == 0
    await supervisor.kill()


async def test_a_child_that_keeps_dying_breaks_the_whole(supervisor: Supervisor, tmp_path: Path) -> None:
    log = tmp_path / "child-0.log"
    await supervisor.start(plan(READY + "print('again', file=sys.stderr); sys.exit(1)", log))

    async with asyncio.timeout(20):
        await supervisor.broken.wait()

    assert supervisor.why.startswith("child-0 keeps dying: it ended with exit code 1: again (see ")
    assert log.read_text().split() == ["again"] * DEATHS


@pytest.mark.parametrize(("code", "ours"), [(0, 0), (4, DRAIN_RAN_OUT), (1, 1)])
async def test_stopping_asks_and_tells_how_it_went(supervisor: Supervisor, code: int, ours: int) -> None:
    await supervisor.start(plan(draining(0)))
    await supervisor.start(plan(draining(code)))

    assert await supervisor.stop(supervisor.children, grace_s=10) == ours


async def test_a_child_that_does_not_stop_in_time_is_killed(supervisor: Supervisor) -> None:
    child = await supervisor.start(plan(DEAF))

    assert await supervisor.stop([child], grace_s=0.3) == DRAIN_RAN_OUT
    assert not child.alive


async def test_a_child_that_dies_while_others_stop_is_not_started_again(supervisor: Supervisor) -> None:
    child = await supervisor.start(plan(draining(0)))

    await supervisor.stop([child], grace_s=10)
    await asyncio.sleep(0.3)

    assert child.said["pid"] == child.process.pid
    assert not child.alive


HEARS_HANG_UPS = f"""
import signal, sys, time
signal.signal(signal.SIGHUP, lambda *_: print("reload", file=sys.stderr, flush=True))
{READY}
while True:
    time.sleep(60)
"""


async def test_a_reload_is_passed_on_to_those_that_know_how(supervisor: Supervisor, tmp_path: Path) -> None:
    follows = await supervisor.start(plan(HEARS_HANG_UPS, tmp_path / "a.log", "child-0")._replace(reloads=True))
    other = await supervisor.start(plan(HEARS_HANG_UPS, tmp_path / "b.log", "child-1"))

    supervisor.reload()

    await until(lambda: (tmp_path / "a.log").read_text() == "reload\n")
    assert (tmp_path / "b.log").read_text() == ""
    assert (follows.alive, other.alive) == (True, True)


async def test_a_child_that_is_not_ready_is_reloaded_when_it_is(supervisor: Supervisor, tmp_path: Path) -> None:
    """It may have read the file before it was changed, and a signal would end it."""
    gate, log = tmp_path / "gate", tmp_path / "a.log"
    code = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\n{HEARS_HANG_UPS}"
    starting = asyncio.create_task(supervisor.start(plan(code, log)._replace(reloads=True)))
    await until(lambda: bool(supervisor.children) and supervisor.children[0].alive)

    supervisor.reload()
    gate.touch()

    child = await starting
    await until(lambda: log.read_text() == "reload\n")
    assert child.alive


async def test_a_second_ctrl_c_ends_everything_at_once(terminal: Terminal) -> None:
    parent = terminal.run_python(["-m", "tests.cli.parent", "deaf"])
    child = (await parent.first_line())["child"]

    parent.send(signal.SIGINT)
    await until(lambda: b"draining" in parent.out.read_bytes())
    parent.send(signal.SIGINT)

    assert await parent.exited(10) == 130
    assert child not in terminal.left()


def test_a_terminal_that_goes_away_drains_everything() -> None:
    with own_terminal(["-m", "tests.cli.parent"]) as parent:
        assert "child" in parent.said()

        parent.close_terminal()

        assert (parent.said(), parent.exit_code()) == ("draining", 0)


async def test_a_repeated_sigterm_does_not_cut_the_drain_short(terminal: Terminal) -> None:
    """Orchestrators repeat themselves; only a person at the keyboard is impatient."""
    parent = terminal.run_python(["-m", "tests.cli.parent", "deaf"])
    child = (await parent.first_line())["child"]
    parent.send(signal.SIGTERM)
    await until(lambda: b"draining" in parent.out.read_bytes())

    parent.send(signal.SIGTERM)
    await asyncio.sleep(0.3)

    assert parent.exit_code is None
    os.kill(child, signal.SIGKILL)
    assert await parent.exited(10) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent is gone")
async def test_children_do_not_outlive_a_parent_that_was_killed(terminal: Terminal) -> None:
    parent = terminal.run_python(["-m", "tests.cli.parent"])
    child = (await parent.first_line())["child"]

    parent.send(signal.SIGKILL)

    await until(lambda: child not in terminal.left())
