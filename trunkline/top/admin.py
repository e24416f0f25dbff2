"""What an edge's admin listener says, as one row."""

import asyncio
import json
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from protocol.telemetry import QUEUE_DEPTH, TURNS, TURNS_LIVE
from trunkline.top.figures import EdgeRow, EdgeState

LOOK_S = 1.0  # for one answer
UNREADABLE = (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError, RecursionError)
"""All that an address may do that is no admin listener of ours."""


async def look(session: aiohttp.ClientSession, url: str) -> EdgeRow:
    """Ask one admin listener."""
    try:
        ready, metrics = await asyncio.gather(_get(session, f"{url}/ready"), _get(session, f"{url}/metrics"))
        return edge_row(url, json.loads(ready), metrics)
    except (aiohttp.ClientConnectionError, TimeoutError):
        return EdgeRow(url=url, state="unreachable")
    except UNREADABLE:
        return EdgeRow(url=url, state="no edge")


def edge_row(url: str, ready: dict[str, Any], metrics: str) -> EdgeRow:
    """One row from `/ready` and `/metrics` (Prometheus text).

    Raises:
        KeyError, TypeError, ValueError: it is no edge that speaks there.
    """
    samples: dict[str, float] = {}
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            samples[sample.name] = samples.get(sample.name, 0.0) + sample.value
    return EdgeRow(
        url=url,
        state=_state(ready),
        live=int(samples[TURNS_LIVE]),
        waiting=int(samples[QUEUE_DEPTH]),
        turns=int(samples.get(f"{TURNS}_total", 0)),  # none until one has ended
    )


def _state(ready: dict[str, Any]) -> EdgeState:
    if ready["draining"]:
        return "draining"
    return "ready" if ready["ready"] else "not ready"


async def _get(session: aiohttp.ClientSession, url: str) -> str:
    async with asyncio.timeout(LOOK_S), session.get(url) as answer:
        return await answer.text()
