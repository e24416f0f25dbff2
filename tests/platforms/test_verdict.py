"""What a verdict hears, and how each platform puts tool calls together."""

import json
from typing import Any

import pytest

from tests.platforms.clients import Turn
from tests.platforms.hearing import Hearing, ToolCall
from tests.platforms.platforms import PLATFORMS, retries
from tests.platforms.verdict import FLAWLESS, verdict

MONDAY, SUNDAY = ToolCall("a", "get_hours", '{"day": "monday"}'), ToolCall("b", "get_hours", '{"day": "sunday"}')


def test_it_hears_what_comes_twice_and_what_is_missing() -> None:
    assert verdict([Turn("", "1-1 1-2 1-2 1-3")]).repeated == ("1-2",)
    assert verdict([Turn("", "1-1 1-3")]).missing == ("1-1 1-3",)
    assert verdict([Turn("", "One moment... 1-1 1-2"), Turn("", "2-1 2b-1 2b-2")]) == FLAWLESS


@pytest.mark.parametrize("text", ["<flush />", "<|im_end|>", '{"a": 1}', "```tool_code", "call get_hours", "I ponder"])
def test_it_hears_what_nobody_can_speak(text: str) -> None:
    assert verdict([Turn("", f"1-1 {text}")]).unspeakable == (f"1-1 {text}",)


def test_it_counts_tools_by_turn_and_those_that_end_a_call_by_call() -> None:
    transfer = ToolCall("c", "transfer_to_agent", "{}")

    assert verdict([Turn("", "", [MONDAY, SUNDAY]), Turn("", "", [MONDAY])]).twice == ()
    assert verdict([Turn("", "", [MONDAY, MONDAY])]).twice == ("get_hours",)
    assert verdict([Turn("", "", [transfer]), Turn("", "", [transfer])]).twice == ("transfer_to_agent",)


def chunk(*deltas: dict[str, Any], content: str | None = None, reason: str | None = None) -> bytes:
    delta: dict[str, Any] = {"content": content} | ({"tool_calls": list(deltas)} if deltas else {})
    return b"data: %b\n\n" % json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}).encode()


def begun(call: ToolCall, index: int) -> dict[str, Any]:
    return {"index": index, "id": call.id, "function": {"name": call.name, "arguments": call.arguments}}


def calls_of(platform: str, *chunks: bytes) -> list[ToolCall]:
    hearing = Hearing(PLATFORMS[platform])
    for data in b"".join(chunks):
        hearing.feed(bytes([data]))
    hearing.close()
    return hearing.calls


@pytest.mark.parametrize("name", PLATFORMS)
def test_calls_of_a_chunk_each_are_read_by_every_platform(name: str) -> None:
    chunks = [chunk(begun(MONDAY, 0)), chunk(begun(SUNDAY, 1)), chunk(reason="tool_calls"), b"data: [DONE]\n\n"]

    assert calls_of(name, *chunks) == [MONDAY, SUNDAY]


@pytest.mark.parametrize(
    ("name", "chunks", "calls"),
    [
        ("livekit", [chunk(begun(MONDAY, 0)), chunk(reason="length")], []),
        ("livekit", [chunk(begun(MONDAY, 0), begun(SUNDAY, 1), reason="tool_calls")], [MONDAY, SUNDAY]),
        ("livekit", [chunk(begun(MONDAY, 0)), chunk(begun(MONDAY, 0)), chunk(reason="stop")], [MONDAY]),
        ("pipecat", [chunk(begun(MONDAY, 0), begun(SUNDAY, 1)), chunk(reason="tool_calls")], [MONDAY]),
        ("pipecat", [chunk(begun(MONDAY._replace(arguments='{"day'), 0)), chunk(reason="tool_calls")], []),
    ],
)
def test_what_a_platform_cannot_read_it_loses(name: str, chunks: list[bytes], calls: list[ToolCall]) -> None:
    assert calls_of(name, *chunks) == calls


@pytest.mark.parametrize(
    ("name", "status", "headers", "again"),
    [
        ("elevenlabs", 400, {}, True),
        ("livekit", 400, {}, False),
        ("livekit", 429, {}, True),
        ("livekit", 503, {"x-should-retry": "false"}, True),  # it does not read it
        ("pipecat", 503, {"x-should-retry": "false"}, False),
        ("pipecat", 400, {"x-should-retry": "true"}, True),
        ("pipecat", 409, {}, True),
        ("pipecat", 404, {}, False),
        ("pipecat", 0, {}, True),
    ],
)
def test_what_is_asked_again(name: str, status: int, headers: dict[str, str], again: bool) -> None:
    assert retries(PLATFORMS[name], status, headers) is again
