"""A line of real processes for tests: one NATS server, edges and workers, each with an environment of its own."""

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import nats
import orjson
from openai.types.chat import ChatCompletionUserMessageParam

from bench.client import fetch
from bench.http1 import Request, take_request
from bench.polling import until
from bench.processes import Family, Process
from protocol.codec import decode_record
from protocol.messages import TurnRecord
from tests.broker.nats_server import NatsServer
from tests.tcp import listening

START_S = 30.0
SETTLE_S = 5.0
MODULES = {"edge": "edge", "worker": "workers"}


def user(text: str) -> ChatCompletionUserMessageParam:
    """A message of the caller's."""
    return {"role": "user", "content": text}


class Member:
    """One edge or worker."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.url = ""
        self.admin = ""

    async def started(self) -> None:
        """Raises StartFailed: it did not come up."""
        said = await self.process.first_line(START_S)
        self.url, self.admin = said.get("url", ""), said["admin"]

    async def ready(self) -> None:
        """Wait until it says so. Raises AssertionError."""
        status, said = await until(self.readiness, lambda answer: answer[0] == 200, START_S)
        assert status == 200, said

    async def readiness(self) -> tuple[int, dict[str, Any]]:
        """Status and body of its `/ready`."""
        status, body = await fetch(f"{self.admin}/ready")
        return status, orjson.loads(body)

    async def slots_taken(self) -> int:
        """Of a worker: how many claims it runs."""
        _, said = await self.readiness()
        return int(said["slots"]) - int(said["pools"]["default"]["slots_free"])

    async def metrics(self) -> str:
        """What Prometheus would read."""
        _, body = await fetch(f"{self.admin}/metrics")
        return body.decode()


class RealLine:
    """Edges and workers on one NATS server. `env` is for all of them; each gets its own over that."""

    def __init__(self, directory: Path, nats: NatsServer, env: Mapping[str, str]) -> None:
        self.directory = directory
        self.nats = nats
        self.edges: list[Member] = []
        self.workers: list[Member] = []
        self._env = env
        self._family = Family(directory)
        self._numbers = iter(range(1000))

    def add(self, kind: str, env: Mapping[str, str] | None = None, *flags: str) -> Member:
        """Start an edge or a worker."""
        whole = {
            "TRUNKLINE_NATS__URL": self.nats.url,
            "TRUNKLINE_EDGE__PORT": "0",
            "TRUNKLINE_ADMIN__PORT": "0",
            "TRUNKLINE_TELEMETRY__LOG_FORMAT": "json",
            "TRUNKLINE_EDGE__LAME_S": "0",
            "TRUNKLINE_EDGE__DRAIN_S": "2",
            "TRUNKLINE_WORKER__DRAIN_S": "2",
            **self._env,
            **(env or {}),
        }
        name = f"{kind}-{next(self._numbers)}"
        member = Member(self._family.start(name, [sys.executable, "-m", MODULES[kind], *flags], whole))
        (self.edges if kind == "edge" else self.workers).append(member)
        return member

    async def ready(self) -> None:
        """Wait for every member: it has come up, and every edge has heard of a worker."""
        members = [*self.edges, *self.workers]
        await asyncio.gather(*(member.started() for member in members))
        await asyncio.gather(*(member.ready() for member in members))

    async def idle(self) -> None:
        """Wait until no worker runs anything. Raises AssertionError."""
        for worker in self.workers:
            assert await until(worker.slots_taken, lambda taken: not taken, SETTLE_S) == 0

    async def busy(self) -> list[Member]:
        """The workers that run something."""
        living = [worker for worker in self.workers if worker.process.exit_code is None]
        taken = await asyncio.gather(*(worker.slots_taken() for worker in living))
        return [worker for worker, count in zip(living, taken, strict=True) if count]

    async def stop(self) -> None:
        """Raises AssertionError: a process had to be killed, or has met a bug."""
        assert await self._family.stop() == []
        assert "Traceback (most recent call last)" not in self.logs()

    def logs(self) -> str:
        """All that the processes have written."""
        files = [*self.directory.rglob("*.log"), *self.directory.rglob("*.out")]
        return "\n".join(path.read_text(errors="replace") for path in sorted(files))

    def turn_lines(self) -> list[dict[str, Any]]:
        """The log lines about turns."""
        lines = [json.loads(line) for line in self.logs().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == "turn"]

    async def records(self) -> dict[str, TurnRecord]:
        """Every turn record on the bus, with what it was found by: the trace id."""
        connection = await nats.connect(self.nats.url)
        try:
            jetstream = connection.jetstream()
            found: dict[str, TurnRecord] = {}
            for stream in await jetstream.streams_info():
                if str(stream.config.name).endswith("TURNS"):
                    for number in range(1, stream.state.last_seq + 1):
                        message = await jetstream.get_msg(str(stream.config.name), number)
                        if ".heard." in (message.subject or ""):
                            continue  # an amendment to one
                        record = decode_record(message.data or b"")
                        found[record.trace_id or ""] = record
            return found
        finally:
            await connection.close()


@asynccontextmanager
async def real_line(
    directory: Path, *, env: Mapping[str, str] | None = None, nats_conf: Path | None = None
) -> AsyncIterator[RealLine]:
    """A line with nothing on it but a NATS server; everything is stopped at the end, and has met no bug."""
    options = ["-c", str(nats_conf)] if nats_conf else []  # the last one counts
    server = await asyncio.to_thread(NatsServer, directory, options=options)
    line = RealLine(directory, server, env or {})
    try:
        yield line
    finally:
        try:
            await line.stop()
        finally:
            server.kill()


class Tap:
    """A socket before another one: passes bytes on, both ways, and keeps every request that came through."""

    def __init__(self, port: int) -> None:
        self.seen: list[Request] = []
        self.connections = 0
        self.url = ""
        self._port = port

    def about(self, word: str) -> list[Request]:
        """Those whose body holds a word."""
        return [request for request in self.seen if word.encode() in request.body]

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        incoming, outgoing = await asyncio.open_connection("127.0.0.1", self._port)
        buffer = bytearray()

        def read(data: bytes) -> None:
            buffer.extend(data)
            while request := take_request(buffer):
                self.seen.append(request)

        async with asyncio.TaskGroup() as ways:
            ways.create_task(_pump(reader, outgoing, read))
            ways.create_task(_pump(incoming, writer, lambda _: None))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, look: Callable[[bytes], None]) -> None:
    try:
        while data := await reader.read(65536):
            look(data)
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def tap(url: str) -> AsyncIterator[Tap]:
    """A tap before the API at `url` (`http://127.0.0.1:<port>/v1`)."""
    tapped = Tap(int(url.removesuffix("/v1").rpartition(":")[2]))
    async with listening(tapped.pass_on) as port:
        tapped.url = f"http://127.0.0.1:{port}/v1"
        yield tapped


@contextmanager
def shared_port() -> Iterator[int]:
    """A free port that several processes may listen on together."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]
