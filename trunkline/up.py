"""Everything on one machine: NATS, the local model, workers and edges. Stopped in the reverse order."""

import asyncio
import contextlib
import fcntl
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from msgspec import Struct, field

from edge.signature import secrets_of
from protocol.settings import Settings, SettingsError, check_exposure, missing_keys
from trunkline import collector, nats_server, run_file
from trunkline.children import (
    check_admin_port,
    edge_grace_s,
    edge_plans,
    model_plan,
    secretless,
    worker_grace_s,
    worker_plans,
)
from trunkline.local_model import LocalModel
from trunkline.ports import free_port, is_taken, reserve
from trunkline.supervisor import DRAIN_RAN_OUT, Child, Plan, StartFailed, Supervisor, supervise
from workers import prompts

log = logging.getLogger(__name__)

NATS_TRIES = 3  # somebody else may take the port between the look and the start
NATS_GRACE_S = MODEL_GRACE_S = 5.0
HEARD_S, HEARD_POLL_S = 30.0, 0.05

Announce = Callable[[dict[str, Any]], None]


class Order(Struct, frozen=True, kw_only=True):
    """What to run."""

    workers: int
    edges: int
    ephemeral: bool = False
    restart: bool = True
    model: LocalModel | None = None
    shared: dict[str, str] = field(default_factory=dict)  # variables for whoever joins the line, no secrets


def up(settings: Settings, environ: Mapping[str, str], order: Order, announce: Announce) -> int:
    """Run the line until a signal; the exit code. `announce` gets the ready line, once.

    Raises:
        SettingsError: before anything was started.
        StartFailed, KeepsDying: after everything was stopped again.
    """
    check_exposure(settings)
    check_admin_port(settings)
    secrets_of(settings.hooks, environ)
    if wrong := [*missing_keys(settings, environ), *prompts.wrong(settings)]:
        raise SettingsError("\n".join(map(str, wrong)))
    with reserve(settings.edge.host, settings.edge.port) as port, _data_dir(settings, order) as data:
        line = Line(settings, environ, order, data=data, port=port.getsockname()[1], announce=announce)
        return asyncio.run(line.run())


class Line:
    """The processes of one `trunkline up`."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        order: Order,
        *,
        data: Path,
        port: int,
        announce: Announce,
    ) -> None:
        self._settings = settings
        self._environ = dict(environ)
        self._order = order
        self._data = data
        self._port = port
        self._announce = announce
        self._nats_url = settings.nats.url or ""
        self._up = False
        self._supervisor: Supervisor

    async def run(self) -> int:
        """Start, stay, stop."""
        self._supervisor = Supervisor(restart=self._order.restart, changed=self._write_down)
        try:
            return await supervise(self._supervisor, self._start, self._drain)
        finally:
            run_file.remove(self._data)

    async def _start(self) -> None:
        model = await self._model_plans()
        if not self._nats_url:
            self._nats_url = await self._start_nats()
        env, logs = self._child_env(), self._data / "logs"
        workers = worker_plans(self._order.workers, self._settings, env, logs=logs)
        edges = edge_plans(self._order.edges, self._settings, env, logs=logs)
        await self._supervisor.start_all([*model, *workers, *edges])
        await self._until_heard()
        self._up = True
        self._write_down()
        self._announce(self._said())

    async def _model_plans(self) -> list[Plan]:
        model = self._order.model
        if model is None:
            return []
        file = await asyncio.to_thread(model.file, self._settings.data_dir)
        return [model_plan(model, file, self._settings, self._environ, logs=self._data / "logs")]

    async def _start_nats(self) -> str:
        port = nats_server.choose_port()
        env = secretless(self._environ, self._settings)
        for _ in range(NATS_TRIES):
            plan = nats_server.plan(port=port, store=self._data / "nats", env=env, log=self._data / "logs" / "nats.log")
            try:
                return str((await self._supervisor.start(plan)).said["url"])
            except StartFailed:
                if not is_taken(nats_server.HOST, port):
                    raise
                port = free_port(nats_server.HOST)
        raise StartFailed(f"nats found no free port in {NATS_TRIES} tries")

    def _child_env(self) -> dict[str, str]:
        env = self._environ | {
            "TRUNKLINE_DATA_DIR": str(self._data),
            "TRUNKLINE_NATS__URL": self._nats_url,
            "TRUNKLINE_EDGE__PORT": str(self._port),
        }
        if not self._settings.telemetry.traces_file and not collector.is_set(env):
            env["TRUNKLINE_TELEMETRY__TRACES_FILE"] = str(self._data / run_file.TRACES)
        return env

    async def _until_heard(self) -> None:
        """Wait until every edge is ready and has heard every worker. Raises StartFailed."""
        try:
            async with asyncio.timeout(HEARD_S), aiohttp.ClientSession() as session:
                for edge in self._children("edge"):
                    while not await self._hears_all(session, edge):  # noqa: ASYNC110 - another process's event
                        await asyncio.sleep(HEARD_POLL_S)
        except TimeoutError:
            raise StartFailed(
                f"the edges have not heard all workers within {HEARD_S:g} s; see {self._data / 'logs'}"
            ) from None

    async def _hears_all(self, session: aiohttp.ClientSession, edge: Child) -> bool:
        try:
            async with session.get(f"{edge.said['admin']}/ready") as answer:
                pools = (await answer.json())["pools"]
                heard = [pools.get(pool, {}).get("workers", 0) for pool in self._settings.worker.pools]
                return answer.status == 200 and min(heard) >= self._order.workers
        except aiohttp.ClientError:
            return False  # it died, and is started again

    async def _drain(self) -> int:
        """Edges first: their streams need the workers. The exit code."""
        log.info("stopping; what is being said may finish, a second Ctrl-C ends it")
        stop = self._supervisor.stop
        edges = await stop(self._children("edge"), grace_s=edge_grace_s(self._settings))
        workers = await stop(self._children("worker"), grace_s=worker_grace_s(self._settings))
        await stop(self._children("model"), grace_s=MODEL_GRACE_S)
        await stop(self._children("nats"), grace_s=NATS_GRACE_S)
        return DRAIN_RAN_OUT if DRAIN_RAN_OUT in (edges, workers) else max(edges, workers)

    def _children(self, kind: str) -> list[Child]:
        """In the order of their numbers."""
        found = [child for child in self._supervisor.children if child.plan.name.partition("-")[0] == kind]
        return sorted(found, key=lambda child: int(child.plan.name.partition("-")[2] or 0))

    def _write_down(self) -> None:
        if self._up:
            run_file.write(self._data, self._said(), self._order.shared)

    def _said(self) -> dict[str, Any]:
        """The ready line, as things are now."""
        nats, edges, workers = (self._children(kind) for kind in ("nats", "edge", "worker"))
        said = {
            "event": "ready",
            "url": edges[0].said["url"],
            "nats": _without_user(self._nats_url),
            "admin": {"edges": [e.said["admin"] for e in edges], "workers": [w.said["admin"] for w in workers]},
            "pids": {
                "nats": nats[0].process.pid if nats else None,
                "edges": [edge.process.pid for edge in edges],
                "workers": [worker.process.pid for worker in workers],
            },
            "data_dir": str(self._data),
        }
        for model in self._children("model"):
            said["pids"]["model"] = model.process.pid
            said["local_model"] = model.said["url"]
        return said


def _without_user(url: str) -> str:
    """A URL without the user and password that it may hold."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


@contextlib.contextmanager
def _data_dir(settings: Settings, order: Order) -> Iterator[Path]:
    """The data directory, ours alone while it is open. Raises SettingsError."""
    with contextlib.ExitStack() as stack:
        if order.ephemeral:
            temporary = tempfile.TemporaryDirectory(prefix="trunkline-", ignore_cleanup_errors=True)
            data = Path(stack.enter_context(temporary)).resolve()
        else:
            data = Path(settings.data_dir).resolve()
        try:
            (data / "logs").mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context((data / "up.lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(
                f"another `trunkline up` uses the data directory {data}; stop it, or set TRUNKLINE_DATA_DIR to another"
            ) from None
        except OSError as error:
            raise SettingsError(
                f"the data directory {data} cannot be written: {error.strerror}; set TRUNKLINE_DATA_DIR to another"
            ) from None
        yield data
