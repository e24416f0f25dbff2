"""What SIGHUP means to a process: read the configuration again, or, where its terminal went away, stop."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.own_terminal import Program, own_terminal

PROGRAM = """
import asyncio
from protocol.signals import take_orders

async def tell(name, event):
    await event.wait()
    event.clear()
    print(name, flush=True)

async def run():
    orders = take_orders()
    print("ready", flush=True)
    stop = asyncio.create_task(tell("stop", orders.stop))
    while not stop.done():
        reload = asyncio.create_task(tell("reload", orders.reload))
        await asyncio.wait((stop, reload), return_when=asyncio.FIRST_COMPLETED)
    reload.cancel()

asyncio.run(run())
"""


@contextmanager
def program(*, nohup: bool = False) -> Iterator[Program]:
    """One that says what it is told."""
    with own_terminal(["-c", PROGRAM], nohup=nohup) as one:
        assert one.said() == "ready"
        yield one


def test_while_the_terminal_is_there_it_is_an_order_to_reload() -> None:
    with program() as one:
        for _ in range(2):
            one.send(signal.SIGHUP)
            assert one.said() == "reload"


def test_a_terminal_that_goes_away_is_an_order_to_stop() -> None:
    """Nobody could stop it there any more."""
    with program() as one:
        one.close_terminal()

        assert (one.said(), one.exit_code()) == ("stop", 0)


def test_under_nohup_it_outlives_the_terminal() -> None:
    with program(nohup=True) as one:
        one.close_terminal()

        assert one.said() == "reload"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_others_stop(number: signal.Signals) -> None:
    with program() as one:
        one.send(number)

        assert (one.said(), one.exit_code()) == ("stop", 0)
