"""What the person does: lines at the prompt, and the key that interrupts an answer.

Two ways to type: with editing and history on a terminal that can, line by line on one that cannot (`TERM=dumb`, or
an output that goes to a file).
"""

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import create_input
from prompt_toolkit.input.typeahead import store_typeahead
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import Output, create_output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.shortcuts import CompleteStyle

READ_BYTES = 65536
ENTER = (Keys.ControlM, Keys.ControlJ)


class Left(Exception):
    """Ctrl-D at the prompt: the person leaves."""


class Dropped(Exception):
    """Ctrl-C at the prompt: what was typed is dropped."""


class Keyboard(Protocol):
    """Somebody's way to type. Use `opened` around everything else."""

    def opened(self) -> AbstractContextManager[None]:
        """The terminal is ours, and as it was afterwards."""

    async def line(self, prompt: str) -> str:
        """What was typed. Raises Left, Dropped."""

    def interrupting(self, hung_up: asyncio.Event) -> AbstractContextManager[None]:
        """Meanwhile Enter or Ctrl-C sets the event. What is typed before it is the beginning of the next line."""

    async def above(self, write: Callable[[], None]) -> None:
        """Write something while somebody may be typing."""


def _output() -> Output:
    """Never asks where its cursor is: a terminal that does not answer would hold up the first line."""
    output = create_output()
    if isinstance(output, Vt100_Output):
        output.enable_cpr = False
    return output


class EditingKeyboard:
    """A terminal with prompt_toolkit on it."""

    def __init__(self, words: Iterable[str]) -> None:
        self._input = create_input()
        self._session: PromptSession[str] = PromptSession(
            history=InMemoryHistory(),  # what callers say is kept nowhere
            input=self._input,
            output=_output(),
            completer=WordCompleter(list(words), sentence=True),
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            interrupt_exception=Dropped,
            eof_exception=Left,
        )

    @contextmanager
    def opened(self) -> Iterator[None]:
        """No key is echoed or becomes a signal, in between prompts neither."""
        with self._input.raw_mode():
            yield

    async def line(self, prompt: str) -> str:
        try:
            return await self._session.prompt_async(prompt)
        except EOFError:  # the terminal is gone
            raise Left from None

    @contextmanager
    def interrupting(self, hung_up: asyncio.Event) -> Iterator[None]:
        typed: list[KeyPress] = []

        def read() -> None:
            for press in self._input.read_keys():
                self._press(press, typed, hung_up)
            if self._input.closed:
                hung_up.set()

        with self._input.attach(read), _on_interrupt(hung_up.set):
            yield
        store_typeahead(self._input, typed)

    def _press(self, press: KeyPress, typed: list[KeyPress], hung_up: asyncio.Event) -> None:
        """A bare Enter is the barge-in alone; after words it sends them too."""
        if press.key == Keys.CPRResponse:  # the terminal's own, to an earlier question
            return
        bare = press.key in ENTER and not typed
        if not bare and (press.key != Keys.ControlC or hung_up.is_set()):
            typed.append(press)
        if press.key in (*ENTER, Keys.ControlC, Keys.ControlD):
            hung_up.set()

    async def above(self, write: Callable[[], None]) -> None:
        await run_in_terminal(write)


class LineKeyboard:
    """Lines as the terminal's driver makes them. The prompt goes to stderr."""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()
        self._unread = b""
        self._lines: deque[str] = deque()
        self._ended = False
        self._interrupted = False
        self._prompt = ""  # while somebody may be typing after it
        self._on_news: Callable[[], None] = _nothing

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Ctrl-C is a key, in between prompts too: there it counts at the next one."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._fd, self._read)
        try:
            with _on_interrupt(self._interrupt):
                yield
        finally:
            loop.remove_reader(self._fd)

    async def line(self, prompt: str) -> str:
        self._prompt = prompt
        _write(prompt)
        news = asyncio.Event()
        self._on_news = news.set
        if not (self._lines or self._ended or self._interrupted):
            await news.wait()
        self._on_news, self._prompt, self._interrupted = _nothing, "", False
        if self._lines:
            return self._lines.popleft()
        _write("\n")
        raise Left if self._ended else Dropped

    @contextmanager
    def interrupting(self, hung_up: asyncio.Event) -> Iterator[None]:
        def barge_in() -> None:
            if self._lines and not self._lines[0].strip():
                self._lines.popleft()
            hung_up.set()

        self._on_news = barge_in
        if self._interrupted:
            barge_in()
        yield
        self._on_news, self._interrupted = _nothing, False

    async def above(self, write: Callable[[], None]) -> None:
        _write("\n" if self._prompt else "")
        write()
        _write(self._prompt)

    def _read(self) -> None:
        data = os.read(self._fd, READ_BYTES)
        if not data:
            self._ended = True
            asyncio.get_running_loop().remove_reader(self._fd)
        *lines, self._unread = (self._unread + data).split(b"\n")
        self._lines += [line.decode(errors="replace") for line in lines]
        if lines or self._ended:
            self._on_news()

    def _interrupt(self) -> None:
        self._interrupted = True
        self._on_news()


def _nothing() -> None:
    pass


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


@contextmanager
def _on_interrupt(call: Callable[[], object]) -> Iterator[None]:
    """Meanwhile SIGINT calls back."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, call)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
