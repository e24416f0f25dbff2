"""Composition root of an edge: builds everything, owns the order of start-up and shutdown."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from edge.admin import admin_app
from edge.bus import EdgeBus, connect
from edge.connection import listen
from edge.handlers import Edge
from edge.hook_stream import HookStream
from edge.hooks import Hooks
from edge.metrics import Metrics
from edge.records import Records
from edge.response_cancel import OtherEdges
from edge.response_store import KeptResponses, store_for
from edge.signature import Secrets, secrets_of
from edge.state import CallStates
from protocol import telemetry
from protocol.ids import new_id
from protocol.ports import bind, bind_next, url_of
from protocol.process import DRAIN_RAN_OUT, DRAINED, open_bus
from protocol.reload import Reloader
from protocol.settings import Settings
from protocol.signals import take_orders
from protocol.spans import Spans
from protocol.streams import HookLimits, JobLimits, ResponseLimits
from protocol.subjects import Subjects
from protocol.wire import Wire

log = logging.getLogger(__name__)

ADMIN_PORT = 9090
SHUTDOWN_S = 0.5  # aiohttp waits up to twice that for what the drain has ended already
RECORDS_S = 3.0  # for the last turn records at the end


async def run(
    settings: Settings,
    *,
    read: Callable[[], Settings],
    reuse_port: bool,
    announce: Callable[[str, str], None],
    environ: Mapping[str, str],
) -> int:
    """Serve until SIGTERM or SIGINT. The exit code: 0 drained, 4 the drain ran out.

    `announce` gets the public and the admin URL once turns can be taken. `read` gives the settings anew on SIGHUP.

    Raises:
        Disconnected: NATS cannot be reached, or has no JetStream.
        OSError: a port is in use.
        SettingsError: the secret of a webhook is not set.
    """
    secrets = secrets_of(settings.hooks, environ)
    edge_id = new_id()
    stop, reload = take_orders()
    spans, provider = telemetry.spans_for("edge", edge_id, traces_file=settings.telemetry.traces_file, environ=environ)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, telemetry.shut_down, provider)
        url = settings.nats.url or "nats://127.0.0.1:4222"
        wire = await stack.enter_async_context(connect(url, name=f"edge {edge_id}", wait_s=settings.nats.wait_s))
        metrics = Metrics()
        bus = _bus(settings, wire, edge_id, metrics)
        records = Records(bus.record, metrics.record_dropped)
        await open_bus(bus.open())
        states = _states(settings, wire, bus, metrics)
        await states.open()
        store = _store(settings, wire, metrics)
        await store.open()
        hooks = await _hooks(settings, secrets, wire, states, spans, metrics) if secrets else None
        async with asyncio.TaskGroup() as tasks:
            others = OtherEdges(wire, Subjects(settings.nats.prefix), tasks)
            edge = Edge(
                settings,
                bus,
                spans=spans,
                metrics=metrics,
                records=records,
                tasks=tasks,
                hooks=hooks,
                states=states,
                store=store,
                elsewhere=others,
            )
            if edge.responses is not None:
                await others.open(edge.responses)
            reloader = Reloader(settings, read=read, apply=edge.follow, count=metrics.reloaded, foreign="worker")
            background = [
                tasks.create_task(bus.run(), name="bus"),
                tasks.create_task(records.run(), name="records"),
                tasks.create_task(store.run(), name="late responses"),
                tasks.create_task(reloader.run(reload), name="reload"),
            ]
            drained = await _serve(edge, bus, metrics, settings, stop, reuse_port=reuse_port, announce=announce)
            await _last_records(edge, records)
            for task in background:
                task.cancel()
    log.info("edge down", extra={"edge": edge_id, "drained": drained})
    return DRAINED if drained else DRAIN_RAN_OUT


def _bus(settings: Settings, wire: Wire, edge_id: str, metrics: Metrics) -> EdgeBus:
    return EdgeBus(
        wire,
        Subjects(settings.nats.prefix),
        JobLimits(settings.jobs.max_msgs, settings.jobs.max_bytes, settings.jobs.max_age_s),
        edge_id=edge_id,
        pools=sorted({model.pool for model in settings.models.values()} or {"default"}),
        observer=metrics,
    )


def _states(settings: Settings, wire: Wire, bus: EdgeBus, metrics: Metrics) -> CallStates:
    subjects = Subjects(settings.nats.prefix)
    return CallStates(wire, subjects, edge_id=bus.edge_id, heal=bus.heal_calls, observer=metrics)


def _store(settings: Settings, wire: Wire, metrics: Metrics) -> KeptResponses:
    told = settings.responses
    limits = ResponseLimits(told.max_age_s, told.max_bytes)
    subjects = Subjects(settings.nats.prefix)
    return store_for(wire, subjects, limits, max_response_bytes=told.max_response_bytes, observer=metrics)


async def _hooks(
    settings: Settings, secrets: Secrets, wire: Wire, calls: CallStates, spans: Spans, metrics: Metrics
) -> Hooks:
    """What takes webhooks, once their stream is there."""
    told = settings.hooks
    limits = HookLimits(told.max_age_s, told.max_bytes, told.window_s)
    stream = HookStream(wire, Subjects(settings.nats.prefix), limits)
    await open_bus(stream.open())
    return Hooks(told, secrets, stream, calls, tenants=settings.api_keys, spans=spans, metrics=metrics)


async def _serve(
    edge: Edge,
    bus: EdgeBus,
    metrics: Metrics,
    settings: Settings,
    stop: asyncio.Event,
    *,
    reuse_port: bool,
    announce: Callable[[str, str], None],
) -> bool:
    """Listen until `stop`, then drain: not ready, deaf after `lame_s`, and `drain_s` for the streams that run."""
    logging.getLogger("aiohttp.server").addFilter(_is_ours)
    public = web.AppRunner(edge.app(), handler_cancellation=True, shutdown_timeout=SHUTDOWN_S)
    admin = web.AppRunner(admin_app(edge, bus, metrics), access_log=None, shutdown_timeout=SHUTDOWN_S)
    await public.setup()
    await admin.setup()
    try:
        bound = bind(settings.edge.host, settings.edge.port, reuse_port=reuse_port)
        listener = await listen(public, bound)
        admin_bound = bind_next(settings.admin.host, settings.admin.port, ADMIN_PORT)
        await web.SockSite(admin, admin_bound).start()
        url, admin_url = url_of(bound), url_of(admin_bound)
        announce(url, admin_url)
        log.info("edge up", extra={"edge": bus.edge_id, "url": url, "admin": admin_url})
        await stop.wait()
        edge.draining = True
        await asyncio.sleep(settings.edge.lame_s)
        listener.close()
        return await edge.drain(settings.edge.drain_s)
    finally:
        await public.cleanup()
        await admin.cleanup()


def _is_ours(record: logging.LogRecord) -> bool:
    """What is no HTTP is its sender's fault, and aiohttp would log its bytes, which may hold a key."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


async def _last_records(edge: Edge, records: Records) -> None:
    try:
        await edge.settled()
        await records.flush(RECORDS_S)
    except TimeoutError:
        log.warning("stopping with turn records unsent")
