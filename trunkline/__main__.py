"""The command line: `trunkline up`, `edge`, `worker`, `check`, `talk`, `top`, `turns`, `calls`, `responses`,
`schema`.

Options are the settings of the same name: they go over the environment, and what is wrong with one is said in the same
words. Exit codes: 0 drained, 1 unexpected, 2 usage or configuration, 3 NATS unreachable, 4 a drain ran out, 130 the
second Ctrl-C.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import click

from protocol.messages import Outcome
from protocol.settings import Settings, SettingsError, check_exposure, load
from trunkline import options

USAGE, INTERRUPTED = 2, 130
PORT = click.IntRange(0, 65535)
COUNT = click.IntRange(min=1)
SAID = options.Said()

Command = Callable[..., Any]


def main() -> int:
    """Run one command; its exit code. What a user can mend is one sentence on stderr."""
    from trunkline.supervisor import KeepsDying, StartFailed
    from trunkline.usage import sentence

    try:
        return int(cli.main(prog_name="trunkline", standalone_mode=False) or 0)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        return _end(error.exit_code, sentence(error))
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except SettingsError as error:
        return _end(USAGE, str(error))
    except StartFailed as error:
        return _end(error.exit_code, str(error))
    except KeepsDying as error:
        return _end(1, str(error))


def _config(command: Command) -> Command:
    told = "The configuration file [default: ./trunkline.toml]"
    return click.option("--config", type=SAID, metavar="PATH", help=told)(command)


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
@click.option(
    "--upstream", type=SAID, metavar="URL", help="An OpenAI-compatible base URL, served as the model `upstream`."
)
@click.option("--upstream-model", type=SAID, metavar="NAME", help="What that upstream calls its model.")
@click.option(
    "--local-model",
    metavar="[PATH]",
    is_flag=False,
    flag_value="",
    help="Serve the model `local` from this machine: a small one, or the GGUF file at PATH.",
)
@click.option("--otlp", metavar="URL", help="Send the traces to this collector, e.g. http://127.0.0.1:4318.")
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
    local_model: str | None,
    otlp: str | None,
    no_restart: bool,
    as_json: bool,
    config: str | None,
) -> int:
    """Run everything on this machine: NATS, workers, edges."""
    from protocol import logs
    from trunkline import collector
    from trunkline.local_model import wanted
    from trunkline.screen import show_up
    from trunkline.up import Order, up

    with wanted(local_model) as model:
        shared = _given(
            TRUNKLINE_UPSTREAM__URL=upstream,
            TRUNKLINE_UPSTREAM__MODEL=upstream_model,
            **{name: upstream and os.environ.get(name) for name in options.UPSTREAM},
            TRUNKLINE_LOCAL__URL=model.url if model else None,
            TRUNKLINE_LOCAL__STOP=model.stop if model else None,
            **collector.variables(otlp),
        )
        ours = _given(TRUNKLINE_EDGE__PORT=port, TRUNKLINE_EDGE__PROCESSES=edges, TRUNKLINE_CONFIG=config)
        environ = {**os.environ, **shared, **ours}
        settings = load(environ, flags=options.flags(options.UP))
        logs.set_up(form=settings.telemetry.log_format, level=settings.telemetry.log_level)
        order = Order(
            workers=workers,
            edges=settings.edge.processes,
            ephemeral=ephemeral,
            restart=not no_restart,
            model=model,
            shared=shared,
        )

        def announce(said: dict[str, Any]) -> None:
            if as_json:
                _print_json(said)
            else:
                endpoint = "the OTLP endpoint of your environment" if collector.is_set(environ) else None
                show_up(said, settings, collector=otlp or endpoint)

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
    from trunkline.ports import reserve

    environ = _environ(TRUNKLINE_EDGE__PORT=port, TRUNKLINE_EDGE__PROCESSES=processes, TRUNKLINE_CONFIG=config)
    environ.pop(UPSTREAM_KEY, None)
    flags = options.flags(options.EDGE)
    settings, environ = asyncio.run(_joined(environ, flags))
    environ = without_keys(environ, settings)
    announce = _announce("edge", as_json)
    if settings.edge.processes > 1:
        return run_edges(settings, environ, announce)
    if port:
        check_exposure(settings)
        reserve(settings.edge.host, port).close()  # where it is taken, the cure is the option
    from edge.__main__ import serve

    def announce_one(url: str, admin: str) -> None:
        announce({"event": "ready", "url": url, "admin": admin, "pid": os.getpid()})

    return serve(settings, reuse_port=False, announce=announce_one, environ=environ, flags=flags)


@cli.command("worker")
@click.option("--slots", type=COUNT, help="How many turns at a time [default: 256]")
@click.option("--pools", type=SAID, metavar="A,B", help="Whose jobs to take [default: default]")
@_as_json
@_config
def worker_command(slots: int | None, pools: str | None, as_json: bool, config: str | None) -> int:
    """Run a worker: it takes the jobs and calls the models."""
    from workers.__main__ import serve

    environ = _environ(TRUNKLINE_WORKER__SLOTS=slots, TRUNKLINE_WORKER__POOLS=pools, TRUNKLINE_CONFIG=config)
    flags = options.flags(options.WORKER)
    settings, environ = asyncio.run(_joined(environ, flags))
    announce = _announce("worker", as_json)

    def announce_one(admin: str) -> None:
        announce({"event": "ready", "admin": admin, "pid": os.getpid()})

    return serve(settings, announce=announce_one, environ=environ, flags=flags)


@cli.command("check")
@click.option("--spend", is_flag=True, help="Ask each target for a token too, which may cost something.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")
@_config
def check_command(spend: bool, as_json: bool, config: str | None) -> int:
    """Look at everything that the line depends on: what is wrong, and the cure."""
    from trunkline.check.run import check
    from trunkline.check.screen import report

    return report(lambda: check(_environ(TRUNKLINE_CONFIG=config), spend=spend), as_json=as_json)


@cli.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of trunkline.toml, for editors."""
    from trunkline.schema import schema, text

    print(text(schema()))


@cli.command("top")
@click.option(
    "--every", type=click.FloatRange(0.1, 3600), default=1.0, show_default=True, help="Seconds between looks."
)
@click.option(
    "--window", type=click.FloatRange(1, 600), default=60.0, show_default=True, help="Seconds that the figures span."
)
@click.option("--admin", "admins", metavar="URL", multiple=True, help="An edge's admin listener; may be given again.")
@click.option("--once", is_flag=True, help="Print one look as plain text and leave, as without a terminal.")
@click.option("--json", "as_json", is_flag=True, help="Print one look as JSON and leave.")
@_config
def top_command(
    every: float, window: float, admins: tuple[str, ...], once: bool, as_json: bool, config: str | None
) -> int:
    """Watch the line: turns, times, workers, errors; q leaves."""
    from trunkline.top.command import Order, top

    order = Order(every_s=every, window_s=window, admins=admins, once=once, as_json=as_json)
    return top(load(_environ(TRUNKLINE_CONFIG=config)), order)


@cli.command("turns")
@click.option("-n", "--last", type=COUNT, help="At most so many, the newest [default: 20; all with --since]")
@click.option("--follow", is_flag=True, help="Then print every turn as it ends, until Ctrl-C.")
@click.option("--outcome", "outcomes", type=click.Choice(get_args(Outcome)), multiple=True, help="May be given again.")
@click.option("--errors", is_flag=True, help="Those alone that failed; a barge-in is no error.")
@click.option("--model", type=SAID, metavar="NAME", help="What the caller asked for.")
@click.option("--target", type=SAID, metavar="NAME", help="It was tried, whether or not it answered.")
@click.option("--tenant", type=SAID, metavar="NAME", help="Whose API key it was.")
@click.option("--profile", type=SAID, metavar="NAME", help="What its platform was taken for.")
@click.option("--call", type=SAID, metavar="ID", help="The turns of one call.")
@click.option("--since", type=SAID, metavar="WHEN", help="So long ago (10m, 2h, 7d), or a time: 2026-03-01T08:00:00Z.")
@click.option("--slower-than", type=SAID, metavar="TIME", help="First content later than this, such as 800ms or 1.5s.")
@click.option("--summary", is_flag=True, help="A last line with the totals: outcomes, times, tokens, cost.")
@click.option("--json", "form", flag_value="json", help="JSON lines, the records as they are kept.")
@click.option("--csv", "form", flag_value="csv", help="For a spreadsheet.")
@_config
def turns_command(
    last: int | None,
    follow: bool,
    outcomes: tuple[Outcome, ...],
    errors: bool,
    model: str | None,
    target: str | None,
    tenant: str | None,
    profile: str | None,
    call: str | None,
    since: str | None,
    slower_than: str | None,
    summary: bool,
    form: Literal["json", "csv"] | None,
    config: str | None,
) -> int:
    """List the turns that have ended: how, how fast, by whom, at what cost."""
    from trunkline.turns import wanted
    from trunkline.turns.command import Order, turns

    slower_than_s = None if slower_than is None else wanted.duration_s(slower_than, flag="--slower-than")
    asked = wanted.Wanted(
        outcomes=outcomes,
        model=model,
        tenant=tenant,
        profile=profile,
        call=call,
        target=target,
        slower_than_s=slower_than_s,
        errors=errors,
    )
    begins = None if since is None else wanted.since(since)
    order = Order(wanted=asked, last=last, since=begins, follow=follow, form=form or "table", summary=summary)
    return turns(load(_environ(TRUNKLINE_CONFIG=config)), order)


@cli.group("calls")
def calls_group() -> None:
    """The calls that the line has lately had."""


def _of_calls(command: Command) -> Command:
    """What both of its commands take."""
    when = "So long ago (10m, 2h, 7d), or a time: 2026-03-01T08:00:00Z."
    for option in (
        _config,
        click.option("--json", "as_json", is_flag=True, help="JSON, nothing else."),
        click.option("--since", type=SAID, metavar="WHEN", help=when),
        click.option("--tenant", type=SAID, metavar="NAME", help="Whose API key it was."),
    ):
        command = option(command)
    return command


@calls_group.command("ls")
@click.option("-n", "--last", type=COUNT, default=20, show_default=True, help="At most so many, the newest.")
@_of_calls
def calls_ls_command(last: int, tenant: str | None, since: str | None, as_json: bool, config: str | None) -> int:
    """List the newest calls: turns, outcomes, cost. Without --since, of the newest 2000 turns."""
    from trunkline.calls.command import Order, ls
    from trunkline.turns import wanted

    begins = None if since is None else wanted.since(since)
    order = Order(tenant=tenant, since=begins, as_json=as_json)
    return ls(load(_environ(TRUNKLINE_CONFIG=config)), order, last=last)


@calls_group.command("show")
@click.argument("call_id", metavar="CALL")
@click.option("--transcript", is_flag=True, help="What was said too, as the platform has sent it after the call.")
@_of_calls
def calls_show_command(
    call_id: str, transcript: bool, tenant: str | None, since: str | None, as_json: bool, config: str | None
) -> int:
    """Show one call: its turns in order, and what the platform has sent after it."""
    from trunkline.calls.command import Order, show
    from trunkline.turns import wanted

    begins = None if since is None else wanted.since(since)
    order = Order(tenant=tenant, since=begins, as_json=as_json)
    return show(load(_environ(TRUNKLINE_CONFIG=config)), order, call_id, transcript=transcript)


@cli.group("responses")
def responses_group() -> None:
    """The responses that the line keeps, so that a conversation can go on from one."""


_tenant = click.option("--tenant", type=SAID, metavar="NAME", help="Whose API key it was.")
_lines_of_json = click.option("--json", "as_json", is_flag=True, help="JSON, nothing else.")


@responses_group.command("ls")
@click.option("-n", "--last", type=COUNT, default=20, show_default=True, help="At most so many, the newest.")
@_tenant
@_lines_of_json
@_config
def responses_ls_command(last: int, tenant: str | None, as_json: bool, config: str | None) -> int:
    """List the newest responses, newest first."""
    from trunkline.responses.command import ls

    return ls(load(_environ(TRUNKLINE_CONFIG=config)), last=last, tenant=tenant, as_json=as_json)


@responses_group.command("show")
@click.argument("response_id", metavar="ID")
@_tenant
@_lines_of_json
@_config
def responses_show_command(response_id: str, tenant: str | None, as_json: bool, config: str | None) -> int:
    """Show one response: what led to it, and what it says. --json is the record as it is stored."""
    from trunkline.responses.command import show

    return show(load(_environ(TRUNKLINE_CONFIG=config)), response_id, tenant=tenant, as_json=as_json)


@responses_group.command("rm")
@click.argument("response_ids", metavar="ID…", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All of --tenant NAME.")
@click.option("--older-than", type=SAID, metavar="WHEN", help="All that were stored so long ago (10m, 2h, 7d).")
@_tenant
@_config
def responses_rm_command(
    response_ids: tuple[str, ...], every: bool, older_than: str | None, tenant: str | None, config: str | None
) -> int:
    """Remove responses: no conversation goes on from them any more."""
    from trunkline.responses.command import remove, remove_all
    from trunkline.turns import wanted

    if sum((bool(response_ids), every, older_than is not None)) != 1:
        raise click.UsageError("give ids, or --all with --tenant, or --older-than: one of them")
    if every and tenant is None:
        raise click.UsageError("--all goes with --tenant: it says whose")
    settings = load(_environ(TRUNKLINE_CONFIG=config))
    if response_ids:
        return remove(settings, response_ids, tenant=tenant)
    before = wanted.Since(ago_s=wanted.duration_s(older_than, flag="--older-than")) if older_than else None
    return remove_all(settings, tenant=tenant, before=before)


@cli.command("talk")
@click.argument("message", nargs=-1)
@click.option("--url", metavar="URL", help="An OpenAI-compatible API [default: the line that `trunkline up` runs here]")
@click.option("--model", metavar="NAME", help="Who answers [default: local, upstream or echo, as the line has them]")
@click.option("--system", metavar="TEXT", help="What the model is told first.")
@click.option("--metadata", metavar="KEY=VALUE", multiple=True, help="Sent with every turn, e.g. echo.rate=20.")
@click.option("--key-env", metavar="VAR", help="The variable that holds our key [default: first of TRUNKLINE_API_KEYS]")
@click.option("--json", "as_json", is_flag=True, help="One message: answer and figures as one JSON line on stdout.")
@_config
def talk_command(
    message: tuple[str, ...],
    url: str | None,
    model: str | None,
    system: str | None,
    metadata: tuple[str, ...],
    key_env: str | None,
    as_json: bool,
    config: str | None,
) -> int:
    """Talk with the line. With a MESSAGE, or with text on stdin (all of it is one message), it is answered once: the
    answer on stdout, its figures on stderr. Else a conversation begins; Enter or Ctrl-C interrupts an answer."""
    from trunkline.talk.address import find
    from trunkline.talk.failure import Failure
    from trunkline.talk.run import Order, pairs, talk

    environ = _environ(TRUNKLINE_CONFIG=config)
    settings = load(environ)
    address = find(settings, environ, url=url, key_env=key_env)
    words = " ".join(message) if message else None
    order = Order(message=words, model=model, system=system, metadata=pairs(metadata), as_json=as_json)
    try:
        return talk(settings, environ, address, order)
    except Failure as failure:
        return _end(failure.exit_code, str(failure))


async def _joined(environ: dict[str, str], flags: Mapping[str, str]) -> tuple[Settings, dict[str, str]]:
    """Settings of a process that joins the line that runs here, where one does, and the environment that gives them."""
    from trunkline import run_file

    environ = await run_file.joined(load(environ, flags=flags), environ)
    os.environ.update({name: environ[name] for name in run_file.COLLECTORS if name in environ})  # exporters look there
    told = load(environ, flags=flags)
    settings = await run_file.join(told)
    if settings != told:  # whoever reads the settings again finds the line there
        environ["TRUNKLINE_NATS__URL"] = str(settings.nats.url)
        environ["TRUNKLINE_TELEMETRY__TRACES_FILE"] = str(settings.telemetry.traces_file)
    return settings, environ


def _environ(**options: str | int | None) -> dict[str, str]:
    """The environment, and over it the options that were given."""
    return {**os.environ, **_given(**options)}


def _given(**options: str | int | None) -> dict[str, str]:
    """The variables of those options that were given."""
    return {name: str(value) for name, value in options.items() if value is not None}


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
