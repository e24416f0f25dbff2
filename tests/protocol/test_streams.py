"""Streams and consumers: found, or made where they are missing, by whoever finds that first."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from protocol import streams
from protocol.streams import HookLimits, JobLimits, PubAck, StreamError, Streams, hooks_config
from protocol.subjects import Subjects
from protocol.wire import Arrived
from tests.memory_streams import JetStream
from tests.virtual_time import Simulation, play

NAMES = Subjects("tl")
JOBS = NAMES.jobs_stream("default")


class Server:
    """JetStream's API on its own. `before` may answer a request in its place, or raise."""

    def __init__(self) -> None:
        self.jetstream = JetStream(Simulation(), lambda *_: None, lambda _: False)
        self.asked: list[str] = []
        self.before: Callable[[str], bytes | None] = lambda _: None

    async def request(self, subject: str, data: bytes, timeout_s: float) -> bytes:
        verb = subject.removeprefix("$JS.API.")
        self.asked.append(verb)
        await asyncio.sleep(0.001)
        return self.before(verb) or self.jetstream.api(subject, data)

    def streams(self, limits: JobLimits | None = None) -> Streams:
        return Streams(self.request, NAMES, limits or JobLimits())

    def config(self, name: str = JOBS) -> dict[str, Any]:
        return self.jetstream.streams[name].config


def test_what_is_missing_is_made() -> None:
    server = Server()

    consumer = play(server.streams(JobLimits(10, 1000, 60)).jobs("default"))

    config = server.config()
    assert config["subjects"] == ["tl.1.job.default.>"]
    assert (config["retention"], config["storage"], config["discard"]) == ("workqueue", "memory", "new")
    assert (config["max_msgs"], config["max_bytes"], config["max_age"]) == (10, 1000, 60 * 10**9)
    assert config["allow_msg_ttl"] is True
    assert config["duplicate_window"] <= config["max_age"], "the server refuses a longer one"
    assert list(server.jetstream.streams[JOBS].consumers) == [consumer]


def test_what_is_there_is_left_alone() -> None:
    server = Server()
    consumer = play(server.streams().jobs("default"))
    server.asked.clear()

    assert play(server.streams(JobLimits(1, 1, 1)).jobs("default")) == consumer
    assert server.asked == [f"STREAM.INFO.{JOBS}", f"CONSUMER.INFO.{JOBS}.{consumer}"]


def test_a_new_stream_has_a_consumer_of_another_name() -> None:
    """Sequence numbers start again in it: an ack from an earlier life must hit nothing."""
    server = Server()
    first = play(server.streams().jobs("default"))

    server.jetstream.drop(JOBS)

    assert play(server.streams().jobs("default")) != first


def test_two_who_make_it_at_once_agree() -> None:
    async def scene(server: Server) -> list[str]:
        return await asyncio.gather(*(server.streams().jobs("default") for _ in range(3)))

    server = Server()

    consumers = play(scene(server))

    assert len(set(consumers)) == 1
    assert list(server.jetstream.streams[JOBS].consumers) == [consumers[0]]


def test_a_missing_consumer_is_made_again_under_its_name() -> None:
    server = Server()
    consumer = play(server.streams().jobs("default"))
    server.jetstream.streams[JOBS].consumers.clear()

    assert play(server.streams().jobs("default")) == consumer
    assert list(server.jetstream.streams[JOBS].consumers) == [consumer]


@pytest.mark.parametrize(("schema", "changed"), [(streams.SCHEMA - 1, True), (streams.SCHEMA, False), (99, False)])
def test_only_a_higher_schema_changes_a_stream(schema: int, changed: bool) -> None:
    server = Server()
    consumer = play(server.streams().jobs("default"))
    metadata = server.config()["metadata"]
    server.config()["metadata"] = {**metadata, "trunkline.schema": str(schema), "else": "kept"}

    assert play(server.streams(JobLimits(max_msgs=7)).jobs("default")) == consumer, "drawn once, with the stream"

    assert (server.config()["max_msgs"] == 7) is changed
    assert server.config()["metadata"]["else"] == "kept"
    assert server.config()["metadata"]["trunkline.schema"] == str(max(schema, streams.SCHEMA))


def test_the_records_are_kept_on_disk() -> None:
    server = Server()

    play(server.streams().turns())

    config = server.config(NAMES.turns)
    assert (config["storage"], config["retention"], config["discard"]) == ("file", "limits", "old")
    assert config["subjects"] == ["tl.1.turn.>"]


def test_what_comes_after_calls_is_kept_on_disk_within_its_limits() -> None:
    server = Server()

    play(server.streams().hooks(HookLimits(max_age_s=86_400, max_bytes=1 << 20, window_s=1800)))

    config = server.config(NAMES.hooks)
    assert config["subjects"] == ["tl.1.hook.>"]
    assert (config["storage"], config["max_age"], config["max_bytes"]) == ("file", 86_400 * 10**9, 1 << 20)


@pytest.mark.parametrize(
    ("window_s", "max_age_s", "known_s"), [(1800, 86_400, 3660), (10, 86_400, 80), (1800, 600, 600)]
)
def test_a_body_is_known_again_for_as_long_as_a_signature_of_it_holds(
    window_s: float, max_age_s: int, known_s: int
) -> None:
    """Made as far ahead as is allowed, it holds for twice the window; no stream knows longer than it keeps."""
    config = hooks_config(NAMES, HookLimits(max_age_s=max_age_s, max_bytes=1, window_s=window_s))

    assert config["duplicate_window"] == known_s * 10**9


def test_the_bucket_of_calls_keeps_the_last_of_each_in_memory() -> None:
    server = Server()

    play(server.streams().calls())

    config = server.config(NAMES.calls_stream)
    assert config["name"] == "KV_tl_1_CALLS"
    assert config["subjects"] == ["$KV.tl_1_CALLS.>"]
    assert (config["storage"], config["discard"], config["max_msgs_per_subject"]) == ("memory", "old", 1)
    assert config["allow_direct"] is True


def test_a_bucket_whose_server_died_is_made_anew_where_that_is_allowed() -> None:
    server = Server()
    play(server.streams().calls())
    server.before = silent(2)
    server.asked.clear()

    play(server.streams().calls(replace_leaderless=True))

    assert [verb.split(".")[1] for verb in server.asked] == ["INFO", "INFO", "DELETE", "CREATE"]


def test_a_refusal_says_what_jetstream_said() -> None:
    server = Server()
    refusal = {"error": {"code": 500, "err_code": 10023, "description": "insufficient resources"}}
    server.before = lambda verb: msgspec.json.encode(refusal) if "CREATE" in verb else None

    with pytest.raises(StreamError, match=r"insufficient resources \(JetStream error 10023\)") as raised:
        play(server.streams().jobs("default"))
    assert raised.value.code == 10023


def silent(times: int) -> Callable[[str], bytes | None]:
    """A stream without a leader: the first requests about it are not answered."""
    left = times

    def before(verb: str) -> bytes | None:
        nonlocal left
        if verb.startswith("STREAM.INFO") and left:
            left -= 1
            raise TimeoutError
        return None

    return before


def test_a_stream_without_a_leader_is_replaced_after_a_second_look() -> None:
    server = Server()
    first = play(server.streams().jobs("default"))
    server.before = silent(2)
    server.asked.clear()

    consumer = play(server.streams().jobs("default", replace_leaderless=True))

    assert [verb.split(".")[1] for verb in server.asked[:4]] == ["INFO", "INFO", "DELETE", "CREATE"]
    assert consumer != first


def test_a_stream_that_has_a_leader_again_is_kept() -> None:
    server = Server()
    first = play(server.streams().jobs("default"))
    server.before = silent(1)

    assert play(server.streams().jobs("default", replace_leaderless=True)) == first
    assert not any("DELETE" in verb for verb in server.asked)


def test_whoever_may_not_replace_it_hears_that_it_is_silent() -> None:
    server = Server()
    server.before = silent(9)

    with pytest.raises(TimeoutError):
        play(server.streams().jobs("default"))


ACKS: dict[str, tuple[bytes, PubAck]] = {
    "kept": (b'{"stream":"s","seq":1}', PubAck()),
    "kept before": (b'{"stream":"s","seq":1,"duplicate":true}', PubAck(duplicate=True)),
    "full": (
        b'{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"s","seq":0}',
        PubAck(full=True),
    ),
    "full of bytes": (
        b'{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"}}',
        PubAck(full=True),
    ),
    "the same code, for something else": (
        b'{"error":{"code":503,"err_code":10077,"description":"no space left on device"}}',
        PubAck(error="no space left on device"),
    ),
    "taken": (b'{"error":{"err_code":10071,"description":"wrong last sequence: 3"}}', PubAck(taken=True)),
    "another refusal": (b'{"error":{"err_code":10052,"description":"bad"}}', PubAck(error="bad")),
}


@pytest.mark.parametrize(("data", "ack"), ACKS.values(), ids=ACKS)
def test_what_a_publish_ack_says(data: bytes, ack: PubAck) -> None:
    assert streams.parse_pub_ack(data) == ack


def test_a_full_queue_as_the_memory_bus_has_it() -> None:
    """Known ids are known in a full queue too."""
    answers: list[Arrived] = []
    jetstream = JetStream(Simulation(), lambda _, __, message: answers.append(message), lambda _: False)
    server = Server()
    server.jetstream = jetstream
    play(server.streams(JobLimits(max_msgs=1)).jobs("default"))
    stream = jetstream.takes(NAMES.job("default", "e", 1))
    assert stream is not None

    for number in (1, 2, 1):
        headers = {"Nats-Msg-Id": str(number)}
        jetstream.publish(stream, Arrived(NAMES.job("default", "e", number), b"", "reply", headers))

    assert [streams.parse_pub_ack(answer.data) for answer in answers] == [
        PubAck(),
        PubAck(full=True),
        PubAck(duplicate=True),
    ]


@pytest.mark.parametrize(("budget_s", "ttl"), [(8.0, "8"), (7.01, "8"), (0.2, "1"), (0.0, "1"), (1.0, "1")])
def test_a_jobs_time_to_live_is_its_budget_in_whole_seconds_rounded_up(budget_s: float, ttl: str) -> None:
    headers = streams.job_headers("e.1", budget_s, {"traceparent": "t"})

    assert headers == {"Nats-Msg-Id": "e.1", "Nats-TTL": ttl, "traceparent": "t"}


def test_requests() -> None:
    subject, body = streams.purge_request("S", "a.b")
    assert (subject, msgspec.json.decode(body)) == ("$JS.API.STREAM.PURGE.S", {"filter": "a.b"})

    subject, body = streams.pull_request("S", "c", 4, 1.0)
    assert subject == "$JS.API.CONSUMER.MSG.NEXT.S.c"
    assert msgspec.json.decode(body) == {"batch": 4, "expires": 10**9}


def test_the_consumer_redelivers_soon_and_without_end() -> None:
    config = streams.consumer_config("c")

    assert (config["ack_wait"], config["max_deliver"], config["max_ack_pending"]) == (300_000_000, -1, -1)
    assert config["max_waiting"] == 16384


DELIVERIES = {
    "$JS.ACK.JOBS_default.C.1.5.5.1700000000000000000.0": True,
    "$JS.ACK.JOBS_default.C.2.5.5.1700000000000000000.0": False,
    "$JS.ACK.JOBS_default.C.11.5.5.1700000000000000000.0": False,
    "$JS.ACK.hub.hash.JOBS_default.C.1.5.5.1700000000000000000.0.random": True,
    "$JS.ACK.hub.hash.JOBS_default.C.3.5.5.1700000000000000000.0": False,
    "": False,
}


@pytest.mark.parametrize(("ack", "first"), DELIVERIES.items())
def test_whether_a_delivery_is_the_first_of_its_job(ack: str, first: bool) -> None:
    assert streams.is_first_delivery(ack) is first
