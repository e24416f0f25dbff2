"""What signals tell a process: to stop, or to read its configuration again.

SIGHUP may mean either. Operators and service managers send it to have a configuration read; the system sends it when
the terminal of a process goes away, and then that terminal cannot be opened any more.
"""

import asyncio
import os
import signal
from typing import NamedTuple

INTERRUPTED = 130
TERMINAL = "/dev/tty"  # of whoever opens it: the terminal that controls it, where one does


class Orders(NamedTuple):
    """Set when a signal says so; `reload` is cleared by whoever obeys it."""

    stop: asyncio.Event
    reload: asyncio.Event


class HangUps:
    """Tells the two meanings of SIGHUP apart; to be made before a handler for it is set."""

    def __init__(self) -> None:
        is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # nohup: the terminal may go
        self._had_terminal = not is_ignored and _has_terminal()

    @property
    def terminal_is_gone(self) -> bool:
        """Whether the terminal at which we were started is: nobody can stop us there any more."""
        return self._had_terminal and not _has_terminal()


def take_orders() -> Orders:
    """SIGTERM, the first Ctrl-C and a terminal that goes away mean `stop`, any other SIGHUP `reload`.

    A second Ctrl-C ends the process at once.
    """
    orders, hang_ups = Orders(asyncio.Event(), asyncio.Event()), HangUps()

    def interrupt() -> None:
        if orders.stop.is_set():
            os._exit(INTERRUPTED)
        orders.stop.set()

    def hang_up() -> None:
        (orders.stop if hang_ups.terminal_is_gone else orders.reload).set()

    loop = asyncio.get_running_loop()
    for number, handler in ((signal.SIGTERM, orders.stop.set), (signal.SIGHUP, hang_up), (signal.SIGINT, interrupt)):
        loop.add_signal_handler(number, handler)
    return orders


def _has_terminal() -> bool:
    try:
        os.close(os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
