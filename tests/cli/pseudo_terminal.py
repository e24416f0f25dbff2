"""A pseudo-terminal with a screen: what a person would see of a program, and a keyboard for it."""

import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pexpect
import pyte
from pexpect.fdpexpect import fdspawn

PATIENCE_S = 30.0
READ_BYTES, READ_S = 65536, 0.05
ENTER, CTRL_C, CTRL_D, UP = "\r", "\x03", "\x04", "\x1b[A"
LAUNCH = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


class _Screen(pyte.Screen):
    """Answers questions about the cursor, as a terminal does."""

    answer: Callable[[str], None]

    def write_process_input(self, data: str) -> None:
        self.answer(data)


class PseudoTerminal:
    """One program on a terminal of its own. Use as a context manager."""

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, columns: int = 200, rows: int = 50
    ) -> None:
        self._rows, self._columns = rows, columns
        self._argv, self._env, self._cwd = [sys.executable, "-c", LAUNCH, *argv], dict(env), cwd
        self._screen = _Screen(columns, rows)
        self._stream = pyte.Stream(self._screen)
        self.typescript = ""  # every character that came, escape codes and all

    def __enter__(self) -> Self:
        ours, theirs = os.openpty()
        with ExitStack() as on_error:
            on_error.callback(os.close, ours)
            on_error.callback(os.close, theirs)
            termios.tcsetwinsize(ours, (self._rows, self._columns))
            self._process = subprocess.Popen(
                self._argv, stdin=theirs, stdout=theirs, stderr=theirs, env=self._env, cwd=self._cwd,
                start_new_session=True,
            )  # fmt: skip
            on_error.pop_all()
        self._theirs = theirs  # held open: its modes can be looked at when the program is gone
        self._spawn = fdspawn(ours, encoding="utf-8", codec_errors="replace")
        self._screen.answer = self.type
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._spawn.close()
        os.close(self._theirs)

    def type(self, keys: str) -> None:
        """Press keys."""
        self._spawn.send(keys)

    def resize(self, columns: int, rows: int) -> None:
        """Drag a corner of the window; the program is told."""
        self._screen.resize(rows, columns)
        termios.tcsetwinsize(self._spawn.child_fd, (rows, columns))

    def send(self, number: signal.Signals) -> None:
        """Signal the program."""
        self._process.send_signal(number)

    def until(self, true: Callable[[], bool] | str) -> None:
        """Read until the screen shows a text, or something else is true.

        Raises:
            AssertionError: it does not come; with the screen.
        """
        wanted = true if callable(true) else lambda: true in self.text
        deadline = time.monotonic() + PATIENCE_S
        while not wanted():
            assert time.monotonic() < deadline, f"waited for {true!r}; the screen:\n{self.text}"
            assert self._read() or wanted(), f"ended before {true!r}; the screen:\n{self.text}"

    def exit_code(self) -> int:
        """Read until the program has ended."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read():
            assert time.monotonic() < deadline, f"it still runs; the screen:\n{self.text}"
        return self._process.wait(PATIENCE_S)

    def modes(self) -> list[Any]:
        """How the terminal's driver is set."""
        return termios.tcgetattr(self._spawn.child_fd)

    @property
    def lines(self) -> list[str]:
        """The screen, without what is blank below and at the right."""
        return self.text.split("\n")

    @property
    def text(self) -> str:
        """The same as one text."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip("\n")

    def _read(self) -> bool:
        """What has come; False: the program has ended and everything is read."""
        ended = self._process.poll() is not None
        try:
            data = self._spawn.read_nonblocking(READ_BYTES, 0 if ended else READ_S)
        except pexpect.TIMEOUT:
            return not ended
        self.typescript += data
        self._stream.feed(data)
        return True
