"""What `trunkline up` writes down while it runs: `<data>/run.json`, so that others find its NATS."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from protocol.settings import Settings
from trunkline.nats_server import answers

NAME = "run.json"
SHARED = "environ"  # in that file: variables that whoever joins the line needs too
COLLECTORS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")  # either one takes the traces
NO_LINE = (
    "start a line with `trunkline up`, or set TRUNKLINE_NATS__URL to the NATS of one that runs elsewhere or with "
    "--ephemeral: it shows that as it starts"
)
"""The cure where no line was found here: an ephemeral one has its data elsewhere."""

TRACES = "traces.jsonl"  # every process of the line appends to it


def write(data: Path, said: dict[str, Any], shared: Mapping[str, str] | None = None) -> None:
    """Write it anew; a reader sees the old one or the new one, never a half."""
    said = {**said, SHARED: dict(shared)} if shared else said
    fresh = data / f"{NAME}.new"
    fresh.write_text(json.dumps(said) + "\n", encoding="utf-8")
    fresh.replace(data / NAME)


def remove(data: Path) -> None:
    """The line is down."""
    (data / NAME).unlink(missing_ok=True)


def read(data: Path) -> dict[str, Any]:
    """What the line that runs here, or one that was killed, has written down; empty: none has."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return dict(json.loads((data / NAME).read_bytes()))
    return {}


async def joined(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment, and under it what the line that runs here shares: the models that its options name, where
    traces go. Where none runs, or another NATS is set, the environment as it is.
    """
    said = read(Path(settings.data_dir))
    if settings.nats.url or not await answers(str(said.get("nats") or "")):
        return dict(environ)
    return {**said.get(SHARED, {}), **environ}


async def join(settings: Settings) -> Settings:
    """Settings with the NATS of the line that runs here, where none is set and one answers; its traces file too."""
    data = Path(settings.data_dir)
    url = str(read(data).get("nats") or "")
    if settings.nats.url or not url or not await answers(url):
        return settings
    traces = settings.telemetry.traces_file or str((data / TRACES).resolve())
    telemetry = replace(settings.telemetry, traces_file=traces)
    return replace(settings, nats=replace(settings.nats, url=url), telemetry=telemetry)
