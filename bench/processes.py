"""Processes that a benchmark starts, signals, and leaves none of behind.

Everything is started in a process group of its own and marked in its environment, which its children inherit: so
nobody is signalled who was not started here, and nobody who was is overlooked.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from bench.polling import until
from trunkline.ports import free_port

ROOT = Path(__file__).resolve().parent.parent
MARK = "BENCH_MARK"
OURS = ("TRUNKLINE_", "OTEL_", "OPENAI_")
"""What the caller's own environment says of these is not passed on: a drill says itself what it runs with."""


class StartFailed(Exception):
    """A process ended, or stayed silent, before it was ready. The text carries the end of its log."""


class Process:
    """One process with its group; `name` is what its two log files are called."""

    def __init__(self, name: str, argv: Sequence[str], env: Mapping[str, str], directory: Path) -> None:
        self.name = name
        self.out = directory / f"{name}.out"
        self.log = directory / f"{name}.log"
        with self.out.open("wb") as out, self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                argv, env=env, cwd=directory, stdin=subprocess.DEVNULL, stdout=out, stderr=log, start_new_session=True
            )
        self.pid = self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; the negative signal number if one ended it."""
        return self._popen.poll()

    def send(self, number: signal.Signals) -> float:
        """Send it to the process alone; the moment it was sent."""
        if self.exit_code is None:
            os.kill(self.pid, number)
        return time.monotonic()

    def send_group(self, number: signal.Signals) -> float:
        """Send it to everything it has started too; the moment it was sent."""
        if self.exit_code is None:
            os.killpg(self.pid, number)
        return time.monotonic()

    async def exited(self, timeout_s: float) -> int:
        """Its exit code.

        Raises:
            TimeoutError: it still runs.
        """
        deadline = time.monotonic() + timeout_s
        while (code := self.exit_code) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} still runs after {timeout_s} s")
            await asyncio.sleep(0.005)
        return code

    async def first_line(self, timeout_s: float = 20.0) -> dict[str, Any]:
        """The JSON object that it prints on stdout when it is ready.

        Raises:
            StartFailed: it did not.
        """
        deadline = time.monotonic() + timeout_s
        while b"\n" not in (said := self.out.read_bytes()):
            self.check(deadline)
            await asyncio.sleep(0.01)
        line: dict[str, Any] = orjson.loads(said.split(b"\n", 1)[0])
        return line

    def check(self, deadline: float) -> None:
        """Raises StartFailed: it has ended, or `deadline` has passed."""
        if self.exit_code is None and time.monotonic() < deadline:
            return
        tail = self.log.read_text(errors="replace")[-2000:]
        state = "is not ready" if self.exit_code is None else f"ended with {self.exit_code}"
        raise StartFailed(f"{self.name} {state}:\n{tail}")


class Family:
    """All processes of one line."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._mark = secrets.token_hex(8)
        self._started: list[Process] = []

    def start(self, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> Process:
        """A new process: our environment without what could change its behaviour, then `env`."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
        whole = {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", MARK: self._mark, **(env or {})}
        process = Process(name, argv, whole, self.directory)
        self._started.append(process)
        return process

    def alive(self) -> dict[int, str]:
        """Pid and command line of everything that was started here, children included, and still runs."""
        mark = f"{MARK}={self._mark}".encode()
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(entry.name)] = command.decode(errors="replace").strip()
        return found

    async def stop(self, *, last: Process | None = None, timeout_s: float = 10.0) -> list[str]:
        """End everything, `last` when the others are gone; what had to be killed."""
        others = [process for process in self._started if process is not last]
        await asyncio.gather(*(_terminate(process, timeout_s) for process in others))
        if last:
            await _terminate(last, timeout_s)
        left = self.alive()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await until(self._gone, bool, timeout_s)
        return [f"process {pid} had to be killed: {command}" for pid, command in left.items()]

    async def _gone(self) -> bool:
        ended = [process.exit_code is not None for process in self._started]
        return all(ended) and not self.alive()


async def _terminate(process: Process, timeout_s: float) -> None:
    process.send(signal.SIGCONT)
    process.send(signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        await process.exited(timeout_s)


def free_ports(count: int) -> list[int]:
    """Different ports on loopback that nobody uses."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port("127.0.0.1"))
    return list(found)
