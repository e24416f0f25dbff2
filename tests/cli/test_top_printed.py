"""What `trunkline top` prints where nothing can be drawn, and where there is nothing to look at."""

import re
from collections.abc import AsyncIterator, Iterator

import orjson
import pytest

from bench.processes import Process
from tests.cli.conftest import StartConfigured, Terminal
from tests.cli.top_line import TOP, Screens, Watched, screens_in, watched_line
from trunkline import run_file

END_S = 30.0
TRACE = re.compile(r"[0-9a-f]{32}")


@pytest.fixture
def screens(terminal: Terminal) -> Iterator[Screens]:
    with screens_in(terminal.directory) as screens:
        yield screens


@pytest.fixture
async def line(terminal: Terminal) -> AsyncIterator[Watched]:
    async with watched_line(terminal) as line:
        yield line


async def printed(process: Process) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command that ends by itself."""
    code = await process.exited(END_S)
    return code, process.out.read_text(), process.log.read_text()


async def test_without_a_terminal_one_look_is_printed(line: Watched, terminal: Terminal, screens: Screens) -> None:
    await line.callers.talk()
    failed = await (await line.callers.call(fail="before:503")).ended()
    ids, trace = await line.worker_ids(), failed.headers["x-trace-id"]
    once = screens.open(line.environ, *TOP, "--once")
    dumb = screens.open({**line.environ, "TERM": "dumb"})

    code, text, err = await printed(terminal.start("top --window 600", **line.environ))

    assert (code, err) == (0, "")
    assert "\nlive 1/512   queued 0   " in text
    assert "\nturns 1 in 600 s   completed 0   interrupted 0   upstream_error 1\n" in text
    assert [row.split()[0] for row in text.splitlines() if " up " in row] == ids
    assert TRACE.findall(text) == [trace]
    assert "\x1b" not in text
    for screen in (once, dumb):
        assert await screen.exit_code() == 0
        assert "LAST ERRORS  outcome         error           model  trace\r\n" in screen.typescript
        assert "\x1b" not in screen.typescript


async def test_programs_get_the_figures_as_json(line: Watched, terminal: Terminal) -> None:
    await line.callers.talk()
    failed = await (await line.callers.call(fail="before:503")).ended()

    code, text, err = await printed(terminal.start("top --json --window 600", **line.environ))

    figures = orjson.loads(text)
    assert (code, err, text.count("\n")) == (0, "", 1)
    assert (figures["live"], figures["slots"], figures["queued"]) == (1, 512, {"default": 0})
    assert (figures["turns"], figures["outcomes"]["upstream_error"], figures["away_s"]) == (1, 1, None)
    assert [worker["id"] for worker in figures["workers"]] == await line.worker_ids()
    assert [(edge["url"], edge["state"], edge["live"]) for edge in figures["edges"]] == [(line.edge, "ready", 1)]
    assert [(error["outcome"], error["trace_id"]) for error in figures["errors"]] == [
        ("upstream_error", failed.headers["x-trace-id"])
    ]
    assert "business" not in text


@pytest.mark.parametrize("flags", ["", " --json", " --once"])
async def test_without_a_line_it_says_how_to_get_one(terminal: Terminal, flags: str) -> None:
    where = {"TRUNKLINE_NATS__URL": "nats://user:secret@127.0.0.1:9"}

    code, out, err = await printed(terminal.start(f"top{flags}", **where))

    assert (code, out) == (3, "")
    assert err.startswith("trunkline: no NATS server at 127.0.0.1:9 within 2 s")
    assert err.endswith(f"; {run_file.NO_LINE}\n")
    assert (err.count("\n"), "secret" in err) == (1, False)


async def test_without_a_line_a_terminal_stays_as_it_is(screens: Screens) -> None:
    screen = screens.open({"TRUNKLINE_NATS__URL": "nats://127.0.0.1:9"})

    assert await screen.exit_code() == 3
    assert "\x1b" not in screen.typescript
    assert "trunkline: no NATS server at nats://127.0.0.1:9 within 2 s" in screen.text


NO_STREAMS = "max_payload: 12582912\n"
AN_ACCOUNT_WITHOUT = 'jetstream {}\naccounts: {A: {users: [{user: "me", password: "secret"}]}}\n'


@pytest.mark.parametrize("flags", ["", " --json", " --once"])
@pytest.mark.parametrize(
    ("config", "user", "why"),
    [
        (NO_STREAMS, "", "nobody answers for it"),
        (AN_ACCOUNT_WITHOUT, "me:secret@", "JetStream not enabled for account (JetStream error 10039)"),
    ],
)
async def test_a_server_without_jetstream_carries_no_line(
    terminal: Terminal, configured: StartConfigured, flags: str, config: str, user: str, why: str
) -> None:
    """It was shown as a line on which nothing happens."""
    server = await configured(config)
    where = {"TRUNKLINE_NATS__URL": server.url.replace("//", f"//{user}")}

    code, out, err = await printed(terminal.start(f"top{flags}", **where))

    assert (code, out) == (3, "")
    assert err == f"trunkline: the NATS server's JetStream is not usable ({why}); start the server with it on\n"


async def test_on_a_server_without_jetstream_a_terminal_stays_as_it_is(
    screens: Screens, configured: StartConfigured
) -> None:
    server = await configured(NO_STREAMS)
    screen = screens.open({"TRUNKLINE_NATS__URL": server.url})

    assert await screen.exit_code() == 3
    assert "\x1b" not in screen.typescript
    assert screen.text == (
        "trunkline: the NATS server's JetStream is not usable (nobody answers for it); st\nart the server with it on"
    )


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--every 0", "'--every': 0.0 is not in the range"),
        ("--every nan", "--every is no number of seconds; give one such as 1 or 0.5"),
        ("--window soon", "'soon' is not a valid float"),
        ("--window nan", "--window is no number of seconds"),
        ("--admin 127.0.0.1:9090", "--admin is '127.0.0.1:9090'; it must be an http:// or https:// URL"),
        ("--colour", "no such option '--colour'; see `trunkline top --help`"),
        ("--config none.toml", "none.toml: no such file"),
    ],
)
async def test_a_wrong_flag_is_named(terminal: Terminal, flags: str, words: str) -> None:
    code, out, err = await printed(terminal.start(f"top {flags}"))

    assert (code, out) == (2, "")
    assert words in err
    assert "Traceback" not in err
