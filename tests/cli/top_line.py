"""A line for the tests of `trunkline top`: callers who talk on it, and terminals that look at it."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import orjson

from bench.client import Call, fetch
from tests.cli.conftest import Terminal
from tests.cli.pseudo_terminal import PseudoTerminal
from tests.cli.talk_line import clean

TOP = [sys.executable, "-m", "trunkline", "top", "--window", "600"]  # no turn leaves it while a test runs


class Callers:
    """Turns on a line, slow ones too."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/v1/chat/completions"
        self._calls: list[Call] = []

    async def call(self, model: str = "echo", **commands: str) -> Call:
        """One turn; `commands` are the echo model's."""
        metadata = {f"echo.{name}": value for name, value in commands.items()}
        messages = [{"role": "user", "content": "nobody's business"}]
        body = {"model": model, "stream": True, "messages": messages, "metadata": metadata}
        self._calls.append(await Call.place(self._url, body))
        return self._calls[-1]

    async def talk(self) -> Call:
        """One that goes on for as long as a test may take; something was heard of it."""
        call = await self.call(rate="5", tokens="300")
        assert await call.heard()
        return call

    def hang_up(self) -> None:
        """All of them."""
        for call in self._calls:
            call.hang_up()


class Watched:
    """A line that runs here, and what it should be seen to be."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.environ = {"TRUNKLINE_DATA_DIR": said["data_dir"]}
        self.edge = said["admin"]["edges"][0]
        self.callers = Callers(said["url"])
        self._workers = said["admin"]["workers"]

    async def worker_ids(self) -> list[str]:
        """In the order of a view."""
        return sorted([await worker_id(admin) for admin in self._workers])


@asynccontextmanager
async def watched_line(terminal: Terminal) -> AsyncIterator[Watched]:
    """One with two workers."""
    up = terminal.start("up --json --ephemeral --port 0 --workers 2", TRUNKLINE_EDGE__DRAIN_S="1")
    watched = Watched(await up.first_line())
    try:
        yield watched
    finally:
        watched.callers.hang_up()


async def worker_id(admin: str) -> str:
    """Whose admin listener that is."""
    _, body = await fetch(f"{admin}/ready")
    return str(orjson.loads(body)["worker_id"])


class Screen:
    """A terminal with a view in it. Waiting is done in a thread, so that the callers' answers go on being read."""

    def __init__(self, terminal: PseudoTerminal) -> None:
        self.terminal = terminal

    @property
    def text(self) -> str:
        return self.terminal.text

    @property
    def typescript(self) -> str:
        return self.terminal.typescript

    async def shows(self, *words: str) -> None:
        """Wait until all of them are there, with however many blanks in between."""

        def all_there() -> bool:
            text = re.sub(" +", " ", self.text)
            return all(word in text for word in words)

        try:
            await asyncio.to_thread(self.terminal.until, all_there)
        except AssertionError as error:
            raise AssertionError(f"{words}: {error}") from None

    async def no_longer_shows(self, word: str) -> None:
        """Wait until it is gone."""
        await asyncio.to_thread(self.terminal.until, lambda: word not in self.text)

    async def exit_code(self) -> int:
        """Wait until the view has ended."""
        return await asyncio.to_thread(self.terminal.exit_code)


class Screens:
    """Opens terminals."""

    def __init__(self, directory: Path, opened: ExitStack) -> None:
        self._directory = directory
        self._opened = opened

    def open(self, environ: Mapping[str, str], *argv: str, columns: int = 80, rows: int = 24) -> Screen:
        """One with `argv` in it, else with a view."""
        terminal = PseudoTerminal(argv or TOP, env=clean(**environ), cwd=self._directory, columns=columns, rows=rows)
        return Screen(self._opened.enter_context(terminal))


@contextmanager
def screens_in(directory: Path) -> Iterator[Screens]:
    """They are gone afterwards."""
    with ExitStack() as opened:
        yield Screens(directory, opened)
