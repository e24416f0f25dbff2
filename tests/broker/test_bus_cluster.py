"""Three servers, and the one that holds a memory stream dies: an edge makes it anew, and turns flow again."""

import asyncio
import json
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress

import pytest

from protocol.wire import Disconnected, NoResponders
from tests.broker.halves import GUARD_S, LOOK_S, Edge, Halves, Worker, eventually
from tests.broker.nats_server import START_S, NatsServer, unused_port
from tests.conftest import StartNats

pytestmark = pytest.mark.usefixtures("no_bug_logged")

NAMES = ("one", "two", "three")


async def a_cluster(start_nats: StartNats) -> dict[str, NatsServer]:
    """Three servers by their names, ready for streams."""
    ports = [unused_port() for _ in NAMES]
    routes = ",".join(f"nats://127.0.0.1:{port}" for port in ports)
    servers = {}
    for name, port in zip(NAMES, ports, strict=True):
        cluster = ["--cluster", f"nats://127.0.0.1:{port}", "--cluster_name", "test", "--routes", routes]
        servers[name] = start_nats(options=["-n", name, *cluster, "-m", str(unused_port())], wait=False)
    await asyncio.gather(*(asyncio.to_thread(server.wait_ready) for server in servers.values()))
    await asyncio.to_thread(meta_leader, list(servers.values()))
    return servers


def meta_leader(servers: Sequence[NatsServer]) -> str:
    """Who decides where streams go. Blocks until it is chosen."""
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        for server in servers:
            port = server.options[server.options.index("-m") + 1]
            # It answers clients before it answers here.
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/jsz", timeout=5.0) as answer:
                if leader := json.load(answer).get("meta_cluster", {}).get("leader"):
                    return str(leader)
        time.sleep(LOOK_S)
    raise AssertionError("the servers choose no leader")


async def pair(halves: Halves) -> tuple[Edge, Worker]:
    """An edge and a worker, once the cluster keeps streams."""
    async with asyncio.timeout(15.0):
        while True:
            try:
                answer = await halves.api("INFO")
                if "error" not in answer:
                    break
            except (TimeoutError, NoResponders, Disconnected):
                pass
            await asyncio.sleep(LOOK_S)
    return await halves.edge(), await halves.worker(answer="hello")


async def test_turns_flow_again_when_the_server_that_held_the_job_stream_is_killed(start_nats: StartNats) -> None:
    servers = await a_cluster(start_nats)
    async with Halves(",".join(server.url for server in servers.values())) as halves:
        edge, worker = await pair(halves)
        assert edge.wire.clustered
        assert await edge.offer("before").answer() == "hello"
        assert len(worker.taken) == 1
        leader = await asyncio.to_thread(meta_leader, list(servers.values()))
        # The stream on another server than the one that has to place it anew: elections would take seconds.
        async with asyncio.timeout(GUARD_S):
            while (holder := (await halves.stream())["cluster"]["leader"]) == leader:
                await halves.delete_stream()
                assert await edge.offer("moved").answer() == "hello"

        await asyncio.to_thread(servers[holder].kill)
        await eventually(lambda: all(wire.connected for wire in halves.wires))
        turns = [edge.offer(f"after {number}") for number in range(3)]

        assert [await turn.answer() for turn in turns] == ["hello"] * 3
        assert (await halves.stream())["cluster"]["leader"] not in ("", holder)
        await halves.until_depth(0)
