"""One operating system process: started, listened to, signalled, reaped. Only ever by its own pid.

A process leads a session of its own, so that Ctrl-C on the terminal reaches only whoever started it; and where the
system can do that, it gets SIGTERM when its parent is gone, however that ended.
"""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
REAP_S = 0.01  # between the end of its output and its own
TAIL_BYTES = 4096  # enough for the sentence with which a process explains its end
SIGNALS = {number.value: number.name for number in signal.Signals}
SENTENCE = "trunkline: "  # begins what a process of ours says of its end

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class Process:
    """A running process. Its stdout is read, its stderr goes to `log`, or where ours goes."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], *, log: Path | None) -> None:
        """Start it; within a running event loop. Raises OSError."""
        self._log = log
        self._log_start = log.stat().st_size if log and log.exists() else 0
        stderr = log.open("ab") if log else None
        try:
            self._popen = subprocess.Popen(
                argv,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
                preexec_fn=_tether(os.getpid()),
            )
        finally:
            if stderr:
                stderr.close()
        self.pid = self._popen.pid
        self._first: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._watching = asyncio.create_task(self._watch(), name=f"watch {self.pid}")

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._popen.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Signal it; nothing happens when it is gone."""
        self._popen.send_signal(number)

    async def first_line(self) -> bytes:
        """The first line it writes on stdout; empty when it ends without one."""
        return await asyncio.shield(self._first)

    async def exited(self) -> int:
        """Its exit code, once it is gone; negative: the signal that ended it."""
        await asyncio.shield(self._watching)
        return int(self._popen.returncode)

    async def exits_within(self, timeout_s: float) -> bool:
        """Whether it is gone in time."""
        await asyncio.wait({self._watching}, timeout=timeout_s)
        return self._watching.done()

    def last_words(self) -> str:
        """The sentence with which it ended, though native threads may have written after it; else its last line."""
        if not self._log:
            return ""
        with self._log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, size - TAIL_BYTES))
            lines = log.read().decode(errors="replace").strip().splitlines()
        sentences = [line for line in lines if line.startswith(SENTENCE)]
        return (sentences or lines or [""])[-1]

    async def _watch(self) -> None:
        """Read its stdout to the end, which is the end of the process as well."""
        reader = asyncio.StreamReader()
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self._popen.stdout
        )
        line = await reader.readline()
        if not self._first.done():
            self._first.set_result(line)
        while await reader.read(65536):
            pass
        pipe.close()
        while self._popen.poll() is None:  # noqa: ASYNC110 - the system sets no event
            await asyncio.sleep(REAP_S)


def ending(code: int) -> str:
    """An exit code in words."""
    return f"ended with exit code {code}" if code >= 0 else f"was ended by {SIGNALS.get(-code, -code)}"


def _tether(parent: int) -> Callable[[], None] | None:
    """What a child does before it becomes the program: ask for SIGTERM at its parent's death."""
    libc = _libc
    if libc is None:
        return None

    def follow() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # gone already, in between
            os._exit(1)

    return follow
