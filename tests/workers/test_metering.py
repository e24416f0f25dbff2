"""What a generation cost, where nobody says."""

import pytest

from protocol.messages import (
    Claimed,
    Finished,
    Frame,
    Job,
    Message,
    PastCall,
    Reasoning,
    Refusal,
    Text,
    TextPart,
    ToolCall,
    Usage,
)
from workers.metering import Meter


def job(*messages: Message) -> Job:
    return Job(id="t", model="m", messages=messages, budget_ms=1, total_ms=1)


PROMPT = job(
    Message("user", "x" * 7),
    Message("assistant", None, tool_calls=(PastCall("i", "f", "y" * 5),)),
    Message("user", (TextPart("z" * 4),)),
)

CASES: dict[str, tuple[list[Frame], Usage]] = {
    "nothing": ([], Usage(prompt=4, estimated=True)),
    "a started token is a token": ([Text("a")], Usage(prompt=4, completion=1, estimated=True)),
    "words": ([Text("abcd"), Text("efgh")], Usage(prompt=4, completion=2, estimated=True)),
    "a refusal and a call": (
        [Refusal("abcd"), ToolCall(0, "i", "f", '{"a":1}')],
        Usage(prompt=4, completion=3, estimated=True),
    ),
    "reasoning counts beside": (
        [Reasoning("abcd"), Text("efgh")],
        Usage(prompt=4, completion=2, reasoning=1, estimated=True),
    ),
    "what the target says": ([Text("abcd"), Finished("stop", Usage(100, 50))], Usage(100, 50)),
    "a target that says nothing": ([Text("abcd"), Finished("stop")], Usage(prompt=4, completion=1, estimated=True)),
    "a claim costs nothing": ([Claimed("a")], Usage(prompt=4, estimated=True)),
}


@pytest.mark.parametrize(("frames", "usage"), CASES.values(), ids=CASES)
def test_the_bill(frames: list[Frame], usage: Usage) -> None:
    meter = Meter(PROMPT)

    for frame in frames:
        meter.count(frame)

    assert meter.usage == usage


@pytest.mark.parametrize(("frame", "spoke"), [(Reasoning("a"), False), (Text("a"), True), (Refusal("a"), True)])
def test_whether_anything_was_said(frame: Frame, spoke: bool) -> None:
    meter = Meter(job())

    meter.count(frame)

    assert meter.spoke is spoke
