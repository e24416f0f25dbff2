"""Turns of every kind, taken over a real line."""

import itertools
import secrets
import signal
from typing import Any

from bench.client import Call
from bench.line import Upstream
from bench.polling import until
from tests.broker.line_fixture import RealLine, user
from tests.broker.turn_trees import Turn

SETTLE_S = 15.0
RUN = secrets.token_hex(4)
"""Part of every call id: a Jaeger that is not our own keeps the traces of earlier runs."""

_numbers = itertools.count(1)


def new_call() -> str:
    """A call id that no other turn has."""
    return f"call-{RUN}-{next(_numbers)}"


def body(model: str = "echo", text: str = "one two three", **orders: Any) -> dict[str, Any]:
    """A request; `orders` pace the echo model: `first_ms=300` is `echo.first_ms`."""
    metadata = {f"echo.{name}": str(value) for name, value in orders.items()}
    return {"model": model, "messages": [user(text)], "stream": True, "metadata": metadata}


LONG = body(first_ms=50, rate=20, tokens=400)
"""20 s of speech."""


async def turn(
    line: RealLine, told: dict[str, Any], call: str, *, edge: int = 0, headers: dict[str, str] | None = None
) -> Turn:
    """A whole turn."""
    return await Turn.taken(_url(line, edge), told, {"X-Call-Id": call, **(headers or {})})


async def interrupted(line: RealLine, call: str) -> Turn:
    """The caller hangs up after two words."""
    placed = await _placed(line, LONG, call)
    assert await placed.heard(2)
    placed.hang_up()
    return Turn(await placed.ended())


async def interrupted_early(line: RealLine, upstream: Upstream, call: str) -> Turn:
    """The caller hangs up before the first word; no header came back, so the call id is all there is to search for."""
    placed = await _silent(line, upstream, call, first_ms=20_000)
    placed.hang_up()
    return Turn(await placed.ended())


async def reoffered(line: RealLine, upstream: Upstream, call: str) -> tuple[Turn, str]:
    """The worker is killed before the first word; the turn, and that worker's id."""
    placed = await _silent(line, upstream, call, first_ms=1000)
    killed = await _kill_its_worker(line)
    return Turn(await placed.ended()), killed


async def lost(line: RealLine, call: str) -> tuple[Turn, str]:
    """The worker is killed after two words; the turn, and that worker's id."""
    placed = await _placed(line, LONG, call)
    assert await placed.heard(2)
    killed = await _kill_its_worker(line)
    return Turn(await placed.ended()), killed


async def late(line: RealLine, call: str) -> Turn:
    """The model says nothing within the budget: 0.5 s, because the client says that it waits for 1."""
    return await turn(line, body(first_ms=20_000), call, headers={"x-stainless-read-timeout": "1"})


def _url(line: RealLine, edge: int = 0) -> str:
    return f"{line.edges[edge].url}/v1/chat/completions"


async def _placed(line: RealLine, told: dict[str, Any], call: str) -> Call:
    """A turn that nobody else's is beside: the worker that runs something runs this one."""
    await line.idle()
    return await Call.place(_url(line), told, headers={"X-Call-Id": call})


async def _silent(line: RealLine, upstream: Upstream, call: str, *, first_ms: int) -> Call:
    """A turn whose model has been asked and has not said anything yet."""
    placed = await _placed(line, body("upstream", f"#{call} first_ms={first_ms} tokens=3"), call)
    assert await until(lambda: upstream.generations([call]), bool, SETTLE_S)
    return placed


async def _kill_its_worker(line: RealLine) -> str:
    """Kill the worker that runs something, and start another; the id of the one that is gone."""
    [running] = await until(line.busy, lambda members: len(members) == 1, SETTLE_S)
    _, readiness = await running.readiness()
    running.process.send(signal.SIGKILL)
    line.workers.remove(running)
    await line.add("worker").started()
    return str(readiness["worker_id"])
