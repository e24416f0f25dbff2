"""Listening beside a line: only reading, and a clean word where there is none."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from protocol import codec
from protocol.messages import Here, TurnRecord
from protocol.settings import parse
from protocol.streams import JobLimits, consumer_config, jobs_config, turns_config
from protocol.wire import Disconnected
from tests.broker.nats_server import NatsServer
from tests.conftest import StartNats
from trunkline.listen import Listener, listen
from trunkline.ports import free_port


def record(number: int) -> TurnRecord:
    return TurnRecord(id=f"turn_{number}", tenant="me", model="echo", outcome="completed", started_at="")


@pytest.fixture
async def listener(nats_server: NatsServer) -> AsyncIterator[Listener]:
    """With a prefix of its own; the streams under it are gone at the end."""
    prefix = f"listen-{secrets.token_hex(4)}"
    settings = parse(None, {"TRUNKLINE_NATS__URL": nats_server.url, "TRUNKLINE_NATS__PREFIX": prefix})
    async with listen(settings) as listener:
        yield listener
        for name in (listener.subjects.turns, listener.subjects.jobs_stream("default")):
            if await listener.stream(name):
                await listener.ask(f"STREAM.DELETE.{name}")


def publish(listener: Listener, subject: str, data: bytes) -> None:
    listener._wire.publish(subject, data)


async def make_turns(listener: Listener, count: int) -> None:
    await listener.ask(f"STREAM.CREATE.{listener.subjects.turns}", turns_config(listener.subjects))
    for number in range(1, count + 1):
        publish(listener, listener.subjects.turn("me"), codec.encode_record(record(number)))
    async with asyncio.timeout(10):
        while (await stored(listener)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def stored(listener: Listener) -> int:
    info = await listener.stream(listener.subjects.turns)
    return info.state.last_seq if info else 0


async def test_workers_are_heard_with_their_pool_and_strangers_are_not(listener: Listener) -> None:
    heard: asyncio.Queue[tuple[str, Here]] = asyncio.Queue()
    await listener.here(lambda pool, here: heard.put_nowait((pool, here)))
    here = Here(worker_id="w", models=("m",), slots=4, free=2, draining=False, config="h")

    publish(listener, listener.subjects.here("big"), b"no Here at all")
    publish(listener, listener.subjects.here("big"), codec.encode(here))

    assert await asyncio.wait_for(heard.get(), 10) == ("big", here)


async def test_turns_are_heard_from_now_on(listener: Listener) -> None:
    heard: asyncio.Queue[TurnRecord] = asyncio.Queue()
    await listener.turns(heard.put_nowait)

    publish(listener, listener.subjects.turn("me"), codec.encode_record(record(1)))

    assert await asyncio.wait_for(heard.get(), 10) == record(1)


@pytest.mark.parametrize(("last", "expected"), [(3, [148, 149, 150]), (1000, list(range(1, 151)))])
async def test_the_newest_records_come_oldest_first(listener: Listener, last: int, expected: list[int]) -> None:
    await make_turns(listener, 150)

    found = await listener.records(last=last)

    assert [one.id for one in found] == [f"turn_{number}" for number in expected]


async def test_records_from_before_a_moment_are_left_out(listener: Listener) -> None:
    await make_turns(listener, 3)
    now = datetime.now(UTC)

    assert await listener.records(last=10, since=now + timedelta(seconds=60)) == []
    assert len(await listener.records(last=10, since=now - timedelta(seconds=60))) == 3


async def test_records_that_were_removed_leave_no_trace(listener: Listener) -> None:
    await make_turns(listener, 3)
    await listener.ask(f"STREAM.MSG.DELETE.{listener.subjects.turns}", {"seq": 2})

    assert [one.id for one in await listener.records(last=10)] == ["turn_1", "turn_3"]


async def test_an_empty_stream_has_no_records(listener: Listener) -> None:
    """A new one says that its first number is 0; asking for that was an error."""
    await make_turns(listener, 0)

    assert await listener.records(last=10) == []


async def test_a_line_without_streams_has_no_records_and_no_queues(listener: Listener) -> None:
    assert await listener.records(last=10) == []
    assert await listener.queues() == {}


async def test_queues_tell_their_depth_and_their_consumers(listener: Listener) -> None:
    subjects = listener.subjects
    stream = subjects.jobs_stream("default")
    await listener.ask(f"STREAM.CREATE.{stream}", jobs_config(subjects, "default", JobLimits(), "workers-1"))
    body: dict[str, Any] = {"stream_name": stream, "config": consumer_config("workers-1")}
    await listener.ask(f"CONSUMER.DURABLE.CREATE.{stream}.workers-1", body)

    publish(listener, subjects.job("default", "edge", 1), b"a job")
    await listener.flush()

    queues = await listener.queues()
    assert {pool: info.state.messages for pool, info in queues.items()} == {"default": 1}
    assert [consumer["durable_name"] for consumer in await listener.consumers(stream)] == ["workers-1"]


async def test_it_asks_no_more_than_the_server_will_tell(listener: Listener, nats_server: NatsServer) -> None:
    assert listener.server.jetstream
    assert listener.server.max_payload == 12 << 20
    assert listener.server.address == f"127.0.0.1:{nats_server.port}"


async def test_where_there_is_no_server_a_sentence_says_so_without_the_password() -> None:
    port = free_port("127.0.0.1")
    settings = parse(None, {"TRUNKLINE_NATS__URL": f"nats://me:secret@127.0.0.1:{port}"})

    with pytest.raises(Disconnected, match=rf"no NATS server at 127.0.0.1:{port} within 0.3 s") as raised:
        async with listen(settings, wait_s=0.3):
            pass

    assert "secret" not in str(raised.value)


async def test_it_comes_with_the_user_that_the_url_names(start_nats: StartNats) -> None:
    server = start_nats(options=["--user", "me", "--pass", "secret"])
    url = server.url.replace("//", "//me:secret@")

    async with listen(parse(None, {"TRUNKLINE_NATS__URL": url})) as listener:
        assert listener.server.address == f"127.0.0.1:{server.port}"
