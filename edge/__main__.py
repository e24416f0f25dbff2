"""One edge process: `python -m edge`, told what to do by trunkline.toml and the environment.

When it is ready it says so on stdout, as one JSON line; everything else goes to stderr. With `--reuse-port` it shares
the public port, which its parent has reserved, with other edges.
"""

import asyncio
import errno
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping

import uvloop

from edge import app
from protocol import logs
from protocol.settings import Settings, SettingsError, check_exposure, load
from protocol.wire import Disconnected

UPSTREAM_KEY = "OPENAI_API_KEY"
USAGE, UNREACHABLE, INTERRUPTED = 2, 3, 130  # exit codes
REFUSALS = {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EROFS}


def without_keys(environ: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """The environment without the keys of upstreams: only workers need them, and those say what they serve."""
    keys = {UPSTREAM_KEY} | {target.api_key_env for target in settings.targets.values()}
    return {name: value for name, value in environ.items() if name not in keys}


def serve(
    settings: Settings, *, reuse_port: bool, announce: Callable[[str, str], None], environ: Mapping[str, str]
) -> int:
    """Run until a signal; the exit code. What stops the start is one sentence on stderr."""
    try:
        check_exposure(settings)
        logs.set_up(form=settings.telemetry.log_format, level=settings.telemetry.log_level)
        running = app.run(settings, reuse_port=reuse_port, announce=announce, environ=environ)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_interruptible(running))
    except SettingsError as error:
        return _end(USAGE, str(error))
    except Disconnected as error:
        return _end(UNREACHABLE, f"{error}; start one with `trunkline up`, or set TRUNKLINE_NATS__URL")
    except (OSError, ExceptionGroup) as error:
        return _end(USAGE, _refused(error))


def announce_json(url: str, admin: str) -> None:
    """The ready line."""
    print(json.dumps({"event": "ready", "url": url, "admin": admin, "pid": os.getpid()}), flush=True)


def main() -> int:
    """`python -m edge [--reuse-port]`."""
    try:
        environ = {name: value for name, value in os.environ.items() if name != UPSTREAM_KEY}
        settings = load(environ)
    except SettingsError as error:
        return _end(USAGE, str(error))
    environ = without_keys(environ, settings)
    return serve(settings, reuse_port="--reuse-port" in sys.argv[1:], announce=announce_json, environ=environ)


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
        return f"{cause.strerror}; choose another with TRUNKLINE_EDGE__PORT or TRUNKLINE_ADMIN__PORT (0: any free one)"
    return f"{cause.filename}: {cause.strerror}; choose another with TRUNKLINE_TELEMETRY__TRACES_FILE"


def _end(code: int, sentence: str) -> int:
    print(f"trunkline: {sentence}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
