"""Health, readiness and metrics of an edge, on a port of their own."""

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from edge.bus import EdgeBus
from edge.handlers import Edge, health
from edge.metrics import Metrics


def admin_app(edge: Edge, bus: EdgeBus, metrics: Metrics) -> web.Application:
    """`/health`, `/ready`, `/metrics`."""

    async def scrape(_: web.Request) -> web.Response:
        metrics.connected.set(bus.connected)
        metrics.depth.set(bus.waiting)
        for pool, state in edge.pools().items():
            metrics.workers.labels(pool).set(state["workers"])
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/health", health), web.get("/ready", edge.ready), web.get("/metrics", scrape)])
    return app
