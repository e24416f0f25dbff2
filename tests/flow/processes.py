"""Edges and workers as processes of a line: each with its loop and its connection, and what can happen to it."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from edge.bus import EdgeBus
from edge.handlers import Edge
from edge.metrics import Metrics as EdgeMetrics
from edge.records import Records
from edge.response_cancel import OtherEdges
from edge.response_store import store_for
from edge.state import CallStates
from protocol.settings_types import ResponsesSettings, Settings
from protocol.spans import Spans
from protocol.streams import JobLimits, ResponseLimits
from protocol.subjects import Subjects
from tests.flow.client import NO_HEADERS, Client, ResponseClient
from tests.flow.target import ScriptedTarget
from tests.memory_bus import Server
from tests.virtual_time import Simulation
from workers.bus import WorkerBus
from workers.metrics import Metrics as WorkerMetrics
from workers.routes import Choice, route
from workers.run import Runner
from workers.serve import serve

MODEL = "scripted"
SUBJECTS = Subjects("trunkline")


class Process:
    """One process: its loop, its connection, and what can happen to it."""

    main: asyncio.Task[None]

    def __init__(self, simulation: Simulation, server: Server, name: str) -> None:
        self.name = name
        self.loop = simulation.new_loop()
        self.wire = server.connect(self.loop)
        self.killed = False
        self._simulation = simulation

    @property
    def lives(self) -> bool:
        """Neither dead nor frozen."""
        return not self.loop.frozen

    def kill(self) -> None:
        """SIGKILL: nothing more runs, its connections end."""
        self.killed = self.loop.frozen = True
        self.wire.link.close()

    def freeze(self, for_s: float | None = None) -> None:
        """SIGSTOP; SIGCONT `for_s` later."""
        if self.killed or self.loop.frozen:
            return
        self.loop.frozen = True
        self.wire.link.unheard()
        if for_s is not None:
            self._simulation.call_later(for_s, self.wake)

    def drain(self) -> None:
        """SIGTERM."""
        raise NotImplementedError

    def wake(self) -> None:
        """SIGCONT."""
        self.loop.frozen = self.killed

    def cut_off(self, for_s: float) -> None:
        """The connection breaks, and both its ends know."""
        if not self.killed:
            self.wire.link.reachable = False
            self.wire.link.drop()
            self._simulation.call_later(for_s, self.wire.link.heal)

    def stall(self, for_s: float) -> None:
        """Nothing comes through, and nobody knows."""
        if not self.killed:
            self.wire.link.stall()
            self._simulation.call_later(for_s, self.wire.link.heal)


class EdgeProcess(Process):
    """An edge: its bus, its handlers, aiohttp's server."""

    bus: EdgeBus
    edge: Edge

    def __init__(
        self, simulation: Simulation, server: Server, name: str, settings: Settings, limits: JobLimits
    ) -> None:
        super().__init__(simulation, server, name)
        self._settings = settings
        self._limits = limits
        self.up = asyncio.Event()
        self.clients: list[Client] = []
        self.drained: bool | None = None
        self.main = self.loop.create_task(self._run())

    async def _run(self) -> None:
        metrics = EdgeMetrics()
        self.bus = EdgeBus(
            self.wire,
            SUBJECTS,
            self._limits,
            edge_id=self.name,
            pools=sorted({model.pool for model in self._settings.models.values()}),
            observer=metrics,
        )
        records = Records(self.bus.record, metrics.record_dropped)
        await self.bus.open()
        states = CallStates(self.wire, SUBJECTS, edge_id=self.name, heal=self.bus.heal_calls, observer=metrics)
        await states.open()
        responses = ResponsesSettings()
        store = store_for(
            self.wire,
            SUBJECTS,
            ResponseLimits(responses.max_age_s, responses.max_bytes),
            max_response_bytes=responses.max_response_bytes,
            observer=metrics,
        )
        await store.open()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.bus.run())
            tasks.create_task(records.run())
            tasks.create_task(store.run())
            others = OtherEdges(self.wire, SUBJECTS, tasks)
            self.edge = Edge(
                self._settings,
                self.bus,
                spans=Spans(),
                metrics=metrics,
                records=records,
                tasks=tasks,
                states=states,
                store=store,
                elsewhere=others,
                now=self.loop.time,
            )
            assert self.edge.responses is not None
            await others.open(self.edge.responses)
            self._server = web.AppRunner(self.edge.app(), access_log=None, handler_cancellation=True)
            await self._server.setup()
            self.up.set()

    def post(
        self,
        *,
        model: str = MODEL,
        stream: bool = True,
        path: str = "/v1/chat/completions",
        headers: Mapping[str, str] = NO_HEADERS,
        **more: Any,
    ) -> Client:
        """One turn of a caller."""
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "stream": stream, **more}
        assert self._server.server is not None
        client = Client(self.loop, self._server.server, body, path=path, headers=headers)
        self.clients.append(client)
        return client

    def respond(self, *, stream: bool = True) -> ResponseClient:
        """The same as a response."""
        assert self._server.server is not None
        body = {"model": MODEL, "input": "hello", "stream": stream}
        client = ResponseClient(self.loop, self._server.server, body, path="/v1/responses")
        self.clients.append(client)
        return client

    def cancel(self, response_id: str) -> Client:
        """A request to cancel a response, which any edge may answer."""
        assert self._server.server is not None
        client = Client(self.loop, self._server.server, {}, path=f"/v1/responses/{response_id}/cancel")
        self.clients.append(client)
        return client

    @property
    def answering(self) -> list[str]:
        """The ids of the turns that it answers now."""
        return [relay._job.id for relay in self.edge._live._turns]

    def drain(self, drain_s: float = 0.5) -> None:
        """What SIGTERM begins, once nobody new is let in."""
        self.edge.draining = True

        async def drain() -> None:
            self.drained = await self.edge.drain(drain_s)

        self._draining = self.loop.create_task(drain())

    @property
    def idle(self) -> bool:
        """Whether no offer is left in any table."""
        bus = self.bus
        return not (bus._lines or bus._waiting or bus._stopping or any(p.claims for p in bus._peers.values()))


class WorkerProcess(Process):
    """A worker: its bus, its slots, one target that says what the line's script tells."""

    bus: WorkerBus

    def __init__(
        self,
        simulation: Simulation,
        server: Server,
        name: str,
        target: ScriptedTarget,
        limits: JobLimits,
        *,
        slots: int,
        pools: tuple[str, ...],
        models: tuple[str, ...],
        drain_s: float,
    ) -> None:
        super().__init__(simulation, server, name)
        self._route = route(Choice(target))
        self._limits = limits
        self._slots = slots
        self._pools = pools
        self._models = models
        self.drained: bool | None = None
        self._drain_s = drain_s
        self._stop = asyncio.Event()
        self.main = self.loop.create_task(self._run())

    async def _run(self) -> None:
        metrics = WorkerMetrics()
        self.bus = WorkerBus(
            self.wire,
            SUBJECTS,
            self._limits,
            worker_id=self.name,
            pools=self._pools,
            slots=self._slots,
            models=self._models,
            config="",
            observer=metrics,
        )
        await self.bus.open()
        runner = Runner(
            lambda _: self._route, spans=Spans(), metrics=metrics, worker_id=self.name, clock=self.loop.time
        )
        async with asyncio.TaskGroup() as tasks:
            clock = tasks.create_task(self.bus.keep_time())
            self.drained = await serve(self.bus, runner.run, drain_s=self._drain_s, stop=self._stop)
            clock.cancel()
        self.wire.link.close()

    def drain(self) -> None:
        """SIGTERM."""
        self.loop.call_soon(self._stop.set)
