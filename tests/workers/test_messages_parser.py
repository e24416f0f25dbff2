"""A message stream -> frames, by tables that are read whole, in pieces and one byte at a time, and by real answers."""

import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import (
    ContentFiltered,
    ContextTooLong,
    EmptyAnswer,
    KeyRefused,
    QuotaGone,
    RateLimited,
    ServiceError,
    UpstreamError,
    UpstreamRefused,
)
from protocol.messages import Finished, FinishReason, Frame, Reasoning, Text, ToolCall, Usage
from workers.targets.answer_events import MAX_LINE_BYTES
from workers.targets.messages_parser import MessagesParser
from workers.targets.tool_calls import MAX_BYTES, made_up_id
from workers.targets.upstream_errors import Fault, LimitTooLow

FIXTURES = Path(__file__).parents[1] / "fixtures" / "upstreams" / "messages"

Outcome = list[Frame | type[ServiceError] | str]
STOP = Finished("stop")
CALLED = Finished("tool_calls")
WEATHER = '{"city":"Oslo"}'
PING = 'event: ping\ndata: {"type": "ping"}\n\n'
END = 'event: message_stop\ndata: {"type": "message_stop"}\n\n'


def event(kind: str, **told: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **told})}\n\n"


def starts(**usage: int) -> str:
    return event("message_start", message={"role": "assistant", "content": [], "usage": usage})


def block(index: int, **told: Any) -> str:
    return event("content_block_start", index=index, content_block=told)


def delta(index: int, kind: str, **told: Any) -> str:
    return event("content_block_delta", index=index, delta={"type": kind, **told})


def closes(index: int) -> str:
    return event("content_block_stop", index=index)


def text(*words: str, index: int = 0) -> str:
    """A whole block."""
    said = "".join(delta(index, "text_delta", text=word) for word in words)
    return block(index, type="text", text="") + said + closes(index)


def thought(*words: str, signature: str = "", index: int = 0) -> str:
    told = "".join(delta(index, "thinking_delta", thinking=word) for word in words)
    signed = delta(index, "signature_delta", signature=signature) if signature else ""
    return block(index, type="thinking", thinking="", signature="") + told + signed + closes(index)


def call(index: int, id_: str | None, name: str | None, *pieces: str, **told: Any) -> str:
    inputs = "".join(delta(index, "input_json_delta", partial_json=piece) for piece in pieces)
    return block(index, type="tool_use", id=id_, name=name, **{"input": {}, **told}) + inputs + closes(index)


def ends(reason: str = "end_turn", **usage: Any) -> str:
    return event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=usage) + END


def says(*words: str) -> str:
    """A whole answer."""
    return starts() + text(*words) + ends()


def whole(*content: dict[str, Any], reason: str | None = "end_turn", **told: Any) -> str:
    message = {"type": "message", "role": "assistant", "content": content, "stop_reason": reason, **told}
    return json.dumps(message)


TEXTS: dict[str, tuple[str, Outcome]] = {
    "two words": (says("Hel", "lo."), [Text("Hel"), Text("lo."), STOP]),
    "pings everywhere": (
        PING + starts() + PING + block(0, type="text", text="") + PING + says("a") + PING,
        [Text("a"), STOP],
    ),
    "a block that begins with text": (
        starts() + block(0, type="text", text="He") + delta(0, "text_delta", text="y") + ends(),
        [Text("He"), Text("y"), STOP],
    ),
    "two blocks": (starts() + text("a") + text("b", index=1) + ends(), [Text("a"), Text("b"), STOP]),
    "without the lines that name events": (re.sub("event: .*\n", "", says("a", "b")), [Text("a"), Text("b"), STOP]),
    "without blocks that begin and end": (
        delta(0, "text_delta", text="a") + ends(),
        [Text("a"), STOP],
    ),
    "no message_stop": (says("a").removesuffix(END), [Text("a"), STOP]),
    "no blank line at the end": (says("a").removesuffix(END).rstrip(), [Text("a"), STOP]),
    "no blank lines at all": (says("a", "b").replace("\n\n", "\n"), [Text("a"), Text("b"), STOP]),
    "CRLF and comments": (": hello\r\n\r\n" + says("a").replace("\n", "\r\n"), [Text("a"), STOP]),
    "[DONE] behind it": (says("a").removesuffix(END) + "data: [DONE]\n\n", [Text("a"), STOP]),
    "nothing after the end counts": (says("a") + text("b") + event("error", error={"message": "x"}), [Text("a"), STOP]),
    "nothing is said after the stop reason": (
        starts() + text("a") + ends().removesuffix(END) + text("b") + ends("max_tokens"),
        [Text("a"), STOP],
    ),
    "JSON over two data lines": (
        'data: {"type": "content_block_delta", "delta":\ndata: {"type": "text_delta", "text": "a"}}\n\n' + ends(),
        [Text("a"), STOP],
    ),
    "BOM": ("\ufeff" + says("a"), [Text("a"), STOP]),
    "characters of many bytes": (says("grüß", "🙂"), [Text("grüß"), Text("🙂"), STOP]),
    "deltas that are null or empty": (
        starts() + delta(0, "text_delta", text=None) + delta(0, "text_delta", text="") + text("a") + ends(),
        [Text("a"), STOP],
    ),
    "a stop reason that is null": (
        starts() + text("a") + event("message_delta", delta={"stop_reason": None}) + ends(),
        [Text("a"), STOP],
    ),
}

FINISH_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "never heard of": "stop",
    "tool_use": "stop",  # without a call
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
REASONS: dict[str, tuple[str, Outcome]] = {
    name: (starts() + text("a") + ends(name), [Text("a"), Finished(ours)]) for name, ours in FINISH_REASONS.items()
}

USAGES: dict[str, tuple[str, Outcome]] = {
    "at the beginning and the end": (
        starts(input_tokens=9, output_tokens=1) + text("a") + ends(output_tokens=5),
        [Text("a"), Finished("stop", Usage(9, 5))],
    ),
    "the cache is a part of the prompt": (
        starts(input_tokens=9, cache_creation_input_tokens=20, cache_read_input_tokens=300, output_tokens=1)
        + text("a")
        + ends(output_tokens=5, output_tokens_details={"thinking_tokens": 2}),
        [Text("a"), Finished("stop", Usage(329, 5, 300, 2))],
    ),
    "all at the end": (
        starts() + text("a") + ends(input_tokens=9, output_tokens=5),
        [Text("a"), Finished("stop", Usage(9, 5))],
    ),
    "a prompt of 0 at the end": (
        starts(input_tokens=9) + text("a") + ends(input_tokens=0, output_tokens=5),
        [Text("a"), Finished("stop", Usage(9, 5))],
    ),
    "behind the stop reason": (
        starts(input_tokens=9)
        + text("a")
        + ends().removesuffix(END)
        + event("message_delta", usage={"output_tokens": 5}),
        [Text("a"), Finished("stop", Usage(9, 5))],
    ),
    "none at the end": (
        starts(input_tokens=9, output_tokens=1) + text("a") + ends(),
        [Text("a"), Finished("stop", Usage(9))],
    ),
    "nonsense": (
        event("message_start", message={"usage": "many"}) + text("a") + ends(input_tokens="x", output_tokens=-1),
        [Text("a"), STOP],
    ),
}

THOUGHTS: dict[str, tuple[str, Outcome]] = {
    "with a signature": (
        starts() + thought("h", "m", signature="Eq") + text("a", index=1) + ends(),
        [Reasoning("h"), Reasoning("m"), Text("a"), STOP],
    ),
    "omitted, but for its signature": (
        starts() + thought(signature="Eq") + text("a", index=1) + ends(),
        [Text("a"), STOP],
    ),
    "redacted": (
        starts() + block(0, type="redacted_thinking", data="Em") + closes(0) + text("a", index=1) + ends(),
        [Text("a"), STOP],
    ),
    "in tags": (says("<think>", "hm", "</think>", "\n\n", "a"), [Reasoning("hm"), Text("a"), STOP]),
    "a tag that is none": (says("<", "3 of them"), [Text("<3 of them"), STOP]),
    "held back until the end": (says("<thi"), [Text("<thi"), STOP]),
    "held back until an error": (
        starts() + text("<") + event("error", error={"message": "x"}),
        [Text("<"), UpstreamError, "x"],
    ),
    "white space behind a thought": (
        starts() + thought("hm") + text("\n\n", "a", index=1) + ends(),
        [Reasoning("hm"), Text("a"), STOP],
    ),
}

CALLS: dict[str, tuple[str, Outcome]] = {
    "in pieces": (
        starts() + call(0, "t1", "weather", "", '{"ci', 'ty":"Oslo"}') + ends("tool_use"),
        [ToolCall(0, "t1", "weather", WEATHER), CALLED],
    ),
    "two, after some words": (
        starts() + text("Well.") + call(1, "t1", "a", "{}") + call(2, "t2", "b", '{"x":1}') + ends("tool_use"),
        [Text("Well."), ToolCall(0, "t1", "a", "{}"), ToolCall(1, "t2", "b", '{"x":1}'), CALLED],
    ),
    "two at once": (
        starts()
        + block(0, type="tool_use", id="t1", name="a", input={})
        + block(1, type="tool_use", id="t2", name="b", input={})
        + delta(1, "input_json_delta", partial_json='{"x":2}')
        + delta(0, "input_json_delta", partial_json='{"x":1}')
        + ends("tool_use"),
        [ToolCall(0, "t1", "a", '{"x":1}'), ToolCall(1, "t2", "b", '{"x":2}'), CALLED],
    ),
    "no arguments": (starts() + call(0, "t1", "a") + ends("tool_use"), [ToolCall(0, "t1", "a", "{}"), CALLED]),
    "arguments at the beginning": (
        starts() + call(0, "t1", "a", input={"city": "Oslo"}) + call(1, "t2", "b", input={}) + ends("tool_use"),
        [ToolCall(0, "t1", "a", WEATHER), ToolCall(1, "t2", "b", "{}"), CALLED],
    ),
    "arguments at the beginning of a block without end": (
        starts() + block(0, type="tool_use", id="t1", name="a", input={"city": "Oslo"}) + ends("tool_use"),
        [ToolCall(0, "t1", "a", WEATHER), CALLED],
    ),
    "arguments at the beginning and in pieces": (
        starts() + call(0, "t1", "a", WEATHER, input={"city": "Os"}) + ends("tool_use"),
        [ToolCall(0, "t1", "a", WEATHER), CALLED],
    ),
    "an index below 0, and the same twice": (
        starts() + call(-1, "t1", "a", "{}") + call(-1, "t2", "b", "{}") + ends("tool_use"),
        [ToolCall(0, "t1", "a", "{}"), ToolCall(1, "t2", "b", "{}"), CALLED],
    ),
    "no id": (
        starts() + call(0, None, "a", "{}") + ends("tool_use"),
        [ToolCall(0, made_up_id("j", 0), "a", "{}"), CALLED],
    ),
    "finished as `end_turn`": (starts() + call(0, "t", "a", "{}") + ends(), [ToolCall(0, "t", "a", "{}"), CALLED]),
    "nothing is spoken once one is out": (
        starts()
        + call(0, "t1", "a", "{}")
        + call(1, "t2", "b", "{}")
        + text("x", index=2)
        + thought("y", index=3)
        + ends(),
        [ToolCall(0, "t1", "a", "{}"), ToolCall(1, "t2", "b", "{}"), CALLED],
    ),
    "of a tool at the upstream": (
        starts()
        + text("One moment.")
        + block(1, type="server_tool_use", id="s1", name="web_search", input={})
        + delta(1, "input_json_delta", partial_json='{"q":1}')
        + closes(1)
        + block(2, type="web_search_tool_result", tool_use_id="s1", content=[{"type": "text", "text": "no"}])
        + closes(2)
        + text(" So.", index=3)
        + ends(),
        [Text("One moment."), Text(" So."), STOP],
    ),
    "held back until a call is out": (
        starts() + text("a<") + call(1, "t1", "a", "{}") + call(2, "t2", "b", "{}") + ends("tool_use"),
        [Text("a"), Text("<"), ToolCall(0, "t1", "a", "{}"), ToolCall(1, "t2", "b", "{}"), CALLED],
    ),
    "arguments that are no object": (starts() + call(0, "t", "a", "[1]") + ends("tool_use"), [Fault, "no object"]),
    "cut short by the limit": (
        starts() + call(0, "t", "a", '{"x') + ends("max_tokens"),
        [LimitTooLow, "cut off by the limit"],
    ),
    "cut short by the limit after words": (
        starts() + text("Well.") + call(1, "t", "a", '{"x') + ends("max_tokens"),
        [Text("Well."), Finished("length")],
    ),
    "cut short by nothing": (starts() + call(0, "t", "a", '{"x') + ends("tool_use"), [Fault, "no object"]),
    "no name": (starts() + call(0, "t", None, "{}") + ends("tool_use"), [Fault, "without a name"]),
}


def fails(kind: str, message: str = "told so") -> str:
    return starts() + event("error", error={"type": kind, "message": message})


BROKEN: dict[str, tuple[str | bytes, Outcome]] = {
    "cut": (starts() + text("a"), [Text("a"), UpstreamError, "broke off"]),
    "message_stop without a stop reason": (starts() + text("a") + END, [Text("a"), UpstreamError, "broke off"]),
    "cut inside a call": (starts() + block(0, type="tool_use", id="t", name="a"), [UpstreamError, "broke off"]),
    "no bytes": ("", [UpstreamError, "no message"]),
    "pings alone": (PING * 3, [UpstreamError, "no message"]),
    "HTML": ("<html>\n\n<body>Welcome: log in</body>", [UpstreamError, "no message"]),
    "JSON of another kind": ('{"models": []}', [UpstreamError, "no message"]),
    "JSON cut short": ('{"type": "mess', [UpstreamError, "no message"]),
    "an empty answer": (says(""), [EmptyAnswer, "empty answer.*'end_turn'"]),
    "a refusal without words": (starts() + text("") + ends("refusal"), [ContentFiltered, "'refusal'"]),
    "only a thought": (starts() + thought("hm") + ends(), [Reasoning("hm"), EmptyAnswer, "empty answer"]),
    "a thought up to the limit": (
        starts() + thought("hm") + ends("max_tokens"),
        [Reasoning("hm"), LimitTooLow, "its thought used up the limit of tokens"],
    ),
    "malformed lines": (
        starts() + 'data: {"type": "content\n\ndata: 5\n\n' + text("b") + ends(),
        [Text("b"), STOP],
    ),
    "events of another shape": (
        starts() + 'data: {"type": "content_block_delta", "delta": 7}\n\n' + text("b") + ends(),
        [Text("b"), STOP],
    ),
    "nested too deep": ('data: {"x": ' + "[" * 100_000 + "\n\n" + says("b"), [Text("b"), STOP]),
    "half an emoji": (says("aXb").replace("X", "\\ud83d"), [Text("ab"), STOP]),
    "invalid UTF-8": (says("aXb").encode().replace(b"X", b"\xff"), [Text("a\ufffdb"), STOP]),
    "overloaded": (fails("overloaded_error"), [UpstreamError, "told so"]),
    "a failure at the upstream": (fails("api_error"), [UpstreamError, "told so"]),
    "a rate limit": (fails("rate_limit_error"), [RateLimited, "told so"]),
    "a bad request": (fails("invalid_request_error"), [UpstreamRefused, "told so"]),
    "a long history": (
        fails("invalid_request_error", "prompt is too long: 201 tokens > 200 maximum"),
        [ContextTooLong, "prompt is too long"],
    ),
    "a history and an answer that are too long together": (
        fails("invalid_request_error", "input length and `max_tokens` exceed context limit: 1 + 2 > 2"),
        [ContextTooLong, "exceed"],
    ),
    "a filter": (
        fails("invalid_request_error", "Output blocked by content filtering policy"),
        [ContentFiltered, "blocked"],
    ),
    "no money": (
        fails("invalid_request_error", "Your credit balance is too low to access the API."),
        [QuotaGone, "low"],
    ),
    "a refused key": (fails("authentication_error", "invalid sk-1"), [KeyRefused, "see its api_key_env"]),
    "an error that says nothing": ("event: error\ndata: {}\n\n" + event("error"), [UpstreamError, "did not say why"]),
    "an error of llama.cpp": (
        starts() + 'event: error\ndata: {"error": {"code": 500, "message": "told so", "type": "server_error"}}\n\n',
        [UpstreamError, "told so"],
    ),
    "a key in an error": (fails("api_error", "wrong key sk-1"), [UpstreamError, r"wrong key \[key\]"]),
}

WHOLE: dict[str, tuple[str, Outcome]] = {
    "text": (
        whole({"type": "text", "text": "Hello."}, usage={"input_tokens": 9, "output_tokens": 2}),
        [Text("Hello."), Finished("stop", Usage(9, 2))],
    ),
    "a thought, words and calls": (
        whole(
            {"type": "thinking", "thinking": "hm", "signature": "Eq"},
            {"type": "text", "text": "Well."},
            {"type": "tool_use", "id": "t1", "name": "a", "input": {"city": "Oslo"}},
            {"type": "tool_use", "id": "t2", "name": "b", "input": {}},
            reason="tool_use",
        ),
        [
            *(Reasoning("hm"), Text("Well.")),
            *(ToolCall(0, "t1", "a", WEATHER), ToolCall(1, "t2", "b", "{}"), CALLED),
        ],
    ),
    "input that is no object": (
        whole({"type": "tool_use", "id": "t1", "name": "a", "input": [1]}, reason="tool_use"),
        [Fault, "no object"],
    ),
    "an error": (
        '{"type": "error", "error": {"type": "overloaded_error", "message": "told so"}}',
        [UpstreamError, "told so"],
    ),
    "nothing": (whole(), [EmptyAnswer, "empty answer"]),
    "no stop reason": (whole({"type": "text", "text": "a"}, reason=None), [Text("a"), UpstreamError, "broke off"]),
}

GCD = "I need to find the GCD of 1071 and 462 using the Euclidean algorithm.\n\n1071 = 2 × 462 + 147"
FILES: dict[str, Outcome] = {
    "sdk-basic.sse": [Text("Hello"), Text(" there"), Text("!"), Finished("stop", Usage(11, 6))],
    "sdk-tool-use.sse": [
        *(Text("I"), Text("'ll check the current weather in Paris for you.")),
        ToolCall(0, "toolu_01NRLabsLyVHZPKxbKvkfSMn", "get_weather", '{"location": "Paris"}'),
        Finished("tool_calls", Usage(377, 65)),
    ],
    "sdk-refusal.sse": [ContentFiltered, "empty answer"],
    "sdk-server-tool.sse": [Text("Let me search for that."), Finished("stop", Usage(42, 40))],
    "sdk-usage-at-the-end.sse": [Text("Hello"), Finished("stop", Usage(12, 6))],
    "docs-thinking.sse": [
        *(Reasoning(GCD), Reasoning("\n462 = 3 × 147 + 21"), Reasoning("\n147 = 7 × 21 + 0")),
        Reasoning("\nThe remainder is 0, so GCD(1071, 462) = 21."),
        Text("The greatest common divisor of 1071 and 462 is **21**."),
        STOP,
    ],
    "docs-overloaded.sse": [Text("Hello"), UpstreamError, "Overloaded"],
    "llama-cpp-hello.sse": [Text("Hello"), Text("!"), Finished("stop", Usage(83, 3))],
    "llama-cpp-whole.body": [Text("Hello!"), Finished("stop", Usage(95, 3, 84))],
}
RECORDED = {name: ((FIXTURES / name).read_bytes(), expected) for name, expected in FILES.items()}

Table = (
    Mapping[str, tuple[str, Outcome]] | Mapping[str, tuple[bytes, Outcome]] | Mapping[str, tuple[str | bytes, Outcome]]
)
TABLES: dict[str, Table] = {
    "text": TEXTS, "reason": REASONS, "usage": USAGES, "thought": THOUGHTS, "call": CALLS, "broken": BROKEN,
    "whole": WHOLE, "recorded": RECORDED,
}  # fmt: skip
CASES = {f"{kind}: {name}": case for kind, table in TABLES.items() for name, case in table.items()}


def as_bytes(stream: str | bytes) -> bytes:
    return stream.encode() if isinstance(stream, str) else stream


def parser(**options: Any) -> MessagesParser:
    return MessagesParser(job_id="j", target="t", key="sk-1", **options)


def read(pieces: list[bytes], told: MessagesParser | None = None) -> list[Frame | ServiceError]:
    """The frames, and the error that ended them."""
    told = told or parser()
    frames: list[Frame | ServiceError] = []
    try:
        for piece in pieces:
            frames.extend(told.feed(piece))
        frames.extend(told.end())
    except ServiceError as error:
        frames.append(error)
    return frames


def quickly(pieces: list[bytes], told: MessagesParser) -> list[Frame | ServiceError]:
    """As a target reads: text in the middle of an answer takes the short way."""
    frames: list[Frame | ServiceError] = []
    try:
        for piece in pieces:
            if speech := told.speech(piece):
                frames.append(Text(speech))
            else:
                frames.extend(told.feed(piece))
        frames.extend(told.end())
    except ServiceError as error:
        frames.append(error)
    return frames


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def shown(outcome: list[Any]) -> list[object]:
    return [(type(item), str(item)) if isinstance(item, ServiceError) else item for item in outcome]


def merged(outcome: list[Frame | ServiceError]) -> list[object]:
    """Neighbouring texts as one."""
    frames: list[Any] = []
    for item in outcome:
        if isinstance(item, Text) and frames and isinstance(frames[-1], Text):
            frames[-1] = Text(frames[-1].text + item.text)
        else:
            frames.append(item)
    return shown(frames)


@pytest.mark.parametrize(("stream", "expected"), CASES.values(), ids=CASES)
def test_an_answer_becomes_the_same_frames_at_any_split(stream: str | bytes, expected: Outcome) -> None:
    data = as_bytes(stream)
    outcome = read([data])
    if isinstance(words := expected[-1], str):
        *frames, error = outcome
        assert [*frames, type(error)] == expected[:-1]
        assert re.search(words, str(error))
    else:
        assert outcome == expected
    for size in (1, 2, 7, 64):
        if len(data) < 20_000 or size > 1:
            assert shown(read(in_pieces(data, size))) == shown(outcome)


@given(st.sampled_from(list(CASES.values())), st.data())
def test_where_an_answer_is_split_changes_nothing(case: tuple[str | bytes, Outcome], data: st.DataObject) -> None:
    stream = as_bytes(case[0])
    at = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    pieces = [stream[a:b] for a, b in itertools.pairwise([0, *at, len(stream)])]
    assert shown(read(pieces)) == shown(read([stream]))


@given(st.sampled_from(list(CASES.values())), st.booleans(), st.data())
def test_the_short_way_for_text_says_the_same(
    case: tuple[str | bytes, Outcome], said_before: bool, data: st.DataObject
) -> None:
    before = (starts() + text("Well, ")).encode() if said_before else b""
    stream = before + as_bytes(case[0])
    borders = [match.end() for match in re.finditer(rb"\r?\n\r?\n", stream)]
    at = sorted(data.draw(st.sets(st.sampled_from([0, *borders]) | st.integers(0, len(stream)))))
    pieces = [stream[a:b] for a, b in itertools.pairwise([0, *at, len(stream)])]
    quick, plain = parser(), parser()

    assert merged(quickly(pieces, quick)) == merged(read(pieces, plain))
    assert (quick.skipped, quick.usage, quick.said_chars) == (plain.skipped, plain.usage, plain.said_chars)


def test_the_short_way_is_taken_by_whole_events_of_text_in_the_middle_of_an_answer() -> None:
    told = parser()
    said = delta(0, "text_delta", text="a").encode()
    assert told.speech(said) == "", "the first one opens the answer"
    list(told.feed(starts().encode() + said))

    assert told.speech(said * 3) == "aaa"
    assert told.speech(said.removeprefix(b"event: content_block_delta\n") * 2) == "aa", "some leave the name out"
    assert told.speech(said[:-1]) == "", "it has no end"
    assert told.speech(said + PING.encode()) == "", "there is more than text in it"
    assert told.speech(delta(0, "thinking_delta", thinking="hm").encode()) == "", "it is thought"
    assert told.speech(said.replace(b"\n", b"\r\n")) == "", "its lines end in another way"
    assert told.speech(said.replace(b'"a"', b'"<"')) == "", "it may become a tag"
    list(told.feed(said[:5]))
    assert told.speech(said) == "", "another has begun"


def test_the_short_way_ends_where_a_call_is_out_or_the_answer_is_over() -> None:
    said = delta(0, "text_delta", text="a").encode()
    for before in (call(1, "t1", "a", "{}") + call(2, "t2", "b", "{}"), ends()):
        told = parser()
        list(told.feed((starts() + text("a") + before).encode()))
        assert told.speech(said) == ""


NAMES = ("index", "delta", "content_block", "message", "usage", "error", "content", "text", "type", "stop_reason", "id")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)
STRANGE = st.dictionaries(st.sampled_from(NAMES) | st.text(), JSON, max_size=4).map(
    lambda fields: {**fields, "type": "message_moon"}
)


def events_of(stream: bytes) -> list[bytes]:
    return [told + b"\n\n" for told in stream.removesuffix(b"\n\n").split(b"\n\n")]


PLAIN_STREAMS = [data for name, (data, _) in RECORDED.items() if name.endswith(".sse")]


@given(st.sampled_from(PLAIN_STREAMS), st.lists(st.tuples(st.integers(0, 30), STRANGE), max_size=4))
def test_unknown_events_change_nothing(stream: bytes, strangers: list[tuple[int, dict[str, Any]]]) -> None:
    told = events_of(stream)
    for at, stranger in strangers:
        told.insert(at, b"event: message_moon\ndata: %b\n\n" % json.dumps(stranger).encode())
    assert shown(read([b"".join(told)])) == shown(read([stream]))


@given(st.sampled_from(PLAIN_STREAMS), st.dictionaries(st.text().map("x-".__add__), JSON, max_size=3))
def test_unknown_fields_change_nothing(stream: bytes, fields: dict[str, Any]) -> None:
    def grown(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        inner = {name: one if name == "input" else grown(one) for name, one in value.items()}
        return {**fields, **inner, **fields}

    told = re.sub(rb"data: (.*)", lambda line: b"data: " + json.dumps(grown(json.loads(line[1]))).encode(), stream)
    assert shown(read([told])) == shown(read([stream]))


@given(st.lists(JSON | STRANGE, max_size=5))
def test_whatever_json_comes_a_service_error_is_the_worst(values: list[Any]) -> None:
    read([b"".join(b"data: %b\n\n" % json.dumps(value).encode() for value in values)])
    for kind in ("message_start", "content_block_start", "content_block_delta", "message_delta", "error", "message"):
        read([event(kind, delta=value, content_block=value, usage=value).encode() for value in values])
        read([event(kind, message=value, content=value, error=value, index=value).encode() for value in values])


@given(st.binary(), st.binary())
def test_whatever_bytes_come_a_service_error_is_the_worst(before: bytes, after: bytes) -> None:
    read([before, b"\n\n", says("a").encode(), after])


def test_malformed_events_are_counted_and_unknown_ones_are_not() -> None:
    told = parser()
    read([b"data: {\n\ndata: 7\n\ndata:\n\ndata: [DONE]\n\n" + (event("new") + says("a")).encode()], told)
    assert told.skipped == 2


FAULTS = {
    "none": (says("a") + "data: [DONE]\n\n", set()),
    "half an emoji": (says("aX").replace("X", "\\ud83d"), {"no_text"}),
    "an event after the last": (says("a") + PING, {"after_its_end"}),
    "a second stop reason": (starts() + text("a") + ends().removesuffix(END) + ends(), {"second_finish"}),
}


@pytest.mark.parametrize(("stream", "kinds"), FAULTS.values(), ids=FAULTS)
def test_what_no_upstream_should_send_is_told_by_kind(stream: str, kinds: set[str]) -> None:
    told = parser()
    assert read([stream.encode()], told) == [Text("a"), STOP]
    assert told.faults == kinds


def test_a_continuation_may_have_nothing_left_to_say() -> None:
    assert read([(starts() + ends("max_tokens")).encode()], parser(may_be_empty=True)) == [STOP]


def test_one_call_at_most_where_one_was_asked_for() -> None:
    stream = starts() + call(0, "t1", "a", "{}") + call(1, "t2", "b", "nonsense") + ends("tool_use")
    assert read([stream.encode()], parser(max_calls=1)) == [ToolCall(0, "t1", "a", "{}"), CALLED]


@pytest.mark.parametrize("arguments", ['{"id":', "17", '"x"', "[1]"])
def test_where_calls_are_checked_one_with_arguments_that_are_no_object_is_passed_on(arguments: str) -> None:
    told = parser(calls_are_checked=True)
    stream = starts() + call(0, "t1", "a", arguments) + call(1, "t2", "b", "{}")
    calls = [ToolCall(0, "t1", "a", arguments), ToolCall(1, "t2", "b", "{}")]

    assert read([(stream + ends("tool_use")).encode()], told) == [*calls, CALLED]
    assert told.faults == {"tool_call"}
    given = starts() + call(0, "t1", "a", input=[1]) + ends("tool_use")
    assert read([given.encode()], parser(calls_are_checked=True)) == [ToolCall(0, "t1", "a", "[1]"), CALLED]
    cut = starts() + call(0, "t1", "a", arguments) + ends("max_tokens")
    assert [type(item) for item in read([cut.encode()], parser(calls_are_checked=True))] == [LimitTooLow]


def test_what_the_prompt_cost_is_known_before_the_answer_is() -> None:
    told = parser()
    list(told.feed((starts(input_tokens=9, cache_read_input_tokens=4, output_tokens=1) + text("a")).encode()))
    assert told.usage == Usage(prompt=13, cached=4)


def test_progress_is_what_brings_the_answer_on() -> None:
    """Pings, beginnings and nonsense keep a connection warm, not a caller."""
    told, seen = parser(), []
    for one in (
        starts(), PING, "data: {\n\n", block(0, type="thinking"), delta(0, "thinking_delta", thinking="hm"),
        block(1, type="tool_use", id="t", name="a"), delta(1, "input_json_delta", partial_json="{}"), ends("tool_use"),
    ):  # fmt: skip
        before = told.progress
        list(told.feed(one.encode()))
        seen.append((told.progress > before, told.answering, told.finished))
    assert seen == [
        (False, False, False), (False, False, False), (False, False, False), (False, False, False),
        (True, False, False), (True, True, False), (True, True, False), (True, True, True),
    ]  # fmt: skip


def test_a_thought_may_begin_in_the_prompt() -> None:
    assert read([says("\nhm", "</think>", "\n\n", "a").encode()], parser(thinks_first=True)) == [
        *(Reasoning("hm"), Text("a"), STOP)
    ]


def test_an_end_without_a_beginning_is_noticed() -> None:
    told = parser()
    read([says("hm", "</think>", "a").encode()], told)
    assert told.stray_end


def test_what_is_thought_is_counted_beside_what_is_said() -> None:
    told = parser()
    read([(starts() + thought("hm") + text("abc", index=1) + ends()).encode()], told)
    assert (told.said_chars, told.thought_chars) == (5, 2)


@pytest.mark.parametrize("stream", [b"data: " + b"a" * MAX_LINE_BYTES, b"{" + b"a" * MAX_LINE_BYTES, b" " * 2**21])
def test_a_line_over_a_megabyte_is_refused(stream: bytes) -> None:
    for size in (len(stream), 65_536):
        outcome = read(in_pieces(stream, size))
        assert len(outcome) == 1
        assert isinstance(outcome[0], UpstreamError)
        assert "longer than" in str(outcome[0])


def test_tool_arguments_over_a_megabyte_are_refused() -> None:
    piece = delta(0, "input_json_delta", partial_json="x" * 1000).encode()
    begun = (starts() + block(0, type="tool_use", id="t", name="a")).encode()
    outcome = read([begun, *[piece] * (MAX_BYTES // 1000 + 1)])
    assert [type(item) for item in outcome] == [Fault]
    assert "over 1048576 bytes" in str(outcome[0])
