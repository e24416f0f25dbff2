"""What a person reads on the terminal. Secrets are never shown."""

import json
import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from protocol.settings import Settings
from trunkline.run_file import TRACES


def show_up(said: dict[str, Any], settings: Settings, *, collector: str | None) -> None:
    """The line is up: its address, a request that works, where things are, how to stop. `collector`: who gets spans."""
    console = Console(highlight=False)
    data = _short(said["data_dir"])
    edges, workers = (len(said["pids"][kind]) for kind in ("edges", "workers"))
    console.print(Text.assemble(("Trunkline is up: ", "bold"), (f"{said['url']}/v1", "bold green")))
    _row(console, "Runs", f"{_count(edges, 'edge')}, {_count(workers, 'worker')}, NATS at {said['nats']}")
    _row(console, "Models", ", ".join(settings.models) or "none: add [models.…] to trunkline.toml")
    _row(console, "Traces", collector or traces_file(settings, data))
    _row(console, "Logs", f"{data}/logs/")
    _row(console, "Admin", " ".join([*said["admin"]["edges"], *said["admin"]["workers"]]))
    _row(console, "More", "`trunkline worker` in another terminal adds a worker")
    _row(console, "Stop", "Ctrl-C; what is being said may finish, a second Ctrl-C ends it")
    if model := example_model(settings):
        console.print(Text("\n" + curl(said["url"], model, keyed=bool(settings.api_keys)), "cyan"), soft_wrap=True)


def show_process(kind: str, said: dict[str, Any]) -> None:
    """One tier's process is ready."""
    console = Console(highlight=False)
    if "url" in said:
        console.print(Text.assemble((f"{kind} ready: ", "bold"), (said["url"], "bold green")))
    else:
        console.print(Text(f"{kind} ready", "bold"))
    admin = said["admin"]
    _row(console, "Admin", admin if isinstance(admin, str) else " ".join(admin))
    _row(console, "Stop", "Ctrl-C; what is being said may finish, a second Ctrl-C ends it")


def curl(url: str, model: str, *, keyed: bool) -> str:
    """A command that works as it stands, except for the caller's own key where keys are configured."""
    key = " -H 'Authorization: Bearer <your key>'" if keyed else ""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Hello, is this on?"}]}
    return f"curl -N {url}/v1/chat/completions{key} -d '{json.dumps(body)}'"


def example_model(settings: Settings) -> str | None:
    """The model to show: the one that was asked for, else one that needs nothing, else any that has a full name."""
    named = [name for name in settings.models if "*" not in name and "'" not in name]
    return next((name for name in ("local", "upstream", "echo") if name in named), named[0] if named else None)


def traces_file(settings: Settings, data: str) -> str:
    """Where spans are written."""
    return settings.telemetry.traces_file or f"{data}/{TRACES}"


def _row(console: Console, name: str, text: str) -> None:
    console.print(Text.assemble((f"  {name:<7}", "dim"), text), soft_wrap=True)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _short(path: str) -> str:
    """Relative to where we are, where that is shorter."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else str(Path(relative))
