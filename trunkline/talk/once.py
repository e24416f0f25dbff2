"""One question and its answer: text on stdout, everything else on stderr."""

import asyncio
import json
import os
import signal
import sys

from trunkline.talk.chunks import Declined, Piece, Said
from trunkline.talk.client import Client, Opened
from trunkline.talk.figures import as_json as figures_as_json
from trunkline.talk.figures import figures
from trunkline.talk.records import Records
from trunkline.talk.show import printable
from trunkline.talk.turn import take_turn

RECORD_S = 0.5
INTERRUPTED = 130


async def ask_once(client: Client, records: Records, body: bytes, *, as_json: bool) -> int:
    """Ask, write, measure; the exit code. Ctrl-C hangs up, and so does a reader who has closed our output."""
    hung_up = asyncio.Event()
    answer = _Output(hung_up, silent=as_json)
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, hung_up.set)
    turn = await take_turn(client, body, answer.hear, hung_up)
    answer.end()
    record = await records.of(turn.turn_id, RECORD_S)
    if as_json:
        print(json.dumps(figures_as_json(turn, record), ensure_ascii=False))
    if turn.failure is not None:
        print(f"trunkline: {printable(str(turn.failure))}", file=sys.stderr)
        return turn.failure.exit_code
    if not as_json:
        print(figures(turn, record), file=sys.stderr)
    return INTERRUPTED if turn.interrupted and not answer.closed else 0


class _Output:
    """Our stdout, as the answer comes; on a terminal without what would steer it."""

    def __init__(self, hung_up: asyncio.Event, *, silent: bool) -> None:
        self._hung_up = hung_up
        self._silent = silent
        self._clean = printable if sys.stdout.isatty() else str
        self._begun = False
        self.closed = False  # by its reader, who has enough

    def hear(self, piece: Opened | Piece) -> None:
        """One piece of it."""
        if isinstance(piece, Said | Declined):
            self._begun = True
            self._write(self._clean(piece.text))

    def end(self) -> None:
        """The last line ends too."""
        if self._begun:
            self._write("\n")

    def _write(self, text: str) -> None:
        if self._silent:
            return
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            self._silent = self.closed = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to flush goes there
            self._hung_up.set()
