"""Several edges on one port: one machine's share of the edge tier."""

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any

from edge.signature import secrets_of
from protocol.settings import Settings, check_exposure
from trunkline.children import check_admin_port, edge_grace_s, edge_plans
from trunkline.ports import reserve
from trunkline.supervisor import Supervisor, supervise


def run_edges(settings: Settings, environ: Mapping[str, str], announce: Callable[[dict[str, Any]], None]) -> int:
    """Run `edge.processes` edges until a signal; the exit code. They log where we do.

    Raises:
        SettingsError: before anything was started.
        StartFailed, KeepsDying: after everything was stopped again.
    """
    check_exposure(settings)
    check_admin_port(settings)
    secrets_of(settings.hooks, environ)
    with reserve(settings.edge.host, settings.edge.port) as port:
        env = {**environ, "TRUNKLINE_EDGE__PORT": str(port.getsockname()[1])}
        if settings.nats.url:
            env["TRUNKLINE_NATS__URL"] = settings.nats.url
        return asyncio.run(_run(settings, env, announce))


async def _run(settings: Settings, env: Mapping[str, str], announce: Callable[[dict[str, Any]], None]) -> int:
    supervisor = Supervisor(restart=True)

    async def start() -> None:
        edges = await supervisor.start_all(edge_plans(settings.edge.processes, settings, env, logs=None))
        admin = [edge.said["admin"] for edge in edges]
        announce({"event": "ready", "url": edges[0].said["url"], "admin": admin, "pid": os.getpid()})

    async def drain() -> int:
        return await supervisor.stop(supervisor.children, grace_s=edge_grace_s(settings))

    return await supervise(supervisor, start, drain)
