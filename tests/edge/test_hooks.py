"""Webhooks as an edge takes them: what is kept, what is dropped, what is refused, and what is said of each."""

import hmac
import json
import logging
from collections.abc import Callable, Mapping
from hashlib import sha256
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient
from prometheus_client import generate_latest
from pytest_aiohttp import AiohttpClient

from edge.calls import CallState
from edge.handlers import Edge
from edge.hook_event import AUDIO, Event, event_at, event_of
from edge.hooks import Held, Hooks
from edge.metrics import Metrics
from edge.presence import Presence
from edge.signature import Secrets
from protocol import otlp
from protocol.errors import InvalidJson, TooLarge
from protocol.messages import Hook
from protocol.settings_profiles import HooksSettings
from protocol.settings_types import Model, Settings
from protocol.spans import Spans
from protocol.streams import StreamError
from protocol.wire import Disconnected, NoResponders

Client = TestClient[web.Request, web.Application]

SECRET = "wsec_1f"
KEY = "sk-caller-3d"
NOW = 1_790_000_000.0
PATH = "/hooks/elevenlabs"
SAID = "my card number is 4111"  # what nobody but the stream may see
ROOM_BYTES = 20_000


def event(kind: str = "post_call_transcription", **data: Any) -> bytes:
    transcript = [{"role": "user", "message": SAID, "time_in_call_secs": 2}]
    said = {"agent_id": "agent_7", "conversation_id": "conv_42", "transcript": transcript, **data}
    return json.dumps({"type": kind, "event_timestamp": 1, "data": said}).encode()


def audio(size: int) -> bytes:
    return event("post_call_audio", full_audio="A" * size)


def signed(body: bytes, *, secret: str = SECRET, at: float = NOW) -> dict[str, str]:
    digest = hmac.new(secret.encode(), f"{int(at)}.".encode() + body, sha256).hexdigest()
    return {"ElevenLabs-Signature": f"t={int(at)},v0={digest}", "Content-Type": "application/json"}


class Shelf:
    """Keeps hooks, or meets what `trouble` says."""

    room_bytes = ROOM_BYTES

    def __init__(self) -> None:
        self.kept: dict[str, Hook] = {}
        self.trouble: Exception | None = None

    async def keep(self, hook: Hook, msg_id: str) -> bool:
        if self.trouble:
            raise self.trouble
        known = msg_id in self.kept
        self.kept.setdefault(msg_id, hook)
        return known

    @property
    def hooks(self) -> list[Hook]:
        return list(self.kept.values())


class Known:
    """What is known of calls, by tenant and call id."""

    def __init__(self) -> None:
        self.calls: dict[tuple[str, str], CallState] = {}

    def read(self, tenant: str, call_id: str, told: Callable[[CallState], None]) -> None:
        if (tenant, call_id) in self.calls:
            told(self.calls[tenant, call_id])


class Desk:
    """An edge that takes webhooks, and what it has written down."""

    def __init__(
        self, client: Client, shelf: Shelf, known: Known, metrics: Metrics, spans: list[dict[str, Any]]
    ) -> None:
        self.client = client
        self.shelf = shelf
        self.known = known
        self.spans = spans
        self._metrics = metrics

    async def send(self, body: bytes, headers: Mapping[str, str] | None = None) -> ClientResponse:
        return await self.client.post(PATH, data=body, headers=signed(body) if headers is None else headers)

    def counted(self) -> list[str]:
        lines = generate_latest(self._metrics.registry).decode().splitlines()
        return [line for line in lines if line.startswith("trunkline_hooks_total{")]


def an_edge(taken: Hooks | None) -> Edge:
    return Edge(
        Settings(models={"echo": Model()}, api_keys={"desk": KEY}),
        cast(Any, SimpleNamespace(connected=True, presence=Presence())),
        spans=Spans(),
        metrics=Metrics(),
        records=cast(Any, None),
        tasks=cast(Any, None),
        hooks=taken,
    )


async def a_desk(aiohttp_client: AiohttpClient, **settings: Any) -> Desk:
    shelf, known, metrics, spans = Shelf(), Known(), Metrics(), list[dict[str, Any]]()

    def export(ended: Any) -> None:
        spans.append(json.loads(ended.data))

    taken = Hooks(
        HooksSettings(elevenlabs_secret_env="WSEC", **settings),
        Secrets([SECRET]),
        shelf,
        known,
        tenants=("desk", "shop"),
        spans=Spans(export, encode=otlp.to_json),
        metrics=metrics,
        now=lambda: NOW,
    )
    return Desk(await aiohttp_client(an_edge(taken).app()), shelf, known, metrics, spans)


@pytest.fixture
async def desk(aiohttp_client: AiohttpClient) -> Desk:
    return await a_desk(aiohttp_client)


# --- what is kept ----------------------------------------------------------------------------------


async def test_a_signed_webhook_is_kept_as_it_came(desk: Desk) -> None:
    body = event()

    answer = await desk.send(body)

    assert (answer.status, await answer.json()) == (200, {"outcome": "stored"})
    [hook] = desk.shelf.hooks
    assert bytes(hook.body) == body
    assert (hook.platform, hook.type) == ("elevenlabs", "post_call_transcription")
    assert (hook.conversation_id, hook.agent_id) == ("conv_42", "agent_7")
    assert hook.received_at == "2026-09-21T14:13:20.000+00:00"
    assert hook.trace_id == answer.headers["x-trace-id"]


async def test_the_same_body_again_is_known_though_its_signature_is_fresh(desk: Desk) -> None:
    body = event()
    await desk.send(body)

    answer = await desk.send(body, signed(body, at=NOW + 60))

    assert (answer.status, await answer.json()) == (200, {"outcome": "duplicate"})
    assert len(desk.shelf.hooks) == 1


@pytest.mark.parametrize(
    "body",
    [
        event("call_initiation_failure", failure_reason="busy"),
        event("some_type_of_tomorrow"),
        b'{"type": "x", "data": null}',
        b'{"data": [1, 2]}',
        b"[1]",
        b' {"type": "a b\\u0000"}\n',
    ],
)
async def test_whatever_is_signed_and_json_is_kept(desk: Desk, body: bytes) -> None:
    answer = await desk.send(body)

    assert answer.status == 200
    assert [bytes(hook.body) for hook in desk.shelf.hooks] == [body]


async def test_no_api_key_is_needed_and_none_is_enough(desk: Desk) -> None:
    answer = await desk.send(event(), {"Authorization": f"Bearer {KEY}"})

    assert answer.status == 401
    assert desk.shelf.hooks == []


# --- audio, and what does not fit ------------------------------------------------------------------


async def test_audio_is_taken_and_dropped(desk: Desk) -> None:
    answer = await desk.send(audio(100))

    assert (answer.status, await answer.json()) == (200, {"outcome": "dropped"})
    assert desk.shelf.hooks == []


async def test_audio_that_is_asked_for_is_kept(aiohttp_client: AiohttpClient) -> None:
    desk = await a_desk(aiohttp_client, keep_audio=True)

    answer = await desk.send(audio(100))

    assert await answer.json() == {"outcome": "stored"}
    assert [hook.type for hook in desk.shelf.hooks] == ["post_call_audio"]


async def test_audio_that_no_message_has_room_for_is_dropped_with_a_warning(
    aiohttp_client: AiohttpClient, caplog: pytest.LogCaptureFixture
) -> None:
    """A platform that is refused would send it again, and in the end nothing any more."""
    caplog.set_level(logging.INFO)
    desk = await a_desk(aiohttp_client, keep_audio=True)

    answer = await desk.send(audio(ROOM_BYTES))

    assert (answer.status, await answer.json()) == (200, {"outcome": "dropped"})
    assert desk.shelf.hooks == []
    [warning] = [vars(record) for record in caplog.records if record.levelno == logging.WARNING]
    assert (warning["type"], warning["call"]) == ("post_call_audio", "conv_42")


async def test_what_only_its_envelope_makes_too_large_is_dropped_too(desk: Desk) -> None:
    desk.shelf.trouble = TooLarge("it is 1 byte over")

    answer = await desk.send(event())

    assert await answer.json() == {"outcome": "dropped"}


async def test_a_large_body_is_not_kept_in_memory_but_signed_to_its_last_byte(desk: Desk) -> None:
    body = audio(5 * ROOM_BYTES)

    answer = await desk.send(body[:-1] + b" ", signed(body))

    assert answer.status == 401


def test_of_a_body_that_is_too_large_its_beginning_is_held() -> None:
    held = Held(10_000)

    for _ in range(100):
        held.add(b"x" * 1000)

    assert (held.size, held.is_whole, len(held.data)) == (100_000, False, 4096)


# --- what is refused -------------------------------------------------------------------------------

BAD = {
    "none": {},
    "somebody else's": signed(event(), secret="wsec_other"),
    "of another body": signed(event("other")),
    "stale": signed(event(), at=NOW - 1801),
    "from the future": signed(event(), at=NOW + 1801),
    "no signature at all": {"ElevenLabs-Signature": "let me in"},
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_signature_is_a_401_and_nothing_is_kept(
    desk: Desk, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    answer = await desk.send(event(), BAD[name])

    error = (await answer.json())["error"]
    assert (answer.status, error["code"], error["type"]) == (401, "invalid_signature", "invalid_request_error")
    assert desk.shelf.hooks == []
    assert desk.counted() == ['trunkline_hooks_total{outcome="invalid_signature",platform="elevenlabs"} 1.0']
    [line] = [vars(record) for record in caplog.records if record.getMessage() == "hook"]
    assert (line["outcome"], line["status"], line["call"]) == ("invalid_signature", 401, None)
    assert SECRET not in caplog.text + json.dumps(error)


async def test_a_header_that_comes_twice_is_refused(desk: Desk) -> None:
    body, twice = event(), [("ElevenLabs-Signature", signed(event())["ElevenLabs-Signature"])] * 2

    answer = await desk.client.post(PATH, data=body, headers=twice)

    assert answer.status == 401


async def test_what_is_signed_and_no_json_is_a_400(desk: Desk) -> None:
    answer = await desk.send(b"conversation over")

    assert answer.status == 400
    assert desk.shelf.hooks == []


@pytest.mark.parametrize("trouble", [TimeoutError(), Disconnected("away"), NoResponders(), StreamError(1, "no room")])
async def test_a_store_that_is_away_is_a_503_and_the_same_again_is_kept(desk: Desk, trouble: Exception) -> None:
    desk.shelf.trouble = trouble

    answer = await desk.send(event())

    assert (answer.status, (await answer.json())["error"]["code"]) == (503, "not_kept")
    assert answer.headers["Retry-After"] == "1"
    desk.shelf.trouble = None
    assert await (await desk.send(event())).json() == {"outcome": "stored"}


async def test_where_no_secret_is_configured_there_is_no_such_path(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(an_edge(None).app())

    answer = await client.post(PATH, data=event(), headers=signed(event()))

    message = (await answer.json())["error"]["message"]
    assert (answer.status, message[:13]) == (404, "no such path:")
    assert "webhooks" not in message


async def test_a_webhooks_address_with_a_slash_at_its_end_was_none(desk: Desk) -> None:
    answer = await desk.client.post(PATH + "/", data=event(), headers=signed(event()))

    assert await answer.json() == {"outcome": "stored"}


async def test_whoever_asks_elsewhere_hears_where_webhooks_are_taken(desk: Desk) -> None:
    answer = await desk.client.post("/hooks/elevenlab", data=event(), headers=signed(event()))

    assert answer.status == 404
    assert (await answer.json())["error"]["message"].endswith("; webhooks are taken at /hooks/elevenlabs")


async def test_other_methods_hear_what_the_path_takes(desk: Desk) -> None:
    answer = await desk.client.get(PATH)

    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


# --- what is written down --------------------------------------------------------------------------


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {one["key"]: next(iter(one["value"].values())) for one in span["attributes"]}


async def test_a_span_names_the_conversation_so_that_a_search_finds_it_beside_the_turns(desk: Desk) -> None:
    body = event()
    parent = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"}

    await desk.send(body, {**signed(body), **parent})

    [span] = desk.spans
    assert (span["name"], span["traceId"]) == ("POST /hooks/elevenlabs", "4bf92f3577b34da6a3ce929d0e0e4736")
    told = attributes(span)
    assert told["gen_ai.conversation.id"] == "conv_42"
    assert told["trunkline.hook.type"] == "post_call_transcription"
    assert (told["trunkline.hook.bytes"], told["trunkline.hook.outcome"]) == (str(len(body)), "stored")
    assert (told["http.route"], told["http.response.status_code"]) == (PATH, "200")


async def test_the_span_names_the_trace_of_the_call_s_last_turn_whosever_key_it_came_with(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    desk.known.calls = {
        ("desk", "conv_42"): CallState(),
        ("shop", "conv_42"): CallState(turns=(("turn_1", "a" * 32), ("turn_2", "b" * 32))),
        ("shop", "conv_43"): CallState(turns=(("turn_3", "c" * 32),)),
    }

    await desk.send(event())

    [line] = [vars(record) for record in caplog.records if record.getMessage() == "hook"]
    assert attributes(desk.spans[0])["trunkline.hook.turn_trace"] == line["turn_trace"] == "b" * 32


async def test_a_line_in_the_log_says_what_came_and_never_what_was_said(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    await desk.send(event())

    [line] = [vars(record) for record in caplog.records if record.getMessage() == "hook"]
    told = {name: line[name] for name in ("type", "call", "bytes", "outcome", "status")}
    assert told == {
        "type": "post_call_transcription",
        "call": "conv_42",
        "bytes": len(event()),
        "outcome": "stored",
        "status": 200,
    }
    assert SAID not in json.dumps([desk.spans, [str(vars(record)) for record in caplog.records]])


async def test_each_is_counted_by_what_became_of_it(desk: Desk) -> None:
    for body in (event(), event(), audio(10)):
        await desk.send(body)

    assert desk.counted() == [
        'trunkline_hooks_total{outcome="stored",platform="elevenlabs"} 1.0',
        'trunkline_hooks_total{outcome="duplicate",platform="elevenlabs"} 1.0',
        'trunkline_hooks_total{outcome="dropped",platform="elevenlabs"} 1.0',
    ]


# --- what a body is about --------------------------------------------------------------------------


def test_ids_that_could_not_be_shown_are_none() -> None:
    said = event_of(event("two words", conversation_id="conv 42", agent_id="{{agent}}"))

    assert said == Event()


@pytest.mark.parametrize("body", [b'{"type": ', b"[1,2", b'{"type": 5, garbage', b'{"note": "\xff\xfe"}', b"[" * 5000])
def test_a_body_that_is_no_json_is_said_to_be(body: bytes) -> None:
    with pytest.raises(InvalidJson):
        event_of(body)


@pytest.mark.parametrize(
    ("body", "event"),
    [
        ({"type": "call_ended", "data": {"conversation_id": "c1", "agent_id": 7}}, Event("call_ended", "c1")),
        ({"type": "call_ended", "data": ["a"]}, Event("call_ended")),
        ({"type": 5, "data": {"conversation_id": {}, "agent_id": "a1"}}, Event("", None, "a1")),
        ({"type": AUDIO, "data": {"agent_id": {"id": "a1"}}}, Event(AUDIO)),
        ([1, 2], Event()),
        ("two words", Event()),
    ],
)
def test_a_field_of_another_form_says_nothing_and_the_others_still_do(body: object, event: Event) -> None:
    assert event_of(msgspec.json.encode(body)) == event


def test_the_beginning_of_a_body_says_what_the_whole_does() -> None:
    body = audio(10_000)

    assert event_at(body[:4096]) == event_of(body)


def test_what_a_caller_has_said_is_not_taken_for_a_field() -> None:
    body = json.dumps({"data": {"text": '"type": "post_call_audio"', "conversation_id": "conv_1"}}).encode()

    assert event_at(body) == Event(conversation_id="conv_1")
