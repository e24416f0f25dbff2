"""SIGHUP to `trunkline up`: its edges and workers follow the file, and `check` says who does not."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp

from bench.client import Call, fetch
from bench.polling import until as found
from tests.cli.checking import check
from tests.cli.conftest import Terminal, until
from tests.workers.fake_upstream import Exchange, says, upstream

SLOW = {
    "model": "echo",
    "messages": [{"role": "user", "content": "one two three"}],
    "stream": True,
    "metadata": {"echo.rate": "2", "echo.tokens": "6"},
}
PATIENCE_S = 20.0


async def answer(exchange: Exchange) -> None:
    """What any upstream here says."""
    if "models" in exchange.path:
        await exchange.plain(200, '{"data": [{"id": "m"}]}')
        return
    await exchange.begin()
    await exchange.send(says("new"))
    await exchange.end()


def desk(url: str) -> str:
    """A file with one model, and without the built-in ones."""
    told = f'[models.desk]\ntargets = ["up"]\n[targets.up]\nbase_url = "{url}"\nmodel = "m"\n'
    return told + "[builtin]\nenabled = false\n"


async def reloads(admin: str, outcome: str = "applied") -> int:
    """How often that came of a SIGHUP to a process."""
    _, body = await fetch(f"{admin}/metrics")
    [line] = [
        one
        for one in body.decode().splitlines()
        if one.startswith(f'trunkline_config_reloads_total{{outcome="{outcome}"')
    ]
    return int(float(line.rpartition(" ")[2]))


async def until_reloaded(said: dict[str, Any], outcome: str = "applied", times: int = 1) -> None:
    """Every edge and worker of a line has followed so often."""
    for admin in (*said["admin"]["edges"], *said["admin"]["workers"]):
        assert await found(lambda a=admin: reloads(a, outcome), lambda n: n == times, PATIENCE_S) == times  # type: ignore[misc]


async def ask(url: str, model: str) -> tuple[int, str]:
    """Status and words of a turn that does not stream."""
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    async with aiohttp.ClientSession() as session, session.post(f"{url}/v1/chat/completions", json=body) as answer:
        said = await answer.json()
        return answer.status, said["choices"][0]["message"]["content"] if answer.status == 200 else str(said)


async def test_a_line_follows_its_file_and_what_is_being_said_goes_on(terminal: Terminal) -> None:
    file = terminal.directory / "trunkline.toml"
    file.write_text("")
    up = terminal.start("up --json --port 0 --workers 2 --edges 2")
    said = await up.first_line()
    live = await Call.place(f"{said['url']}/v1/chat/completions", SLOW)
    assert await live.heard()

    async with upstream(answer) as fake:
        file.write_text(desk(fake.url))
        up.send(signal.SIGHUP)
        await until_reloaded(said)

        assert await ask(said["url"], "desk") == (200, "new")
        assert (await ask(said["url"], "echo"))[0] == 404
        heard = await live.ended()
        assert (len(heard.words), heard.finish_reason, heard.done) == (6, "stop", True)
        checked = await check(terminal)
        assert {row["level"] for row in checked.rows("workers")} == {"ok"}, checked.text

    [passed] = [line for line in up.log.read_text().splitlines() if "SIGHUP is passed on to" in line]
    assert all(name in passed for name in ("edge-0", "edge-1", "worker-0", "worker-1"))
    pids = json.loads((Path(said["data_dir"]) / "run.json").read_bytes())["pids"]
    assert pids == said["pids"], "nothing was started again"
    up.send(signal.SIGTERM)
    assert await up.exited(20) == 0


async def test_check_names_who_has_not_followed_and_the_signal_that_cures_it(terminal: Terminal) -> None:
    up = terminal.start("up --json --port 0 --workers 2")
    said = await up.first_line()
    pids = [*said["pids"]["edges"], *said["pids"]["workers"]]
    async with upstream(answer) as fake:
        (terminal.directory / "trunkline.toml").write_text(desk(fake.url))
        os.kill(pids[1], signal.SIGHUP)
        first = said["admin"]["workers"][0]
        assert await found(lambda: reloads(first), lambda n: n == 1, PATIENCE_S) == 1

        checked = await check(terminal)

        cure = f"`kill -HUP {' '.join(map(str, pids))}`"
        levels = sorted(row["level"] for row in checked.rows("workers") if not row["name"].startswith(("http", "pool")))
        assert (checked.code, levels) == (1, ["ok", "warn"])
        together = checked.row("workers", "pool default")
        assert "different configurations" in together["text"]
        assert cure in together["cure"]

        for pid in pids:
            os.kill(pid, signal.SIGHUP)
        await until_reloaded({"admin": {"edges": said["admin"]["edges"], "workers": said["admin"]["workers"][1:]}})
        assert await found(lambda: reloads(first, "unchanged"), lambda n: n == 1, PATIENCE_S) == 1
        cured = await check(terminal)
        assert {row["level"] for row in cured.rows("workers")} == {"ok"}, cured.text
    up.send(signal.SIGTERM)
    assert await up.exited(20) == 0


async def test_what_joined_a_line_follows_too_and_needs_no_restart_for_that(terminal: Terminal) -> None:
    """Where it had found the bus looked like a change of `nats.url`."""
    up = terminal.start("up --json --port 0")
    await up.first_line()
    worker = terminal.start("worker --json --slots 3")
    more = await worker.first_line()

    (terminal.directory / "trunkline.toml").write_text("[turn]\nbudget_s = 3.0\n")
    worker.send(signal.SIGHUP)

    assert await found(lambda: reloads(more["admin"]), lambda n: n == 1, PATIENCE_S) == 1
    assert "only after a restart" not in worker.log.read_text()
    for process in (worker, up):
        process.send(signal.SIGTERM)
        assert await process.exited(20) == 0


async def test_edges_of_one_port_follow_with_their_parent(terminal: Terminal) -> None:
    up = terminal.start("up --json --port 0")
    await up.first_line()
    edges = terminal.start("edge --json --port 0 --processes 2")
    said = await edges.first_line()

    (terminal.directory / "trunkline.toml").write_text("[turn]\nbudget_s = 3.0\n")
    edges.send(signal.SIGHUP)

    async with asyncio.timeout(PATIENCE_S):
        await until_reloaded({"admin": {"edges": said["admin"], "workers": []}})
    for process in (edges, up):
        process.send(signal.SIGTERM)
        assert await process.exited(20) == 0


async def test_a_signal_that_comes_while_the_line_starts_is_not_lost_and_ends_nobody(terminal: Terminal) -> None:
    """A process that is not ready would die of it."""
    (terminal.directory / "trunkline.toml").write_text("")
    up = terminal.start("up --json --port 0")
    await until(lambda: len(terminal.left()) > 2)
    up.send(signal.SIGHUP)

    said = await up.first_line()

    await until_reloaded(said, "unchanged")
    up.send(signal.SIGTERM)
    assert await up.exited(20) == 0
