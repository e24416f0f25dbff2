"""What tests of the command line need: processes that are gone when it is over."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from bench.processes import Family, Process
from tests.broker.nats_server import NatsServer
from tests.conftest import StartNats
from trunkline.nats_server import answers

StartConfigured = Callable[[str], Awaitable[NatsServer]]


async def until(true: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Return once it is. Other processes set no events."""
    async with asyncio.timeout(timeout_s):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Terminal:
    """Somewhere to type `trunkline …`; its directory is empty at first and holds the data directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._family = Family(directory)
        self._count = 0

    def start(self, command: str, **environ: str) -> Process:
        """Start `trunkline <command>` with nothing in its environment that could change what it does."""
        return self.run_python(["-m", "trunkline", *command.split()], **environ)

    def run_python(self, argv: list[str], **environ: str) -> Process:
        """Start a Python program."""
        self._count += 1
        quick = {"TRUNKLINE_EDGE__LAME_S": "0", "TRUNKLINE_NATS__WAIT_S": "5", **environ}
        return self._family.start(f"terminal-{self._count}", [sys.executable, *argv], quick)

    def left(self) -> dict[int, str]:
        """Everything that was started here, by whomever, and still runs."""
        return self._family.alive()

    async def close(self) -> list[str]:
        """End what is left."""
        return await self._family.stop()


@pytest.fixture
async def terminal(tmp_path: Path) -> AsyncIterator[Terminal]:
    """A terminal whose processes do not outlive the test."""
    made = Terminal(tmp_path)
    yield made
    assert await made.close() == []


@pytest.fixture
def configured(start_nats: StartNats, tmp_path: Path) -> StartConfigured:
    """Starts a NATS server that has this configuration instead of ours."""

    async def start(text: str) -> NatsServer:
        path = tmp_path / "other.conf"
        path.write_text(text)
        server = start_nats(options=["-c", str(path)], wait=False)
        async with asyncio.timeout(15):
            while not await answers(server.url):  # noqa: ASYNC110 - another process's event
                await asyncio.sleep(0.01)
        return server

    return start
