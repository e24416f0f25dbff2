"""One edge process: `python -m edge`, told what to do by trunkline.toml and the environment.

When it is ready it says so on stdout, as one JSON line; everything else goes to stderr. With `--reuse-port` it shares
the public port, which its parent has reserved, with other edges.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping

import uvloop

from edge import app
from protocol import logs, process
from protocol.reload import reader
from protocol.settings import NO_FLAGS, Settings, SettingsError, check_exposure, load

UPSTREAM_KEY = "OPENAI_API_KEY"  # only workers need it, and they say what they serve with it


def serve(
    settings: Settings,
    *,
    reuse_port: bool,
    announce: Callable[[str, str], None],
    environ: Mapping[str, str],
    flags: Mapping[str, str] = NO_FLAGS,
) -> int:
    """Run until a signal; the exit code. What stops the start is one sentence on stderr.

    `environ` and `flags` are what `settings` were loaded from.
    """
    try:
        check_exposure(settings)
    except SettingsError as error:
        return process.end(process.USAGE, str(error))
    logs.set_up(form=settings.telemetry.log_format, level=settings.telemetry.log_level)
    read = reader(environ, flags)
    return process.run(
        lambda: app.run(settings, read=read, reuse_port=reuse_port, announce=announce, environ=environ),
        uvloop.new_event_loop,
    )


def announce_json(url: str, admin: str) -> None:
    """The ready line."""
    print(json.dumps({"event": "ready", "url": url, "admin": admin, "pid": os.getpid()}), flush=True)


def main() -> int:
    """`python -m edge [--reuse-port]`."""
    environ = {name: value for name, value in os.environ.items() if name != UPSTREAM_KEY}
    try:
        settings = load(environ)
    except SettingsError as error:
        return process.end(process.USAGE, str(error))
    return serve(settings, reuse_port="--reuse-port" in sys.argv[1:], announce=announce_json, environ=environ)


if __name__ == "__main__":
    sys.exit(main())
