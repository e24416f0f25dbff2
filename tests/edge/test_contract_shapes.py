"""Every chunk and every body, of any turn, against the contract's shapes and against OpenAI's own types."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from protocol.messages import Failed, Finished, Frame, Reasoning, Refusal, Text, TokenLogprob, ToolCall, Usage
from tests.edge.contract import BODY, ORDER, chunk_shapes, faults
from tests.edge.contract_turns import answer, deltas_of, streamed, turns, whole

FINISHED = Finished("stop", Usage(9, 2))


def events(written: bytes) -> Iterator[Any]:
    """The data of each event; the end mark as itself. Nothing else may be there: no comment, no id, no event name."""
    *found, rest = written.decode().split("\n\n")
    assert rest == ""
    for event in found:
        name, data = event.split(": ", 1)
        assert (name, "\n" in data) == ("data", False)
        yield data if data == "[DONE]" else json.loads(data)


def kind_of(event: Any, shapes: dict[str, Any]) -> str:
    """The one kind of the contract that an event is."""
    if event == "[DONE]":
        return "end mark"
    kinds = [kind for kind, shape in shapes.items() if not faults(event, shape)]
    assert len(kinds) == 1, (event, {kind: faults(event, shape) for kind, shape in shapes.items()})
    return kinds[0]


def kinds_of(frames: list[Frame], *, include_usage: bool, legacy: bool) -> list[str]:
    written = b"".join(streamed(answer(include_usage=include_usage, legacy=legacy), frames))
    shapes = chunk_shapes(include_usage=include_usage)
    return [kind_of(event, shapes) for event in events(written)]


# --- one of each kind ------------------------------------------------------------------------------

HI = Text("Hi")
TOKENS = (TokenLogprob("Hi", -0.5, (72, 105), (TokenLogprob("Ho", -1.0),)),)
CALL, NEXT_CALL = ToolCall(0, "call_ab", "f", "{}"), ToolCall(1, "call_cd", "g", '{"a":1}')
KINDS: dict[str, tuple[list[Frame], bool, list[str]]] = {
    "text": ([HI, FINISHED], False, ["role", "content", "finish", "usage", "end mark"]),
    "nothing": ([FINISHED], False, ["role", "finish", "usage", "end mark"]),
    "logprobs": (
        [Text("Hi", TOKENS), FINISHED],
        False,
        ["role", "content with logprobs", "finish", "usage", "end mark"],
    ),
    "reasoning": (
        [Reasoning("hm"), HI, FINISHED],
        False,
        ["role", "reasoning", "content", "finish", "usage", "end mark"],
    ),
    "a refusal": (
        [Refusal("no"), FINISHED],
        False,
        ["role before a refusal", "refusal", "finish", "usage", "end mark"],
    ),
    "calls": ([CALL, NEXT_CALL, FINISHED], False, ["role and tool call", "tool call", "finish", "usage", "end mark"]),
    "a call after text": ([HI, CALL, FINISHED], False, ["role", "content", "tool call", "finish", "usage", "end mark"]),
    "a legacy call": ([CALL, FINISHED], True, ["role and function call", "finish", "usage", "end mark"]),
    "a legacy call after text": (
        [HI, CALL, NEXT_CALL, FINISHED],
        True,
        ["role", "content", "function call", "finish", "usage", "end mark"],
    ),
    "a failure": ([HI, Failed("worker_lost", "gone")], False, ["role", "content", "error"]),
}


@pytest.mark.parametrize(("frames", "legacy", "expected"), KINDS.values(), ids=KINDS.keys())
def test_each_frame_becomes_the_chunks_that_the_contract_has_for_it(
    frames: list[Frame], legacy: bool, expected: list[str]
) -> None:
    assert kinds_of(frames, include_usage=True, legacy=legacy) == expected


def test_the_examples_have_every_kind_there_is() -> None:
    assert {kind for _, _, kinds in KINDS.values() for kind in kinds} == {*chunk_shapes(include_usage=True), "end mark"}


def paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    entries: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield (*path, key)
        yield from paths(entry, (*path, key))


def spoilt(value: Any, path: tuple[str | int, ...]) -> Iterator[Any]:
    """`value` with one entry gone, one of another type, and one more key."""
    for spoil in ("gone", "retyped", "more"):
        copy = json.loads(json.dumps(value))
        parent = copy
        for step in path[:-1]:
            parent = parent[step]
        if spoil == "gone":
            del parent[path[-1]]
        elif spoil == "retyped":
            parent[path[-1]] = {"stranger": 1}
        elif isinstance(parent, dict):
            parent["stranger"] = None
        else:
            continue
        yield copy


@pytest.mark.parametrize(
    ("frames", "legacy"), [(frames, legacy) for frames, legacy, _ in KINDS.values()], ids=KINDS.keys()
)
def test_a_chunk_that_is_spoilt_anywhere_is_of_its_kind_no_more(frames: list[Frame], legacy: bool) -> None:
    """The shapes look at every key: a table that lets everything pass would hold nothing."""
    shapes = chunk_shapes(include_usage=True)
    for event in events(b"".join(streamed(answer(include_usage=True, legacy=legacy), frames))):
        for path in paths(event) if event != "[DONE]" else ():
            shape = shapes[kind_of(event, shapes)]
            free = isinstance(path[-1], int) and "logprobs" in path  # an entry of a list of any length may be gone
            assert all(faults(copy, shape) for copy in spoilt(event, path)) or free, path


# --- any turn --------------------------------------------------------------------------------------


@settings(deadline=None)
@given(frames=turns(), include_usage=st.booleans(), legacy=st.booleans())
def test_every_chunk_of_any_turn_is_of_one_kind_and_in_its_place(
    frames: list[Frame], include_usage: bool, legacy: bool
) -> None:
    kinds = "".join(f"{kind}, " for kind in kinds_of(frames, include_usage=include_usage, legacy=legacy))
    end = "finish, " + "usage, " * include_usage + "end mark, "

    if isinstance(frames[-1], Failed):
        assert kinds.endswith("error, ")
        said = kinds.removesuffix("error, ")
        assert re.fullmatch(f"({ORDER[legacy]})?", said)
    else:
        assert re.fullmatch(ORDER[legacy] + end, kinds)


@settings(deadline=None)
@given(frames=turns(), include_usage=st.booleans(), legacy=st.booleans())
def test_openais_strict_types_read_every_chunk(frames: list[Frame], include_usage: bool, legacy: bool) -> None:
    for event in events(b"".join(streamed(answer(include_usage=include_usage, legacy=legacy), frames))):
        if event != "[DONE]" and "error" not in event:
            ChatCompletionChunk.model_validate(event, strict=True)


@settings(deadline=None)
@given(frames=turns((Finished,)), legacy=st.booleans())
def test_every_body_is_of_the_contracts_shape_and_openais_strict_types_read_it(
    frames: list[Frame], legacy: bool
) -> None:
    body = json.loads(whole(answer(legacy=legacy), frames))
    (choice,) = body["choices"]
    message, calls = choice["message"], [frame for frame in deltas_of(frames) if isinstance(frame, ToolCall)]

    ChatCompletion.model_validate(body, strict=True)
    assert faults(body, BODY) == []
    assert len(message.get("tool_calls", ())) == (0 if legacy else len(calls))
    assert ("tool_calls" in message, "function_call" in message) == (bool(calls) and not legacy, bool(calls) and legacy)
    assert (choice["finish_reason"] in ("tool_calls", "function_call")) == bool(calls)
    assert message["content"] is not None or message["refusal"] or calls


@settings(deadline=None)
@given(frames=turns((Finished,)), legacy=st.booleans())
def test_a_body_that_is_spoilt_anywhere_is_none(frames: list[Frame], legacy: bool) -> None:
    body = json.loads(whole(answer(legacy=legacy), frames))
    for key in body:
        rest = {name: value for name, value in body.items() if name != key}
        assert faults(rest, BODY) == [f"$.{key}: absent"]
        assert faults({**body, key: True}, BODY)
    assert faults({**body, "stranger": None}, BODY) == ["$.stranger: must be absent"]
