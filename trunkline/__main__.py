"""The command line: `trunkline up`, `trunkline edge`, `trunkline worker`.

Options are the settings of the same name: they go over the environment, and what is wrong with one is said in the same
words. Exit codes: 0 drained, 1 unexpected, 2 usage or configuration, 3 NATS unreachable, 4 a drain ran out, 130 the
second Ctrl-C.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from protocol.settings import SettingsError, load

USAGE, INTERRUPTED = 2, 130
PORT = click.IntRange(0, 65535)
COUNT = click.IntRange(min=1)

Command = Callable[..., Any]


def main() -> int:
    """Run one command; its exit code. What a user can mend is one sentence on stderr."""
    from trunkline.supervisor import KeepsDying, StartFailed

    try:
        return int(cli.main(prog_name="trunkline", standalone_mode=False) or 0)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except SettingsError as error:
        return _end(USAGE, str(error))
    except StartFailed as error:
        return _end(error.exit_code, str(error))
    except KeepsDying as error:
        return _end(1, str(error))


def _config(command: Command) -> Command:
    return click.option("--config", type=click.Path(), help="The configuration file [default: ./trunkline.toml]")(
        command
    )


def _as_json(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="One JSON line on stdout when ready, nothing else.")(
        command
    )


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="trunkline", message="trunkline %(version)s")
def cli() -> None:
    """The line between a voice platform and your language model."""


@cli.command("up")
@click.option("--workers", type=COUNT, default=1, show_default=True, help="How many workers.")
@click.option("--edges", type=COUNT, help="How many edges, on one port [default: 1]")
@click.option("--port", type=PORT, help="Where the API listens; 0: any free port [default: 8080]")
@click.option("--ephemeral", is_flag=True, help="Keep the data in a temporary directory and remove it at the end.")
@click.option("--upstream", metavar="URL", help="An OpenAI-compatible base URL, served as the model `upstream`.")
@click.option("--upstream-model", metavar="NAME", help="What that upstream calls its model.")
@click.option("--no-restart", is_flag=True, help="Leave a process that dies dead.")
@_as_json
@_config
def up_command(
    workers: int,
    edges: int | None,
    port: int | None,
    ephemeral: bool,
    upstream: str | None,
    upstream_model: str | None,
    no_restart: bool,
    as_json: bool,
    config: str | None,
) -> int:
    """Run everything on this machine: NATS, workers, edges."""
    from protocol import logs
    from trunkline.screen import show_up
    from trunkline.up import COLLECTORS, Order, up

    environ = _environ(
        TRUNKLINE_EDGE__PORT=port,
        TRUNKLINE_EDGE__PROCESSES=edges,
        TRUNKLINE_UPSTREAM__URL=upstream,
        TRUNKLINE_UPSTREAM__MODEL=upstream_model,
        TRUNKLINE_CONFIG=config,
    )
    settings = load(environ)
    logs.set_up(form=settings.telemetry.log_format, level=settings.telemetry.log_level)
    order = Order(workers=workers, edges=settings.edge.processes, ephemeral=ephemeral, restart=not no_restart)

    def announce(said: dict[str, Any]) -> None:
        if as_json:
            _print_json(said)
        else:
            show_up(said, settings, collector=any(environ.get(name) for name in COLLECTORS))

    return up(settings, environ, order, announce)


@cli.command("edge")
@click.option("--port", type=PORT, help="Where the API listens; 0: any free port [default: 8080]")
@click.option("--processes", type=COUNT, help="How many processes, on one port [default: 1]")
@_as_json
@_config
def edge_command(port: int | None, processes: int | None, as_json: bool, config: str | None) -> int:
    """Run an edge: it takes the requests and relays the answers."""
    from trunkline.children import UPSTREAM_KEY, without_keys
    from trunkline.edges import run_edges
    from trunkline.run_file import join

    environ = _environ(TRUNKLINE_EDGE__PORT=port, TRUNKLINE_EDGE__PROCESSES=processes, TRUNKLINE_CONFIG=config)
    environ.pop(UPSTREAM_KEY, None)
    settings = asyncio.run(join(load(environ)))
    environ = without_keys(environ, settings)
    announce = _announce("edge", as_json)
    if settings.edge.processes > 1:
        return run_edges(settings, environ, announce)
    from edge.__main__ import serve

    def announce_one(url: str, admin: str) -> None:
        announce({"event": "ready", "url": url, "admin": admin, "pid": os.getpid()})

    return serve(settings, reuse_port=False, announce=announce_one, environ=environ)


@cli.command("worker")
@click.option("--slots", type=COUNT, help="How many turns at a time [default: 256]")
@click.option("--pools", metavar="A,B", help="Whose jobs to take [default: default]")
@_as_json
@_config
def worker_command(slots: int | None, pools: str | None, as_json: bool, config: str | None) -> int:
    """Run a worker: it takes the jobs and calls the models."""
    from trunkline.run_file import join
    from workers.__main__ import serve

    environ = _environ(TRUNKLINE_WORKER__SLOTS=slots, TRUNKLINE_WORKER__POOLS=pools, TRUNKLINE_CONFIG=config)
    settings = asyncio.run(join(load(environ)))
    announce = _announce("worker", as_json)

    def announce_one(admin: str) -> None:
        announce({"event": "ready", "admin": admin, "pid": os.getpid()})

    return serve(settings, announce=announce_one, environ=environ)


def _environ(**options: str | int | None) -> dict[str, str]:
    """The environment, and over it the options that were given."""
    return {**os.environ, **{name: str(value) for name, value in options.items() if value is not None}}


def _announce(kind: str, as_json: bool) -> Callable[[dict[str, Any]], None]:
    def announce(said: dict[str, Any]) -> None:
        from trunkline.screen import show_process

        if as_json:
            _print_json(said)
        else:
            show_process(kind, said)

    return announce


def _print_json(said: dict[str, Any]) -> None:
    print(json.dumps(said), flush=True)


def _end(code: int, sentences: str) -> int:
    for sentence in sentences.splitlines():
        print(f"trunkline: {sentence}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
