"""Real lines to drill: NATS, edges and workers as processes of their own, and the fake upstream.

`Line` starts every process itself, so that a drill can signal any of them and start it again on the same ports.
`UpLine` is what a user runs: `trunkline up`, which restarts its children by itself.
"""

import asyncio
import math
import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import orjson

from bench.client import fetch
from bench.orders import Generation
from bench.polling import until
from bench.processes import ROOT, Family, Process, StartFailed, free_ports
from bench.speech import MODEL

START_S = 30.0
NATS_CONF = ROOT / "deploy" / "nats" / "nats.conf"
_generations = msgspec.json.Decoder(list[Generation])


class Upstream:
    """The fake upstream, in its own process."""

    url: str

    def __init__(self, directory: Path) -> None:
        self._family = Family(directory)

    async def start(self) -> None:
        process = self._family.start("upstream", [sys.executable, "-m", "bench.upstream", "--port", "0"])
        self.url = (await process.first_line())["url"]

    async def stop(self) -> list[str]:
        """What had to be killed."""
        return await self._family.stop()

    async def generations(self, tags: Iterable[str] = ()) -> list[Generation]:
        """What it saw of these tags, or of all."""
        query = "&".join(f"tag={tag}" for tag in tags)
        _, body = await fetch(f"{self.url.removesuffix('/v1')}/events?{query}", timeout_s=10.0)
        return _generations.decode(body)

    async def forget(self) -> None:
        """Drop what is over."""
        await fetch(f"{self.url.removesuffix('/v1')}/events", method="DELETE")


class Member:
    """One edge or worker of a line; it keeps its ports when it is started again, unless it is told to move."""

    def __init__(self, kind: str, number: int, env: dict[str, str]) -> None:
        self.kind = kind
        self.name = f"{kind}-{number}"
        self.env = env
        self.process: Process
        self.move()

    def move(self) -> None:
        """Take other ports from the next start on."""
        port, admin = free_ports(2)
        self.url = f"http://127.0.0.1:{port}"
        self.admin = f"http://127.0.0.1:{admin}"
        self.env = {**self.env, "TRUNKLINE_ADMIN__PORT": str(admin)}
        if self.kind == "edge":
            self.env["TRUNKLINE_EDGE__PORT"] = str(port)

    def start(self, family: Family) -> None:
        self.process = family.start(self.name, [sys.executable, "-m", "trunkline", self.kind], self.env)

    async def ready(self, timeout_s: float = START_S) -> None:
        """Wait until it says so itself.

        Raises:
            StartFailed: it ended, or never said so.
        """
        deadline = time.monotonic() + timeout_s
        while not await self.says_ready():
            self.process.check(deadline)
            await asyncio.sleep(0.02)

    async def says_ready(self) -> bool:
        """Whether it says so right now."""
        try:
            status, _ = await fetch(f"{self.admin}/ready", timeout_s=1.0)
        except (OSError, TimeoutError):
            return False
        return status == 200


class Line:
    """NATS, edges and workers, each a process that drills may signal and start again."""

    def __init__(
        self,
        directory: Path,
        upstream_url: str,
        *,
        edges: int = 1,
        workers: int = 2,
        slots: int = 64,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.slots = slots
        self._family = Family(directory)
        self._directory = directory
        self._nats_port = free_ports(1)[0]
        self.nats_url = f"nats://127.0.0.1:{self._nats_port}"
        self.nats: Process
        common = {
            "TRUNKLINE_NATS__URL": self.nats_url,
            "TRUNKLINE_UPSTREAM__URL": upstream_url,
            "TRUNKLINE_UPSTREAM__MODEL": MODEL,
            "TRUNKLINE_WORKER__SLOTS": str(slots),
            "TRUNKLINE_DATA_DIR": str(directory / "data"),
            "TRUNKLINE_TELEMETRY__LOG_FORMAT": "json",
            **(env or {}),
        }
        self.edges = [Member("edge", number, common) for number in range(edges)]
        self.workers = [Member("worker", number, common) for number in range(workers)]

    @property
    def edge_urls(self) -> list[str]:
        return [edge.url for edge in self.edges]

    @property
    def worker_admins(self) -> list[str]:
        return [worker.admin for worker in self.workers]

    async def start(self) -> None:
        """Raises StartFailed: one of them did not come up; the others are stopped again."""
        try:
            await self.start_nats()
            for member in (*self.edges, *self.workers):
                member.start(self._family)
            await self.whole()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> list[str]:
        """What had to be killed."""
        return await self._family.stop(last=getattr(self, "nats", None))

    async def restart(self, member: Member) -> None:
        """Start one again that was ended, and wait for it."""
        member.start(self._family)
        await member.ready()

    async def lose_everything(self) -> None:
        """SIGKILL NATS, every edge and every worker."""
        processes = [self.nats, *(member.process for member in (*self.edges, *self.workers))]
        for process in processes:
            process.send_group(signal.SIGKILL)
        await asyncio.gather(*(process.exited(5.0) for process in processes))

    async def begin_anew(self) -> None:
        """Start all of it on the same store, every edge and worker on ports that it did not have before."""
        await self.start_nats()
        for member in (*self.edges, *self.workers):
            member.move()
            member.start(self._family)
        await self.whole()

    async def whole(self) -> None:
        """Wait until every member is ready and every edge has heard of every worker.

        Raises:
            StartFailed: one of them ended, whichever the others wait for; or it took too long.
        """
        deadline, waiting = time.monotonic() + START_S, [*self.workers, *self.edges]
        while waiting := [member for member in waiting if not await member.says_ready()]:
            for member in (*self.workers, *self.edges):
                member.process.check(deadline if member in waiting else math.inf)
            await asyncio.sleep(0.02)
        count, edges = len(self.workers), [edge.admin for edge in self.edges]
        seen = await until(
            lambda: pools(edges), lambda seen: all(one.get("workers", 0) >= count for one in seen), START_S
        )
        if any(one.get("workers", 0) < count for one in seen):
            raise StartFailed(f"the edges do not see {count} workers: {seen}")

    async def start_nats(self) -> float:
        """Start the server, also again, on the same port and store; the moment at which it takes connections.

        Raises:
            StartFailed: it does not.
        """
        server = Path(sys.executable).with_name("nats-server")
        address = ["-a", "127.0.0.1", "-p", str(self._nats_port), "-sd", str(self._directory / "nats")]
        self.nats = self._family.start("nats", [str(server), "-c", str(NATS_CONF), *address])
        deadline = time.monotonic() + START_S
        while not await _listens(self._nats_port):
            self.nats.check(deadline)
            await asyncio.sleep(0.002)
        return time.monotonic()


class UpLine:
    """`trunkline up`, as a user starts it."""

    def __init__(
        self, directory: Path, upstream_url: str, *, edges: int = 1, workers: int = 4, slots: int = 64
    ) -> None:
        self.slots = 64
        self._worker_count = workers
        self._family = Family(directory)
        self._upstream_url = upstream_url
        self._edge_count = edges
        self.up: Process
        self.edge_urls: list[str] = []
        self.nats_url = ""
        self._data_dir: Path

    async def start(self) -> None:
        """Raises StartFailed: it did not get ready; nothing is left of it."""
        counts = ["--workers", str(self._worker_count), "--edges", str(self._edge_count)]
        upstream = ["--upstream", self._upstream_url, "--upstream-model", MODEL]
        argv = [sys.executable, "-m", "trunkline", "up", "--json", "--ephemeral", "--port", "0", *counts, *upstream]
        self.up = self._family.start("up", argv, {"TRUNKLINE_WORKER__SLOTS": str(self.slots)})
        try:
            said = await self.up.first_line(START_S)
        except BaseException:
            await self.stop()
            raise
        self.edge_urls = [said["url"]] * self._edge_count
        self.nats_url = said["nats"]
        self._data_dir = Path(said["data_dir"])

    async def stop(self) -> list[str]:
        """What had to be killed."""
        return await self._family.stop(timeout_s=20.0)

    @property
    def worker_admins(self) -> list[str]:
        """Those of now: a worker that was started again may have another port."""
        return list(self._run_file()["admin"]["workers"])

    async def running_workers(self) -> list[int]:
        """The pids of the workers that have been started and still run."""
        alive = self._family.alive()
        return [pid for pid in self._run_file()["pids"]["workers"] if pid in alive]

    def _run_file(self) -> dict[str, Any]:
        said: dict[str, Any] = orjson.loads((self._data_dir / "run.json").read_bytes())
        return said

    async def kill_worker(self, which: int) -> float:
        """SIGKILL one worker, once another runs beside it; the moment at which it was sent."""
        running = await until(self.running_workers, lambda pids: len(pids) > 1, START_S, every_s=0.05)
        os.kill(running[which % len(running)], signal.SIGKILL)
        return time.monotonic()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def pools(admins: list[str], pool: str = "default") -> list[dict[str, int]]:
    """What each process says of a pool: `workers` and `slots_free`. One that is away says nothing."""
    said = []
    for url in admins:
        try:
            _, body = await fetch(f"{url}/ready", timeout_s=1.0)
            said.append(orjson.loads(body)["pools"].get(pool, {}))
        except (OSError, TimeoutError, ValueError, KeyError):
            said.append({})
    return said
