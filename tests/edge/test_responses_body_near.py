"""Any body near a request for a response is one, or a clean refusal."""

import itertools
import json
from typing import Any

import jsonschema_rs
import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from edge import responses_form
from edge.body import schema_of
from edge.errors import body_bytes, to_openai
from edge.responses_body import ResponsesRequest, continued, parse
from protocol import codec
from protocol.errors import ServiceError
from protocol.messages import Thought
from tests.edge.near import SECRET, Place, changed, places, values
from tests.edge.responses_bodies import CALL, RESULT, SCHEMA, TOOL, body, ids, job, read

# --- anything near a request -----------------------------------------------------------------------

NEAR: dict[str, Any] = {
    "model": "echo",
    "instructions": SECRET,
    "input": [
        {"role": "system", "content": [{"type": "input_text", "text": SECRET}]},
        {"type": "message", "role": "user", "content": SECRET, "status": "completed"},
        {"role": "user", "content": [{"type": "input_file", "file_data": SECRET, "filename": SECRET}]},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": SECRET, "format": "wav"}}]},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": SECRET}]},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": SECRET, "annotations": [], "logprobs": []},
                {"type": "refusal", "refusal": SECRET},
            ],
        },
        {**CALL, "id": "fc_1", "status": "completed"},
        {**RESULT, "output": [{"type": "input_image", "image_url": SECRET, "detail": "low"}]},
        {"type": "item_reference", "id": SECRET},
    ],
    "stream": True,
    "store": True,
    "previous_response_id": "resp_1",
    "temperature": 1,
    "max_output_tokens": 100,
    "max_tool_calls": 1,
    "include": ["reasoning.encrypted_content"],
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {"format": {**SCHEMA, "description": SECRET}, "verbosity": "low"},
    "tools": [{**TOOL, "description": SECRET}],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "get_weather"}]},
    "metadata": {"a": SECRET},
    "elevenlabs_extra_body": {"call_id": "c"},
    "user": SECRET,
}
PLACES = places(NEAR)
OLD = Raw(b'{"id":"msg_0","role":"user","content":"before"}')


def outcome(data: bytes) -> ResponsesRequest | ServiceError:
    try:
        return read(data)
    except ServiceError as error:
        return error


def tried(data: bytes) -> ResponsesRequest | None:
    """Parse and go on; what is refused must be a 4xx that can be written and quotes nothing."""
    request = outcome(data)
    if isinstance(request, ServiceError):
        assert 400 <= to_openai(request)[0] < 500
        assert SECRET.encode() not in body_bytes(request)
        return None
    assert codec.decode_job(codec.encode(job(request))) == job(request)
    assert json.loads(msgspec.json.encode(request.echoed)).keys() == parse(body()).echoed.keys()
    whole = continued(request, [OLD], dict.fromkeys(request.references, OLD))
    assert len(ids(whole)) == len(request.items) + 1
    assert continued(replace(request, items=whole.items[1:]), [OLD], {}).messages == whole.messages
    return request


def test_the_example_is_a_request() -> None:
    request = tried(json.dumps(NEAR).encode())

    assert request is not None
    assert len(request.messages) == 7
    assert request.messages[-2].thoughts == (Thought("rs_1", (SECRET,)),)


@settings(deadline=None)
@given(place=st.sampled_from(PLACES), new=values | st.just(...))
def test_anything_near_a_request_is_a_request_or_a_service_error(place: Place, new: Any) -> None:
    request = tried(json.dumps(changed(NEAR, place, new)).encode())

    assert request is None or request.messages or request.previous_response_id or request.references


@settings(deadline=None)
@given(
    at=st.integers(0, 10_000),
    cut=st.integers(0, 3),
    piece=st.binary(max_size=3) | st.sampled_from([b'"', b"{", b"\\u", b"\\ud83d"]),
)
def test_any_bytes_near_a_request_are_a_request_or_a_service_error(at: int, cut: int, piece: bytes) -> None:
    data = json.dumps(NEAR).encode()
    at %= len(data)

    tried(data[:at] + piece + data[at + cut :])


FORMS: list[tuple[type[msgspec.Struct], list[Any]]] = [
    (responses_form.ResponsesBody, [NEAR]),
    (responses_form.MessageItem, [item for item in NEAR["input"] if "role" in item]),
    (responses_form.CallItem, [CALL]),
    (responses_form.ResultItem, [RESULT]),
]
CASES = [
    (form, jsonschema_rs.validator_for(schema_of(form)), near, place)
    for form, examples in FORMS
    for near, place in itertools.chain.from_iterable(zip(itertools.repeat(one), places(one)) for one in examples)
]


@settings(deadline=None)
@given(case=st.sampled_from(CASES), new=values | st.just(...))
def test_the_schema_refuses_nothing_that_the_structs_accept(case: Any, new: Any) -> None:
    form, validator, near, place = case
    near = changed(near, place, new)
    try:
        msgspec.json.decode(json.dumps(near), type=form)
    except msgspec.ValidationError:
        accepted = False
    else:
        accepted = True

    assert validator.is_valid(near) or not accepted
