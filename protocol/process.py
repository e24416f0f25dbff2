"""How a process of either tier runs: the sentence about what stops its start, and the exit code."""

import asyncio
import errno
import gc
import sys
from collections.abc import Callable, Coroutine

from protocol.settings import SettingsError
from protocol.streams import StreamError
from protocol.wire import Disconnected, NoResponders

DRAINED, USAGE, UNREACHABLE, DRAIN_RAN_OUT = 0, 2, 3, 4
REFUSALS = {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EROFS}
SWITCH_S = 0.002  # the thread that exports spans keeps the event loop waiting for so long, not for Python's 5 ms
GARBAGE = 10_000  # objects between two collections; Python's 700 are a few milliseconds of a busy line

Running = Coroutine[None, None, int]


class NoJetStream(Disconnected):
    """The server is there, but keeps no streams."""


def run(running: Callable[[], Running], new_loop: Callable[[], asyncio.AbstractEventLoop]) -> int:
    """Run one process until its end; the exit code. What stops the start is one sentence on stderr.

    `running` makes the coroutine of the process: it returns the exit code.
    """
    gc.freeze()  # what was imported stays: no collection need look at it again
    gc.set_threshold(GARBAGE)
    sys.setswitchinterval(SWITCH_S)
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(running())
    except SettingsError as error:
        return end(USAGE, str(error))
    except NoJetStream as error:
        return end(UNREACHABLE, str(error))
    except Disconnected as error:
        return end(UNREACHABLE, f"{error}; start one with `trunkline up`, or set TRUNKLINE_NATS__URL")
    except (OSError, ExceptionGroup) as error:
        return end(USAGE, _refused(error))


def end(code: int, *sentences: str) -> int:
    """Say why on stderr; the code."""
    for sentence in sentences:
        print(f"trunkline: {sentence}", file=sys.stderr)
    return code


async def open_bus(opening: Coroutine[None, None, None]) -> None:
    """Find or make the streams.

    Raises:
        NoJetStream: the sentence says why.
    """
    try:
        await opening
    except (StreamError, NoResponders, TimeoutError) as error:
        why = "nobody answers for it" if isinstance(error, NoResponders) else str(error) or "it does not answer in time"
        raise NoJetStream(f"the NATS server's JetStream is not usable ({why}); start the server with it on") from None


def _refused(error: Exception) -> str:
    """The sentence about a port or a file that we cannot have. Anything else is raised: a bug, with its trace."""
    cause = error
    while isinstance(cause, ExceptionGroup) and len(cause.exceptions) == 1:
        cause = cause.exceptions[0]
    if not isinstance(cause, OSError) or cause.errno not in REFUSALS:
        raise error
    if cause.filename is None:
        return f"{cause.strerror}; choose another with TRUNKLINE_EDGE__PORT or TRUNKLINE_ADMIN__PORT (0: any free one)"
    return f"{cause.filename}: {cause.strerror}; choose another with TRUNKLINE_TELEMETRY__TRACES_FILE"
