"""/v1/responses, frames -> SSE bytes or one JSON body: golden transcripts, and what no transcript shows.

The transcripts in `golden_responses/` were written from the API's documents, never from our own output; where an answer
differs from one, in more than the order of an object's keys, the answer is wrong.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from edge.chat import ChatAnswer
from edge.responses import parse, response_id_of
from protocol import errors
from protocol.errors import Cancelled, ServiceError
from protocol.messages import Finished, FinishReason, Frame, Reasoning, Refusal, Text, TokenLogprob, ToolCall, Usage
from tests.edge.contract import faults
from tests.edge.responses_contract import ECHOED, ENDED, RESPONSES
from tests.edge.responses_turns import answer, events, streamed, whole

GOLDEN = Path(__file__).parent / "golden_responses"
USAGE = Usage(prompt=9, completion=2, cached=4, reasoning=1)
STOP, CALLED = Finished("stop", USAGE), Finished("tool_calls", USAGE)
OSLO = ToolCall(0, "call_ab", "get_weather", '{"city":"Oslo"}')
HI = Text("Hi", (TokenLogprob("Hi", -0.5, (72, 105), (TokenLogprob("Ho", -1.25, (72, 111)),)),))

ANSWERS: dict[str, list[Frame]] = {
    "text": [Text("Hel"), Text("lo."), STOP],
    "nothing": [STOP],
    "logprobs": [HI, STOP],
    "function-call": [OSLO, CALLED],
    "parallel-calls": [OSLO, ToolCall(1, "call_cd", "get_time", "{}"), CALLED],
    "text-then-call": [Text("One moment."), OSLO, STOP],
    "reasoning": [
        Reasoning("A ", "u"),
        Reasoning("greeting.", "u"),
        Reasoning("", "u", "c2VhbA=="),
        Text("Hello."),
        STOP,
    ],
    "sealed-reasoning": [Reasoning("", "u", "c2VhbA=="), ToolCall(0, "call_ab", "get_time", "{}"), CALLED],
    "refusal": [Refusal("I"), Refusal(" can't."), STOP],
    "cut-by-its-limit": [Text("Hel"), Finished("length", USAGE)],
    "cut-by-a-filter": [Text("Hel"), Finished("content_filter", USAGE)],
}
CUT: dict[str, tuple[list[Frame], ServiceError]] = {
    "failed-before-words": ([], errors.RateLimited("the target refuses for a while: wait")),
    "failed-after-words": ([Text("Hel")], errors.WorkerLost("the worker is gone: ask again")),
    "cancelled": ([Text("Hel")], Cancelled("the response was cancelled by another request")),
}


def golden(name: str) -> str:
    return (GOLDEN / name).read_text()


@pytest.mark.parametrize(("name", "frames"), ANSWERS.items(), ids=ANSWERS)
def test_a_stream_is_the_golden_one(name: str, frames: list[Frame]) -> None:
    assert events(streamed(frames)) == events(golden(f"{name}.sse").encode())


@pytest.mark.parametrize(("name", "frames"), ANSWERS.items(), ids=ANSWERS)
def test_a_body_is_the_golden_one(name: str, frames: list[Frame]) -> None:
    assert json.loads(whole(frames)) == json.loads(golden(f"{name}.json"))


@pytest.mark.parametrize(("name", "frames", "error"), [(name, *row) for name, row in CUT.items()], ids=CUT)
def test_a_stream_that_comes_to_no_end_is_the_golden_one(name: str, frames: list[Frame], error: ServiceError) -> None:
    assert events(streamed(frames, error)) == events(golden(f"{name}.sse").encode())


def test_every_golden_transcript_is_compared() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {
        *(f"{name}.sse" for name in [*ANSWERS, *CUT]),
        *(f"{name}.json" for name in ANSWERS),
    }


# --- the response ----------------------------------------------------------------------------------


def test_a_response_has_every_key_whatever_its_request_says() -> None:
    """What repeats the request comes from its body."""
    asked = parse(
        b'{"model":"my-model","input":"hi","temperature":0.5,"metadata":{"a":"b"},"tools":[{"type":"function","name":"f",'
        b'"parameters":{"type":"object",\r\n  "properties":{}}}],"text":{"format":{"type":"json_schema","name":"n",'
        b'"schema":{"type":\n"object"}}}}'
    )
    for event in events(streamed([Text("Hi"), STOP], dialect=answer(echoed=asked.echoed))):
        if "response" in event:
            response = event["response"]
            of_request = {key: response[key] for key in ("temperature", "metadata", "tools", "text")}
            assert faults(response, {**RESPONSES[response["status"]], **of_request}) == []
            assert (response["temperature"], response["metadata"]) == (0.5, {"a": "b"})
            assert response["tools"][0]["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\n"])
def test_what_came_over_several_lines_leaves_on_one(line_end: bytes) -> None:
    """An event's data is one line: a tool's schema is carried as it was sent."""
    schema = Raw(b'{%b  "a": "\\n x",%b\t"b": 1.50e1}' % (line_end, line_end))
    echoed = {**ECHOED, "tools": [{"name": "f", "parameters": schema}]}
    created = events(streamed([STOP], dialect=answer(echoed=echoed)))[0]

    assert created["response"]["tools"] == [{"name": "f", "parameters": {"a": "\n x", "b": 15.0}}]


def test_the_ids_of_items_name_their_response() -> None:
    frames: list[Frame] = [Text("a"), Reasoning("b"), OSLO, CALLED]
    response = json.loads(whole(frames))

    assert response["id"] == response_id_of("turn_9f01") == "resp_9f01"
    assert [item["id"] for item in response["output"]] == ["msg_9f01_0", "rs_9f01_1", "fc_9f01_2"]


def test_the_opening_is_the_same_before_and_after_the_first_frames() -> None:
    """The headers may leave with the first frames."""
    early, late = answer(), answer()
    late.delta(Text("Hi"))

    assert early.opening() == late.opening()
    assert b"Hi" not in late.opening()


@pytest.mark.parametrize("kept", [True, False])
def test_the_end_says_whether_it_is_kept(kept: bool) -> None:
    dialect, other = answer(), answer()
    written = dialect.opening() + dialect.delta(Text("Hi"))
    dialect.kept = other.kept = kept
    told = events(written + dialect.finish(STOP, usage=USAGE))

    assert [event["response"]["store"] for event in told if "response" in event] == [True, True, kept]
    assert json.loads(other.body([Text("Hi")], STOP, usage=USAGE))["store"] == kept
    assert json.loads(answer(store=False).body([], STOP, usage=USAGE))["store"] is False


def test_what_is_kept_and_what_is_said_name_the_same_time() -> None:
    """Keeping takes time."""
    times = iter([ENDED + 0.5, ENDED + 7.0])
    dialect = answer(clock=lambda: next(times))
    dialect.delta(Text("Hi"))
    kept = json.loads(dialect.whole((), STOP, USAGE))
    said = events(dialect.opening() + dialect.finish(STOP, usage=USAGE))[-1]["response"]

    assert kept["completed_at"] == said["completed_at"] == ENDED


def test_a_clock_that_was_put_back_ends_nothing_before_its_beginning() -> None:
    response = json.loads(whole([STOP], answer(clock=lambda: 5.0)))

    assert response["completed_at"] == response["created_at"]


def test_asking_for_the_whole_changes_nothing() -> None:
    plain, asked = answer(), answer()
    for dialect in (plain, asked):
        dialect.delta(Text("Hel"))
    asked.whole((), STOP, USAGE)
    asked.cut("cancelled")

    assert asked.delta(Text("lo")) == plain.delta(Text("lo"))
    assert asked.finish(STOP, usage=USAGE) == plain.finish(STOP, usage=USAGE)


def test_a_response_that_is_cut_has_what_had_come() -> None:
    dialect = answer()
    for frame in (OSLO, Text("Hel")):
        dialect.delta(frame)
    cut = json.loads(dialect.cut("cancelled"))

    assert faults(cut, RESPONSES["cancelled"]) == []
    assert [item["status"] for item in cut["output"]] == ["completed", "incomplete"]


def test_a_body_may_be_made_again_after_another_claim() -> None:
    dialect = answer()
    dialect.body([OSLO], CALLED, usage=USAGE)

    assert json.loads(dialect.body([Text("Hi")], STOP, usage=USAGE)) == json.loads(whole([Text("Hi"), STOP]))


# --- what goes into which item ---------------------------------------------------------------------


def summaries(*frames: Frame) -> list[tuple[str, str | None]]:
    """What can be read of each thought, and its seal."""
    output = json.loads(whole([*frames, STOP]))["output"]
    return [("".join(part["text"] for part in item["summary"]), item.get("encrypted_content")) for item in output]


THOUGHTS: dict[str, tuple[list[Frame], list[tuple[str, str | None]]]] = {
    "pieces of one": ([Reasoning("a"), Reasoning("b")], [("ab", None)]),
    "pieces of one id": ([Reasoning("a", "x"), Reasoning("b", "x"), Reasoning("", "x", "s")], [("ab", "s")]),
    "two ids": ([Reasoning("a", "x"), Reasoning("b", "y")], [("a", None), ("b", None)]),
    "an id that comes late": ([Reasoning("a"), Reasoning("", "x", "s")], [("a", None), ("", "s")]),
    "a seal without an id": ([Reasoning("a"), Reasoning("", None, "s")], [("a", "s")]),
    "a seal ends one without an id": (
        [Reasoning("a"), Reasoning("", None, "s"), Reasoning("b"), Reasoning("", None, "t")],
        [("a", "s"), ("b", "t")],
    ),
    "only seals": ([Reasoning("", "x", "s"), Reasoning("", "y", "t")], [("", "s"), ("", "t")]),
    "nothing": ([Reasoning("", "x")], []),
}


@pytest.mark.parametrize(("frames", "expected"), THOUGHTS.values(), ids=THOUGHTS)
def test_a_thought_is_an_item_of_its_own(frames: list[Frame], expected: list[tuple[str, str | None]]) -> None:
    assert summaries(*frames) == expected


def test_a_space_is_said_as_any_other_text() -> None:
    """The edge keeps a stream open with one."""
    response = json.loads(whole([Text(" "), STOP]))

    assert [part["text"] for part in response["output"][0]["content"]] == [" "]


def test_a_token_without_bytes_has_those_of_its_text() -> None:
    """Clients read bytes of every token; some targets send none."""
    frame = Text("é", (TokenLogprob("é", -0.5, None, (TokenLogprob("e", -1.0),)),))
    token = events(streamed([frame, STOP]))[4]["logprobs"][0]

    assert (token["bytes"], token["top_logprobs"][0]["bytes"]) == ([195, 169], [101])


def test_a_token_that_is_half_a_character_has_its_own_bytes() -> None:
    frame = Text("🙂", (TokenLogprob("\ufffd", -0.5, (240, 159)), TokenLogprob("\ufffd", -0.5, (153, 130))))
    tokens = events(streamed([frame, STOP]))[4]["logprobs"]

    assert [token["bytes"] for token in tokens] == [[240, 159], [153, 130]]


def test_tokens_of_all_pieces_are_in_their_part() -> None:
    frames: list[Frame] = [HI, Text("!"), HI, STOP]
    told = events(streamed(frames))

    assert [len(event["logprobs"]) for event in told if event["type"].endswith("text.delta")] == [1, 0, 1]
    assert len(told[-1]["response"]["output"][0]["content"][0]["logprobs"]) == 2


# --- how it ends -----------------------------------------------------------------------------------

REASONS: dict[FinishReason, tuple[str, Any]] = {
    "stop": ("completed", None),
    "tool_calls": ("completed", None),
    "length": ("incomplete", {"reason": "max_output_tokens"}),
    "content_filter": ("incomplete", {"reason": "content_filter"}),
}


@pytest.mark.parametrize(("reason", "expected"), REASONS.items(), ids=REASONS)
def test_the_status_says_how_it_ended(reason: FinishReason, expected: tuple[str, Any]) -> None:
    response = json.loads(whole([Reasoning("a"), Text("a"), Finished(reason)]))

    assert (response["status"], response["incomplete_details"]) == expected
    assert response["output"][-1]["status"] == expected[0]


@pytest.mark.parametrize("reason", REASONS)
def test_a_response_with_whole_calls_is_completed_whatever_ended_it(reason: FinishReason) -> None:
    told = events(streamed([OSLO, Finished(reason)]))

    assert told[-1]["type"] == "response.completed"
    assert told[-1]["response"]["incomplete_details"] is None


CODES: list[tuple[ServiceError, str]] = [
    (errors.RateLimited("m"), "rate_limit_exceeded"),
    (errors.QuotaGone("m"), "rate_limit_exceeded"),
    (errors.ContextTooLong("m"), "invalid_prompt"),
    (errors.UpstreamRefused("m"), "invalid_prompt"),
    (errors.TooLarge("m"), "invalid_prompt"),
    (errors.UpstreamError("m"), "server_error"),
    (errors.KeyRefused("m"), "server_error"),
    (errors.Overloaded("m"), "server_error"),
    (errors.ModelNotFound("m"), "server_error"),
    (errors.Interrupted("m"), "server_error"),
]


@pytest.mark.parametrize(("error", "code"), CODES, ids=[error.code for error, _ in CODES])
def test_a_failure_has_one_of_the_codes_that_clients_take(error: ServiceError, code: str) -> None:
    *_, told, failed = events(streamed([], error))

    assert failed["response"]["error"] == {"code": code, "message": "m"}
    assert told["error"] == {key: told[key] for key in ("code", "message", "param")} | {"type": told["error"]["type"]}


def test_every_failure_has_a_code() -> None:
    told = [events(streamed([Text("a")], kind("m")))[-1]["response"] for kind in errors.BY_CODE.values()]

    assert [fault for response in told for fault in faults(response, RESPONSES[response["status"]])] == []


def test_a_token_costs_its_text_alone() -> None:
    """What one event of the middle has beside its text does not grow with the request or with what was said."""
    large = answer(echoed={**ECHOED, "instructions": "x" * 10_000})
    for dialect in (large, ChatAnswer(turn_id="turn_9f01", model="m", created=0)):
        sizes = [len(dialect.delta(Text("word"))) for _ in range(50)]
        assert max(sizes[1:]) <= min(sizes[1:]) + 1
        assert max(sizes[1:]) < 500
    assert (
        msgspec.json.decode(large.delta(Text("é"))[len("event: response.output_text.delta\ndata: ") :])["delta"] == "é"
    )
