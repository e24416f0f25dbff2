"""What calls need from turn to turn, in a bucket on a real server."""

import asyncio
from collections import Counter

import msgspec
import nats
import pytest

from edge.calls import CallState
from edge.state import CallStates, Missed
from protocol import codec
from protocol.ids import new_id
from protocol.messages import Heard, TurnRecord
from protocol.streams import calls_config
from tests.broker.halves import GUARD_S, LOOK_S, Edge, Halves, TappedWire, eventually, within
from tests.broker.nats_server import NatsServer
from tests.conftest import StartNats

pytestmark = pytest.mark.usefixtures("no_bug_logged")

STATE = CallState(turn_id="turn_1", said="It is fünf.", spoken=("One moment... ",), asked=1, fillers=1)
CALL_ID = "call 4711 * > $äöü."  # no part of a subject, whatever a caller writes


class Reader:
    """An edge's way to the bucket, and what it has missed."""

    def __init__(self, halves: Halves, edge: Edge) -> None:
        self.missed: Counter[str] = Counter()
        self.wire: TappedWire = edge.wire
        self.states = CallStates(
            edge.wire, halves.subjects, edge_id=edge.bus.edge_id, heal=edge.bus.heal_calls, observer=self
        )

    def call_state_missed(self, why: Missed) -> None:
        self.missed[why] += 1

    async def read(self, call_id: str = CALL_ID, tenant: str = "desk") -> CallState:
        told: asyncio.Future[CallState] = asyncio.get_running_loop().create_future()
        self.states.read(tenant, call_id, told.set_result)
        return await within(told)

    async def until(self, state: CallState) -> None:
        """Until that is what the call has."""
        async with asyncio.timeout(GUARD_S):
            while await self.read() != state:  # noqa: ASYNC110 - a write is told nobody
                await asyncio.sleep(LOOK_S)


async def reader(halves: Halves) -> Reader:
    made = Reader(halves, await halves.edge())
    await made.states.open()
    return made


async def test_a_new_call_has_an_empty_record(halves: Halves) -> None:
    one = await reader(halves)

    assert await one.read() == CallState()
    assert not one.missed


async def test_what_one_edge_has_written_another_reads(halves: Halves) -> None:
    one, other = await asyncio.gather(reader(halves), reader(halves))

    one.states.write("desk", CALL_ID, STATE)

    await other.until(STATE)
    assert await other.read("another call") == CallState()
    assert await other.read(tenant="another") == CallState()


async def test_the_last_record_of_a_call_is_the_only_one(halves: Halves) -> None:
    one = await reader(halves)

    for fillers in range(5):
        one.states.write("desk", CALL_ID, CallState(fillers=fillers))

    await one.until(CallState(fillers=4))
    info = await halves.api(f"STREAM.INFO.{halves.subjects.calls_stream}")
    assert info["state"]["messages"] == 1
    assert info["config"]["storage"] == "memory"
    assert info["config"]["max_age"] == 3600 * 10**9


async def test_it_is_a_key_value_bucket_as_other_clients_have_them(halves: Halves) -> None:
    one = await reader(halves)
    one.states.write("desk", CALL_ID, STATE)
    await one.until(STATE)

    client = await nats.connect(halves.url)
    try:
        bucket = await client.jetstream().key_value(halves.subjects.calls)
        (key,) = await bucket.keys()
        entry = await bucket.get(key)
        assert msgspec.json.decode(entry.value or b"", type=CallState) == STATE
        assert key.startswith("desk.")
        await bucket.delete(key)
    finally:
        await client.close()

    assert await one.read() == CallState(), "somebody has deleted it"


async def test_two_edges_that_make_the_bucket_at_once_agree(halves: Halves) -> None:
    await asyncio.gather(*(reader(halves) for _ in range(3)))

    info = await halves.api(f"STREAM.INFO.{halves.subjects.calls_stream}")
    wanted = calls_config(halves.subjects)
    assert {name: info["config"][name] for name in wanted if name != "metadata"} == {
        name: value for name, value in wanted.items() if name != "metadata"
    }


async def test_a_bucket_that_was_deleted_is_there_again_for_the_next_turn(halves: Halves) -> None:
    one = await reader(halves)
    deleted = await halves.api(f"STREAM.DELETE.{halves.subjects.calls_stream}")
    assert deleted["success"]

    one.states.read("desk", CALL_ID, lambda _: None)
    await eventually(lambda: one.missed["away"] == 1)

    async with asyncio.timeout(GUARD_S):
        while "error" in await halves.api(f"STREAM.INFO.{halves.subjects.calls_stream}"):  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)
    one.states.write("desk", CALL_ID, STATE)
    await one.until(STATE)


async def test_a_record_of_another_version_is_missed_and_replaced(halves: Halves) -> None:
    one = await reader(halves)
    await one.wire.request(halves.subjects.call("desk", CALL_ID), b'{"fillers": "many"}', timeout_s=5.0)
    told: list[CallState] = []

    one.states.read("desk", CALL_ID, told.append)
    await eventually(lambda: one.missed["unreadable"] == 1)

    assert told == []
    one.states.write("desk", CALL_ID, STATE)
    async with asyncio.timeout(GUARD_S):  # a read may overtake it
        while (await halves.api(f"STREAM.INFO.{halves.subjects.calls_stream}"))["state"]["last_seq"] < 2:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)
    assert await one.read() == STATE


async def test_a_bus_that_is_away_is_not_waited_for(nats_server: NatsServer) -> None:
    async with Halves(nats_server.url) as halves:
        one = await reader(halves)
        await one.wire.cut()

        told: list[CallState] = []
        one.states.read("desk", CALL_ID, told.append)
        one.states.write("desk", CALL_ID, STATE)

        assert one.missed == {"away": 1}
        assert told == []


async def test_an_answer_that_does_not_come_is_given_up(halves: Halves) -> None:
    one = await reader(halves)
    one.wire.holds = lambda sent: "DIRECT.GET" in sent.subject

    told: list[CallState] = []
    one.states.read("desk", CALL_ID, told.append)

    await eventually(lambda: one.missed["late"] == 1)
    one.wire.release()
    assert await one.read() == CallState()
    assert told == [], "a late answer is nobody's"


async def test_after_a_restart_of_the_server_calls_begin_anew(start_nats: StartNats) -> None:
    """The bucket was in its memory."""
    server = start_nats()
    async with Halves(server.url) as halves:
        one = await reader(halves)
        one.states.write("desk", CALL_ID, STATE)
        await one.until(STATE)

        server.kill()
        await eventually(lambda: not one.wire.connected)
        await asyncio.to_thread(server.start)
        await eventually(lambda: one.wire.connected)
        async with asyncio.timeout(GUARD_S):
            while "error" in await halves.api(f"STREAM.INFO.{halves.subjects.calls_stream}"):  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)

        assert await one.read() == CallState()


async def test_an_amendment_is_kept_once_beside_its_record(halves: Halves) -> None:
    edge = await halves.edge()
    turn = TurnRecord(
        id=f"turn_{new_id()}", tenant="desk", model="m", outcome="interrupted", started_at="2026-03-01T08:00:00Z"
    )
    amendment = Heard(
        amends=turn.id,
        by="turn_2",
        tenant="desk",
        call_id=CALL_ID,
        said_chars=9,
        heard_chars=4,
        said_words=2,
        heard_words=1,
    )

    for record in (turn, turn, amendment, amendment):
        await edge.bus.record(record)

    info = await halves.api(f"STREAM.INFO.{halves.subjects.turns}")
    assert info["state"]["messages"] == 2
    subject = halves.subjects.heard("desk", turn.id)
    wire = await halves.wire()
    got = await wire.request(f"$JS.API.STREAM.MSG.GET.{halves.subjects.turns}", _last_of(subject), timeout_s=2.0)
    kept = msgspec.json.decode(got, type=_Got).message
    assert codec.decode_heard(kept.data) == amendment


class _Message(msgspec.Struct):
    data: bytes


class _Got(msgspec.Struct):
    message: _Message


def _last_of(subject: str) -> bytes:
    return msgspec.json.encode({"last_by_subj": subject})
