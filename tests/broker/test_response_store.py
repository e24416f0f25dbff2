"""Stored responses, in a bucket on a real server."""

import asyncio
import hashlib
import logging
import re
from collections import Counter
from itertools import count
from pathlib import Path

import msgspec
import nats
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from edge.response_store import Kept, KeptResponses, Read, StoredResponse, is_made_here, store_for
from protocol.errors import StoreAway
from protocol.streams import ResponseLimits, responses_config
from protocol.subjects import Subjects
from tests.broker.halves import GUARD_S, LOOK_S, Halves, Sent, TappedWire, eventually, within
from tests.broker.nats_server import NatsServer
from tests.conftest import StartNats

pytestmark = pytest.mark.usefixtures("no_bug_logged")

ID, OTHER_ID = "resp_0a1b", "resp_0a1c"
RECORD = StoredResponse(
    Raw(b'{"id":"resp_0a1b","output":[{"id":"msg_0a1b_0"}],"n":1.0}'),
    (Raw(b'{"role":"user","content":"sch\xc3\xb6n","id":"msg_1"}'), Raw(b'{"type":"function_call","id":"fc_1"}')),
)
LIMITS = ResponseLimits(max_age_s=3600, max_bytes=1 << 20)


class Shelf:
    """One edge's store, and what it has counted."""

    def __init__(self, halves: Halves, wire: TappedWire, max_response_bytes: int, limits: ResponseLimits) -> None:
        self.wire = wire
        self.counted: Counter[str] = Counter()
        self.subjects = halves.subjects
        self.store: KeptResponses = store_for(
            wire, halves.subjects, limits, max_response_bytes=max_response_bytes, observer=self
        )

    def response_kept(self, outcome: Kept) -> None:
        self.counted[outcome] += 1

    def response_read(self, outcome: Read) -> None:
        self.counted[outcome] += 1

    async def read(self, tenant: str = "desk", response_id: str = ID) -> tuple[bytes, tuple[bytes, ...]] | None:
        record = await within(self.store.read(tenant, response_id))
        return (bytes(record.response), tuple(map(bytes, record.items))) if record is not None else None

    async def write(self, tenant: str = "desk", response_id: str = ID, record: StoredResponse = RECORD) -> bool:
        return await within(self.store.write(tenant, response_id, record))


async def shelf(halves: Halves, *, max_response_bytes: int = 100_000, limits: ResponseLimits = LIMITS) -> Shelf:
    made = Shelf(halves, await halves.wire(), max_response_bytes, limits)
    await made.store.open()
    return made


async def state(halves: Halves) -> dict[str, int]:
    info = await halves.api(f"STREAM.INFO.{halves.subjects.responses_stream}")
    return dict(info["state"])


def about_records(sent: Sent) -> bool:
    return "$KV." in sent.subject


WHOLE = (bytes(RECORD.response), tuple(map(bytes, RECORD.items)))


async def test_what_one_edge_has_written_another_reads_byte_for_byte(halves: Halves) -> None:
    one, other = await asyncio.gather(shelf(halves), shelf(halves))

    assert await one.write()

    assert await other.read() == WHOLE
    assert (one.counted, other.counted) == ({"kept": 1}, {"found": 1})


async def test_nobody_else_finds_it_nor_takes_it_away(halves: Halves) -> None:
    one = await shelf(halves)
    await one.write()

    assert await one.read("another") is None
    assert await one.read(response_id=OTHER_ID) is None
    assert not await one.store.delete("another", ID)
    assert await one.read() == WHOLE


TENANTS = st.sampled_from(["default", "desk", "desk-1", "desk_1", "Desk"])
IDS = st.one_of(
    st.from_regex(r"resp_[0-9a-f]{1,2}", fullmatch=True), st.text(max_size=8).map("resp_".__add__), st.text()
)
STEPS = st.lists(st.tuples(st.sampled_from(["write", "read", "delete"]), TENANTS, IDS), max_size=12)


async def test_each_key_finds_its_own_and_nothing_of_another_s(halves: Halves) -> None:
    """Whatever the ids: two keys that use one id have two responses. Examples are made in a thread: a connection whose
    loop stands still meanwhile is closed by the server.
    """
    one = await shelf(halves)
    loop = asyncio.get_running_loop()
    there: dict[tuple[str, str], StoredResponse] = {}
    numbers = count()

    async def take(step: str, tenant: str, response_id: str) -> None:
        known = there.get((tenant, response_id))
        if step == "write" and is_made_here(response_id):
            record = StoredResponse(Raw(b"%d" % next(numbers)))
            assert await one.write(tenant, response_id, record)
            there[tenant, response_id] = record
        elif step == "delete":
            assert await within(one.store.delete(tenant, response_id)) == (known is not None)
            there.pop((tenant, response_id), None)
        else:
            assert await within(one.store.read(tenant, response_id)) == known

    @settings(max_examples=60, deadline=None)
    @given(STEPS)
    def holds(steps: list[tuple[str, str, str]]) -> None:
        for step in steps:
            asyncio.run_coroutine_threadsafe(take(*step), loop).result()

    await asyncio.to_thread(holds)


@given(st.tuples(TENANTS, st.text()), st.tuples(TENANTS, st.text()))
def test_no_two_of_them_have_one_name_on_the_bus(one: tuple[str, str], other: tuple[str, str]) -> None:
    subjects = Subjects("trunkline")
    names = {subjects.response(*one), subjects.response(*other)}

    assert len(names) == len({one, other})
    for name in names:
        assert re.fullmatch(r"\$KV\.trunkline_1_RESPONSES\.[A-Za-z0-9_-]+\.[0-9a-f]{32}", name)


@pytest.mark.parametrize("id_", ["", "resp_", "resp_0A", "resp_0a ", "resp_0a\n", "resp_>", "resp_*", "msg_0a", "0a"])
async def test_an_id_that_is_none_of_ours_is_nobodys_and_is_not_asked_for(halves: Halves, id_: str) -> None:
    one = await shelf(halves)
    one.wire.sent.clear()

    assert await one.read(response_id=id_) is None
    assert not await one.store.delete("desk", id_)

    assert one.wire.sent == []


async def test_one_that_was_deleted_is_gone_and_was_there(halves: Halves) -> None:
    one, other = await asyncio.gather(shelf(halves), shelf(halves))
    await one.write()

    assert await within(other.store.delete("desk", ID))

    assert await one.read() is None
    assert not await within(one.store.delete("desk", ID))
    assert await one.write(), "as the first time"
    assert await other.read() == WHOLE


async def test_it_is_a_key_value_bucket_as_other_clients_have_them(halves: Halves) -> None:
    one = await shelf(halves)
    await one.write()

    client = await nats.connect(halves.url)
    try:
        bucket = await client.jetstream().key_value(halves.subjects.responses)
        (key,) = await bucket.keys()
        entry = await bucket.get(key)
        assert msgspec.json.decode(entry.value or b"", type=StoredResponse) == RECORD
        assert key == f"desk.{hashlib.sha256(ID.encode()).hexdigest()[:32]}"
        await bucket.delete(key)
    finally:
        await client.close()

    assert await one.read() is None, "somebody has deleted it"


async def test_the_bucket_is_made_with_the_limits_that_are_set_and_keeps_them(halves: Halves) -> None:
    await asyncio.gather(*(shelf(halves) for _ in range(3)))
    await shelf(halves, limits=ResponseLimits(max_age_s=60, max_bytes=1 << 19))

    info = await halves.api(f"STREAM.INFO.{halves.subjects.responses_stream}")
    wanted = responses_config(halves.subjects, LIMITS)
    assert {name: info["config"][name] for name in wanted if name != "metadata"} == {
        name: value for name, value in wanted.items() if name != "metadata"
    }


async def test_what_is_old_is_gone(halves: Halves) -> None:
    one = await shelf(halves, limits=ResponseLimits(max_age_s=1, max_bytes=1 << 20))
    assert await one.write()

    async with asyncio.timeout(GUARD_S):
        while await one.read() is not None:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(LOOK_S)
    assert one.counted["missing"] == 1


async def test_where_there_is_no_more_room_the_oldest_make_way(halves: Halves) -> None:
    one = await shelf(halves, limits=ResponseLimits(max_age_s=3600, max_bytes=100_000))
    record = StoredResponse(Raw(b'"%s"' % (b"x" * 30_000)))

    kept = [await one.write(response_id=f"resp_{number}", record=record) for number in range(6)]

    assert kept == [True] * 6
    assert await one.read(response_id="resp_0") is None
    assert await one.read(response_id="resp_5") is not None


async def test_one_that_is_too_large_is_not_kept_and_it_is_said_once_of_its_tenant(
    halves: Halves, caplog: pytest.LogCaptureFixture
) -> None:
    one = await shelf(halves, max_response_bytes=1000)
    large = StoredResponse(Raw(b'"%s"' % (b"secret" * 200)))
    one.wire.sent.clear()

    with caplog.at_level(logging.WARNING):
        kept = [await one.write(tenant, record=large) for tenant in ("desk", "desk", "other")]

    assert kept == [False] * 3
    assert one.counted == {"too_large": 3}
    assert one.wire.sent == [], "nothing is sent that is refused"
    said = [record for record in caplog.records if "not kept" in record.getMessage()]
    assert [getattr(record, "tenant", "") for record in said] == ["desk", "other"]
    assert "secret" not in caplog.text


async def test_what_the_bus_takes_in_one_message_is_a_limit_too(halves: Halves) -> None:
    one = await shelf(halves, max_response_bytes=1 << 30)
    one.wire.max_payload = 2000

    assert not await one.write(record=StoredResponse(Raw(b'"%s"' % (b"x" * 1600))))

    assert one.counted == {"too_large": 1}
    assert one.wire.connected


async def test_a_record_of_another_version_counts_as_not_there_and_is_logged(
    halves: Halves, caplog: pytest.LogCaptureFixture
) -> None:
    one = await shelf(halves)
    await one.wire.request(halves.subjects.response("desk", ID), b'{"items": "s3cret"}', timeout_s=5.0)

    assert await one.read() is None

    assert one.counted == {"unreadable": 1}
    assert "a stored response that is none" in caplog.text
    assert "s3cret" not in caplog.text


async def test_what_the_bucket_refuses_is_not_kept(halves: Halves, caplog: pytest.LogCaptureFixture) -> None:
    one = await shelf(halves)
    config = (await halves.api(f"STREAM.INFO.{halves.subjects.responses_stream}"))["config"]
    updated = await halves.api(f"STREAM.UPDATE.{halves.subjects.responses_stream}", {**config, "max_msg_size": 10})
    assert "error" not in updated

    assert not await one.write()

    assert one.counted == {"refused": 1}
    assert "a response is not kept: message size exceeds maximum" in caplog.text


@pytest.mark.parametrize("by", ["a write", "a read", "a delete"])
async def test_a_bucket_that_was_removed_is_made_again_by_whoever_finds_that(halves: Halves, by: str) -> None:
    one = await shelf(halves)
    await one.write()
    deleted = await halves.api(f"STREAM.DELETE.{halves.subjects.responses_stream}")
    assert deleted["success"]

    if by == "a write":
        assert await one.write(response_id=OTHER_ID)
    elif by == "a read":
        assert await one.read() is None
    else:
        assert not await within(one.store.delete("desk", ID))

    assert (await state(halves))["messages"] == (1 if by == "a write" else 0)
    assert await one.write()
    assert await one.read() == WHOLE


async def test_while_the_bus_is_away_nobody_waits(halves: Halves) -> None:
    one = await shelf(halves)
    await one.wire.cut()

    with pytest.raises(StoreAway):
        await one.read()
    with pytest.raises(StoreAway):
        await one.store.delete("desk", ID)
    assert not await one.write()

    assert one.counted == {"away": 3}


async def test_what_could_not_be_written_in_time_is_known_here_and_written_later(halves: Halves) -> None:
    one, other = await asyncio.gather(shelf(halves), shelf(halves))
    late = asyncio.create_task(one.store.run())
    one.wire.connected = False  # as far as it knows

    assert not await one.write()
    assert await one.read() == WHOLE
    assert await other.read() is None
    with pytest.raises(StoreAway):
        await one.read(tenant="other")

    one.wire.connected = True
    await eventually(lambda: one.counted["late"] == 1)
    assert await other.read() == WHOLE
    assert await one.read() == WHOLE
    late.cancel()


async def test_what_is_deleted_before_it_is_written_is_not_written_later(halves: Halves) -> None:
    one = await shelf(halves)
    one.wire.connected = False
    assert not await one.write()
    assert not await one.write(response_id=OTHER_ID)

    with pytest.raises(StoreAway):  # nobody knows whether the bucket has it
        await one.store.delete("desk", ID)
    one.wire.connected = True
    late = asyncio.create_task(one.store.run())
    await eventually(lambda: one.counted["late"] == 1)

    assert await one.read() is None
    assert await one.read(response_id=OTHER_ID) == WHOLE
    late.cancel()


async def test_one_that_is_late_and_whose_acknowledgement_was_lost_is_deleted_only_where_it_is(halves: Halves) -> None:
    one, other = await asyncio.gather(shelf(halves), shelf(halves))
    one.wire.connected = False
    assert not await one.write()
    one.wire.connected = True
    assert await other.write(), "as the first try, whose acknowledgement nobody has heard"

    one.wire.connected = False
    with pytest.raises(StoreAway):
        await one.store.delete("desk", ID)

    one.wire.connected = True
    assert await within(one.store.delete("desk", ID))
    assert await other.read() is None


async def test_what_another_edge_has_deleted_meanwhile_is_not_written_later(halves: Halves) -> None:
    one, other = await asyncio.gather(shelf(halves), shelf(halves))
    one.wire.connected = False
    assert not await one.write()
    assert await other.write(), "as the first try, whose acknowledgement nobody has heard"
    assert await within(other.store.delete("desk", ID))

    one.wire.connected = True
    late = asyncio.create_task(one.store.run())
    await eventually(lambda: one.counted["late"] == 1)

    assert await other.read() is None
    assert await one.read() is None
    late.cancel()


async def test_a_bucket_that_the_server_has_no_room_for_is_said_once_and_costs_no_turn_a_try(
    start_nats: StartNats, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tmp_path / "small.conf"
    config.write_text("jetstream { max_file_store: 64KB }")
    server = start_nats(options=["-c", str(config)])
    async with Halves(server.url) as halves:
        one = await shelf(halves)
        one.wire.sent.clear()

        for _ in range(3):
            assert not await one.write()
        with pytest.raises(StoreAway):
            await one.read(response_id=OTHER_ID)

        assert sum("STREAM.CREATE" in sent.subject for sent in one.wire.sent) <= 1
        assert one.counted == {"away": 4}
        assert caplog.text.count("the bucket of responses is not there") == 1


async def test_where_jetstream_is_gone_nobody_waits(start_nats: StartNats, tmp_path: Path) -> None:
    server = start_nats()
    async with Halves(server.url) as halves:
        one = await shelf(halves)
        server.kill()
        await eventually(lambda: not one.wire.connected)
        (tmp_path / "plain.conf").write_text("max_payload: 1MB")
        server.options = ["-c", str(tmp_path / "plain.conf")]
        await asyncio.to_thread(server.start, wait=False)
        await eventually(lambda: one.wire.connected)

        one.wire.sent.clear()

        for _ in range(3):
            assert not await one.write()
            with pytest.raises(StoreAway):
                await one.read(response_id=OTHER_ID)

        assert one.counted == {"away": 6}
        assert sum("RESPONSES" in sent.subject for sent in one.wire.sent) == 12, "each is told, and tries to make it"


async def test_one_message_that_is_lost_is_no_sign_that_the_store_is_away(halves: Halves) -> None:
    one = await shelf(halves)
    one.wire.holds = lambda sent: sent.subject == halves.subjects.response("desk", OTHER_ID)
    lost = asyncio.create_task(one.write(response_id=OTHER_ID))
    await eventually(lambda: bool(one.wire.held))

    assert await one.write()

    assert not await within(lost)
    assert await one.read() == WHOLE
    assert one.counted == {"kept": 1, "away": 1, "found": 1}


async def test_a_store_that_does_not_answer_is_waited_for_once_and_then_left_alone_for_a_while(
    start_nats: StartNats,
) -> None:
    server: NatsServer = start_nats()
    async with Halves(server.url) as halves:
        one = await shelf(halves)
        one.wire.holds = about_records
        assert not await one.write()
        asked = len(one.wire.held)

        for _ in range(3):
            assert not await one.write()
            with pytest.raises(StoreAway):
                await one.read(response_id=OTHER_ID)

        assert len(one.wire.held) == asked == 1
        assert one.counted == {"away": 7}
        one.wire.release()
        server.kill()
        await eventually(lambda: not one.wire.connected)
        await asyncio.to_thread(server.start)
        await eventually(lambda: one.wire.connected)
        assert await one.write(), "over a new connection it is asked again"
