"""One worker process: `python -m workers`, told what to do by trunkline.toml and the environment.

When it is ready it says so on stdout, as one JSON line; everything else goes to stderr.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping

import uvloop

from protocol import logs, process
from protocol.reload import reader
from protocol.settings import NO_FLAGS, Settings, SettingsError, load, missing_keys
from workers import app, prompts


def serve(
    settings: Settings,
    *,
    announce: Callable[[str], None],
    environ: Mapping[str, str],
    flags: Mapping[str, str] = NO_FLAGS,
) -> int:
    """Run until a signal; the exit code. What stops the start is one sentence each on stderr.

    `environ` and `flags` are what `settings` were loaded from.
    """
    if wrong := [*missing_keys(settings, environ), *prompts.wrong(settings)]:
        return process.end(process.USAGE, *map(str, wrong))
    logs.set_up(form=settings.telemetry.log_format, level=settings.telemetry.log_level)
    read = reader(environ, flags)
    return process.run(lambda: app.run(settings, read=read, announce=announce, environ=environ), uvloop.new_event_loop)


def announce_json(admin: str) -> None:
    """The ready line."""
    print(json.dumps({"event": "ready", "admin": admin, "pid": os.getpid()}), flush=True)


def main() -> int:
    """`python -m workers`."""
    try:
        settings = load(os.environ)
    except SettingsError as error:
        return process.end(process.USAGE, str(error))
    return serve(settings, announce=announce_json, environ=os.environ)


if __name__ == "__main__":
    sys.exit(main())
