"""`trunkline top`: how it runs, and what it prints where there is no terminal."""

import asyncio
import logging
import math
import sys
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Console

from protocol import process
from protocol.settings import Settings, SettingsError
from protocol.settings_source import value_of
from protocol.settings_values import HttpUrl
from protocol.wire import Disconnected
from trunkline import run_file
from trunkline.listen import DEFAULT_URL, listen
from trunkline.top import terminal, view
from trunkline.top.watch import Watch, Where


class Order(Struct, frozen=True, kw_only=True):
    """What to show, and how."""

    every_s: float = 1.0
    window_s: float = 60.0
    admins: tuple[str, ...] = ()
    once: bool = False
    as_json: bool = False


def top(settings: Settings, order: Order) -> int:
    """Show the line until the reader leaves, or once; the exit code.

    Raises:
        SettingsError: something in `order` is wrong.
    """
    for value, flag in ((order.every_s, "--every"), (order.window_s, "--window")):
        if math.isnan(value):
            raise SettingsError(f"{flag} is no number of seconds; give one such as 1 or 0.5")
    admins = tuple(value_of(url, HttpUrl, place="--admin", key="admin").rstrip("/") for url in order.admins)
    logging.basicConfig(handlers=[logging.NullHandler()])  # nothing else writes on the screen
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal that knows ASCII alone
    try:
        return asyncio.run(_run(settings, order, admins))
    except process.NoJetStream as error:
        return process.end(process.UNREACHABLE, str(error))
    except Disconnected as error:
        return process.end(process.UNREACHABLE, f"{error}; {run_file.NO_LINE}")


async def _run(settings: Settings, order: Order, admins: tuple[str, ...]) -> int:
    settings = await run_file.join(settings)
    nats, data = _address(settings.nats.url or DEFAULT_URL), Path(settings.data_dir)
    ours = nats == _address(str(run_file.read(data).get("nats")))  # else what runs here is another line
    where = Where(admins=admins, data=data if ours else None)
    async with listen(settings) as listener:
        await process.open_bus(listener.has_streams())
        async with Watch(listener, where, nats=nats, window_s=order.window_s, every_s=order.every_s) as watch:
            console = Console(highlight=False)
            if order.once or order.as_json or not terminal.fits(console):
                await watch.settle()
                print(msgspec.json.encode(watch.figures()).decode() if order.as_json else view.text(watch.figures()))
            else:
                await _show(watch, order, console)
    return 0


async def _show(watch: Watch, order: Order, console: Console) -> None:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch.run(stop), name="watch")
        try:
            await terminal.show(watch.figures, every_s=order.every_s, console=console)
        finally:
            stop.set()
            watching.cancel()


def _address(url: str) -> str:
    """Where NATS is, without the users and passwords that the URL may hold."""
    return ", ".join(server.rpartition("@")[2].rpartition("://")[2].rstrip("/") for server in url.split(","))
