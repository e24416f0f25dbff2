"""Webhooks on a real line: kept by NATS, known again, never lost between two edges, and never in a log."""

import asyncio
import gzip
import hashlib
import json
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import aiohttp
import nats
import pytest
import pytest_asyncio

from bench.polling import until
from bench.processes import StartFailed
from protocol import codec, streams
from protocol.settings import parse
from protocol.settings_profiles import HooksSettings
from protocol.streams import HookLimits, hooks_config
from protocol.subjects import Subjects
from tests.broker.line_fixture import START_S, RealLine, real_line
from tests.broker.webhooks import HOOKS_ENV, SECRET, SECRET_VARIABLE, event, kept, send, signed
from trunkline.listen import listen

pytestmark = pytest.mark.asyncio(loop_scope="module")

SAID = "my card number is 4111"
CONFIGURED = HooksSettings()
LIMITS = HookLimits(CONFIGURED.max_age_s, CONFIGURED.max_bytes, CONFIGURED.window_s)


class Desk:
    """Two edges that share a secret; the second one keeps audio."""

    def __init__(self, line: RealLine) -> None:
        self.line = line
        self.first, self.second = (edge.url for edge in line.edges)

    async def of(self, conversation_id: str) -> list[bytes]:
        """The bodies that are kept of a conversation."""
        found = await kept(self.line.nats.url)
        return [bytes(hook.body) for _, _, hook in found if hook.conversation_id == conversation_id]

    async def count(self) -> int:
        return len(await kept(self.line.nats.url))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    directory: Path = tmp_path_factory.mktemp("hooks")
    async with real_line(directory, env=HOOKS_ENV) as line:
        line.add("edge")
        line.add("edge", {"TRUNKLINE_HOOKS__KEEP_AUDIO": "true"})
        line.add("worker")
        await line.ready()
        yield Desk(line)


async def test_the_stream_keeps_it_under_a_digest_with_its_type_beside(desk: Desk) -> None:
    body = event(conversation_id="conv_kept", transcript=[{"role": "user", "message": SAID}])

    status, said = await send(desk.first, body)

    assert (status, said) == (200, {"outcome": "stored"})
    subject, headers, hook = next(
        one for one in await kept(desk.line.nats.url) if one[2].conversation_id == "conv_kept"
    )
    assert bytes(hook.body) == body
    assert subject == f"trunkline.1.hook.elevenlabs.{hashlib.sha256(b'conv_kept').hexdigest()[:32]}"
    assert headers[streams.HOOK_TYPE] == "post_call_transcription"
    assert SAID not in subject + str(headers)


async def test_sent_again_to_another_edge_with_a_fresh_signature_it_is_kept_once(desk: Desk) -> None:
    body = event(conversation_id="conv_again")

    outcomes = [
        await send(desk.first, body, signed(body, age_s=60)),
        await send(desk.second, body),
        await send(desk.first, body),
    ]

    assert outcomes == [(200, {"outcome": "stored"})] + [(200, {"outcome": "duplicate"})] * 2
    assert await desk.of("conv_again") == [body]


async def test_the_same_at_once_to_both_edges_is_kept_once(desk: Desk) -> None:
    body = event(conversation_id="conv_race")

    said = await asyncio.gather(*(send(url, body) for url in [desk.first, desk.second] * 4))

    assert sorted(answer["outcome"] for _, answer in said) == ["duplicate"] * 7 + ["stored"]
    assert await desk.of("conv_race") == [body]


async def test_two_events_of_one_call_are_both_kept(desk: Desk) -> None:
    bodies = [event("post_call_transcription", "conv_two"), event("tomorrow_s_type", "conv_two")]

    for body in bodies:
        await send(desk.first, body)

    assert await desk.of("conv_two") == bodies


async def test_audio_is_dropped_by_the_edge_that_is_not_asked_to_keep_it(desk: Desk) -> None:
    body = event("post_call_audio", "conv_audio", full_audio="A" * 300_000)

    dropped = await send(desk.first, body)
    stored = await send(desk.second, body)

    assert (dropped, stored) == ((200, {"outcome": "dropped"}), (200, {"outcome": "stored"}))
    assert await desk.of("conv_audio") == [body]


async def test_audio_that_the_bus_has_no_room_for_is_taken_and_dropped(desk: Desk) -> None:
    body = event("post_call_audio", "conv_huge", full_audio="A" * (13 << 20))

    assert await send(desk.second, body) == (200, {"outcome": "dropped"})

    assert await desk.of("conv_huge") == []
    assert "a webhook is dropped" in desk.line.logs()


async def test_the_largest_that_is_kept_can_be_read_again(desk: Desk) -> None:
    """JetStream hands it out in base64: a third more, in one message."""
    body = event("post_call_audio", "conv_large", full_audio="A" * (8 * 1024 * 1000))

    assert await send(desk.second, body) == (200, {"outcome": "stored"})

    async with listen(parse(None, {"TRUNKLINE_NATS__URL": desk.line.nats.url})) as listener:
        subject = listener.subjects.hook("elevenlabs", "conv_large")
        [data] = await listener.kept_under(listener.subjects.hooks, subject)
    assert bytes(codec.decode_hook(data).body) == body


@pytest.mark.parametrize("headers", [{"X-No": "signature"}, signed(b"another body"), signed(b"", secret="wsec_other")])
async def test_a_bad_signature_is_a_401_and_nothing_is_kept(desk: Desk, headers: dict[str, str]) -> None:
    before = await desk.count()

    status, said = await send(desk.first, event(conversation_id="conv_bad"), headers)

    assert (status, said["error"]["code"]) == (401, "invalid_signature")
    assert await desk.count() == before


async def test_a_packed_body_is_signed_as_it_came_and_kept_unpacked(desk: Desk) -> None:
    body = event(conversation_id="conv_packed")
    packed = gzip.compress(body)

    said = await send(desk.first, packed, {**signed(packed), "Content-Encoding": "gzip"})

    assert said == (200, {"outcome": "stored"})
    assert await desk.of("conv_packed") == [body]


async def test_a_packed_body_that_has_no_room_is_taken_and_gone_like_a_plain_one(desk: Desk) -> None:
    body = event(conversation_id="conv_no_room", text="ha" * (5 << 20))
    packed = gzip.compress(body)

    plain = await send(desk.first, body, signed(body))
    said = await send(desk.first, packed, {**signed(packed), "Content-Encoding": "gzip"})

    assert said == plain == (200, {"outcome": "dropped"})
    assert await desk.of("conv_no_room") == []


async def test_bytes_that_only_say_that_they_are_packed_are_a_401_unless_signed_then_a_400(desk: Desk) -> None:
    body = event(conversation_id="conv_not_packed")

    unsigned = await send(desk.first, body, {"Content-Encoding": "gzip"})
    of_ours = await send(desk.first, body, {**signed(body), "Content-Encoding": "gzip"})

    assert (unsigned[0], of_ours[0]) == (401, 400)
    assert await desk.of("conv_not_packed") == []


async def test_a_body_that_announces_too_much_is_refused_before_it_comes(desk: Desk) -> None:
    host, _, port = desk.first.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    signature = signed(b"")["ElevenLabs-Signature"]
    head = f"POST /hooks/elevenlabs HTTP/1.1\r\nHost: edge\r\nElevenLabs-Signature: {signature}\r\n"
    try:
        writer.write(f"{head}Content-Length: {100 << 20}\r\n\r\n".encode())

        assert b" 413 " in await reader.readline()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_body_that_has_no_end_is_refused_where_the_limit_is(desk: Desk) -> None:
    async def without_end() -> AsyncIterator[bytes]:
        for _ in range(65):
            yield b"x" * (1 << 20)

    async with aiohttp.ClientSession() as session:
        try:
            url = f"{desk.first}/hooks/elevenlabs"
            async with session.post(url, data=without_end(), headers=signed(b"")) as answer:
                assert answer.status == 413
        except aiohttp.ClientOSError:
            pass  # it was closed while we still wrote
    assert '"outcome": "too_large"' in desk.line.logs() or '"outcome":"too_large"' in desk.line.logs()


async def test_the_last_turn_of_the_call_is_named(desk: Desk) -> None:
    """What is known of a call is asked for beside the store, which takes longer: it writes to a disk."""
    said = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}
    headers = {"X-Conversation-Id": "conv_named"}
    async with aiohttp.ClientSession() as session:
        url = f"{desk.first}/p/elevenlabs/v1/chat/completions"
        async with session.post(url, json=said, headers=headers) as answer:
            assert answer.status == 200
            trace_id = answer.headers["x-trace-id"]

    async def named() -> set[str]:
        await send(desk.second, event(f"type_{next(numbers)}", "conv_named"))
        lines = [json.loads(line) for line in desk.line.logs().splitlines() if line.startswith("{")]
        return {line.get("turn_trace", "") for line in lines if line.get("event") == "hook"}

    numbers = count()
    assert trace_id in await until(named, lambda found: trace_id in found, 10.0)


async def test_the_secret_and_what_was_said_are_nowhere_to_be_seen(desk: Desk) -> None:
    await send(desk.first, event(conversation_id="conv_seen", transcript=[{"role": "user", "message": SAID}]))

    assert '"event":"hook"' in desk.line.logs()
    for secret in (SECRET, SAID):
        assert secret not in desk.line.logs()


async def test_the_description_of_the_api_has_the_path(desk: Desk) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{desk.first}/openapi.json") as answer:
        assert "/hooks/elevenlabs" in (await answer.json())["paths"]


async def test_a_stream_that_was_removed_is_made_anew_by_the_next_webhook(desk: Desk) -> None:
    connection = await nats.connect(desk.line.nats.url)
    try:
        await connection.jetstream().delete_stream("trunkline_1_WEBHOOKS")
        body = event(conversation_id="conv_anew")

        assert await send(desk.first, body) == (200, {"outcome": "stored"})

        config = (await connection.jetstream().stream_info("trunkline_1_WEBHOOKS")).config
    finally:
        await connection.close()
    wanted = hooks_config(Subjects("trunkline"), LIMITS)
    assert await desk.of("conv_anew") == [body]
    assert (config.max_bytes, config.subjects) == (wanted["max_bytes"], wanted["subjects"])
    assert config.duplicate_window == wanted["duplicate_window"] / 1e9 > 2 * CONFIGURED.window_s


async def test_while_the_store_is_away_it_is_a_503_and_a_restart_keeps_what_was_kept(desk: Desk) -> None:
    before, after = event(conversation_id="conv_before"), event(conversation_id="conv_after")
    await send(desk.first, before)
    await asyncio.to_thread(desk.line.nats.kill)

    status, said = await send(desk.first, after)

    assert (status, said["error"]["code"]) == (503, "not_kept")
    await asyncio.to_thread(desk.line.nats.start)
    for edge in desk.line.edges:
        await edge.ready()
    assert await send(desk.first, before) == (200, {"outcome": "duplicate"})
    assert await send(desk.first, after) == (200, {"outcome": "stored"})
    assert await desk.of("conv_before") == [before]


# --- lines without one -----------------------------------------------------------------------------


async def test_an_edge_whose_secret_is_not_set_says_so_and_does_not_start(tmp_path: Path) -> None:
    async with real_line(tmp_path) as line:
        edge = line.add("edge", {"TRUNKLINE_HOOKS__ELEVENLABS_SECRET_ENV": SECRET_VARIABLE})

        with pytest.raises(StartFailed):
            await edge.started()

        assert await edge.process.exited(START_S) == 2
        said = f"the webhook's secret from {SECRET_VARIABLE}, which is not set; export {SECRET_VARIABLE}=…"
        assert said in line.logs()


async def test_without_the_setting_there_is_no_such_path_and_no_stream(tmp_path: Path) -> None:
    async with real_line(tmp_path) as line:
        line.add("edge")
        line.add("worker")
        await line.ready()

        status, said = await send(line.edges[0].url, event())

        assert (status, said["error"]["message"][:13]) == (404, "no such path:")
        assert await kept(line.nats.url) == []
