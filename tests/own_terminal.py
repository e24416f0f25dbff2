"""A program on a terminal of its own that can go away. What it writes comes through a pipe, which stays."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.cli.pseudo_terminal import LAUNCH

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 20.0
WITH_NOHUP = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); {LAUNCH}"


class Program:
    """One that runs; `terminal` is our end of its terminal."""

    def __init__(self, process: "subprocess.Popen[str]", terminal: int) -> None:
        self._process = process
        self._terminal = terminal

    def said(self) -> str:
        """The next line that it writes."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def send(self, number: signal.Signals) -> None:
        """Signal it."""
        self._process.send_signal(number)

    def close_terminal(self) -> None:
        """Its window is closed: the system sends SIGHUP."""
        os.close(self._terminal)

    def exit_code(self) -> int:
        """Once it is gone."""
        return self._process.wait(PATIENCE_S)


@contextmanager
def own_terminal(argv: Sequence[str], *, nohup: bool = False) -> Iterator[Program]:
    """A Python program, for the length of a test. It leads a session, so nobody else hears of its terminal's end."""
    ours, theirs = os.openpty()
    launch = [sys.executable, "-c", WITH_NOHUP if nohup else LAUNCH, sys.executable]
    process = subprocess.Popen(
        [*launch, *argv], stdin=theirs, stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
    )
    os.close(theirs)
    try:
        yield Program(process, ours)
    finally:
        process.kill()
        process.communicate()
        with suppress(OSError):
            os.close(ours)
