"""`trunkline check` on NATS servers that cannot carry a line, or not well."""

import asyncio
import json
from typing import Any

from protocol.settings import parse
from protocol.streams import JobLimits, consumer_config, jobs_config, turns_config
from tests.broker.nats_server import NatsServer
from tests.cli.checking import Checked, check
from tests.cli.conftest import StartConfigured, Terminal
from tests.conftest import StartNats
from tests.tcp import listening
from trunkline.listen import Listener, listen
from trunkline.ports import free_port

NO_WORKER = ("workers", "pool default")


async def check_at(terminal: Terminal, url: str, **environ: str) -> Checked:
    return await check(terminal, TRUNKLINE_NATS__URL=url, **environ)


async def test_a_server_that_is_not_there_is_exit_2(terminal: Terminal) -> None:
    port = free_port("127.0.0.1")

    checked = await check(terminal, TRUNKLINE_NATS__URL=f"nats://me:secret@127.0.0.1:{port}")

    row = checked.row("nats", "server")
    assert (checked.code, checked.said["complete"], row["level"]) == (2, False, "fail")
    assert f"no NATS server at 127.0.0.1:{port} within 2 s" in row["text"]
    assert row["cure"] == "start that server, or correct TRUNKLINE_NATS__URL (nats.url)"
    assert "secret" not in checked.text
    assert checked.row("ports", "edge"), "what lies apart from NATS is looked at all the same"


async def test_a_server_that_turns_us_away_is_exit_2_with_its_own_cure(
    terminal: Terminal, start_nats: StartNats
) -> None:
    server = start_nats(options=["--user", "me", "--pass", "secret"])

    refused = await check_at(terminal, server.url)
    let_in = await check_at(terminal, server.url.replace("//", "//me:secret@"))

    assert refused.code == 2
    assert "nats://user:password@host" in refused.row("nats", "server")["cure"]
    assert let_in.row("nats", "server")["level"] == "ok"
    assert "secret" not in refused.text + let_in.text


async def test_an_old_server_is_told_the_least_version_that_works(terminal: Terminal) -> None:
    info = {"server_id": "OLD", "version": "2.9.15", "max_payload": 1 << 20, "jetstream": True, "headers": True}

    async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"INFO %b\r\n" % json.dumps(info).encode())
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    async with listening(old) as port:
        checked = await check_at(terminal, f"nats://127.0.0.1:{port}")

    row = checked.row("nats", "version")
    assert (checked.code, row["level"]) == (1, "fail")
    assert "NATS 2.9.15 is too old" in row["text"]
    assert "2.11.0 or newer" in row["cure"]
    assert checked.rows("workers") == [], "nothing else is asked of it"


async def test_a_server_without_jetstream_is_wrong(terminal: Terminal, configured: StartConfigured) -> None:
    server = await configured("max_payload: 12582912\n")
    checked = await check_at(terminal, server.url)

    assert checked.code == 1
    assert checked.wrong() == {("nats", "jetstream"): "fail"}
    assert "-js" in checked.row("nats", "jetstream")["cure"]


async def test_small_messages_are_a_warning(terminal: Terminal, configured: StartConfigured) -> None:
    server = await configured("max_payload: 1048576\njetstream {}\n")
    checked = await check_at(terminal, server.url)

    row = checked.row("nats", "max_payload")
    assert row["level"] == "warn"
    assert "1 MiB: a turn whose job is larger gets a 413" in row["text"]
    assert "12MB" in row["cure"]


async def test_an_account_without_room_for_the_streams_is_wrong(
    terminal: Terminal, configured: StartConfigured
) -> None:
    server = await configured(
        "max_payload: 12582912\njetstream {}\naccounts: {A: {jetstream: {max_mem: 64MB, max_file: 2GB}, "
        "users: [{user: me, password: secret}]}}\n"
    )
    checked = await check_at(terminal, server.url.replace("//", "//me:secret@"))

    memory, storage = checked.row("nats", "memory"), checked.row("nats", "storage")
    assert (memory["level"], storage["level"]) == ("fail", "ok")
    assert memory["text"] == "streams to be made need 256 MiB; 64 MiB of 64 MiB are left"


async def make_streams(
    listener: Listener, pool: str, jobs: dict[str, Any] | None = None, consumer: dict[str, Any] | None = None
) -> None:
    """As ours, but for what is said."""
    subjects, stream = listener.subjects, listener.subjects.jobs_stream(pool)
    config = jobs_config(subjects, pool, JobLimits(), "workers-1")
    await listener.ask(f"STREAM.CREATE.{stream}", {**config, **(jobs or {})})
    body = {"stream_name": stream, "config": {**consumer_config("workers-1"), **(consumer or {})}}
    await listener.ask(f"CONSUMER.DURABLE.CREATE.{stream}.workers-1", body)


ODD: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "ours": ({}, {}, "ok", "0 of 1000 jobs wait"),
    "bound": ({"max_msgs": 7}, {}, "warn", "max_msgs is 7, not 1000"),
    "discard": ({"discard": "old"}, {}, "fail", "discard is old, not new"),
    "newer": ({"metadata": {"trunkline.schema": "2", "trunkline.consumer": "workers-1"}}, {}, "warn", "a newer Trunk"),
    "consumer": ({}, {"ack_wait": 30 * 10**9}, "fail", "ack_wait is 30 s, not 0.3 s"),
}


async def test_streams_that_somebody_else_has_made_are_compared(terminal: Terminal, nats_server: NatsServer) -> None:
    where = {"TRUNKLINE_NATS__URL": nats_server.url, "TRUNKLINE_NATS__PREFIX": "odd-streams"}
    where["TRUNKLINE_WORKER__POOLS"] = ",".join(ODD)
    async with listen(parse(None, where)) as listener:
        try:
            for pool, (jobs, consumer, *_) in ODD.items():
                small = {"max_bytes": 1 << 20, "max_msgs": 1000, **jobs}
                await make_streams(listener, pool, small, consumer)
            await listener.ask(f"STREAM.CREATE.{listener.subjects.turns}", turns_config(listener.subjects))
            checked = await check(terminal, TRUNKLINE_JOBS__MAX_BYTES=str(1 << 20), **where)
        finally:
            await delete_streams(listener)

    found = {row["name"]: row for row in checked.rows("streams")}
    assert found["TURNS"]["level"] == "ok"
    for pool, (_, _, level, text) in ODD.items():
        row = found[f"JOBS_{pool}"]
        assert (row["level"], text in row["text"]) == (level, True), row


async def delete_streams(listener: Listener) -> None:
    for info in (await listener.queues()).values():
        await listener.ask(f"STREAM.DELETE.{info.name}")
    if await listener.stream(listener.subjects.turns):
        await listener.ask(f"STREAM.DELETE.{listener.subjects.turns}")


async def test_a_queue_that_is_nearly_full_is_a_warning(terminal: Terminal, start_nats: StartNats) -> None:
    server = start_nats()
    where = {"TRUNKLINE_JOBS__MAX_MSGS": "5"}
    async with listen(parse(None, {"TRUNKLINE_NATS__URL": server.url, **where})) as listener:
        await make_streams(listener, "default", {"max_msgs": 5})
        for line in range(4):
            listener._wire.publish(listener.subjects.job("default", "edge", line), b"a job")
        await listener.flush()

    checked = await check_at(terminal, server.url, **where)

    assert "4 of 5 jobs wait" in checked.row("streams", "JOBS_default")["text"]
    assert checked.wrong()[NO_WORKER] == "fail"


async def test_a_server_that_stops_in_its_tracks_is_not_waited_for(terminal: Terminal, start_nats: StartNats) -> None:
    server = start_nats()
    server.freeze()
    try:
        checked = await check_at(terminal, server.url)
    finally:
        server.thaw()

    assert checked.code == 2
    assert "within 2 s" in checked.row("nats", "server")["text"]
