"""Message <-> bytes: one table of cases to write and to read; what newer versions add is no harm."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from protocol import codec
from protocol.codec import Addressed
from protocol.messages import (
    Answer,
    Ask,
    Attempt,
    Cancel,
    Claimed,
    Control,
    Failed,
    Finished,
    Format,
    Frame,
    Here,
    Hook,
    ImagePart,
    Job,
    Message,
    OpaquePart,
    PastCall,
    Reasoning,
    Refusal,
    RefusalPart,
    Sampling,
    Text,
    TextPart,
    Timings,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolChoice,
    TurnRecord,
    Usage,
)

FRAMES: dict[str, tuple[Frame, list[Any]]] = {
    "claimed": (Claimed("$JS.ACK.1"), ["c", "$JS.ACK.1"]),
    "text": (Text("hé"), ["t", "hé", None]),
    "text with log probabilities": (
        Text("a", (TokenLogprob("a", -0.5, (97,), (TokenLogprob("b", -1.0),)),)),
        ["t", "a", [["a", -0.5, [97], [["b", -1.0, None, []]]]]],
    ),
    "reasoning": (Reasoning("so", "r1", "x"), ["r", "so", "r1", "x"]),
    "refusal": (Refusal("no"), ["n", "no"]),
    "tool call": (ToolCall(1, "id", "f", '{"a":1}'), ["x", 1, "id", "f", '{"a":1}']),
    "finished": (
        Finished("length", Usage(prompt=3), "gpt", Timings(1.5, 2.5)),
        ["f", "length", {"prompt": 3}, "gpt", {"first_content_ms": 1.5, "total_ms": 2.5}, [], [], 0],
    ),
    "failed": (
        Failed("upstream_error", "why", "model", True, Usage(completion=1), "gpt"),
        ["e", "upstream_error", "why", "model", True, {"completion": 1}, "gpt", {}, None, [], [], 0],
    ),
    "what was tried": (
        Finished("stop", attempts=(Attempt("gpt", "answered", usage=Usage(3, 1), cost=0.5),)),
        [
            "f",
            "stop",
            {},
            "",
            {},
            [{"target": "gpt", "outcome": "answered", "usage": {"prompt": 3, "completion": 1}, "cost": 0.5}],
            [],
            0,
        ],
    ),
}


@pytest.mark.parametrize(("frame", "wire"), FRAMES.values(), ids=FRAMES)
def test_a_frame_on_the_wire(frame: Frame, wire: list[Any]) -> None:
    data = codec.encode_batch("w", [Addressed(3, 2**32 - 1, 5, frame)])

    assert msgspec.msgpack.decode(data) == ["w", [[3, 2**32 - 1, 5, wire]]]
    assert codec.decode_batch(msgspec.msgpack.encode(["w", [[3, 2**32 - 1, 5, wire]]])) == (
        "w",
        [Addressed(3, 2**32 - 1, 5, frame)],
    )


@pytest.mark.parametrize(("frame", "wire"), FRAMES.values(), ids=FRAMES)
def test_fields_that_a_newer_version_appends_are_skipped(frame: Frame, wire: list[Any]) -> None:
    newer = msgspec.msgpack.encode(["w", [[3, 4, 5, [*wire, "new", {"a": 1}], "newer"]], "newest"])

    assert codec.decode_batch(newer) == ("w", [Addressed(3, 4, 5, frame)])


def test_fields_that_an_older_version_lacks_have_their_defaults() -> None:
    older = msgspec.msgpack.encode(["w", [[1, 2, 3, ["t", "a"]], [1, 2, 4, ["f", "stop"]]]])

    assert codec.decode_batch(older) == ("w", [Addressed(1, 2, 3, Text("a")), Addressed(1, 2, 4, Finished("stop"))])


UNKNOWN = {
    "an unknown tag": ["zz", 1, 2],
    "an unknown finish reason": ["f", "bored"],
    "a field of another type": ["t", 7],
    "a field that is missing": ["x", 0],
    "no array": "t",
    "nothing": [],
}


@pytest.mark.parametrize("wire", UNKNOWN.values(), ids=UNKNOWN)
def test_what_cannot_be_read_costs_its_neighbours_nothing(wire: Any) -> None:
    data = msgspec.msgpack.encode(["w", [[1, 2, 3, ["t", "a"]], [1, 2, 4, wire], [1, 2, 5, ["t", "b"]]]])

    worker, frames = codec.decode_batch(data)

    assert worker == "w"
    assert frames == [Addressed(1, 2, 3, Text("a")), Addressed(1, 2, 4, None), Addressed(1, 2, 5, Text("b"))]


@given(st.binary() | st.recursive(st.none() | st.integers(0, 9) | st.text(), st.lists).map(msgspec.msgpack.encode))
def test_no_bytes_are_too_odd_for_any_decoder(data: bytes) -> None:
    for decode in (
        codec.decode_batch,
        codec.decode_job,
        codec.decode_control,
        codec.decode_answer,
        codec.decode_here,
        codec.decode_record,
    ):
        with suppress(*codec.DecodeError):
            decode(data)


def test_deep_nesting_is_none_of_ours() -> None:
    with pytest.raises(codec.DecodeError):
        codec.decode_batch(b"\x91" * 100_000)


CONTROL: dict[str, tuple[Control, list[Any]]] = {
    "cancel": (Cancel(9), ["cancel", 9]),
    "ask": (Ask("e1", ((9, 0), (8, 4))), ["ask", "e1", [[9, 0], [8, 4]]]),
    "an ask for nothing": (Ask("e1", ()), ["ask", "e1", []]),
}


@pytest.mark.parametrize(("message", "wire"), CONTROL.values(), ids=CONTROL)
def test_control_on_the_wire(message: Control, wire: list[Any]) -> None:
    assert msgspec.msgpack.decode(codec.encode(message)) == wire
    assert codec.decode_control(msgspec.msgpack.encode([*wire, "newer"])) == message


def test_an_answer_on_the_wire() -> None:
    answer = Answer((3, None, 0))

    assert msgspec.msgpack.decode(codec.encode(answer)) == [[3, None, 0]]
    assert codec.decode_answer(codec.encode(answer)) == answer


JOBS = {
    "the least": Job(id="t", model="m", messages=(), budget_ms=1, total_ms=2),
    "all of it": Job(
        id="t",
        model="m",
        messages=(
            Message("system", "s", name="n"),
            Message("user", (TextPart("a"), ImagePart("u", "low"), OpaquePart("file", b'{"a": 1}'), RefusalPart("r"))),
            Message("assistant", None, tool_calls=(PastCall("i", "f", "{"),), refusal="no"),
            Message("tool", "4", tool_call_id="i"),
        ),
        budget_ms=8000,
        total_ms=120_000,
        tenant="acme",
        call_id="c",
        tools=(Tool("f", "d", b'{"type": "object"}', True),),
        tool_choice=ToolChoice("named", ("f",)),
        parallel_tool_calls=False,
        response_format=Format("json_schema", "n", b"{}", True, "d"),
        sampling=Sampling(temperature=0.5, max_tokens=5, stop=("x",), logit_bias=b"{}"),
        user="u",
        metadata={"k": "v"},
        on_lost="continue",
        said="so far",
    ),
}


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_a_job_comes_as_it_went(job: Job) -> None:
    assert codec.decode_job(codec.encode(job)) == job


def test_a_field_that_a_newer_version_adds_to_a_job_is_skipped() -> None:
    job = JOBS["all of it"]
    wire = {**msgspec.msgpack.decode(codec.encode(job)), "new": [1]}

    assert codec.decode_job(msgspec.msgpack.encode(wire)) == job


def test_here_and_records_come_as_they_went() -> None:
    here = Here(worker_id="w", models=("m",), slots=4, free=2, draining=False, config="h")
    record = TurnRecord(
        id="t",
        tenant="d",
        model="m",
        outcome="completed",
        started_at="2026-01-01T00:00:00.000+00:00",
        usage=Usage(1, 2),
    )

    assert codec.decode_here(codec.encode(here)) == here
    assert codec.decode_record(codec.encode_record(record)) == record
    assert codec.encode_record(record).startswith(b'{"id":"t"'), "strangers read it: JSON"


@pytest.mark.parametrize("body", [b'{"type": "x"}', b' {"a":\n [1.50, "\\u0041"]}', b"null"])
def test_what_came_after_a_call_is_kept_as_it_came_but_for_white_space_around_it(body: bytes) -> None:
    hook = Hook(platform="elevenlabs", received_at="2026-11-21T10:00:00+00:00", body=Raw(body), type="x")

    data = codec.encode_hook(hook)

    assert bytes(codec.decode_hook(data).body) == body.strip()
    assert body in data, "strangers read it: JSON"
    assert codec.decode_hook(data).conversation_id is None
