"""`trunkline turns`: how it runs, and what it prints."""

import asyncio
import select
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from typing import Literal, Self

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from rich.console import Console
from rich.text import Text

from protocol import process
from protocol.messages import TurnRecord
from protocol.settings import Settings, SettingsError
from trunkline import run_file
from trunkline.listen import listen
from trunkline.turns import forms
from trunkline.turns.looking import looked
from trunkline.turns.reading import Reading
from trunkline.turns.summary import Summary, Tally, sentence
from trunkline.turns.wanted import Since, Wanted

LAST = 20
Form = Literal["table", "json", "csv"]


class Order(Struct, frozen=True, kw_only=True):
    """What to read, and how to print it. `last` None: all since `since`."""

    wanted: Wanted = Wanted()
    last: int | None = None
    since: Since | None = None
    follow: bool = False
    form: Form = "table"
    summary: bool = False

    def checked(self) -> Self:
        """With its defaults. Raises SettingsError: it asks for what does not go together."""
        if self.summary and self.form == "csv":
            raise SettingsError("--summary is no row of a spreadsheet; take it with --json, or without --csv")
        return replace(self, last=LAST) if self.last is None and self.since is None else self


def turns(settings: Settings, order: Order) -> int:
    """Print what is wanted; the exit code. Raises SettingsError: `order` makes no sense."""
    order = order.checked()
    return looked(lambda: _run(settings, order))


async def _run(settings: Settings, order: Order) -> int:
    settings = await run_file.join(settings)
    page, tally = Page(order.form), Tally()
    async with listen(settings) as listener:
        await process.open_bus(listener.has_streams())
        stop = _stop_on_signals() if order.follow else asyncio.Event()
        async for batch in _batches(Reading(listener, order.wanted), order, stop):
            tally.add(batch)
            page.show(batch, begin=order.follow)
            if stop.is_set() or _is_unread():
                break
    page.end(tally.summary() if order.summary else None)
    return 0


async def _batches(reading: Reading, order: Order, stop: asyncio.Event) -> AsyncIterator[list[TurnRecord]]:
    """What is there, and where that is asked for what comes, until `stop` is set."""
    if order.last is not None:
        yield await reading.newest(order.last, order.since)
    else:
        async for batch in reading.all_since(order.since):
            yield batch
    if order.follow:
        yield []  # a heading stands there before the first turn does
        async for batch in reading.follow(stop):
            yield batch


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _is_unread() -> bool:
    """Whether nobody reads stdout any more: a write would tell, but there may be none for hours."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # errors and hang-ups are told in any case
    return bool(poll.poll(0))


class Page:
    """Stdout, line by line; a terminal gets what it has room for."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self._console = Console(highlight=False)
        self._drawn = self._console.is_terminal and sys.stdout.isatty()
        self._columns = forms.columns_for(self._console.width if self._drawn else None)
        self._begun = False

    def show(self, records: Iterable[TurnRecord], *, begin: bool) -> None:
        """Some more lines; `begin`: the heading, though there is none."""
        lines = [self._line(record) for record in records]
        if lines or begin:
            self._begin()
            self._print(lines)

    def end(self, summary: Summary | None) -> None:
        """Nothing more comes."""
        if not self._begun and self._form == "table":
            print("no turn matches", file=sys.stderr)
        elif self._form == "csv":
            self._begin()
        if summary is None:
            return
        if self._form == "json":
            self._print([msgspec.json.encode({"summary": summary}).decode()])
        else:
            self._print([sentence(summary)])

    def _begin(self) -> None:
        """The heading, once."""
        if self._begun:
            return
        self._begun = True
        if self._form == "table":
            self._print([forms.heading(self._columns)])
        elif self._form == "csv":
            self._print([forms.csv_heading()])

    def _line(self, record: TurnRecord) -> str | Text:
        if self._form == "table":
            return forms.row(record, self._columns, cut=self._drawn)
        return forms.json_line(record) if self._form == "json" else forms.csv_line(record)

    def _print(self, lines: list[str | Text]) -> None:
        for line in lines:
            if isinstance(line, Text) and self._drawn:
                self._console.print(line)
            else:
                print(line)  # a Text as well: without any escape code
        sys.stdout.flush()
