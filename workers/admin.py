"""Health, readiness and metrics of a worker, on a port of their own."""

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from protocol.ports import bind_next, url_of
from protocol.settings import Settings
from workers.bus import WorkerBus
from workers.metrics import Metrics

ADMIN_PORT = 9190


def admin_app(bus: WorkerBus, metrics: Metrics) -> web.Application:
    """`/health`, `/ready`, `/metrics`."""

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(_: web.Request) -> web.Response:
        pools = {pool: {"workers": 1, "slots_free": bus.free} for pool in bus.pools}
        is_ready = bus.connected and not bus.draining
        body = {"ready": is_ready, "nats": bus.connected, "pools": pools, "draining": bus.draining}
        return web.json_response(
            {**body, "slots": bus.slots, "worker_id": bus.worker_id},
            status=200 if is_ready else 503,
            dumps=lambda value: orjson.dumps(value).decode(),
        )

    async def scrape(_: web.Request) -> web.Response:
        metrics.live.set(bus.live)
        metrics.free.set(bus.free)
        metrics.connected.set(bus.connected)
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/health", health), web.get("/ready", ready), web.get("/metrics", scrape)])
    return app


class AdminListener:
    """The admin listener; entering it gives its URL."""

    def __init__(self, app: web.Application, settings: Settings) -> None:
        self._runner = web.AppRunner(app, access_log=None)
        self._host = settings.admin.host
        self._port = settings.admin.port

    async def __aenter__(self) -> str:
        await self._runner.setup()
        bound = bind_next(self._host, self._port, ADMIN_PORT)
        await web.SockSite(self._runner, bound).start()
        return url_of(bound)

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
