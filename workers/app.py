"""Composition root of a worker: builds everything, owns the order of start-up and shutdown."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack

from protocol import telemetry
from protocol.ids import new_id
from protocol.process import DRAIN_RAN_OUT, DRAINED, open_bus
from protocol.reload import Reloader
from protocol.settings import Settings, SettingsError, Target, missing_keys
from protocol.signals import take_orders
from protocol.streams import JobLimits
from protocol.subjects import Subjects
from protocol.wire import Wire
from workers import tokens
from workers.admin import AdminListener, admin_app
from workers.bus import WorkerBus, connect
from workers.metrics import Metrics
from workers.run import Runner
from workers.serve import serve
from workers.targets.build import Models
from workers.targets.connections import open_session
from workers.targets.warm import Warm

log = logging.getLogger(__name__)


async def run(
    settings: Settings,
    *,
    read: Callable[[], Settings],
    announce: Callable[[str], None],
    environ: Mapping[str, str],
) -> int:
    """Serve until SIGTERM or SIGINT. The exit code: 0 drained, 4 the drain ran out.

    `read` gives the settings anew on SIGHUP.

    Raises:
        Disconnected: NATS cannot be reached, or has no JetStream.
        OSError: no port for the admin listener.
    """
    worker_id = new_id()
    orders = take_orders()
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
        models = Models(settings, environ, session, on_fault=metrics.fault, on_breaker=metrics.breaker)
        _count_tokens(settings)
        warm = Warm(session, _targets(settings))
        bus = _bus(settings, wire, worker_id, metrics, models, warm)
        await open_bus(bus.open())
        admin = await stack.enter_async_context(AdminListener(admin_app(bus, metrics), settings))
        runner = Runner(models.route_for, spans=spans, metrics=metrics, worker_id=worker_id)

        def follow(new: Settings) -> None:
            if missing := missing_keys(new, environ):
                raise SettingsError("; ".join(map(str, missing)))
            models.replace(new)
            warm.change(_targets(new))
            _count_tokens(new)
            bus.follow(_served(new), new.digest())

        reloader = Reloader(settings, read=read, apply=follow, count=metrics.reloaded, foreign="edge")
        announce(admin)
        log.info("worker up", extra={"worker": worker_id, "admin": admin})
        background = {"clock": bus.keep_time(), "reload": reloader.run(orders.reload), "warm": warm.run()}
        drained = await _serve(bus, runner, settings, orders.stop, background)
        log.info("worker down", extra={"worker": worker_id, "drained": drained})
    return DRAINED if drained else DRAIN_RAN_OUT


def _count_tokens(settings: Settings) -> None:
    """The built-in models count their own: only an upstream may leave that to us."""
    if _targets(settings):
        tokens.load_soon()


async def _serve(
    bus: WorkerBus,
    runner: Runner,
    settings: Settings,
    stop: asyncio.Event,
    background: Mapping[str, Coroutine[None, None, None]],
) -> bool:
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(one, name=name) for name, one in background.items()]
        drained = await serve(bus, runner.run, drain_s=settings.worker.drain_s, stop=stop)
        for task in running:
            task.cancel()
    return drained


def _bus(settings: Settings, wire: Wire, worker_id: str, metrics: Metrics, models: Models, warm: Warm) -> WorkerBus:
    return WorkerBus(
        wire,
        Subjects(settings.nats.prefix),
        JobLimits(settings.jobs.max_msgs, settings.jobs.max_bytes, settings.jobs.max_age_s),
        worker_id=worker_id,
        pools=settings.worker.pools,
        slots=settings.worker.slots,
        models=_served(settings),
        config=settings.digest(),
        observer=metrics,
        open_targets=lambda: models.open,
        warm=warm.warm_now,
    )


def _served(settings: Settings) -> tuple[str, ...]:
    """The models that the pools of this worker answer."""
    return tuple(name for name, model in settings.models.items() if model.pool in settings.worker.pools)


def _targets(settings: Settings) -> dict[str, Target]:
    """The targets of those models."""
    used = {target for name in _served(settings) for target in settings.models[name].targets}
    return {name: target for name, target in settings.targets.items() if name in used}
