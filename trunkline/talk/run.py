"""`trunkline talk` from its start: which line and which model, then one question or a conversation."""

import asyncio
import logging
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from io import TextIOWrapper
from pathlib import Path

from msgspec import Struct

from protocol.settings import Settings, SettingsError
from trunkline import run_file
from trunkline.talk.address import Address
from trunkline.talk.client import USAGE, Client
from trunkline.talk.commands import Commands, Place
from trunkline.talk.conversation import Conversation
from trunkline.talk.failure import Failure
from trunkline.talk.history import History, as_text
from trunkline.talk.keyboard import EditingKeyboard, Keyboard, LineKeyboard
from trunkline.talk.once import ask_once
from trunkline.talk.records import Records
from trunkline.talk.show import Show

PREFERRED = ("local", "upstream", "echo")  # the one that was asked for, else one that needs nothing
READY_S = 0.5  # for the line's NATS: the answer shall not wait for figures
NO_TERMINALS = ("", "dumb", "unknown")


class Order(Struct, frozen=True, kw_only=True):
    """What was asked for on the command line."""

    message: str | None  # None: a conversation, or what comes on stdin
    model: str | None
    system: str | None
    metadata: dict[str, str]
    as_json: bool


def talk(settings: Settings, environ: Mapping[str, str], address: Address, order: Order) -> int:
    """Talk until the end; the exit code.

    Raises:
        SettingsError: there is nothing to say, or `--json` without a message.
        Failure: there is no line or no model, and so no conversation.
    """
    message = order.message if order.message is not None else _piped()
    if message is not None and not message.strip():
        raise SettingsError('there is nothing to say; give a message: trunkline talk "hello"')
    if message is None and order.as_json:
        raise SettingsError('--json goes with one message: trunkline talk --json "hello"')
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # what an old locale cannot show ends no talk
    logging.getLogger().addHandler(logging.NullHandler())  # the bus may come and go: a talk says what it has to itself
    try:
        return asyncio.run(_talk(settings, environ, address, order, message))
    except asyncio.CancelledError:  # told to stop: the terminal is as it was
        return 0


def pairs(said: Iterable[str]) -> dict[str, str]:
    """`KEY=VALUE` each. Raises SettingsError."""
    found = {}
    for one in said:
        key, equals, value = one.partition("=")
        if not (key and equals):
            raise SettingsError(f"--metadata {one!r} is not KEY=VALUE; write for example --metadata echo.rate=20")
        found[as_text(key)] = as_text(value)
    return found


def _piped() -> str | None:
    """All that comes on stdin; None: a terminal is there."""
    if sys.stdin is None:
        return ""
    if sys.stdin.isatty():
        return None
    return sys.stdin.buffer.read().decode(errors="replace").rstrip("\n")


async def _talk(
    settings: Settings, environ: Mapping[str, str], address: Address, order: Order, message: str | None
) -> int:
    call_id = f"talk-{secrets.token_hex(6)}"
    headers = dict.fromkeys(settings.turn.call_id_headers[:1], call_id)
    records = Records(call_id)
    async with (
        Client(address.url, key=address.key, headers=headers) as client,
        _listening(records, settings, hopeful=address.local or settings.nats.url is not None),
    ):
        if message is not None:
            model = order.model or _preferred(await client.models())
            history = History(order.system)
            history.said(message)
            return await ask_once(client, records, history.body(model, metadata=order.metadata), as_json=order.as_json)
        return await _converse(settings, environ, address, order, client, records)


async def _converse(
    settings: Settings, environ: Mapping[str, str], address: Address, order: Order, client: Client, records: Records
) -> int:
    _stop_on(signal.SIGTERM, signal.SIGHUP)
    model = await _model(client, order.model)
    commands = Commands(_place(settings, await run_file.joined(settings, environ), address))
    plain = not sys.stdout.isatty() or os.environ.get("TERM", "") in NO_TERMINALS
    keyboard: Keyboard = LineKeyboard() if plain else EditingKeyboard(commands.names)
    show = Show(plain=plain)
    with keyboard.opened():
        show.note(f"{model} at {address.url}; /help says what else you can type")
        conversation = Conversation(
            client, keyboard, show, records, model=model, system=order.system, metadata=order.metadata
        )
        await conversation.run(commands.obey)
    return 0


async def _model(client: Client, wanted: str | None) -> str:
    """Who answers; whether there is a line at all. Raises Failure."""
    try:
        models = await client.models()
    except Failure as failure:
        if wanted and failure.status is not None and failure.exit_code != USAGE:
            return wanted  # some serve answers and no list
        raise
    return wanted or _preferred(models)


def _preferred(models: tuple[str, ...]) -> str:
    if not models:
        raise Failure("the line lists no model; name one with --model, or configure one under [models]")
    return next((name for name in PREFERRED if name in models), models[0])


def _place(settings: Settings, environ: Mapping[str, str], address: Address) -> Place:
    """Where the line's spans go, as far as this machine knows."""
    collector = next((environ[name] for name in run_file.COLLECTORS if environ.get(name)), None)
    if not address.local:
        return Place(collector=collector)
    return Place(Path(settings.telemetry.traces_file or Path(settings.data_dir) / run_file.TRACES), collector)


@asynccontextmanager
async def _listening(records: Records, settings: Settings, *, hopeful: bool) -> AsyncIterator[None]:
    """Hear the line's records meanwhile. `hopeful`: there may be somebody to hear."""
    if not hopeful:
        yield
        return
    task = asyncio.create_task(records.run(settings), name="records")
    try:
        await records.until_ready(READY_S)
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _stop_on(*numbers: signal.Signals) -> None:
    """The end, with the terminal as it was: whoever types has it in their hands."""
    task = asyncio.current_task()
    assert task is not None
    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup: the terminal may go
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
