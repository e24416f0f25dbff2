"""How a benchmark runs to its end, and how it is ended before."""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

import click
import uvloop

from bench.processes import StartFailed

INTERRUPTED = 130

T = TypeVar("T")


def run(everything: Coroutine[Any, Any, T]) -> T:
    """Run it to its end. SIGTERM ends it as Ctrl-C does: with nothing left behind, and exit code 130.

    Raises:
        click.UsageError: a process did not come up.
    """

    async def stoppable() -> T:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await everything

    try:
        return uvloop.run(stoppable())
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(INTERRUPTED)
    except StartFailed as error:
        raise click.UsageError(str(error)) from None
