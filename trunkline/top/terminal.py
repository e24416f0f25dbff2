"""The live view: the alternate screen by rich, keys by prompt_toolkit's raw mode."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable

from prompt_toolkit.input import create_input
from prompt_toolkit.keys import Keys
from rich.console import Console, ConsoleDimensions
from rich.live import Live

from trunkline.top import view
from trunkline.top.figures import Figures

USUAL_SIZE = (80, 24)  # where a terminal does not know its own


class Reader:
    """What the person at the keyboard wants."""

    def __init__(self) -> None:
        self.leaves = False
        self.pauses = False
        self.wants_help = False
        self._wake = asyncio.Event()

    def press(self, key: str) -> None:
        """One key."""
        if key in ("q", "Q", Keys.ControlC):
            self.leaves = True
        elif key in ("p", "P", " "):
            self.pauses = not self.pauses
        elif key in ("h", "H", "?"):
            self.wants_help = not self.wants_help
        self.wake()

    def leave(self) -> None:
        """As if it had been typed."""
        self.press("q")

    def wake(self) -> None:
        """There is something to draw before its time."""
        self._wake.set()

    async def wait(self, timeout_s: float) -> None:
        """Until something was typed, or for so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        self._wake.clear()


def fits(console: Console) -> bool:
    """Whether it is a terminal that can be drawn on."""
    return sys.stdout.isatty() and console.is_terminal and not console.is_dumb_terminal


async def show(look: Callable[[], Figures], *, every_s: float, console: Console) -> None:
    """Draw until the reader leaves; then the terminal is as it was."""
    reader = Reader()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, reader.leave)
    loop.add_signal_handler(signal.SIGWINCH, reader.wake)
    keys = create_input(always_prefer_tty=True)

    def read() -> None:
        for press in keys.read_keys():
            reader.press(press.key)
        if keys.closed:  # the terminal is gone
            reader.leave()

    with (
        keys.raw_mode(),
        keys.attach(read),
        Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live,
    ):
        await _draw(live, look, reader, every_s)


async def _draw(live: Live, look: Callable[[], Figures], reader: Reader, every_s: float) -> None:
    figures = look()
    while not reader.leaves:
        if not reader.pauses:
            figures = look()
        width, height = size = _size()
        live.console.size = size
        shown = view.screen(figures, width=width, height=height, paused=reader.pauses, helping=reader.wants_help)
        live.update(shown, refresh=True)
        await reader.wait(every_s)


def _size() -> ConsoleDimensions:
    """Asked anew each time: the variables COLUMNS and LINES do not follow a resize."""
    width, height = os.get_terminal_size(sys.stdout.fileno())
    return ConsoleDimensions(width or USUAL_SIZE[0], height or USUAL_SIZE[1])
