"""Composition root of a worker: builds everything, owns the order of start-up and shutdown."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

from protocol import telemetry
from protocol.ids import new_id
from protocol.process import DRAIN_RAN_OUT, DRAINED, open_bus, stop_on_signals
from protocol.settings import Settings
from protocol.streams import JobLimits
from protocol.subjects import Subjects
from protocol.wire import Wire
from workers.admin import AdminListener, admin_app
from workers.bus import WorkerBus, connect
from workers.metrics import Metrics
from workers.run import Runner
from workers.serve import serve
from workers.targets.build import build_targets
from workers.targets.chat_completions import open_session

log = logging.getLogger(__name__)


async def run(settings: Settings, *, announce: Callable[[str], None], environ: Mapping[str, str]) -> int:
    """Serve until SIGTERM or SIGINT. The exit code: 0 drained, 4 the drain ran out.

    Raises:
        Disconnected: NATS cannot be reached, or has no JetStream.
        OSError: no port for the admin listener.
    """
    worker_id = new_id()
    stop = stop_on_signals()
    async with AsyncExitStack() as stack:
        spans, provider = telemetry.spans_for(
            "worker", worker_id, traces_file=settings.telemetry.traces_file, environ=environ
        )
        stack.push_async_callback(asyncio.to_thread, telemetry.shut_down, provider)
        wire = await stack.enter_async_context(
            connect(
                settings.nats.url or "nats://127.0.0.1:4222", name=f"worker {worker_id}", wait_s=settings.nats.wait_s
            )
        )
        session = await stack.enter_async_context(open_session())
        metrics = Metrics()
        bus = _bus(settings, wire, worker_id, metrics)
        await open_bus(bus.open())
        admin = await stack.enter_async_context(AdminListener(admin_app(bus, metrics), settings))
        runner = Runner(build_targets(settings, environ, session), spans=spans, metrics=metrics, worker_id=worker_id)
        announce(admin)
        log.info("worker up", extra={"worker": worker_id, "admin": admin})
        drained = await _serve(bus, runner, settings, stop)
        log.info("worker down", extra={"worker": worker_id, "drained": drained})
    return DRAINED if drained else DRAIN_RAN_OUT


async def _serve(bus: WorkerBus, runner: Runner, settings: Settings, stop: asyncio.Event) -> bool:
    async with asyncio.TaskGroup() as tasks:
        clock = tasks.create_task(bus.keep_time(), name="clock")
        drained = await serve(bus, runner.run, drain_s=settings.worker.drain_s, stop=stop)
        clock.cancel()
    return drained


def _bus(settings: Settings, wire: Wire, worker_id: str, metrics: Metrics) -> WorkerBus:
    pools = settings.worker.pools
    return WorkerBus(
        wire,
        Subjects(settings.nats.prefix),
        JobLimits(settings.jobs.max_msgs, settings.jobs.max_bytes, settings.jobs.max_age_s),
        worker_id=worker_id,
        pools=pools,
        slots=settings.worker.slots,
        models=tuple(name for name, model in settings.models.items() if model.pool in pools),
        config=settings.digest(),
        observer=metrics,
    )
