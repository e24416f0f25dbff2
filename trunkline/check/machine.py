"""Look at this machine: ports, open files, the data directory."""

import asyncio
import contextlib
import os
import resource
import shutil
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import psutil
from aiohttp import ClientTimeout

from protocol.ports import url_of
from protocol.settings import Settings
from protocol.streams import TURNS_MAX_BYTES
from trunkline.check.findings import Finding, fail, ok, warn
from trunkline.check.processes import ANSWER_S, readiness
from trunkline.check.sizes import size
from trunkline.ports import is_taken

PORTS, FILES, DATA = "ports", "files", "data"
SPARE_FILES = 128  # NATS, logs, traces, the admin listener, modules
LEAST_FREE_BYTES = 100 << 20


class Place(NamedTuple):
    """A port that the configuration names."""

    name: str
    host: str
    port: int
    setting: str


async def look_at_ports(settings: Settings, run: dict[str, Any]) -> list[Finding]:
    """Whether the ports that are named are free, or held by a process of ours. A line that runs has chosen its own."""
    edge, admin = settings.edge, settings.admin
    port = urlsplit(str(run.get("url"))).port
    places = [Place("edge", edge.host, edge.port if port is None else port, "TRUNKLINE_EDGE__PORT")]
    if admin.port is not None:
        places.append(Place("admin", admin.host, admin.port, "TRUNKLINE_ADMIN__PORT"))
    needed = settings.nats.url is None and not run  # then the next thing that starts here wants them
    async with aiohttp.ClientSession(timeout=ClientTimeout(total=ANSWER_S)) as session:
        return list(await asyncio.gather(*(_look_at_port(session, place, run, needed=needed) for place in places)))


async def _look_at_port(session: aiohttp.ClientSession, place: Place, run: dict[str, Any], *, needed: bool) -> Finding:
    if not place.port:
        return ok(PORTS, place.name, "any free one")
    where = f"{place.host} port {place.port}"
    try:
        if not is_taken(place.host, place.port):
            return ok(PORTS, place.name, f"{where} is free")
    except OSError as error:
        text, cure = f"nobody can listen on {where}: {error.strerror}", f"choose another with {place.setting}"
        return fail(PORTS, place.name, text, cure)
    if urlsplit(str(run.get("url"))).port == place.port:
        return ok(PORTS, place.name, f"{where} is held by the line that runs here")
    if await readiness(session, _url(place)) is not None:
        return ok(PORTS, place.name, f"{where} is held by a process of Trunkline")
    text = f"{where} is held by {holder(place.port)}"
    cure = f"stop it, or choose another port with {place.setting} (0: any free one)"
    return (fail if needed else warn)(PORTS, place.name, text, cure)


def _url(place: Place) -> str:
    class Named:
        def getsockname(self) -> tuple[str, int]:
            return place.host, place.port

    return url_of(Named())


def holder(port: int) -> str:
    """Which program listens there, where we may know."""
    with contextlib.suppress(psutil.Error, OSError):  # not everybody may look
        for connection in psutil.net_connections(kind="tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
            if listens and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return "another program"


def judge_files(settings: Settings, limit: int) -> list[Finding]:
    """Whether a process may have as many connections open as there can be turns. `limit`: what one may open.

    A worker has one for every slot, an edge one for every turn that runs or waits.
    """
    cure = "raise it where processes start: `ulimit -n 65536`, or LimitNOFILE=65536 in a systemd unit"
    if limit < settings.worker.slots + SPARE_FILES:
        text = f"a process may open {limit} files: too few for {settings.worker.slots} slots (worker.slots)"
        return [fail(FILES, "limit", text, cure)]
    waiting = settings.jobs.max_msgs
    if limit < settings.worker.slots + waiting + SPARE_FILES:
        text = f"a process may open {limit} files: too few for an edge while {waiting} turns wait (jobs.max_msgs)"
        return [warn(FILES, "limit", text, cure)]
    return [ok(FILES, "limit", f"a process may open {limit if limit < 1 << 40 else 'any number of'} files")]


def open_files_limit() -> int:
    """Of this process, and of those that start here."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 62 if soft == resource.RLIM_INFINITY else soft


def look_at_data(settings: Settings, run: dict[str, Any]) -> list[Finding]:
    """Whether the data directory can be written, and whether its disk has room for the turn records.

    Where NATS keeps them elsewhere and no line runs here, little or nothing is written.
    """
    data = Path(settings.data_dir).absolute()
    there = next(path for path in (data, *data.parents) if path.exists())
    cure = "make it writable, or set TRUNKLINE_DATA_DIR to another"
    if not there.is_dir():
        return [fail(DATA, "directory", f"{data} cannot be made: {there} is a file", cure)]
    if not os.access(there, os.W_OK | os.X_OK):
        return [fail(DATA, "directory", f"{data} cannot be written", cure)]
    writable = ok(DATA, "directory", f"{data} can be written")
    if settings.nats.url is not None and not run:
        return [writable]
    return [writable, judge_disk(shutil.disk_usage(there).free)]


def judge_disk(free_bytes: int) -> Finding:
    """Turn records, logs and traces go there."""
    cure = "free some, or set TRUNKLINE_DATA_DIR to a larger disk"
    if free_bytes < LEAST_FREE_BYTES:
        return fail(DATA, "disk", f"{size(free_bytes)} are free", cure)
    if free_bytes < TURNS_MAX_BYTES:
        text = f"{size(free_bytes)} are free; turn records alone may take {size(TURNS_MAX_BYTES)}"
        return warn(DATA, "disk", text, cure)
    return ok(DATA, "disk", f"{size(free_bytes)} are free")
