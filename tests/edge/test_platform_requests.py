"""Every platform's request: what job it becomes, and what of it an upstream gets."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, Struct

from edge.asked import to_job
from edge.chat import parse
from edge.chat_form import ChatBody
from edge.identity import call_id_of
from protocol.codec import decode_job, encode
from protocol.messages import Job
from protocol.settings_types import TurnSettings
from tests.platform_requests import FOLDER, REQUESTS, PlatformRequest
from workers.targets.chat_request import request_body

PLATFORMS = {"agora", "assemblyai", "deepgram", "elevenlabs", "fish", "livekit", "pipecat", "telnyx", "vapi"}
SYSTEM_TOOLS = {
    *("end_call", "language_detection", "transfer_to_agent", "transfer_to_number", "skip_turn"),
    *("voicemail_detection", "play_keypad_touch_tone"),
}
UPSTREAM_KEYS = {
    *("model", "messages", "stream", "stream_options", "tools", "tool_choice", "parallel_tool_calls", "user"),
    *("temperature", "max_tokens", "seed"),
}
MESSAGE_KEYS = {"role", "content", "name", "tool_calls", "tool_call_id"}
EXTRAS = {"elevenlabs_extra_body", "fishaudio_extra_body", "extra_metadata", "context", "call"}

every_request = pytest.mark.parametrize("name", REQUESTS)


class Function(Struct):
    """A function that is offered; its schema as it came."""

    name: str
    parameters: Raw = msgspec.field(default_factory=Raw)
    strict: bool | None = None


class Tool(Struct):
    function: Function


class Offer(Struct):
    """The part of a body that offers tools."""

    tools: list[Tool] = []


def job_of(request: PlatformRequest, data: bytes | None = None) -> Job:
    """As a worker reads it, off the bus."""
    asked = parse(request.data if data is None else data)
    headers = {name.lower(): value for name, value in request.headers.items()}
    call_id = call_id_of(headers, TurnSettings().call_id_headers, asked.call_id_from_body)
    job = to_job(
        asked, turn_id="req_1", tenant="desk", call_id=call_id, budget_ms=8000, total_ms=60000, on_lost="error"
    )
    return decode_job(encode(job))


def sent(job: Job) -> dict[str, Any]:
    """What an upstream gets."""
    body: dict[str, Any] = json.loads(request_body(job, model="upstream-1"))
    return body


def offered(data: bytes) -> dict[str, tuple[bytes, bool | None]]:
    """Schema and strictness of every tool in a body."""
    tools = msgspec.json.decode(data, type=Offer).tools
    return {tool.function.name: (bytes(tool.function.parameters), tool.function.strict) for tool in tools}


def test_every_platform_has_its_requests_with_their_source() -> None:
    assert {name.partition("/")[0] for name in REQUESTS} == PLATFORMS
    assert {path.name for path in FOLDER.iterdir()} >= PLATFORMS
    assert all(len(request.source) > 20 for request in REQUESTS.values())


@every_request
def test_its_call_is_found(name: str) -> None:
    assert job_of(REQUESTS[name]).call_id == REQUESTS[name].call_id


@every_request
def test_its_history_is_repaired_where_it_has_to_be(name: str) -> None:
    request = REQUESTS[name]
    job = job_of(request)

    assert job.repairs == request.repairs
    if not request.repairs:
        assert job.messages == parse(request.data).messages


@every_request
def test_an_upstream_gets_nothing_that_it_does_not_know(name: str) -> None:
    body = sent(job_of(REQUESTS[name]))

    assert set(body) <= UPSTREAM_KEYS
    assert all(set(message) <= MESSAGE_KEYS for message in body["messages"])
    assert all(
        set(call) == {"id", "type", "function"} for one in body["messages"] for call in one.get("tool_calls", ())
    )


@every_request
def test_a_limit_or_a_temperature_that_is_none_is_not_sent_on(name: str) -> None:
    fields, body = REQUESTS[name].fields, sent(job_of(REQUESTS[name]))
    limit = fields.get("max_completion_tokens") or fields.get("max_tokens") or -1

    assert body.get("max_tokens") == (limit if limit > 0 else None)
    assert body.get("temperature") == fields.get("temperature")


@every_request
def test_its_tools_reach_an_upstream_byte_for_byte(name: str) -> None:
    request = REQUESTS[name]
    job = job_of(request)

    assert {tool.name: (tool.parameters, tool.strict) for tool in job.tools} == offered(request.data)
    assert offered(request_body(job, model="upstream-1")) == offered(request.data)


@every_request
def test_what_the_platform_says_of_the_call_is_kept_and_never_sent_on(name: str) -> None:
    request = REQUESTS[name]
    job = job_of(request)

    assert {key: json.loads(value) for key, value in job.extras.items()} == {
        key: value for key, value in request.fields.items() if key in EXTRAS
    }
    assert request_body(job, model="m") == request_body(msgspec.structs.replace(job, extras={}), model="m")


def test_the_tables_above_are_met_by_some_request() -> None:
    """Or they would hold nothing."""
    jobs = [job_of(request) for request in REQUESTS.values()]

    assert {key for job in jobs for key in job.extras} == EXTRAS
    assert {key for job in jobs for key in sent(job)} == UPSTREAM_KEYS
    assert {name for job in jobs for name in job.repairs} >= {"missing_result", "orphan_result"}
    assert any(tool.strict for job in jobs for tool in job.tools)


# --- one by one --------------------------------------------------------------------------------------


def test_user_id_is_elevenlabs_word_for_user() -> None:
    assert sent(job_of(REQUESTS["elevenlabs/turn"]))["user"] == "u-42"


def test_all_seven_system_tools_of_elevenlabs_are_offered() -> None:
    assert {tool.name for tool in job_of(REQUESTS["elevenlabs/system-tools"]).tools} == SYSTEM_TOOLS


@pytest.mark.parametrize("shape", [None, [], "x", 7, {}])
def test_an_extra_body_of_any_shape_costs_no_turn(shape: Any) -> None:
    request = REQUESTS["elevenlabs/turn"]
    job = job_of(request, json.dumps({**request.fields, "elevenlabs_extra_body": shape}).encode())

    assert job.call_id is None
    assert job.extras == ({"elevenlabs_extra_body": b"{}"} if shape == {} else {})


def test_metadata_keys_at_the_top_level_set_nothing_of_ours() -> None:
    """With `destructured` Vapi lays an assistant's metadata there, under whatever names it has."""
    plain = job_of(REQUESTS["vapi/metadata-off"])
    job = job_of(REQUESTS["vapi/metadata-destructured"])

    assert job == msgspec.structs.replace(plain, call_id=job.call_id, extras=job.extras)
    assert set(job.extras) == {"call"}


names_of_anything = st.sampled_from([*Job.__struct_fields__, "api_key", "base_url", "headers", "é"]) | st.text()


@given(st.dictionaries(names_of_anything, st.text() | st.integers() | st.none(), max_size=5))
def test_no_key_of_any_name_changes_what_an_upstream_gets(strange: dict[str, Any]) -> None:
    request = REQUESTS["vapi/metadata-off"]
    added = {key: value for key, value in strange.items() if key not in ChatBody.__struct_fields__}
    data = json.dumps({**added, **request.fields}).encode()

    assert job_of(request, data) == job_of(request, json.dumps(request.fields).encode())


def test_a_call_that_was_interrupted_tells_the_model_so() -> None:
    """OpenAI refused such a history, four times a turn, until the session closed."""
    messages = sent(job_of(REQUESTS["livekit/interrupted-tool"]))["messages"]

    assert [message["role"] for message in messages] == ["system", "user", "assistant", "tool", "tool", "user"]
    assert {message["tool_call_id"] for message in messages[3:5]} == {"call_1", "call_2"}


def test_what_pipecat_says_of_a_call_under_way_is_passed_on() -> None:
    told = [message.content for message in job_of(REQUESTS["pipecat/tools-in-progress"]).messages]

    assert "IN_PROGRESS" in told
