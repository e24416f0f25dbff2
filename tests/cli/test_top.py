"""`trunkline top` on real terminals of several sizes, looking at a real line."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.broker.nats_server import NatsServer
from tests.cli.conftest import Terminal
from tests.cli.pseudo_terminal import CTRL_C, UP
from tests.cli.top_line import TOP, Callers, Screen, Screens, Watched, screens_in, watched_line, worker_id
from tests.conftest import StartNats

NOBODY = "none is heard; start one with `trunkline worker`"


@pytest.fixture
def screens(terminal: Terminal) -> Iterator[Screens]:
    with screens_in(terminal.directory) as screens:
        yield screens


@pytest.fixture
async def line(terminal: Terminal) -> AsyncIterator[Watched]:
    async with watched_line(terminal) as line:
        yield line


async def test_screens_of_every_size_show_workers_live_turns_a_barge_in_and_an_error(
    line: Watched, screens: Screens
) -> None:
    usual = screens.open(line.environ)
    await usual.shows("live 0/512", *[f"{worker} up " for worker in await line.worker_ids()])

    for _ in range(3):
        await line.callers.talk()
    (await line.callers.talk()).hang_up()
    failed = await (await line.callers.call(fail="before:503")).ended()
    await (await line.callers.call("echo-json")).ended()
    wide, tiny = (screens.open(line.environ, columns=c, rows=r) for c, r in ((120, 40), (40, 10)))

    turns = "turns 3 in 600 s completed 1 interrupted 1 upstream_error 1"
    trace = failed.headers["x-trace-id"]
    echoes = ("echo 2 1", "echo-json 1 0")
    await asyncio.gather(
        usual.shows("live 3/512", "queued 0", turns, trace),
        wide.shows("live 3/512", turns, trace, f"{line.edge} ready 3 0 3", *echoes),
        tiny.shows("live 3/512", "failed 1/3", "upstream_error echo"),
    )
    assert "cancel p50 -" not in usual.text
    assert "business" not in usual.text + wide.text + tiny.text

    usual.terminal.resize(40, 10)
    await usual.shows("failed 1/3", "WORKERS 2 state busy", "LAST ERRORS outcome model")
    usual.terminal.resize(120, 40)
    await usual.shows(turns, trace, *echoes)
    line.callers.hang_up()
    await asyncio.gather(*(_goes_idle_and_leaves(screen) for screen in (usual, wide, tiny)))


async def _goes_idle_and_leaves(screen: Screen) -> None:
    await screen.shows("live 0/512")
    screen.terminal.type("q")
    assert await screen.exit_code() == 0


async def test_a_worker_that_dies_is_marked(terminal: Terminal, screens: Screens, nats_server: NatsServer) -> None:
    where = {"TRUNKLINE_NATS__URL": nats_server.url, "TRUNKLINE_NATS__PREFIX": "marked"}
    screen = screens.open(where)
    worker = terminal.start("worker --json --slots 3", **where)
    its_id = await worker_id((await worker.first_line())["admin"])
    await screen.shows("WORKERS 1", f"{its_id} up 0/3", "live 0/3")

    worker.send_group(signal.SIGKILL)

    await screen.shows(f"{its_id} silent 0/3", "live 0/0")


@pytest.mark.parametrize("key", ["q", CTRL_C])
async def test_afterwards_a_terminal_is_as_it_was(key: str, screens: Screens, nats_server: NatsServer) -> None:
    """Its modes, its cursor, and what stood on it."""
    script = f"stty -g; {' '.join(TOP)}; echo left $?; stty -g; echo now; read line; echo again: $line"
    screen = screens.open({"TRUNKLINE_NATS__URL": nats_server.url}, "/bin/sh", "-c", script)
    await screen.shows("q quit", NOBODY)

    screen.terminal.type(key)
    await screen.shows("left 0", "now")
    screen.terminal.type("typed\n")

    assert await screen.exit_code() == 0
    before, _, rest = screen.typescript.partition("\x1b[?1049h")
    _, _, after = rest.rpartition("\x1b[?25h\x1b[?1049l")
    assert after.split() == ["left", "0", *before.split(), "now", "typed", "again:", "typed"]


async def test_keys_pause_and_help(screens: Screens, nats_server: NatsServer) -> None:
    screen = screens.open({"TRUNKLINE_NATS__URL": nats_server.url})
    await screen.shows("WORKERS 0")

    screen.terminal.type("?")
    await screen.shows("hang-up to upstream closed")
    screen.terminal.type("h")
    await screen.shows("WORKERS 0")
    screen.terminal.type("p")
    await screen.shows("paused; p goes on")
    screen.terminal.type(f"xyz{UP}")  # keys that mean nothing
    screen.terminal.type("p")
    await screen.no_longer_shows("paused")
    screen.terminal.type("Q")
    assert await screen.exit_code() == 0


async def test_nats_stops_and_comes_back(terminal: Terminal, screens: Screens, start_nats: StartNats) -> None:
    nats = start_nats()
    where = {"TRUNKLINE_NATS__URL": nats.url}
    edge, worker = terminal.start("edge --json --port 0", **where), terminal.start("worker --json", **where)
    at_edge, at_worker = await edge.first_line(), await worker.first_line()
    admin, its_id = at_edge["admin"], await worker_id(at_worker["admin"])
    screen = screens.open(where, *TOP, "--admin", admin)
    await screen.shows(f"{its_id} up ", f"{admin} ready")

    nats.kill()
    away = re.compile(r"NATS is away for ([4-9]|\d\d+) s; the figures are from before")
    await asyncio.to_thread(screen.terminal.until, lambda: away.search(screen.text) is not None)
    await screen.shows(f"{its_id} up ", f"{admin} not ready")
    await asyncio.to_thread(nats.start)

    await screen.no_longer_shows("is away")
    await screen.shows(f"{its_id} up ", f"{admin} ready")
    await (await Callers(at_edge["url"]).call("echo-json")).ended()
    await screen.shows("turns 1 in 600 s completed 1")
    screen.terminal.type("q")
    assert await screen.exit_code() == 0
