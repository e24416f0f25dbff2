"""Answers byte for byte against `golden/`: transcripts in the forms that the API documents, ids and times fixed.

They were written from OpenAI's reference and the bytes that it sends, never from our own output: where one differs, the
answer is wrong. Two forms are our choice among those that clients take: a call travels whole, and reasoning is
`reasoning_content`, as DeepSeek's API names it.
"""

import json
from pathlib import Path

import pytest

from edge.answers import error_response
from edge.chat import parse
from protocol.errors import Overloaded, ServiceError, UpstreamError
from protocol.messages import Failed, Finished, Frame, Reasoning, Refusal, Text, TokenLogprob, ToolCall, Usage
from tests.edge.contract_turns import answer, streamed, whole

GOLDEN = Path(__file__).parent / "golden"
USAGE = Usage(prompt=9, completion=2)
OSLO = ToolCall(0, "call_ab", "get_weather", '{"city":"Oslo"}')
TIME = ToolCall(1, "call_cd", "get_time", "{}")
HI = Text("Hi", (TokenLogprob("Hi", -0.5, (72, 105), (TokenLogprob("Ho", -1.25, (72, 111)),)),))
STOP, CALLED = Finished("stop", USAGE), Finished("tool_calls", USAGE)

ANSWERS: dict[str, list[Frame]] = {
    "text": [Text("Hel"), Text("lo."), STOP],
    "text-with-usage": [Text("Hel"), Text("lo."), STOP],
    "cut-by-its-limit": [Text("Hel"), Finished("length", USAGE)],
    "tool-call": [OSLO, CALLED],
    "parallel-tool-calls": [OSLO, TIME, CALLED],
    "text-then-tool-call": [Text("One moment."), OSLO, STOP],
    "structured-output": [Text('{"city":'), Text('"Oslo"}'), STOP],
    "refusal": [Refusal("I"), Refusal(" can't."), STOP],
    "reasoning": [Reasoning("A greeting."), Text("Hello."), STOP],
    "legacy-function-call": [OSLO, CALLED],
    "logprobs": [HI, STOP],
}
FAILED = UpstreamError("the target failed: ask again")
LATE: dict[str, list[Frame]] = {"error-during": [Text("Hel"), Failed(FAILED.code, str(FAILED))]}


def golden(name: str) -> bytes:
    return (GOLDEN / name).read_bytes()


def body_of(name: str) -> bytes:
    """A golden body; its file ends in a line end, the answer does not."""
    return golden(f"{name}.json").removesuffix(b"\n")


@pytest.mark.parametrize(("name", "frames"), [*ANSWERS.items(), *LATE.items()], ids=[*ANSWERS, *LATE])
def test_a_stream_is_the_golden_one(name: str, frames: list[Frame]) -> None:
    dialect = answer(include_usage="usage" in name, legacy="legacy" in name)

    assert b"".join(streamed(dialect, frames)) == golden(f"{name}.sse")


@pytest.mark.parametrize(("name", "frames"), ANSWERS.items(), ids=ANSWERS)
def test_a_body_is_the_golden_one(name: str, frames: list[Frame]) -> None:
    assert whole(answer(legacy="legacy" in name), frames) == body_of(name)


def no_messages() -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        parse(b'{"model":"my-model","messages":[]}')
    return caught.value


EARLY: dict[str, tuple[ServiceError, int, dict[str, str]]] = {
    "error-before": (FAILED, 502, {}),
    "error-of-a-field": (no_messages(), 400, {}),
    "error-of-no-field": (
        Overloaded("the queue is full: try again"),
        503,
        {"Retry-After": "1", "x-should-retry": "false"},
    ),
}


@pytest.mark.parametrize(
    ("name", "error", "status", "headers"), [(name, *row) for name, row in EARLY.items()], ids=EARLY
)
def test_an_error_before_the_answer_is_the_golden_one(
    name: str, error: ServiceError, status: int, headers: dict[str, str]
) -> None:
    response = error_response(error, {"x-request-id": "req_1"})

    assert (response.status, response.body) == (status, body_of(name))
    assert dict(response.headers) == {"Content-Type": "application/json", "x-request-id": "req_1", **headers}


def test_every_golden_transcript_is_compared_and_is_json_line_by_line() -> None:
    names = {path.name for path in GOLDEN.iterdir()}
    lines = [line.removeprefix("data: ") for name in names for line in golden(name).decode().splitlines() if line]

    assert names == {f"{name}.sse" for name in [*ANSWERS, *LATE]} | {f"{name}.json" for name in [*ANSWERS, *EARLY]}
    assert all(json.loads(line) for line in lines if line != "[DONE]")
