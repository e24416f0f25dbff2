"""Look at the edges and workers of the line that runs on this machine, through their admin listeners."""

import asyncio
from collections.abc import Iterable
from typing import Any

import aiohttp
import psutil
from aiohttp import ClientTimeout

from trunkline.check.findings import Finding, fail, ok, warn
from trunkline.check.sizes import number

EDGES, WORKERS = "edges", "workers"
ANSWER_S = 2.0  # a loop that takes longer is of no use to a caller


def is_alive(run: dict[str, Any]) -> bool:
    """Whether a process of the line that wrote `run` still lives."""
    pids = run.get("pids") or {}
    return any(_runs(pid) for kind in (EDGES, WORKERS) for pid in pids.get(kind, []))


def _runs(pid: int) -> bool:
    """Whether there is such a process, and not only its exit code."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


async def look_at_processes(run: dict[str, Any]) -> list[Finding]:
    """Whether each process that `run` names is ready; without any, nothing is known of edges."""
    admin: dict[str, Iterable[str]] = run.get("admin") or {}
    asked = [(kind, url) for kind in (EDGES, WORKERS) for url in admin.get(kind, [])]
    if not asked:
        return [ok(EDGES, "here", "none is known on this machine; `check` sees those that `trunkline up` runs")]
    async with aiohttp.ClientSession(timeout=ClientTimeout(total=ANSWER_S)) as session:
        return list(await asyncio.gather(*(_look(session, kind, url) for kind, url in asked)))


async def _look(session: aiohttp.ClientSession, kind: str, url: str) -> Finding:
    said = await readiness(session, url)
    if said is None:
        text = f"does not answer within {ANSWER_S:g} s: it is frozen, or gone"
        return fail(kind, url, text, "see its log; kill it if it hangs: `trunkline up` starts another")
    return judge_readiness(kind, url, said)


async def readiness(session: aiohttp.ClientSession, url: str) -> dict[str, Any] | None:
    """What a process of ours says of itself at `/ready`; None: nobody answers, or somebody else."""
    try:
        async with session.get(f"{url}/ready", allow_redirects=False) as answer:
            said = await answer.json()
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return None
    return said if isinstance(said, dict) and {"ready", "nats", "pools"} <= said.keys() else None


def judge_readiness(kind: str, url: str, said: dict[str, Any]) -> Finding:
    """What `/ready` means."""
    pools = [
        f"pool {name}: {number(pool.get('workers', 0), 'worker')}, {pool.get('slots_free', 0)} slots free"
        for name, pool in said["pools"].items()
    ]
    if said["ready"]:
        return ok(kind, url, "; ".join(["ready", *(pools if kind == EDGES else [])]))
    if said.get("draining"):
        return warn(kind, url, "it drains: it takes nothing new and ends soon", "wait, or start another")
    if not said["nats"]:
        return fail(kind, url, "not ready: it has lost NATS", "see the section nats, and its log")
    return fail(kind, url, "not ready: it hears no worker", "start one with `trunkline worker`")
