"""Upstream bytes -> frames, by a table that is read whole, in pieces and one byte at a time."""

import itertools
import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import (
    ContentFiltered,
    ContextTooLong,
    EmptyAnswer,
    RateLimited,
    ServiceError,
    UpstreamError,
    UpstreamRefused,
)
from protocol.messages import Finished, FinishReason, Frame, Reasoning, Refusal, Text, TokenLogprob, ToolCall, Usage
from tests.workers.fake_upstream import DONE, chunk, says
from workers.targets.answer_events import MAX_LINE_BYTES
from workers.targets.chat_parser import ChatParser
from workers.targets.tool_calls import MAX_BYTES, made_up_id
from workers.targets.upstream_errors import Fault, LimitTooLow

Outcome = list[Frame | type[ServiceError] | str]
STOP = Finished("stop")
CALLED = Finished("tool_calls")


def call(index: int | None = 0, id_: str | None = None, name: str | None = None, arguments: Any = None) -> str:
    """One fragment of a tool call."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    told = {"index": index, "id": id_, "type": "function", "function": function}
    return chunk({"tool_calls": [{key: value for key, value in told.items() if value is not None}]})


def ends(reason: str = "stop") -> str:
    return chunk(finish=reason) + DONE


def whole(message: dict[str, Any], reason: str = "stop", **more: Any) -> str:
    return json.dumps({"object": "chat.completion", "choices": [{"message": message, "finish_reason": reason}], **more})


WEATHER = '{"city":"Oslo"}'
USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 5,
    "total_tokens": 14,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
LOGPROB = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": [{"token": "Ho", "logprob": -2}]}
HI = TokenLogprob("Hi", -0.5, (72, 105), (TokenLogprob("Ho", -2.0),))
HALVES = (TokenLogprob("?", -1.0, (195,)), TokenLogprob("!", -1.0, (169,)))

TEXT: dict[str, tuple[str, Outcome]] = {
    "two words": (says("Hel", "lo."), [Text("Hel"), Text("lo."), STOP]),
    "role chunk, nulls, empty deltas": (
        chunk({"role": "assistant", "content": "", "refusal": None, "tool_calls": None})
        + chunk({"content": None, "reasoning_content": None})
        + says("a"),
        [Text("a"), STOP],
    ),
    "content in the finish chunk": (chunk({"content": "a"}, finish="stop") + DONE, [Text("a"), STOP]),
    "no [DONE]": (chunk({"content": "a"}) + chunk(finish="stop"), [Text("a"), STOP]),
    "no blank line at the end": ((chunk({"content": "a"}) + chunk(finish="stop")).rstrip(), [Text("a"), STOP]),
    "nothing after [DONE] counts": (says("a") + says("b") + 'data: {"error": "x"}\n\n', [Text("a"), STOP]),
    "nothing is said after the finish reason": (
        chunk({"content": "a"}) + chunk(finish="stop") + chunk({"content": "b"}) + DONE,
        [Text("a"), STOP],
    ),
    "comments and CRLF": (": OPENROUTER PROCESSING\r\n\r\n" + says("a").replace("\n", "\r\n"), [Text("a"), STOP]),
    "no blank lines at all": (says("a", "b").replace("\n\n", "\n"), [Text("a"), Text("b"), STOP]),
    "JSON over two data lines": (
        'data: {"choices": [{"delta":\ndata: {"content": "a"}, "finish_reason": "stop"}]}\n\n',
        [Text("a"), STOP],
    ),
    "BOM": ("\ufeff" + says("a"), [Text("a"), STOP]),
    "other choices": (
        'data: {"choices": [{"index": 1, "delta": {"content": "no"}}]}\n\n' + says("a"),
        [Text("a"), STOP],
    ),
    "a choice without an index": (
        'data: {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}\n\n',
        [Text("a"), STOP],
    ),
    "content as parts": (
        chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]})
        + chunk({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, 7]})
        + ends(),
        [Reasoning("hm"), Text("ab"), STOP],
    ),
    "characters of many bytes": (says("grüß", "🙂", "日本"), [Text("grüß"), Text("🙂"), Text("日本"), STOP]),
    "a finish reason in every chunk, but empty": (
        chunk({"content": "a"}, finish="") + chunk({"content": "b"}, finish="null") + ends(),
        [Text("a"), Text("b"), STOP],
    ),
    "reasoning under both names": (
        chunk({"reasoning_content": "x", "reasoning": "x"}) + chunk({"reasoning": "y"}) + says("a"),
        [Reasoning("x"), Reasoning("y"), Text("a"), STOP],
    ),
    "reasoning that is no text": (chunk({"reasoning": {"steps": []}}) + says("a"), [Text("a"), STOP]),
    "a refusal": (
        chunk({"refusal": "I "}) + chunk({"refusal": "won't."}) + ends(),
        [Refusal("I "), Refusal("won't."), STOP],
    ),
}

FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "never heard of": "stop",
    "tool_calls": "stop",  # without a call
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
}

REASONS: dict[str, tuple[str, Outcome]] = {
    name: (chunk({"content": "a"}) + ends(name), [Text("a"), Finished(ours)]) for name, ours in FINISH_REASONS.items()
}
USAGES: dict[str, tuple[str, Outcome]] = {
    "in a chunk of its own": (
        chunk({"content": "a"})
        + chunk(finish="stop")
        + f"data: {json.dumps({'choices': [], 'usage': USAGE})}\n\n"
        + DONE,
        [Text("a"), Finished("stop", Usage(9, 5, 4, 2))],
    ),
    "beside a choice": (
        chunk({"content": "a"}) + chunk(finish="stop", usage=USAGE) + DONE,
        [Text("a"), Finished("stop", Usage(9, 5, 4, 2))],
    ),
    "in every chunk: the last one counts": (
        chunk({"content": "a"}, usage={"prompt_tokens": 9, "completion_tokens": 1})
        + chunk(finish="stop", usage={"prompt_tokens": 9, "completion_tokens": 2.0}),
        [Text("a"), Finished("stop", Usage(9, 2))],
    ),
    "nonsense": (
        chunk({"content": "a"}, usage="many")
        + chunk(finish="stop", usage={"prompt_tokens": "x", "completion_tokens": -1}),
        [Text("a"), STOP],
    ),
}

LOGPROBS: dict[str, tuple[str, Outcome]] = {
    "with their text": (
        f"data: {json.dumps({'choices': [{'delta': {'content': 'Hi'}, 'logprobs': {'content': [LOGPROB]}}]})}\n\n"
        + ends(),
        [Text("Hi", (HI,)), STOP],
    ),
    "before their text": (
        f"data: {json.dumps({'choices': [{'delta': {'content': ''}, 'logprobs': {'content': [LOGPROB]}}]})}\n\n"
        + says("Hi"),
        [Text("Hi", (HI,)), STOP],
    ),
    "nonsense": (
        'data: {"choices": [{"delta": {"content": "Hi"}, "logprobs": {"content": [{"token": 7}]}}]}\n\n' + ends(),
        [Text("Hi"), STOP],
    ),
}

CALLS: dict[str, tuple[str, Outcome]] = {
    "in fragments": (
        call(0, "c1", "weather", "")
        + call(0, None, None, '{"ci')
        + call(0, None, None, 'ty":"Oslo"}')
        + ends("tool_calls"),
        [ToolCall(0, "c1", "weather", WEATHER), CALLED],
    ),
    "two": (
        call(0, "c1", "a", "{}") + call(1, "c2", "b", "") + call(1, None, None, "{}") + ends("tool_calls"),
        [ToolCall(0, "c1", "a", "{}"), ToolCall(1, "c2", "b", "{}"), CALLED],
    ),
    "two in one chunk": (
        chunk({"tool_calls": [{"id": "c1", "function": {"name": "a"}}, {"id": "c2", "function": {"name": "b"}}]})
        + ends("tool_calls"),
        [ToolCall(0, "c1", "a", "{}"), ToolCall(1, "c2", "b", "{}"), CALLED],
    ),
    "indices with gaps": (
        call(1, "c1", "a", "{}") + call(5, "c2", "b", "{}") + ends("tool_calls"),
        [ToolCall(0, "c1", "a", "{}"), ToolCall(1, "c2", "b", "{}"), CALLED],
    ),
    "always index 0, with ids": (
        call(0, "c1", "a", "{}") + call(0, "c2", "b", "{}") + ends("tool_calls"),
        [ToolCall(0, "c1", "a", "{}"), ToolCall(1, "c2", "b", "{}"), CALLED],
    ),
    "without index or id": (
        call(None, None, "a", "{}")
        + call(None, None, "b", '{"x"')
        + call(None, None, None, ":1}")
        + ends("tool_calls"),
        [ToolCall(0, made_up_id("j", 0), "a", "{}"), ToolCall(1, made_up_id("j", 1), "b", '{"x":1}'), CALLED],
    ),
    "another id in every fragment": (
        call(0, "c1", "a", '{"x"') + call(0, "c2", None, ":1}") + ends("tool_calls"),
        [ToolCall(0, "c1", "a", '{"x":1}'), CALLED],
    ),
    "id and name in every fragment": (
        call(0, "c1", "a", '{"x"') + call(0, "c1", "a", ":1}") + ends("tool_calls"),
        [ToolCall(0, "c1", "a", '{"x":1}'), CALLED],
    ),
    "the same id twice": (
        call(0, "c", "a", "{}") + call(1, "c", "b", "{}") + ends("tool_calls"),
        [ToolCall(0, "c", "a", "{}"), ToolCall(1, made_up_id("j", 1), "b", "{}"), CALLED],
    ),
    "heads first, arguments later": (
        call(0, "c1", "a") + call(1, "c2", "b") + call(0, None, None, '{"x":1}') + call(1, None, None, "{}") + ends(),
        [ToolCall(0, "c1", "a", '{"x":1}'), ToolCall(1, "c2", "b", "{}"), CALLED],
    ),
    "no arguments": (call(0, "c1", "a") + ends("tool_calls"), [ToolCall(0, "c1", "a", "{}"), CALLED]),
    "arguments as an object": (
        call(0, "c1", "a", {"x": 1}) + ends("tool_calls"),
        [ToolCall(0, "c1", "a", '{"x":1}'), CALLED],
    ),
    "a legacy function": (
        chunk({"function_call": {"name": "a", "arguments": ""}})
        + chunk({"function_call": {"arguments": "{}"}})
        + ends("function_call"),
        [ToolCall(0, made_up_id("j", 0), "a", "{}"), CALLED],
    ),
    "finished as `stop`": (call(0, "c1", "a", "{}") + ends("stop"), [ToolCall(0, "c1", "a", "{}"), CALLED]),
    "after some words": (
        chunk({"content": "Let me see."}) + call(0, "c1", "a", "{}") + ends("tool_calls"),
        [Text("Let me see."), ToolCall(0, "c1", "a", "{}"), CALLED],
    ),
    "nothing is spoken once one is out": (
        call(0, "c1", "a", "{}") + call(1, "c2", "b", "{}") + chunk({"content": "x", "reasoning": "y"}) + ends(),
        [ToolCall(0, "c1", "a", "{}"), ToolCall(1, "c2", "b", "{}"), CALLED],
    ),
    "arguments that are no object": (call(0, "c1", "a", "[1]") + ends("tool_calls"), [Fault, "no object"]),
    "cut short by the limit": (call(0, "c1", "a", '{"x"') + ends("length"), [LimitTooLow, "cut off by the limit"]),
    "cut short by the limit, without any arguments": (call(0, "c1", "a") + ends("length"), [LimitTooLow, "cut off by"]),
    "cut short by the limit after words": (
        chunk({"content": "Well."}) + call(0, "c1", "a", '{"x"') + ends("length"),
        [Text("Well."), Finished("length")],
    ),
    "cut short by the limit after another": (
        call(0, "c1", "a") + call(1, "c2", "b", '{"x"') + ends("length"),
        [ToolCall(0, "c1", "a", "{}"), CALLED],
    ),
    "cut short by nothing": (call(0, "c1", "a", '{"x"') + ends("tool_calls"), [Fault, "no object"]),
    "arguments nested too deep": (call(0, "c1", "a", "[" * 5000) + ends(), [Fault, "no object"]),
    "no name": (call(0, "c1", None, "{}") + ends("tool_calls"), [Fault, "without a name"]),
    "more after the end": (
        call(0, "c1", "a", "{}") + call(1, "c2", "b", "{}") + call(0, None, None, "more") + ends(),
        [ToolCall(0, "c1", "a", "{}"), Fault, "after their end"],
    ),
    "too many": (
        "".join(call(i, None, "a", "{}") for i in range(200)) + ends(),
        [*[ToolCall(i, made_up_id("j", i), "a", "{}") for i in range(127)], Fault, "more than 128"],
    ),
}

BROKEN: dict[str, tuple[str | bytes, Outcome]] = {
    "cut": (chunk({"content": "a"}), [Text("a"), UpstreamError, "broke off"]),
    "[DONE] without a finish reason": (chunk({"content": "a"}) + DONE, [Text("a"), UpstreamError, "broke off"]),
    "cut inside a call": (call(0, "c1", "a", '{"x"'), [UpstreamError, "broke off"]),
    "finish reason `error`": (chunk({"content": "a"}) + ends("error"), [Text("a"), UpstreamError, "broke off"]),
    "no bytes": ("", [UpstreamError, "no chat completion"]),
    "white space": (" \n\n ", [UpstreamError, "no chat completion"]),
    "HTML": ("<html>\n\n<body>Welcome: log in</body>", [UpstreamError, "no chat completion"]),
    "JSON of another kind": ('{"models": []}', [UpstreamError, "no chat completion"]),
    "JSON cut short": ('{"choices": [{"mess', [UpstreamError, "no chat completion"]),
    "an empty answer": (chunk({"content": ""}) + ends(), [EmptyAnswer, "empty answer"]),
    "a content filter before it": (chunk() + ends("content_filter"), [ContentFiltered, "'content_filter'"]),
    "only reasoning": (chunk({"reasoning": "hm"}) + ends(), [Reasoning("hm"), EmptyAnswer, "empty answer"]),
    "reasoning up to the limit": (
        chunk({"reasoning": "hm"}) + ends("max_tokens"),
        [
            Reasoning("hm"),
            LimitTooLow,
            "empty answer.*thought used up the limit of tokens.*ask for a higher one",
        ],
    ),
    "nothing up to the limit": (ends("length"), [LimitTooLow, "empty answer.*finish reason 'length'"]),
    "a malformed line": (
        chunk({"content": "a"}) + 'data: {"choices": [{"delta"\n\ndata: 5\n\n' + says("b"),
        [Text("a"), Text("b"), STOP],
    ),
    "a line of another shape": ('data: {"choices": {"delta": 7}}\n\n' + says("b"), [Text("b"), STOP]),
    "nested too deep": ('data: {"x": ' + "[" * 100_000 + "\n\n" + says("b"), [Text("b"), STOP]),
    "half a surrogate pair at the end of its text": (
        'data: {"choices":[{"delta":{"content":"a \\ud83d"}}]}\n\n'
        'data: {"choices":[{"delta":{"content":"\\ude00b"}}]}\n\n' + ends(),
        [Text("a "), Text("b"), STOP],
    ),
    "a whole pair beside half of one": (
        'data: {"choices":[{"delta":{"content":"\\ud83d\\ude00 \\\\ud83d \\ud83d"}}]}\n\n' + ends(),
        [Text("\U0001f600 \\ud83d "), STOP],
    ),
    "a lone surrogate": ('data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n' + says("b"), [Text("b"), STOP]),
    "invalid UTF-8": (
        says("aXb").encode().replace(b"X", b"\xff"),
        [Text("a\ufffdb"), STOP],
    ),
    "an error object": (
        chunk({"content": "a"}) + 'data: {"error": {"message": "boom", "code": null}}\n\n' + DONE,
        [Text("a"), UpstreamError, "boom"],
    ),
    "an error string": ('data: {"error": "boom"}\n\n', [UpstreamError, "boom"]),
    "an error of no known form": ('data: {"error": 7}\n\n', [UpstreamError, "did not say why"]),
    "a rate limit": ('data: {"error": {"message": "slow", "code": "rate_limit_exceeded"}}\n\n', [RateLimited, "slow"]),
    "a rate limit by number": ('data: {"error": {"message": "slow", "code": 429}}\n\n', [RateLimited, "slow"]),
    "a bad request by number": ('{"error": {"message": "no", "code": 400}}', [UpstreamRefused, "no"]),
    "a history that is too long": (
        '{"error": {"message": "long", "code": "context_length_exceeded"}}',
        [ContextTooLong, "long"],
    ),
    "too long, in vLLM's words": (
        '{"error": {"message": "This model\'s maximum context length is 10", "code": 400}}',
        [ContextTooLong, "maximum"],
    ),
    "a key in an error": ('{"error": "wrong key sk-1"}', [UpstreamError, r"wrong key \[key\]"]),
}


def likely(*tokens: str, **delta: Any) -> str:
    """One event: these tokens, and how likely they were. Their text is the content, where no other delta is given."""
    entries = [LOGPROB if token == "Hi" else {"token": token, "logprob": -1} for token in tokens]
    choice = {"delta": delta or {"content": "".join(tokens)}, "logprobs": {"content": entries}}
    return f"data: {json.dumps({'choices': [choice]})}\n\n"


WHOLE: dict[str, tuple[str, Outcome]] = {
    "text": (whole({"content": "Hello."}, usage=USAGE), [Text("Hello."), Finished("stop", Usage(9, 5, 4, 2))]),
    "indented, after white space": (
        "\n " + json.dumps(json.loads(whole({"content": "a"})), indent=2),
        [Text("a"), STOP],
    ),
    "calls": (
        whole(
            {"content": None, "tool_calls": [{"id": "c", "function": {"name": "a", "arguments": "{}"}}]}, "tool_calls"
        ),
        [ToolCall(0, "c", "a", "{}"), CALLED],
    ),
    "a refusal": (whole({"content": None, "refusal": "No."}), [Refusal("No."), STOP]),
    "nothing": (whole({"content": ""}), [EmptyAnswer, "empty answer"]),
}

TAGGED: dict[str, tuple[str, Outcome]] = {
    "before the answer": (
        says("<think>", "\n", "They greet", " me.", "\n", "</think>", "\n\n", "Hello", "."),
        [Reasoning("They greet"), Reasoning(" me."), Reasoning("\n"), Text("Hello"), Text("."), STOP],
    ),
    "in one chunk": (says("<think>hm</think>\n\nHello."), [Reasoning("hm"), Text("Hello."), STOP]),
    "in a body without events": (
        whole({"content": "<think>hm</think>Hello."}),
        [Reasoning("hm"), Text("Hello."), STOP],
    ),
    "in content of parts": (
        chunk({"content": [{"type": "text", "text": "<think>hm</think>a"}]}) + ends(),
        [Reasoning("hm"), Text("a"), STOP],
    ),
    "in pieces": (says("<th", "ink>h", "m</", "think", ">a"), [Reasoning("h"), Reasoning("m"), Text("a"), STOP]),
    "no tag after all": (says("<", "3 of them"), [Text("<3 of them"), STOP]),
    "held back until the end": (says("<thi"), [Text("<thi"), STOP]),
    "held back until a call": (
        chunk({"content": "\n<thi"}) + call(0, "c1", "a", "{}") + ends("tool_calls"),
        [Text("\n<thi"), ToolCall(0, "c1", "a", "{}"), CALLED],
    ),
    "held back until a refusal": (
        chunk({"content": "<"}) + chunk({"refusal": "No."}) + ends(),
        [Text("<"), Refusal("No."), STOP],
    ),
    "held back until a cut": (chunk({"content": "<"}), [Text("<"), UpstreamError, "broke off"]),
    "held back until an error": (chunk({"content": "<"}) + 'data: {"error": "x"}\n\n', [Text("<"), UpstreamError, "x"]),
    "held back until a word for a cut": (says("<").replace("stop", "error"), [Text("<"), UpstreamError, "broke off"]),
    "a tag around a piece of a call": (
        chunk({"content": "<thi"}) + call(0, "c1", "a", "{}") + chunk({"content": "nk>secret"}) + ends("tool_calls"),
        [Reasoning("secret"), ToolCall(0, "c1", "a", "{}"), CALLED],
    ),
    "held back until a call is out": (
        chunk({"content": "a<"}) + call(0, "c1", "a", "{}") + call(1, "c2", "b", "{}") + ends("tool_calls"),
        [Text("a"), Text("<"), ToolCall(0, "c1", "a", "{}"), ToolCall(1, "c2", "b", "{}"), CALLED],
    ),
    "a thought, then a call": (
        says("<think>hm</think>\n\n").removesuffix(ends()) + call(0, "c1", "a", "{}") + ends("tool_calls"),
        [Reasoning("hm"), ToolCall(0, "c1", "a", "{}"), CALLED],
    ),
    "a call in the middle of a thought": (
        chunk({"content": "<think>hm</"}) + call(0, "c1", "a", "{}") + ends("tool_calls"),
        [Reasoning("hm"), Reasoning("</"), ToolCall(0, "c1", "a", "{}"), CALLED],
    ),
    "in the middle": (
        says("Booked.", "<think>Thursday?", "</think>", " For <eight>."),
        [Text("Booked."), Reasoning("Thursday?"), Text(" For <eight>."), STOP],
    ),
    "beside a field of its own": (
        chunk({"reasoning_content": "hm"}) + says("\n\n", "a"),
        [Reasoning("hm"), Text("a"), STOP],
    ),
    "nothing but a thought": (says("<think>hm</think>\n"), [Reasoning("hm"), EmptyAnswer, "empty answer"]),
    "a thought without an end": (says("<think>", "hm"), [Reasoning("hm"), EmptyAnswer, "empty answer"]),
    "white space alone": (says(" ", "\n"), [Text(" \n"), STOP]),
    "its log probabilities go with it": (
        likely("<think>") + likely("hm") + likely("</think>", "Hi") + likely(" you") + ends(),
        [Reasoning("hm"), Text("Hi", (HI,)), Text(" you", (TokenLogprob(" you", -1.0),)), STOP],
    ),
    "log probabilities beside a thought in a field of its own": (
        likely("hm", reasoning_content="hm") + likely("Hi") + ends(),
        [Reasoning("hm"), Text("Hi", (HI,)), STOP],
    ),
    "log probabilities of a thought and the first word in one chunk": (
        likely("hm", "Hi", reasoning_content="hm", content="Hi") + ends(),
        [Reasoning("hm"), Text("Hi", (HI,)), STOP],
    ),
    "log probabilities of both that do not end with the text": (
        likely("Hi", "hm", reasoning_content="hm", content="Hi") + ends(),
        [Reasoning("hm"), Text("Hi"), STOP],
    ),
    "log probabilities of half of the first text": (
        likely("hm", "Hi", reasoning_content="hm", content="Oh Hi") + ends(),
        [Reasoning("hm"), Text("Oh Hi"), STOP],
    ),
    "log probabilities around a thought after the first word": (
        likely("Oh") + likely(" Hi<think>") + likely("hm") + likely("</think>", "Hi") + ends(),
        [Text("Oh", (TokenLogprob("Oh", -1.0),)), Text(" Hi"), Reasoning("hm"), Text("Hi", (HI,)), STOP],
    ),
    "log probabilities of a thought that reads like the words before it": (
        likely("Hi", "<think>", "Hi") + likely("</think>") + likely("Hi") + ends(),
        [Reasoning("Hi"), Text("Hi"), Text("Hi", (HI,)), STOP],
    ),
    "log probabilities of words on both sides of a thought": (
        likely("Oh ", "<think>", "hm", "</think>", "Hi") + ends(),
        [Reasoning("hm"), Text("Oh Hi"), STOP],
    ),
    "log probabilities of parts of a character": (
        chunk({"reasoning_content": "hm"})
        + likely("?", "!", reasoning_content="hm", content="é")
        .replace('"token": "?"', '"token": "?", "bytes": [195]')
        .replace('"token": "!"', '"token": "!", "bytes": [169]')
        + ends(),
        [Reasoning("hm"), Reasoning("hm"), Text("é", HALVES), STOP],
    ),
    "log probabilities with bytes that are none": (
        likely("?", reasoning_content="hm", content="?").replace('"token": "?"', '"token": "?", "bytes": [999]')
        + ends(),
        [Reasoning("hm"), Text("?", (TokenLogprob("?", -1.0, (999,)),)), STOP],
    ),
    "log probabilities of a call": (
        likely("{", tool_calls=[{"index": 0, "id": "c1", "function": {"name": "a", "arguments": "{}"}}])
        + likely("Hi")
        + ends("tool_calls"),
        [Text("Hi", (HI,)), ToolCall(0, "c1", "a", "{}"), CALLED],
    ),
    "log probabilities of what was held back": (
        likely("\n") + likely("Hi") + ends(),
        [Text("\nHi", (TokenLogprob("\n", -1.0), HI)), STOP],
    ),
}

Table = Mapping[str, tuple[str, Outcome]] | Mapping[str, tuple[str | bytes, Outcome]]
TABLES: dict[str, Table] = {
    "text": TEXT,
    "reason": REASONS,
    "usage": USAGES,
    "logprobs": LOGPROBS,
    "call": CALLS,
    "broken": BROKEN,
    "whole": WHOLE,
    "tagged": TAGGED,
}
CASES = {f"{kind}: {name}": case for kind, table in TABLES.items() for name, case in table.items()}


def parser(**options: Any) -> ChatParser:
    return ChatParser(job_id="j", target="t", key="sk-1", **options)


def read(pieces: list[bytes], told: ChatParser | None = None) -> list[Frame | ServiceError]:
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


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def shown(outcome: list[Frame | ServiceError]) -> list[object]:
    return [(type(item), str(item)) if isinstance(item, ServiceError) else item for item in outcome]


@pytest.mark.parametrize(("stream", "expected"), CASES.values(), ids=CASES)
def test_an_answer_becomes_the_same_frames_at_any_split(stream: str | bytes, expected: Outcome) -> None:
    data = stream.encode() if isinstance(stream, str) else stream
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
    stream = case[0].encode() if isinstance(case[0], str) else case[0]
    at = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    bounds = [0, *at, len(stream)]
    pieces = [stream[a:b] for a, b in itertools.pairwise(bounds)]
    assert shown(read(pieces)) == shown(read([stream]))


def quickly(pieces: list[bytes], told: ChatParser) -> list[Frame | ServiceError]:
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


def merged(outcome: list[Frame | ServiceError]) -> list[object]:
    """Neighbouring texts as one."""
    frames: list[Any] = []
    for item in outcome:
        last = frames[-1] if frames else None
        if isinstance(item, Text) and isinstance(last, Text) and item.logprobs is None is last.logprobs:
            frames[-1] = Text(last.text + item.text)
        else:
            frames.append(item)
    return shown(frames)


@given(st.sampled_from(list(CASES.values())), st.booleans(), st.data())
def test_the_short_way_for_text_says_the_same(
    case: tuple[str | bytes, Outcome], said_before: bool, data: st.DataObject
) -> None:
    stream = case[0].encode() if isinstance(case[0], str) else case[0]
    before = says("Well, ").removesuffix(ends()).encode() if said_before else b""
    borders = [match.end() for match in re.finditer(rb"\r?\n\r?\n", before + stream)]
    at = sorted(data.draw(st.sets(st.sampled_from([0, *borders]) | st.integers(0, len(before + stream)))))
    pieces = [(before + stream)[a:b] for a, b in itertools.pairwise([0, *at, len(before + stream)])]
    quick, plain = parser(), parser()

    assert merged(quickly(pieces, quick)) == merged(read(pieces, plain))
    assert (quick.skipped, quick.usage, quick.said_chars) == (plain.skipped, plain.usage, plain.said_chars)


def test_the_short_way_is_taken_by_whole_events_of_text_in_the_middle_of_an_answer() -> None:
    told = parser()
    event = chunk({"content": "a"}).encode()
    assert told.speech(event) == "", "the first one opens the answer"
    list(told.feed(event))

    assert told.speech(event * 3) == "aaa"
    assert told.speech(event[:-1]) == "", "it has no end"
    assert told.speech(event + chunk(finish="stop").encode()) == "", "there is more than text in it"
    assert told.speech(event.replace(b"\n", b"\r\n")) == "", "its lines end in another way"
    assert told.speech(event.replace(b'"a"', b'"<"')) == "", "it may become a tag"
    list(told.feed(event[:5]))
    assert told.speech(event) == "", "another has begun"


def test_the_short_way_is_not_taken_while_a_tag_may_be_open() -> None:
    for opening in ("\n", "<think>hm", "<think>hm</think>", "<thi"):
        told = parser()
        list(told.feed(chunk({"content": opening}).encode()))
        assert told.speech(chunk({"content": "a"}).encode()) == ""


@given(st.binary(), st.binary())
def test_whatever_bytes_come_a_service_error_is_the_worst(before: bytes, after: bytes) -> None:
    read([before, b"\n\n", says("a").encode(), after])


FIELDS = st.sampled_from(
    (
        *(
            "choices",
            "delta",
            "message",
            "content",
            "tool_calls",
            "function",
            "function_call",
            "arguments",
            "name",
            "id",
        ),
        *("index", "usage", "error", "finish_reason", "logprobs", "refusal", "reasoning", "code", "prompt_tokens"),
    )
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=5))
def test_whatever_json_comes_a_service_error_is_the_worst(values: list[Any]) -> None:
    read([b"".join(b"data: %b\n\n" % json.dumps(value).encode() for value in values)])
    read([json.dumps({"choices": values}).encode()])


def test_malformed_events_are_counted() -> None:
    told = parser()
    read([b"data: {\n\ndata: 7\n\ndata:\n\n" + says("a").encode()], told)
    assert told.skipped == 2


def test_a_continuation_may_have_nothing_left_to_say() -> None:
    assert read([ends("length").encode()], parser(may_be_empty=True)) == [STOP]


def test_one_call_at_most_where_one_was_asked_for() -> None:
    stream = call(0, "c1", "a", "{}") + call(1, "c2", "b", "nonsense") + ends("tool_calls")
    assert read([stream.encode()], parser(max_calls=1)) == [ToolCall(0, "c1", "a", "{}"), CALLED]


@pytest.mark.parametrize("arguments", ['{"id":', "17", '"x"', "[1]", "[" * 5000])
def test_where_calls_are_checked_one_with_arguments_that_are_no_object_is_passed_on_at_the_end(arguments: str) -> None:
    stream = call(0, "c1", "a", arguments) + call(1, "c2", "b", "{}") + call(2, "c3", "c") + ends("tool_calls")
    told = parser(calls_are_checked=True)
    calls = [ToolCall(0, "c1", "a", arguments), ToolCall(1, "c2", "b", "{}"), ToolCall(2, "c3", "c", "{}")]

    assert read(in_pieces(stream.encode(), 999), told) == [*calls, CALLED]
    assert told.faults == {"tool_call"}


CHECKED: dict[str, tuple[str, Outcome]] = {
    "cut short by the limit": (call(0, "c1", "a", '{"x"') + ends("length"), [LimitTooLow, "cut off by the limit"]),
    "cut short by the limit behind another": (
        call(0, "c1", "a", "[1]") + call(1, "c2", "b", '{"x"') + ends("length"),
        [ToolCall(0, "c1", "a", "[1]"), CALLED],
    ),
    "no name": (call(0, "c1", None, "[1]") + ends("tool_calls"), [Fault, "without a name"]),
    "cut inside a call": (call(0, "c1", "a", '{"x"'), [UpstreamError, "broke off"]),
}


@pytest.mark.parametrize(("stream", "expected"), CHECKED.values(), ids=CHECKED)
def test_where_calls_are_checked_one_that_was_cut_off_is_still_none(stream: str, expected: Outcome) -> None:
    *frames, last = read([stream.encode()], parser(calls_are_checked=True))
    *first, words = expected
    if isinstance(last, ServiceError):
        assert [*frames, type(last)] == first
        assert str(words) in str(last)
    else:
        assert [*frames, last] == expected


def test_progress_is_what_brings_the_answer_on() -> None:
    """Comments, roles and nonsense keep a connection warm, not a caller."""
    told, seen = parser(), []
    for event in (
        chunk({"role": "assistant", "content": ""}), ": ping\n\n", "data: {\n\n", chunk({"reasoning": "hm"}),
        call(0, "c1", "a", ""), call(0, None, None, "{}"), chunk(finish="tool_calls"),
    ):  # fmt: skip
        before = told.progress
        list(told.feed(event.encode()))
        seen.append((told.progress > before, told.answering, told.finished))
    assert seen == [
        (False, False, False), (False, False, False), (False, False, False), (True, False, False),
        (True, True, False), (True, True, False), (True, True, True),
    ]  # fmt: skip


THINKS_FIRST: dict[str, tuple[str, Outcome]] = {
    "only the end comes": (says("\nhm", "</think>", "\n\n", "a"), [Reasoning("hm"), Text("a"), STOP]),
    "the server tells them apart": (chunk({"reasoning_content": "hm"}) + says("a"), [Reasoning("hm"), Text("a"), STOP]),
    "no end": (says("hm"), [Reasoning("hm"), EmptyAnswer, "empty answer"]),
}


@pytest.mark.parametrize(("stream", "expected"), THINKS_FIRST.values(), ids=THINKS_FIRST)
def test_a_thought_may_begin_in_the_prompt(stream: str, expected: Outcome) -> None:
    *frames, last = read([stream.encode()], parser(thinks_first=True))
    told = [type(last), "empty answer"] if isinstance(last, EmptyAnswer) else [last]
    assert [*frames, *told] == expected


def test_an_end_without_a_beginning_is_noticed() -> None:
    for stray, answer in ((True, ("hm", "</think>", "a")), (False, ("<think>hm</think>a",)), (False, ("</think>a",))):
        told = parser()
        read([says(*answer).encode()], told)
        assert told.stray_end is stray


def test_what_is_thought_is_counted_beside_what_is_said() -> None:
    told = parser()
    read([says("<think>", "hm", "</think>", "abc").encode()], told)
    assert (told.said_chars, told.thought_chars) == (5, 2)


def test_a_thought_in_tags_is_progress_and_no_answer_yet() -> None:
    told, seen = parser(), []
    for text in ("<think>", "hm", "</think>", "\n", "a"):
        before = told.progress
        list(told.feed(chunk({"content": text}).encode()))
        seen.append((told.progress > before, told.answering))
    assert seen == [(False, False), (True, False), (False, False), (False, False), (True, True)]


@pytest.mark.parametrize("stream", [b"data: " + b"a" * MAX_LINE_BYTES, b"{" + b"a" * MAX_LINE_BYTES, b" " * 2**21])
def test_a_line_over_a_megabyte_is_refused(stream: bytes) -> None:
    for size in (len(stream), 65_536):
        outcome = read(in_pieces(stream, size))
        assert [type(item) for item in outcome] == [Fault]
        assert "longer than" in str(outcome[0])


def test_tool_arguments_over_a_megabyte_are_refused() -> None:
    piece = call(0, "c1", "a", "x" * 1000).encode()
    outcome = read([piece] * (MAX_BYTES // 1000 + 1))
    assert [type(item) for item in outcome] == [Fault]
    assert "over 1048576 bytes" in str(outcome[0])
