"""`trunkline up` as a user runs it, and what joins it from other terminals."""

import asyncio
import json
import os
import shlex
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bench.client import fetch
from bench.processes import Process
from tests.broker.otlp_sink import Sink, otlp_sink
from tests.cli.conftest import Terminal, until
from tests.conftest import StartNats
from trunkline import nats_server
from trunkline.ports import free_port
from trunkline.supervisor import Supervisor

HELLO = {"model": "echo", "messages": [{"role": "user", "content": "hello there"}]}


async def ask(url: str, key: str = "") -> str:
    """What the model echo says."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{url}/v1/chat/completions", json=HELLO) as answer,
    ):
        body = await answer.json()
        assert answer.status == 200, body
        said: str = body["choices"][0]["message"]["content"]
        return said


async def workers_of(admin: str) -> int:
    """How many workers an edge has heard lately."""
    _, body = await fetch(f"{admin}/ready", timeout_s=5)
    count: int = json.loads(body)["pools"]["default"]["workers"]
    return count


async def stopped(process: Process, terminal: Terminal, number: signal.Signals = signal.SIGTERM) -> int:
    """Its exit code after a signal; nothing is left of it."""
    process.send(number)
    code = await process.exited(20)
    assert terminal.left() == {}
    return code


SECRETS = {
    "TRUNKLINE_UPSTREAM__KEY_ENV": "SOME_KEY",
    "TRUNKLINE_UPSTREAM__PRESET": "vllm",
    "SOME_KEY": "upstream-secret",
    "OPENAI_API_KEY": "openai-secret",
    "TRUNKLINE_API_KEYS": "me:caller-secret",
}


def secrets_of(pid: int) -> list[str]:
    environ = Path(f"/proc/{pid}/environ").read_text(errors="replace")
    return [whose for whose in ("caller", "openai", "upstream") if f"{whose}-secret" in environ]


async def test_a_line_answers_says_where_it_is_and_leaves_nothing_behind(terminal: Terminal) -> None:
    upstream = "--upstream http://127.0.0.1:9/v1 --upstream-model some"
    up = terminal.start(f"up --json --ephemeral --port 0 --workers 2 --edges 2 {upstream}", **SECRETS)

    said = await up.first_line()

    data, pids = Path(said["data_dir"]), said["pids"]
    assert set(said) == {"event", "url", "nats", "admin", "pids", "data_dir"}
    assert said["event"] == "ready"
    assert [len(said["admin"][kind]) for kind in ("edges", "workers")] == [2, 2]
    assert {pids["nats"], *pids["edges"], *pids["workers"]} == terminal.left().keys() - {up.pid}
    shared = {"TRUNKLINE_UPSTREAM__KEY_ENV": "SOME_KEY", "TRUNKLINE_UPSTREAM__MODEL": "some"}
    shared |= {"TRUNKLINE_UPSTREAM__URL": "http://127.0.0.1:9/v1", "TRUNKLINE_UPSTREAM__PRESET": "vllm"}
    assert json.loads((data / "run.json").read_bytes()) == {**said, "environ": shared}
    assert [await workers_of(admin) for admin in said["admin"]["edges"]] == [2, 2]
    assert await ask(said["url"], key="caller-secret") == "hello there"
    assert {path.name for path in (data / "logs").iterdir()} == {
        f"{name}.log" for name in ("nats", "edge-0", "edge-1", "worker-0", "worker-1")
    }
    assert [secrets_of(pid) for pid in (pids["nats"], *pids["edges"])] == [[], ["caller"], ["caller"]]
    assert [secrets_of(pid) for pid in pids["workers"]] == [["openai", "upstream"]] * 2
    assert up.out.read_bytes().count(b"\n") == 1
    assert await stopped(up, terminal) == 0
    assert data not in data.parent.iterdir()


async def test_what_dies_is_started_again_and_the_data_stays(terminal: Terminal) -> None:
    up = terminal.start("up --json --port 0")
    said = await up.first_line()
    data = Path(said["data_dir"])

    def pids() -> dict[str, Any]:
        found: dict[str, Any] = json.loads((data / "run.json").read_bytes())["pids"]
        return found

    for kind in ("workers", "edges"):
        os.kill(said["pids"][kind][0], signal.SIGKILL)
        await until(lambda kind=kind: pids()[kind] != said["pids"][kind])  # type: ignore[misc]
    answer, nats = await ask(said["url"]), pids()["nats"]

    assert (answer, nats) == ("hello there", said["pids"]["nats"])
    assert await stopped(up, terminal) == 0
    assert data == terminal.directory / ".trunkline"
    assert set(os.listdir(data)) == {"logs", "nats", "traces.jsonl", "up.lock"}
    assert "scopeSpans" in (data / "traces.jsonl").read_text()


async def test_what_dies_stays_dead_where_that_is_wanted(terminal: Terminal) -> None:
    """Drills watch how the rest gets on."""
    up = terminal.start("up --json --ephemeral --port 0 --workers 2 --no-restart")
    said = await up.first_line()

    os.kill(said["pids"]["workers"][0], signal.SIGKILL)
    await until(lambda: b"is not started again" in up.log.read_bytes())

    assert await ask(said["url"]) == "hello there"
    assert await stopped(up, terminal) == 0


async def test_a_worker_and_an_edge_in_other_terminals_join_the_line(terminal: Terminal) -> None:
    up = terminal.start("up --json --port 0")
    said = await up.first_line()

    worker = terminal.start("worker --json --slots 3")
    edge = terminal.start("edge --json --port 0 --processes 2")
    more, other = await worker.first_line(), await edge.first_line()

    assert set(more) == {"event", "admin", "pid"}
    assert more["pid"] == worker.pid
    admins = [said["admin"]["edges"][0], *other["admin"]]
    async with asyncio.timeout(10):
        while [await workers_of(admin) for admin in admins] != [2, 2, 2]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    os.kill(said["pids"]["workers"][0], signal.SIGSTOP)  # so that turns go to the one that joined
    try:
        assert await ask(said["url"]) == "hello there"
        assert await ask(other["url"]) == "hello there"
    finally:
        os.kill(said["pids"]["workers"][0], signal.SIGCONT)
    for process in (edge, worker):
        process.send(signal.SIGTERM)
        assert await process.exited(20) == 0
    assert await stopped(up, terminal) == 0


async def test_what_joins_knows_the_upstream_of_the_line(terminal: Terminal) -> None:
    """It took turns for that model and knew of none."""
    up = terminal.start("up --json --port 0 --upstream http://127.0.0.1:9/v1 --upstream-model some")
    said = await up.first_line()
    assert json.loads((Path(said["data_dir"]) / "run.json").read_bytes()).items() > said.items()

    edge = terminal.start("edge --json --port 0")

    _, body = await fetch(f"{(await edge.first_line())['url']}/v1/models")
    assert "upstream" in {model["id"] for model in json.loads(body)["data"]}
    edge.send(signal.SIGTERM)
    assert await edge.exited(20) == 0
    assert await stopped(up, terminal) == 0


def senders(sink: Sink, kind: str) -> set[str]:
    """The processes that have sent spans of this kind."""
    return {span.instance for spans in sink.spans.values() for span in spans if span.kind == kind}


async def test_traces_go_to_the_collector_that_is_named(terminal: Terminal) -> None:
    """From those who join the line too, whatever the environment says."""
    elsewhere = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces", "OTEL_BSP_SCHEDULE_DELAY": "100"}
    async with otlp_sink() as sink:
        up = terminal.start(f"up --port 0 --workers 1 --otlp {sink.url}", **elsewhere)
        await until(lambda: b"curl" in up.out.read_bytes() or up.exit_code is not None)
        text, data = up.out.read_text(), terminal.directory / ".trunkline"
        said = json.loads((data / "run.json").read_bytes())
        edge = terminal.start("edge --json --port 0", OTEL_BSP_SCHEDULE_DELAY="100")

        for url in (said["url"], (await edge.first_line())["url"]):
            assert await ask(url) == "hello there"

        await until(lambda: len(senders(sink, "SERVER")) == 2 and len(senders(sink, "CONSUMER")) == 1)
        assert f"Traces {sink.url}\n" in text
        assert not (data / "traces.jsonl").exists()
        edge.send(signal.SIGTERM)
        assert await edge.exited(20) == 0
        assert await stopped(up, terminal) == 0


async def test_ctrl_c_drains_and_the_text_for_people_has_a_command_that_works(terminal: Terminal) -> None:
    up = terminal.start("up --ephemeral --port 0")
    await until(lambda: b"curl" in up.out.read_bytes() or up.exit_code is not None)
    text = up.out.read_text()

    command = next(line for line in text.splitlines() if line.startswith("curl "))
    curl = await asyncio.create_subprocess_exec(*shlex.split(command), "-sS", stdout=asyncio.subprocess.PIPE)
    answer, _ = await curl.communicate()

    assert b'"content":"Hello, "' in answer
    assert answer.endswith(b"data: [DONE]\n\n")
    for words in ("traces.jsonl", "/logs/", "Ctrl-C", "trunkline worker"):
        assert words in text
    assert await stopped(up, terminal, signal.SIGINT) == 0


async def test_children_of_a_line_that_was_killed_go_too(terminal: Terminal) -> None:
    up = terminal.start("up --json --port 0")
    await up.first_line()

    up.send(signal.SIGKILL)
    await until(lambda: terminal.left() == {})

    again = terminal.start("up --json --port 0")
    assert await ask((await again.first_line())["url"]) == "hello there"
    assert await stopped(again, terminal) == 0


@pytest.fixture
async def nats_url(tmp_path: Path) -> AsyncIterator[str]:
    supervisor = Supervisor(restart=False)
    plan = nats_server.plan(
        port=free_port(nats_server.HOST), store=tmp_path / "nats", env=dict(os.environ), log=tmp_path / "nats.log"
    )
    nats = await supervisor.start(plan)
    yield str(nats.said["url"])
    await supervisor.kill()


async def test_a_second_ctrl_c_ends_an_edge_at_once(terminal: Terminal, nats_url: str) -> None:
    edge = terminal.start("edge --json --port 0", TRUNKLINE_NATS__URL=nats_url, TRUNKLINE_EDGE__LAME_S="60")
    assert set(await edge.first_line()) == {"event", "url", "admin", "pid"}

    edge.send(signal.SIGINT)
    await asyncio.sleep(0.3)
    assert edge.exit_code is None
    edge.send(signal.SIGINT)

    assert await edge.exited(10) == 130


@pytest.mark.parametrize("command", ["worker --json", "edge --json --port 0"])
async def test_it_stops_as_well_while_the_bus_is_away(terminal: Terminal, start_nats: StartNats, command: str) -> None:
    """The library wrote its last words to a connection that was gone: a traceback, and exit code 1."""
    nats = start_nats()
    one = terminal.start(command, TRUNKLINE_NATS__URL=nats.url)
    await one.first_line()
    nats.stop()
    await until(lambda: "the bus is away" in one.log.read_text())
    await asyncio.sleep(0.5)  # it tries to come back

    assert await stopped(one, terminal) == 0
    assert "Traceback" not in one.log.read_text()


async def test_a_port_in_use_stops_an_edge_with_a_sentence(terminal: Terminal, nats_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        edge = terminal.start(f"edge --json --port {port}", TRUNKLINE_NATS__URL=nats_url)
        code = await edge.exited(20)

    said = edge.log.read_text()
    assert code == 2
    assert f"port {port} on 127.0.0.1 is in use; stop what listens there, or choose another with --port" in said
    assert "Traceback" not in said
