"""A line whose models are a bench's, and turns on it: when the first content came, and what it was."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from bench.client import Call
from bench.drills.scene import SETTLED_S, failures_logged
from bench.line import Line
from bench.models.upstream import WORDS
from bench.processes import StartFailed

SLOTS = 512
TURN_S = 30.0


class NotAnswered(Exception):
    """A turn brought another answer than the targets', or none."""


@asynccontextmanager
async def a_line(upstream_url: str, config: str) -> AsyncIterator[str]:
    """An edge and one worker, whose breakers have seen everything; the URL of its API.

    Raises:
        StartFailed: a process did not come up, or met a bug.
    """
    with tempfile.TemporaryDirectory(prefix="trunkline-models-") as folder:
        directory = Path(folder)
        file = directory / "trunkline.toml"
        file.write_text(config)
        line = Line(directory, upstream_url, workers=1, slots=SLOTS, env={"TRUNKLINE_CONFIG": str(file)})
        await line.start()
        await asyncio.sleep(SETTLED_S)
        try:
            yield f"{line.edge_urls[0]}/v1/chat/completions"
        finally:
            wrong = [*await line.stop(), *failures_logged(directory)]
        if wrong:
            raise StartFailed("; ".join(wrong))


async def first_content_ms(url: str, model: str) -> float:
    """One turn.

    Raises:
        NotAnswered: it was not answered, once and whole.
    """
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Count."}]}
    answer = await (await Call.place(url, body)).ended(TURN_S)
    if answer.first_at is None or answer.text != "".join(WORDS) or not answer.done:
        raise NotAnswered(f"{model}: {answer.status} {answer.error or answer.text!r}")
    return (answer.first_at - answer.started) * 1000


def target(name: str, base_url: str, **settings: object) -> str:
    """A target's table."""
    return table_of(f'targets."{name}"', {"base_url": base_url, "model": "bench", **settings})


def model(name: str, targets: list[str], **settings: object) -> str:
    """A model's table."""
    return table_of(f'models."{name}"', {"targets": targets, **settings})


def table_of(name: str, told: Mapping[str, object]) -> str:
    """Any other table."""
    lines = [f"{key} = {_value(value)}" for key, value in told.items()]
    return "\n".join([f"[{name}]", *lines, ""])


def _value(value: object) -> str:
    """As TOML has it, whose strings and lists of strings are Python's but for the quotes."""
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)
