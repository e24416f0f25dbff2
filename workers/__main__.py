"""One worker process: `python -m workers`, told what to do by trunkline.toml and the environment.

When it is ready it says so on stdout, as one JSON line; everything else goes to stderr.
"""

import asyncio
import errno
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping

import uvloop

from protocol import logs
from protocol.settings import Settings, SettingsError, load, missing_keys
from protocol.wire import Disconnected
from workers import app

USAGE, UNREACHABLE, INTERRUPTED = 2, 3, 130  # exit codes
REFUSALS = {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EROFS}


def serve(settings: Settings, *, announce: Callable[[str], None], environ: Mapping[str, str]) -> int:
    """Run until a signal; the exit code. What stops the start is one sentence each on stderr."""
    if missing := missing_keys(settings, environ):
        return _end(USAGE, *map(str, missing))
    try:
        logs.set_up(form=settings.telemetry.log_format, level=settings.telemetry.log_level)
        running = app.run(settings, announce=announce, environ=environ)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_interruptible(running))
    except Disconnected as error:
        return _end(UNREACHABLE, f"{error}; start one with `trunkline up`, or set TRUNKLINE_NATS__URL")
    except (OSError, ExceptionGroup) as error:
        return _end(USAGE, _refused(error))


def announce_json(admin: str) -> None:
    """The ready line."""
    print(json.dumps({"event": "ready", "admin": admin, "pid": os.getpid()}), flush=True)


def main() -> int:
    """`python -m workers`."""
    try:
        settings = load(os.environ)
    except SettingsError as error:
        return _end(USAGE, str(error))
    return serve(settings, announce=announce_json, environ=os.environ)


async def _interruptible(running: Coroutine[None, None, int]) -> int:
    """A second Ctrl-C ends the process at once; the first asks for a drain, as SIGTERM does."""
    asked = False

    def interrupt() -> None:
        nonlocal asked
        if asked:
            os._exit(INTERRUPTED)
        asked = True
        os.kill(os.getpid(), signal.SIGTERM)

    task = asyncio.ensure_future(running)
    await asyncio.sleep(0)  # it has its handlers now; this one stands before them
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupt)
    return await task


def _refused(error: Exception) -> str:
    """The sentence about a port or a file that we cannot have. Anything else is raised: a bug, with its trace."""
    cause = error
    while isinstance(cause, ExceptionGroup) and len(cause.exceptions) == 1:
        cause = cause.exceptions[0]
    if not isinstance(cause, OSError) or cause.errno not in REFUSALS:
        raise error
    if cause.filename is None:
        return f"{cause.strerror}; choose another with TRUNKLINE_ADMIN__PORT (0: any free one)"
    return f"{cause.filename}: {cause.strerror}; choose another with TRUNKLINE_TELEMETRY__TRACES_FILE"


def _end(code: int, *sentences: str) -> int:
    for sentence in sentences:
        print(f"trunkline: {sentence}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
