"""Every event and every body, of any turn, against the contract's shapes, and OpenAI's own types and client."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import APIError, OpenAI
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from edge import response_forms
from protocol.errors import Cancelled, ServiceError, from_failed
from protocol.messages import Failed, Finished, Frame, Reasoning, Refusal, Text, TokenLogprob, ToolCall, Usage
from tests.edge.contract import faults
from tests.edge.contract_turns import deltas_of, turns
from tests.edge.responses_contract import EVENTS, RESPONSES, TERMINAL
from tests.edge.responses_turns import Json, Reader, answer, events, streamed, whole

OFFICIAL: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
EVENT_FORM = msgspec.json.Decoder(response_forms.ResponseStreamEvent)
FORM = msgspec.json.Decoder(response_forms.ResponseObject)
CANCELLED = Cancelled("the response was cancelled by another request")

stops = st.none() | st.just(CANCELLED)
"""What ends a turn before its last frame."""


# --- one of each kind ------------------------------------------------------------------------------

TOKENS = (TokenLogprob("Hi", -0.5, (72, 105), (TokenLogprob("Ho", -1.0),)),)
STOP = Finished("stop", Usage(9, 2))
MESSAGE = ["output_item.added", "content_part.added", "output_text.delta"]
SAID = ["output_text.done", "content_part.done"]
THOUGHT = ["output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta"]
THOUGHT_ENDS = ["reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"]
CALL = ["output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"]
DECLINED = ["content_part.added", "refusal.delta", "refusal.done", "content_part.done"]
KINDS: dict[str, tuple[list[Frame], list[str]]] = {
    "text": (
        [Text("a"), Text(" "), Text("b"), STOP],
        [*MESSAGE, "output_text.delta", "output_text.delta", *SAID, "output_item.done", "completed"],
    ),
    "nothing": ([STOP], ["completed"]),
    "a thought that says nothing": ([Reasoning(""), STOP], ["completed"]),
    "logprobs": ([Text("Hi", TOKENS), STOP], [*MESSAGE, *SAID, "output_item.done", "completed"]),
    "a thought": (
        [Reasoning("h"), Reasoning("m"), Text("a"), STOP],
        [*THOUGHT, THOUGHT[-1], *THOUGHT_ENDS, *MESSAGE, *SAID, "output_item.done", "completed"],
    ),
    "two thoughts": (
        [Reasoning("h", "a"), Reasoning("m", "b"), STOP],
        [*THOUGHT, *THOUGHT_ENDS, *THOUGHT, *THOUGHT_ENDS, "completed"],
    ),
    "a sealed thought": (
        [Reasoning("h", "a"), Reasoning("", "a", "seal"), STOP],
        [*THOUGHT, *THOUGHT_ENDS, "completed"],
    ),
    "a thought that is all seal": ([Reasoning("", "a", "seal"), STOP], [THOUGHT[0], THOUGHT_ENDS[-1], "completed"]),
    "a refusal": ([Refusal("no"), STOP], ["output_item.added", *DECLINED, "output_item.done", "completed"]),
    "a refusal between words": (
        [Text("a"), Refusal("no"), Text("b"), STOP],
        [*MESSAGE, *SAID, *DECLINED, *MESSAGE[1:], *SAID, "output_item.done", "completed"],
    ),
    "calls after text": (
        [Text("a"), ToolCall(0, "call_ab", "f", "{}"), ToolCall(1, "call_cd", "g", "{}"), STOP],
        [*MESSAGE, *SAID, "output_item.done", *CALL, *CALL, "completed"],
    ),
    "words after a call": (
        [ToolCall(0, "call_ab", "f", "{}"), Text("a"), STOP],
        [*CALL, *MESSAGE, *SAID, "output_item.done", "completed"],
    ),
    "a limit": ([Text("a"), Finished("length")], [*MESSAGE, *SAID, "output_item.done", "incomplete"]),
    "a filter": ([Finished("content_filter")], ["incomplete"]),
    "a failure": ([Text("a"), Failed("worker_lost", "gone")], [*MESSAGE, "error", "failed"]),
}


@pytest.mark.parametrize(("frames", "expected"), KINDS.values(), ids=KINDS.keys())
def test_events_come_in_the_contract_s_order(frames: list[Frame], expected: list[str]) -> None:
    kinds = [event["type"].removeprefix("response.") for event in events(streamed(frames))]

    assert kinds == ["created", "in_progress", *expected]


def test_every_kind_of_the_contract_is_among_them() -> None:
    written = [event["type"] for frames, _ in KINDS.values() for event in events(streamed(frames))]

    assert set(written) == set(EVENTS)


# --- every turn that the lifecycle allows ----------------------------------------------------------


@settings(deadline=None)
@given(frames=turns(), stop=stops)
def test_every_event_is_as_the_contract_has_it(frames: list[Frame], stop: ServiceError | None) -> None:
    for event in events(streamed(frames, stop)):
        assert faults(event, EVENTS[event["type"]]) == []


@settings(deadline=None)
@given(frames=turns(), stop=stops)
def test_every_event_is_one_of_openai_s_own_without_coercion(frames: list[Frame], stop: ServiceError | None) -> None:
    for event in events(streamed(frames, stop)):
        taken = OFFICIAL.validate_json(json.dumps(event), strict=True)

        assert type(taken).model_fields["type"].annotation.__args__ == (event["type"],)


@settings(deadline=None)
@given(frames=turns(), stop=stops)
def test_every_event_is_as_the_description_has_it(frames: list[Frame], stop: ServiceError | None) -> None:
    """Nothing is written that is not described, and nothing described is missing."""
    for event in events(streamed(frames, stop)):
        assert msgspec.to_builtins(EVENT_FORM.decode(json.dumps(event))) == event


@settings(deadline=None)
@given(frames=turns((Finished,)))
def test_every_body_is_as_the_contract_openai_and_the_description_have_it(frames: list[Frame]) -> None:
    body = whole(frames)
    response = json.loads(body)

    assert faults(response, RESPONSES[response["status"]]) == []
    assert msgspec.to_builtins(FORM.decode(body)) == response
    Response.model_validate_json(body, strict=True)


@settings(deadline=None)
@given(frames=turns(), stop=stops)
def test_what_the_events_say_is_what_was_said(frames: list[Frame], stop: ServiceError | None) -> None:
    """Numbers without gaps, places in order, one item and one part open at a time, and `done` says what the pieces did:
    the reader sees to it. What it has put together has every word of the turn in order, and nothing else.
    """
    read = Reader(events(streamed(frames, stop)))
    unclosed = [{**read.item, "part": read.part}] if read.item else []

    assert [*_words([*read.items, *unclosed])] == [*_of_frames(frames)]


@settings(deadline=None)
@given(frames=turns((Finished,)))
def test_a_stream_put_together_is_its_end_and_is_the_body(frames: list[Frame]) -> None:
    told = events(streamed(frames))
    read = Reader(told)

    assert read.item is None, "what was opened is closed"
    assert told[-1]["response"]["output"] == read.items
    assert told[-1]["response"] == json.loads(whole(frames))
    assert [event["type"] for event in told if event["type"] in TERMINAL] == [told[-1]["type"]]
    assert told[-1]["type"] == f"response.{told[-1]['response']['status']}"


@settings(deadline=None)
@given(frames=turns((Failed,)), stop=stops)
def test_a_failure_says_what_had_come(frames: list[Frame], stop: ServiceError | None) -> None:
    told = events(streamed(frames, stop))
    read = Reader(told)
    output = told[-1]["response"]["output"]

    assert output[: len(read.items)] == read.items
    assert [*_words(output)] == [*_of_frames(frames)]
    assert len(output) == len(read.items) + (read.item is not None)
    assert all(item.get("status") != "in_progress" for item in output)
    assert [event["type"] for event in told if event["type"] in ("error", *TERMINAL)] == (
        ["response.failed"] if stop else ["error", "response.failed"]
    )


@settings(deadline=None)
@given(frames=turns((Finished,)))
def test_what_is_kept_is_what_is_said(frames: list[Frame]) -> None:
    dialect, last = answer(), frames[-1]
    assert isinstance(last, Finished)
    for frame in deltas_of(frames):
        dialect.delta(frame)
    kept = dialect.whole((), last, last.usage)

    assert json.loads(kept) == json.loads(answer().whole(deltas_of(frames), last, last.usage))
    assert json.loads(kept) == events(dialect.opening() + dialect.finish(last, usage=last.usage))[-1]["response"]


def _words(items: list[Json]) -> Iterator[tuple[str, str]]:
    """Who says what, in the order of the items: runs of one kind are one."""
    told: list[tuple[str, str]] = []
    for item in items:
        parts = [*(item.get("content") or item.get("summary") or []), *filter(None, [item.get("part")])]
        told += [(part["type"], part.get("text", part.get("refusal"))) for part in parts]
        if item["type"] == "function_call":
            told.append((item["call_id"], item["name"] + item["arguments"]))
    return _joined(told)


def _of_frames(frames: list[Frame]) -> Iterator[tuple[str, str]]:
    told: list[tuple[str, str]] = []
    for frame in frames:
        match frame:
            case Text(text):
                told.append(("output_text", text))
            case Refusal(text):
                told.append(("refusal", text))
            case Reasoning(text):
                told.append(("summary_text", text))
            case ToolCall(_, id_, name, arguments):
                told.append((id_, name + arguments))
    return _joined(told)


def _joined(told: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    runs: list[tuple[str, str]] = []
    for kind, text in told:
        if not text:
            continue
        if runs and runs[-1][0] == kind:
            runs[-1] = (kind, runs[-1][1] + text)
        else:
            runs.append((kind, text))
    return iter(runs)


# --- OpenAI's own client ---------------------------------------------------------------------------


class Client:
    """OpenAI's, which reads what it is given in pieces of any size."""

    def __init__(self) -> None:
        http = httpx2.Client(transport=httpx2.MockTransport(lambda _: self._response))
        self.responses = OpenAI(api_key="k", base_url="http://edge/v1", max_retries=0, http_client=http).responses

    def gets(self, written: bytes, size: int) -> None:
        pieces = (written[at : at + size] for at in range(0, len(written), size))
        self._response = httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=pieces)


CLIENT = Client()


@settings(deadline=None)
@given(frames=turns((Finished,)), size=st.integers(1, 4096))
def test_a_stream_that_the_client_joins_is_the_body(frames: list[Frame], size: int) -> None:
    """Of one that was cut off the client gives no final response, whoever sends it."""
    frames = [*frames[:-1], Finished("stop", Usage(9, 2))]
    CLIENT.gets(streamed(frames), size)
    with CLIENT.responses.stream(model="m", input="hello") as stream:
        joined = stream.get_final_response()
    body = Response.model_validate_json(whole(frames))

    assert [item.model_dump(include=_KEYS) for item in joined.output] == [
        item.model_dump(include=_KEYS) for item in body.output
    ]
    assert (joined.output_text, joined.usage) == (body.output_text, body.usage)


_KEYS = {"id", "type", "status", "call_id", "name", "arguments", "summary", "encrypted_content"}


@settings(deadline=None)
@given(frames=turns((Failed,)), size=st.integers(1, 4096))
def test_a_failure_is_raised_after_all_that_was_said(frames: list[Frame], size: int) -> None:
    failed, words = frames[-1], list[str]()
    CLIENT.gets(streamed(frames), size)
    assert isinstance(failed, Failed)

    told = CLIENT.responses.create(model="m", input="hello", stream=True)
    with pytest.raises(APIError, match=re.escape(str(from_failed(failed)))):
        words.extend(event.delta for event in told if event.type == "response.output_text.delta")
    assert "".join(words) == "".join(frame.text for frame in frames if isinstance(frame, Text))


def test_a_cancelled_response_raises_nothing() -> None:
    CLIENT.gets(streamed([Text("a")], CANCELLED), 100)
    told = list(CLIENT.responses.create(model="m", input="hello", stream=True))

    assert told[-1].type == "response.failed"
    assert (told[-1].response.status, told[-1].response.error) == ("cancelled", None)
