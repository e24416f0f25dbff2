"""What `trunkline up` writes down while it runs: `<data>/run.json`, so that others find its NATS."""

import contextlib
import json
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from protocol.settings import Settings
from trunkline.nats_server import answers

NAME = "run.json"
TRACES = "traces.jsonl"  # every process of the line appends to it


def write(data: Path, said: dict[str, Any]) -> None:
    """Write it anew; a reader sees the old one or the new one, never a half."""
    fresh = data / f"{NAME}.new"
    fresh.write_text(json.dumps(said) + "\n", encoding="utf-8")
    fresh.replace(data / NAME)


def remove(data: Path) -> None:
    """The line is down."""
    (data / NAME).unlink(missing_ok=True)


async def join(settings: Settings) -> Settings:
    """Settings with the NATS of the line that runs here, where none is set and one answers; its traces file too."""
    data = Path(settings.data_dir)
    url = _nats_url(data)
    if settings.nats.url or not url or not await answers(url):
        return settings
    traces = settings.telemetry.traces_file or str((data / TRACES).resolve())
    telemetry = replace(settings.telemetry, traces_file=traces)
    return replace(settings, nats=replace(settings.nats, url=url), telemetry=telemetry)


def _nats_url(data: Path) -> str:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads((data / NAME).read_bytes())["nats"])
    return ""
