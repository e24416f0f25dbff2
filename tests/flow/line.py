"""A whole line in one process: edges, workers and clients on a bus in memory, under a clock that jumps."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from protocol import codec
from protocol.messages import Heard, TurnRecord
from protocol.profiles import BUILT_IN
from protocol.settings_profiles import Profile
from protocol.settings_types import EdgeSettings, Model, Settings, TurnSettings
from protocol.settings_voice import DEFAULT_TENANT
from protocol.streams import JobLimits
from tests.flow.processes import MODEL, SUBJECTS, EdgeProcess, WorkerProcess
from tests.flow.target import Saying, Script, ScriptedTarget, words
from tests.memory_bus import AS_IT_IS, Fate, Server
from tests.memory_streams import Stream
from tests.virtual_time import Simulation


class Line:
    """Edges, workers, and the server between them. Use as a context manager; what a loop could not do fails there."""

    def __init__(
        self,
        *,
        fate: Fate = lambda _: AS_IT_IS,
        script: Script | None = None,
        models: dict[str, str] | None = None,
        max_msgs: int = 100,
        headers_after_s: float = 2.0,
        profile: Profile | None = None,
        **turn: Any,
    ) -> None:
        self.simulation = Simulation()
        self.script = script or words(5)
        self.sayings: list[Saying] = []
        self.server = Server(self.simulation, fate)
        self.edges: list[EdgeProcess] = []
        self.workers: list[WorkerProcess] = []
        self._limits = JobLimits(max_msgs=max_msgs)
        self._settings = Settings(
            models={
                name: Model(pool=pool, profile="its" if profile else None)
                for name, pool in (models or {MODEL: "default"}).items()
            },
            profiles={**BUILT_IN, "its": profile} if profile else dict(BUILT_IN),
            turn=TurnSettings(**turn),
            edge=EdgeSettings(headers_after_s=headers_after_s),
        )

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for process in (*self.edges, *self.workers):
            process.wire.link.close()
        for edge in self.edges:
            for client in edge.clients:
                client.hang_up()
        failures = self.simulation.close()
        assert kind is not None or not failures, failures

    # --- building ------------------------------------------------------------------------------------

    def add_edge(self) -> EdgeProcess:
        """One more edge, up."""
        edge = EdgeProcess(self.simulation, self.server, f"edge{len(self.edges)}", self._settings, self._limits)
        self.edges.append(edge)
        self.until(edge.up.is_set)
        return edge

    def add_worker(
        self, *, slots: int = 4, pools: tuple[str, ...] = ("default",), drain_s: float = 5.0
    ) -> WorkerProcess:
        """One more worker, up and heard."""
        name = f"worker{len(self.workers)}"
        target = ScriptedTarget(name, self.sayings, lambda: self.script)
        models = tuple(name for name, model in self._settings.models.items() if model.pool in pools)
        worker = WorkerProcess(
            self.simulation,
            self.server,
            name,
            target,
            self._limits,
            slots=slots,
            pools=pools,
            models=models,
            drain_s=drain_s,
        )
        self.workers.append(worker)
        self.run(0.05)
        return worker

    # --- time ----------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Seconds."""
        return self.simulation.now

    def until(self, true: Callable[[], object], *, within_s: float = 30.0) -> None:
        """Let time pass until something is true."""
        try:
            self.simulation.until(true, within_s=within_s)
        finally:
            self._check()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.simulation.run(seconds)
        self._check()

    def _check(self) -> None:
        """Raise what has ended a process."""
        for process in (*self.edges, *self.workers):
            if process.main.done():
                process.main.result()

    def at(self, delay_s: float, action: Callable[[], object]) -> None:
        """Let something happen later."""
        self.simulation.call_later(delay_s, action)

    # --- what can be seen ----------------------------------------------------------------------------

    def stream(self, pool: str = "default") -> Stream:
        """The job stream of a pool."""
        return self.server.streams.streams[SUBJECTS.jobs_stream(pool)]

    @property
    def queued(self) -> int:
        """Jobs that the streams hold."""
        kept = (SUBJECTS.turns, SUBJECTS.calls_stream, SUBJECTS.responses_stream)
        return sum(len(s.messages) for name, s in self.server.streams.streams.items() if name not in kept)

    def stored(self, response_id: str) -> dict[str, Any] | None:
        """A response as it is kept."""
        bucket = self.server.streams.streams.get(SUBJECTS.responses_stream)
        subject = SUBJECTS.response(DEFAULT_TENANT, response_id)
        found = [kept.data for kept in bucket.messages.values() if kept.subject == subject] if bucket else []
        response: dict[str, Any] | None = json.loads(found[-1])["response"] if found else None
        return response

    @property
    def records(self) -> list[TurnRecord]:
        """Every turn record that was kept."""
        turns = self.server.streams.streams[SUBJECTS.turns]
        return [codec.decode_record(kept.data) for kept in turns.messages.values() if ".heard." not in kept.subject]

    @property
    def amendments(self) -> list[Heard]:
        """Every amendment to one of them."""
        turns = self.server.streams.streams[SUBJECTS.turns]
        return [codec.decode_heard(kept.data) for kept in turns.messages.values() if ".heard." in kept.subject]

    @property
    def settled(self) -> bool:
        """Nothing is queued, no living edge holds a line, no living worker a claim."""
        return (
            self.queued == 0
            and all(edge.idle for edge in self.edges if edge.lives)
            and all(worker.bus.live == 0 for worker in self.workers if worker.lives)
        )

    def settle(self, within_s: float = 15.0) -> None:
        """Let time pass until it is so."""
        with suppress(AssertionError):
            self.until(lambda: self.settled, within_s=within_s)
        assert self.queued == 0, "a job is left in a stream"
        for edge in self.edges:
            assert not edge.lives or edge.idle, f"{edge.name} holds a line"
        for worker in self.workers:
            assert not worker.lives or worker.bus.live == 0, f"{worker.name} holds a slot"
        for saying in self.sayings:
            lives = any(worker.name == saying.worker and worker.lives for worker in self.workers)
            assert saying.closed or not lives, f"{saying.worker} still listens to its upstream"
