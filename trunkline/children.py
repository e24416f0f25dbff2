"""How edges, workers and the local model are started: which program, and what of the environment each may see."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from protocol.settings import Settings, SettingsError
from trunkline.local_model import LocalModel
from trunkline.supervisor import Plan

ROOT = Path(__file__).resolve().parent.parent
START_S = 30.0  # beyond the wait for NATS: imports on a machine that is busy
MODEL_START_S = 300.0  # gigabytes from a cold disk
MOST_THREADS = 8  # more wait for the same memory
DRAIN_MARGIN_S = 5.0  # after its own bound a child still tells the last of its spans
CALLERS_KEYS = "TRUNKLINE_API_KEYS"
UPSTREAM_KEY = "OPENAI_API_KEY"


def edge_plans(count: int, settings: Settings, environ: Mapping[str, str], *, logs: Path | None) -> list[Plan]:
    """Edges on one port that the caller has reserved. They get no upstream's key."""
    env = without_keys(_importable(environ), settings)
    argv = [sys.executable, "-P", "-m", "edge", "--reuse-port"]
    return [_plan(f"edge-{number}", argv, env, logs, settings) for number in range(count)]


def worker_plans(count: int, settings: Settings, environ: Mapping[str, str], *, logs: Path | None) -> list[Plan]:
    """Workers. They get none of the keys that callers use, nor what webhooks are signed with."""
    theirs = {CALLERS_KEYS, settings.hooks.elevenlabs_secret_env}
    env = {name: value for name, value in _importable(environ).items() if name not in theirs}
    argv = [sys.executable, "-P", "-m", "workers"]
    return [_plan(f"worker-{number}", argv, env, logs, settings) for number in range(count)]


def model_plan(model: LocalModel, file: Path, settings: Settings, environ: Mapping[str, str], *, logs: Path) -> Plan:
    """The server of the local model. It gets nothing of ours but the port, which the caller holds."""
    told = ["--model", str(file), "--port", str(model.port), "--threads", str(_threads())]
    argv = [sys.executable, "-P", "-m", "trunkline.llama_server", *told, *(["--plain"] if model.plain else [])]
    env = _importable(secretless(environ, settings))
    return Plan("model", argv, env, logs / "model.log", start_s=MODEL_START_S)


def without_keys(environ: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """The environment without the keys of upstreams: only workers need them, and those say what they serve."""
    keys = {UPSTREAM_KEY} | {target.api_key_env for target in settings.targets.values()}
    return {name: value for name, value in environ.items() if name not in keys}


def secretless(environ: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """The environment for a program that needs nothing of ours."""
    kept = without_keys(environ, settings)
    secret = settings.hooks.elevenlabs_secret_env
    return {name: value for name, value in kept.items() if not name.startswith("TRUNKLINE_") and name != secret}


def edge_grace_s(settings: Settings) -> float:
    """How long an edge may take to stop."""
    return settings.edge.lame_s + settings.edge.drain_s + DRAIN_MARGIN_S


def worker_grace_s(settings: Settings) -> float:
    """How long a worker may take to stop."""
    return settings.worker.drain_s + DRAIN_MARGIN_S


def check_admin_port(settings: Settings) -> None:
    """Raises SettingsError: several processes on this machine cannot share one admin port."""
    if settings.admin.port:
        raise SettingsError(
            f"admin.port is {settings.admin.port}, one port, and several processes would listen on it; unset "
            "TRUNKLINE_ADMIN__PORT, or set it to 0 (any free one)"
        )


def _threads() -> int:
    """One core stays with the line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores - 1, MOST_THREADS))


def _plan(name: str, argv: list[str], env: dict[str, str], logs: Path | None, settings: Settings) -> Plan:
    log = logs / f"{name}.log" if logs else None
    return Plan(name, argv, env, log, start_s=settings.nats.wait_s + START_S, reloads=True)


def _importable(environ: Mapping[str, str]) -> dict[str, str]:
    """Children run the same code as this process does, wherever it was started: -P keeps the working directory out."""
    if ROOT.name in ("site-packages", "dist-packages"):
        return dict(environ)
    path = environ.get("PYTHONPATH")
    return {**environ, "PYTHONPATH": f"{ROOT}:{path}" if path else str(ROOT)}
