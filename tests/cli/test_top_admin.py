"""What `trunkline top` makes of an admin listener, and of what is none."""

import asyncio
from typing import Any

import aiohttp
import pytest
from prometheus_client import generate_latest

from edge.metrics import Metrics as EdgeMetrics
from protocol.messages import Outcome, TurnRecord
from tests.tcp import listening
from trunkline.ports import free_port
from trunkline.top.admin import edge_row, look
from trunkline.top.figures import EdgeRow
from workers.metrics import Metrics as WorkerMetrics

URL = "http://127.0.0.1:9090"
READY = {"ready": True, "nats": True, "pools": {}, "draining": False}


def metrics(*ended: Outcome) -> str:
    """What an edge with two live turns and one that waits says, after some have ended."""
    made = EdgeMetrics()
    made.live.set(2)
    made.depth.set(1)
    for number, outcome in enumerate(ended):
        made.ended(TurnRecord(id=f"{number}", tenant="t", model="m", outcome=outcome, started_at=""))
    return generate_latest(made.registry).decode()


@pytest.mark.parametrize(
    ("ready", "state"),
    [
        (READY, "ready"),
        ({**READY, "ready": False}, "not ready"),
        ({**READY, "ready": False, "draining": True}, "draining"),
    ],
)
def test_an_edge_is_one_row(ready: dict[str, Any], state: Any) -> None:
    row = edge_row(URL, ready, metrics("completed", "completed", "interrupted"))

    assert row == EdgeRow(url=URL, state=state, live=2, waiting=1, turns=3)


def test_an_edge_that_has_ended_no_turn_has_ended_none() -> None:
    assert edge_row(URL, READY, metrics()).turns == 0


async def served(head: bytes, body: bytes) -> EdgeRow:
    """What is made of a listener that answers everything in one way."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + head + b"\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    async with listening(answer) as port, aiohttp.ClientSession() as session:
        return await look(session, f"http://127.0.0.1:{port}")


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b"null", b'{"ready": true, "draining": false}', b"\xff\xfe", b"[" * 100_000],
)
async def test_who_is_no_edge_is_said_to_be_none(body: bytes) -> None:
    row = await served(b"Content-Type: text/plain; charset=utf-8", body)

    assert row.state == "no edge"


async def test_a_worker_is_no_edge() -> None:
    with pytest.raises(KeyError):
        edge_row(URL, READY, generate_latest(WorkerMetrics().registry).decode())


async def test_an_edge_that_is_gone_is_unreachable() -> None:
    async with aiohttp.ClientSession() as session:
        row = await look(session, f"http://127.0.0.1:{free_port('127.0.0.1')}")

    assert (row.state, row.live) == ("unreachable", None)
