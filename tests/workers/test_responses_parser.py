"""A response stream -> frames, by tables that are read whole, in pieces and one byte at a time, and by real answers."""

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
    QuotaGone,
    RateLimited,
    ServiceError,
    UpstreamError,
)
from protocol.messages import Finished, Frame, Reasoning, Refusal, Text, TokenLogprob, ToolCall, Usage
from workers.targets.answer_events import MAX_LINE_BYTES
from workers.targets.responses_output import MAX_RUNS
from workers.targets.responses_parser import ResponsesParser
from workers.targets.seals import MAX_CHARS, Seals
from workers.targets.tool_calls import MAX_BYTES, made_up_id
from workers.targets.upstream_errors import Fault, LimitTooLow

FIXTURES = Path(__file__).parents[1] / "fixtures" / "upstreams" / "responses"

Outcome = list[Frame | type[ServiceError] | str]
STOP = Finished("stop")
CALLED = Finished("tool_calls")
DONE = "data: [DONE]\n\n"
USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 14,
}
LOGPROB = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": [{"token": "Ho", "logprob": -2}]}
HI = TokenLogprob("Hi", -0.5, (72, 105), (TokenLogprob("Ho", -2.0),))


def event(kind: str, **told: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **told})}\n\n"


def words(*texts: str, at: int | None = 0, **more: Any) -> str:
    """Pieces of a text."""
    place = {} if at is None else {"output_index": at, "content_index": 0}
    told = {"item_id": f"msg_{at}", **place, "logprobs": [], **more}
    return "".join(event("response.output_text.delta", delta=text, **told) for text in texts)


def completed(*output: Any, **more: Any) -> str:
    return event("response.completed", response={"object": "response", "status": "completed", "output": output, **more})


def incomplete(reason: str | None, **more: Any) -> str:
    told = {"status": "incomplete", "incomplete_details": reason and {"reason": reason}, "output": [], **more}
    return event("response.incomplete", response=told)


def message(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "id": "msg_0", "role": "assistant", "status": "completed", "content": list(parts)}


def output_text(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], **more}


def call(name: str = "weather", arguments: Any = "{}", id_: str = "call_1", **more: Any) -> dict[str, Any]:
    return {"type": "function_call", "id": f"fc_{id_}", "call_id": id_, "name": name, "arguments": arguments, **more}


def begun(item: dict[str, Any], at: int | None = 0) -> str:
    told = {**item, "status": "in_progress", "arguments": ""}
    return event("response.output_item.added", item=told, **({} if at is None else {"output_index": at}))


def ended(item: dict[str, Any], at: int | None = 0) -> str:
    return event("response.output_item.done", item=item, **({} if at is None else {"output_index": at}))


def pieces(*texts: str, at: int | None = 0, of: str = "") -> str:
    """Of arguments. `of`: the call."""
    place = ({} if at is None else {"output_index": at}) | ({"item_id": f"fc_{of}"} if of else {})
    return "".join(event("response.function_call_arguments.delta", delta=text, **place) for text in texts)


def thought(
    *texts: str, kind: str = "reasoning_summary_text", at: int | None = 0, id_: str = "rs_1", part: int = 0
) -> str:
    told = {"item_id": id_, "summary_index": part, **({} if at is None else {"output_index": at})}
    return "".join(event(f"response.{kind}.delta", delta=text, **told) for text in texts)


def reasoning(*parts: str, sealed: str | None = None, id_: str = "rs_1") -> dict[str, Any]:
    summary = [{"type": "summary_text", "text": part} for part in parts]
    return {"type": "reasoning", "id": id_, "summary": summary, "encrypted_content": sealed}


def seal(id_: str, sealed: str) -> str:
    """As it is handed out by the target of these tests."""
    return f"trunkline1.own.{id_}.{sealed}"


def says(*texts: str) -> str:
    """A whole answer, as OpenAI tells it: every text four times over."""
    whole = "".join(texts)
    return (
        event("response.created", response={"status": "in_progress", "output": [], "usage": None, "error": None})
        + event("response.output_item.added", output_index=0, item=message())
        + event("response.content_part.added", output_index=0, content_index=0, part=output_text(""))
        + words(*texts)
        + event("response.output_text.done", output_index=0, content_index=0, text=whole)
        + event("response.content_part.done", output_index=0, content_index=0, part=output_text(whole))
        + ended(message(output_text(whole)))
        + completed(message(output_text(whole)))
    )


TEXT: dict[str, tuple[str, Outcome]] = {
    "two words": (says("Hel", "lo."), [Text("Hel"), Text("lo."), STOP]),
    "[DONE] after the end": (says("a") + DONE, [Text("a"), STOP]),
    "nothing after the end counts": (says("a") + words("b") + event("error", message="x"), [Text("a"), STOP]),
    "no blank line at the end": (says("a").rstrip(), [Text("a"), STOP]),
    "no names of events": (re.sub(r"event: .*\n", "", says("a", "b")), [Text("a"), Text("b"), STOP]),
    "no blank lines at all": (
        re.sub(r"event: .*\n", "", says("a")).replace("\n\n", "\n"),
        [Text("a"), STOP],
    ),
    "comments and CRLF": (": keepalive\r\n\r\n" + says("a").replace("\n", "\r\n"), [Text("a"), STOP]),
    "BOM": ("\ufeff" + says("a"), [Text("a"), STOP]),
    "characters of many bytes": (says("grüß", "🙂"), [Text("grüß"), Text("🙂"), STOP]),
    "only at the end of its run": (
        event("response.output_text.done", output_index=0, content_index=0, text="a", logprobs=[])
        + ended(message(output_text("a")))
        + completed(message(output_text("a"))),
        [Text("a"), STOP],
    ),
    "only at the end of its run, after a piece with nothing in it": (
        words("") + event("response.output_text.done", output_index=0, content_index=0, text="a") + completed(),
        [Text("a"), STOP],
    ),
    "only at the end of its item": (
        ended(message(output_text("a"), output_text("b"))) + completed(),
        [
            Text("a"),
            Text("b"),
            STOP,
        ],
    ),
    "only at the very end": (completed(message(output_text("a"))), [Text("a"), STOP]),
    "nothing at the very end": (words("a") + event("response.completed"), [Text("a"), STOP]),
    "two messages": (
        words("a", at=0)
        + ended(message(output_text("a")), 0)
        + words("b", at=1)
        + ended(message(output_text("b")), 1)
        + completed(message(output_text("a")), message(output_text("b"))),
        [Text("a"), Text("b"), STOP],
    ),
    "two messages without an index": (
        words("a", at=None, item_id="m1")
        + words("b", at=None, item_id="m2")
        + ended({**message(output_text("a")), "id": "m1"}, None)
        + ended({**message(output_text("b")), "id": "m2"}, None)
        + completed(),
        [Text("a"), Text("b"), STOP],
    ),
    "without an index or an id": (
        words("a", "b", at=None, item_id=None)
        + event("response.output_text.done", text="ab")
        + ended(message(output_text("ab")), 1)
        + completed(),
        [Text("a"), Text("b"), STOP],
    ),
    "an id of its own in each event": (
        words("a", item_id="x1")
        + words("b", item_id="x2")
        + event("response.output_text.done", output_index=0, content_index=0, item_id="x3", text="ab")
        + ended({**message(output_text("ab")), "id": "x4"})
        + completed(),
        [Text("a"), Text("b"), STOP],
    ),
    "an index at the end alone": (
        words("a", at=None, item_id=None) + ended(message(output_text("a")), 3) + completed(),
        [Text("a"), STOP],
    ),
    "an index in its pieces alone": (
        words("a", at=2) + event("response.output_text.done", text="a") + completed(message(output_text("a"))),
        [Text("a"), STOP],
    ),
    "a refusal": (
        event("response.refusal.delta", output_index=0, content_index=0, delta="I ")
        + event("response.refusal.delta", output_index=0, content_index=0, delta="won't.")
        + event("response.refusal.done", output_index=0, content_index=0, refusal="I won't.")
        + ended(message({"type": "refusal", "refusal": "I won't."}))
        + completed(),
        [Refusal("I "), Refusal("won't."), STOP],
    ),
    "a refusal only at its end": (
        event("response.refusal.done", output_index=0, content_index=0, refusal="No.") + completed(),
        [Refusal("No."), STOP],
    ),
    "a refusal only at the very end": (
        completed(message({"type": "refusal", "refusal": "No."})),
        [Refusal("No."), STOP],
    ),
    "log probabilities": (
        words("Hi", logprobs=[LOGPROB]) + words("a") + completed(),
        [
            Text("Hi", (HI,)),
            Text("a"),
            STOP,
        ],
    ),
    "log probabilities that cannot be read": (words("Hi", logprobs=[{"token": 7}]) + completed(), [Text("Hi"), STOP]),
    "log probabilities only at its end": (
        event("response.output_text.done", text="Hi", logprobs=[LOGPROB]) + completed(),
        [Text("Hi", (HI,)), STOP],
    ),
    "items that nobody here knows": (
        ended({"type": "web_search_call", "id": "ws_1", "status": "completed", "arguments": {"a": 1}})
        + event("response.web_search_call.completed", item_id="ws_1", delta=[1], response="x", error={"code": 1})
        + event("response.mcp_call_arguments.delta", output_index=1, delta="{")
        + words("a", at=1)
        + completed(),
        [Text("a"), STOP],
    ),
}

THOUGHTS: dict[str, tuple[str, Outcome]] = {
    "a summary": (
        thought("h", "m")
        + event("response.reasoning_summary_text.done", item_id="rs_1", output_index=0, summary_index=0, text="hm")
        + ended({"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]})
        + words("a", at=1)
        + completed(),
        [Reasoning("h", "rs_1"), Reasoning("m", "rs_1"), Text("a"), STOP],
    ),
    "as it was thought": (
        thought("hm", kind="reasoning_text") + words("a", at=1) + completed(),
        [
            Reasoning("hm", "rs_1"),
            Text("a"),
            STOP,
        ],
    ),
    "by its name in Open Responses": (
        thought("hm", kind="reasoning") + words("a", at=1) + completed(),
        [
            Reasoning("hm", "rs_1"),
            Text("a"),
            STOP,
        ],
    ),
    "only at the end of its item": (
        ended(
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": "hm"}],
                "content": [{"type": "reasoning_text", "text": "hmm"}],
            }
        )
        + words("a", at=1)
        + completed(),
        [Reasoning("hm", "rs_1"), Reasoning("\n\nhmm", "rs_1"), Text("a"), STOP],
    ),
    "a summary of several parts": (
        thought("h", "m")
        + thought("so", "?", part=1)
        + ended(reasoning("hm", "so?", "Ah."))
        + words("a", at=1)
        + completed(),
        [
            *(Reasoning("h", "rs_1"), Reasoning("m", "rs_1"), Reasoning("\n\nso", "rs_1"), Reasoning("?", "rs_1")),
            *(Reasoning("\n\nAh.", "rs_1"), Text("a"), STOP),
        ],
    ),
    "sealed": (
        ended(reasoning(sealed="gAAA")) + words("a", at=1) + completed(),
        [Reasoning("", "rs_1", seal("rs_1", "gAAA")), Text("a"), STOP],
    ),
    "a summary, then sealed": (
        event("response.output_item.added", output_index=0, item=reasoning(sealed="gA"))
        + thought("hm")
        + ended(reasoning("hm", sealed="gAAA"))
        + words("a", at=1)
        + completed(reasoning("hm", sealed="gAAA"), message(output_text("a"))),
        [Reasoning("hm", "rs_1"), Reasoning("", "rs_1", seal("rs_1", "gAAA")), Text("a"), STOP],
    ),
    "sealed, and told once more at the very end": (
        ended(reasoning("hm", sealed="gAAA")) + completed(reasoning("hm", sealed="gAAA"), message(output_text("a"))),
        [Reasoning("hm", "rs_1"), Reasoning("", "rs_1", seal("rs_1", "gAAA")), Text("a"), STOP],
    ),
    "sealed, without an id": (
        ended({**reasoning("hm", sealed="gAAA"), "id": None}) + words("a", at=1) + completed(),
        [Reasoning("hm"), Reasoning("", None, seal("", "gAAA")), Text("a"), STOP],
    ),
    "sealed, by an id that no mark can hold": (
        ended(reasoning(sealed="gAAA", id_="a.b")) + words("a", at=1) + completed(),
        [Reasoning("", "a.b", seal("", "gAAA")), Text("a"), STOP],
    ),
    "sealed, and too long to be carried": (
        ended(reasoning("hm", sealed="g" * (MAX_CHARS + 1))) + words("a", at=1) + completed(),
        [Reasoning("hm", "rs_1"), Text("a"), STOP],
    ),
    "an id of its own in each event": (
        thought("h", id_="x1")
        + thought("m", id_="x2")
        + ended(reasoning("hm", sealed="gAAA", id_="x3"))
        + words("a", at=1)
        + completed(),
        [Reasoning("h", "x1"), Reasoning("m", "x1"), Reasoning("", "x1", seal("x3", "gAAA")), Text("a"), STOP],
    ),
    "two, with words and a call between and behind them": (
        thought("hm")
        + ended(reasoning("hm", sealed="gA"))
        + words("a", at=1)
        + thought("so", at=2, id_="rs_2")
        + ended(reasoning("so", sealed="gB", id_="rs_2"), 2)
        + ended(call(), 3)
        + ended(reasoning("well", sealed="gC", id_="rs_3"), 4)
        + ended(call("now", id_="call_2"), 5)
        + completed(),
        [
            *(Reasoning("hm", "rs_1"), Reasoning("", "rs_1", seal("rs_1", "gA")), Text("a")),
            *(Reasoning("so", "rs_2"), Reasoning("", "rs_2", seal("rs_2", "gB"))),
            *(ToolCall(0, "call_1", "weather", "{}"), ToolCall(1, "call_2", "now", "{}"), CALLED),
        ],
    ),
    "two, without an index": (
        thought("hm", at=None)
        + ended(reasoning("hm", sealed="gA"), None)
        + thought("so", at=None, id_="rs_2")
        + ended(reasoning("so", sealed="gB", id_="rs_2"), None)
        + words("a", at=None)
        + completed(),
        [
            *(Reasoning("hm", "rs_1"), Reasoning("", "rs_1", seal("rs_1", "gA"))),
            *(Reasoning("so", "rs_2"), Reasoning("", "rs_2", seal("rs_2", "gB")), Text("a"), STOP),
        ],
    ),
    "in tags": (says("<think>", "hm", "</think>", "\n\n", "a"), [Reasoning("hm"), Text("a"), STOP]),
    "in tags, held back to the end": (words("a", " <") + completed(), [Text("a"), Text(" "), Text("<"), STOP]),
    "in tags, held back until a call": (
        words("<") + ended(call(), 1) + completed(),
        [Text("<"), ToolCall(0, "call_1", "weather", "{}"), CALLED],
    ),
}

WEATHER = '{"city":"Oslo"}'
CALLS: dict[str, tuple[str, Outcome]] = {
    "in pieces": (
        begun(call())
        + pieces('{"city"', ':"Oslo"}')
        + event("response.function_call_arguments.done", output_index=0, arguments=WEATHER, name="weather")
        + ended(call(arguments=WEATHER))
        + completed(call(arguments=WEATHER)),
        [ToolCall(0, "call_1", "weather", WEATHER), CALLED],
    ),
    "whole": (
        ended(call(arguments=WEATHER)) + completed(call()),
        [
            ToolCall(0, "call_1", "weather", WEATHER),
            CALLED,
        ],
    ),
    "arguments whole, and no end of the item": (
        begun(call()) + event("response.function_call_arguments.done", output_index=0, arguments=WEATHER) + completed(),
        [ToolCall(0, "call_1", "weather", WEATHER), CALLED],
    ),
    "only pieces": (begun(call()) + pieces(WEATHER) + completed(), [ToolCall(0, "call_1", "weather", WEATHER), CALLED]),
    "only at the very end": (
        words("Wait.") + completed(message(output_text("Wait.")), call(arguments=WEATHER)),
        [
            Text("Wait."),
            ToolCall(0, "call_1", "weather", WEATHER),
            CALLED,
        ],
    ),
    "two, one after the other": (
        begun(call())
        + pieces("{}")
        + ended(call())
        + begun(call("now", id_="call_2"), 2)
        + pieces(WEATHER, at=2)
        + ended(call("now", WEATHER, "call_2"), 2)
        + completed(),
        [ToolCall(0, "call_1", "weather", "{}"), ToolCall(1, "call_2", "now", WEATHER), CALLED],
    ),
    "two at once": (
        begun(call(), 0)
        + begun(call("now", id_="call_2"), 1)
        + pieces('{"city"', at=0)
        + pieces("{", at=1)
        + pieces(':"Oslo"}', at=0)
        + pieces("}", at=1)
        + ended(call("now", "{}", "call_2"), 1)
        + ended(call(arguments=WEATHER), 0)
        + completed(),
        [ToolCall(0, "call_2", "now", "{}"), ToolCall(1, "call_1", "weather", WEATHER), CALLED],
    ),
    "two without an index": (
        begun(call(), None)
        + pieces(WEATHER, at=None)
        + begun(call("now", id_="call_2"), None)
        + pieces("{}", at=None)
        + event("response.function_call_arguments.done", arguments=WEATHER)
        + ended(call(arguments=WEATHER), None)
        + ended(call("now", "{}", "call_2"), None)
        + completed(),
        [ToolCall(0, "call_1", "weather", WEATHER), ToolCall(1, "call_2", "now", "{}"), CALLED],
    ),
    "two at once without an index": (
        begun(call(), None)
        + begun(call("now", id_="call_2"), None)
        + pieces('{"city"', at=None, of="call_1")
        + pieces("{", at=None, of="call_2")
        + pieces(':"Oslo"}', at=None, of="call_1")
        + pieces("}", at=None, of="call_2")
        + ended(call(arguments=WEATHER), None)
        + ended(call("now", "{}", "call_2"), None)
        + completed(),
        [ToolCall(0, "call_1", "weather", WEATHER), ToolCall(1, "call_2", "now", "{}"), CALLED],
    ),
    "two at once, whose arguments are told whole by the item": (
        begun(call(), None)
        + begun(call("now", id_="call_2"), None)
        + event("response.function_call_arguments.done", item_id="fc_call_1", arguments=WEATHER)
        + event("response.function_call_arguments.done", item_id="fc_call_2", arguments="{}")
        + completed(),
        [ToolCall(0, "call_1", "weather", WEATHER), ToolCall(1, "call_2", "now", "{}"), CALLED],
    ),
    "begun twice without an index": (
        begun(call(), None) + begun(call(), None) + pieces(WEATHER, at=None, of="call_1") + completed(),
        [ToolCall(0, "call_1", "weather", WEATHER), CALLED],
    ),
    "no arguments": (ended(call(arguments="")) + completed(), [ToolCall(0, "call_1", "weather", "{}"), CALLED]),
    "arguments as an object": (
        ended(call(arguments={"city": "Oslo"})) + completed(),
        [
            ToolCall(0, "call_1", "weather", WEATHER),
            CALLED,
        ],
    ),
    "an id of the item alone": (
        ended({**call(), "call_id": None}) + completed(),
        [
            ToolCall(0, "fc_call_1", "weather", "{}"),
            CALLED,
        ],
    ),
    "no id at all": (
        ended({**call(), "call_id": None, "id": None}) + completed(),
        [
            ToolCall(0, made_up_id("j", 0), "weather", "{}"),
            CALLED,
        ],
    ),
    "nothing is spoken once one is out": (
        ended(call())
        + words("b", at=1)
        + thought("hm")
        + event("response.refusal.done", output_index=3, refusal="c")
        + ended({"type": "reasoning", "id": "rs", "encrypted_content": "x"}, 4)
        + completed(),
        [ToolCall(0, "call_1", "weather", "{}"), CALLED],
    ),
    "no object": (ended(call(arguments="[1]")) + completed(), [Fault, "no object"]),
    "a list": (ended(call(arguments=[1])) + completed(), [Fault, "no object"]),
    "no arguments, by a null": (
        ended(call(arguments=None)) + completed(),
        [ToolCall(0, "call_1", "weather", "{}"), CALLED],
    ),
    "no name": (ended(call(name="")) + completed(), [Fault, "without a name"]),
    "cut short by its limit": (
        begun(call())
        + pieces('{"city')
        + ended(call(arguments='{"city', status="incomplete"))
        + incomplete("max_output_tokens"),
        [LimitTooLow, "cut off by the limit"],
    ),
    "cut short by its limit after words": (
        words("Well.") + begun(call(), 1) + pieces('{"city', at=1) + incomplete("max_output_tokens"),
        [Text("Well."), Finished("length")],
    ),
    "cut short, and told at once": (
        ended(call(arguments='{"city', status="incomplete")) + incomplete("max_output_tokens"),
        [LimitTooLow, "cut off by the limit"],
    ),
    "too many": (
        "".join(ended(call(id_=f"c{at}"), at) for at in range(129)) + completed(),
        [*(ToolCall(at, f"c{at}", "weather", "{}") for at in range(128)), Fault, "more than 128"],
    ),
}

ENDS: dict[str, tuple[str | bytes, Outcome]] = {
    "usage": (words("a") + completed(usage=USAGE), [Text("a"), Finished("stop", Usage(9, 5, 4, 2))]),
    "usage that is nonsense": (
        words("a") + completed(usage={"input_tokens": "x", "output_tokens": -1}),
        [
            Text("a"),
            STOP,
        ],
    ),
    "a limit": (
        words("a") + incomplete("max_output_tokens", usage=USAGE),
        [
            Text("a"),
            Finished("length", Usage(9, 5, 4, 2)),
        ],
    ),
    "a limit of another kind": (words("a") + incomplete("max_messages"), [Text("a"), Finished("length")]),
    "no reason": (words("a") + incomplete(None), [Text("a"), Finished("length")]),
    "the filter": (words("a") + incomplete("content_filter"), [Text("a"), Finished("content_filter")]),
    "the filter, before anything was said": (incomplete("content_filter"), [ContentFiltered, "content_filter"]),
    "a thought up to the limit": (
        incomplete("max_output_tokens", usage=USAGE),
        [LimitTooLow, "empty answer.*used up the limit of tokens"],
    ),
    "an empty answer": (completed(message()), [EmptyAnswer, "empty answer"]),
    "only a thought": (thought("hm") + completed(), [Reasoning("hm", "rs_1"), EmptyAnswer, "empty answer"]),
    "failed": (
        words("a") + event("response.failed", response={"error": {"code": "server_error", "message": "boom"}}),
        [Text("a"), UpstreamError, "boom"],
    ),
    "failed without a word": (event("response.failed", response={"status": "failed"}), [UpstreamError, "is failed"]),
    "cancelled": (words("a") + event("response.cancelled", response={}), [Text("a"), UpstreamError, "is cancelled"]),
    "completed with an error": (completed(error={"code": "x", "message": "boom"}), [UpstreamError, "boom"]),
    "a rate limit": (
        event("response.failed", response={"error": {"code": "rate_limit_exceeded", "message": "slow"}}),
        [RateLimited, "slow"],
    ),
    "a flagged prompt": (
        event("response.failed", response={"error": {"code": "invalid_prompt", "message": "flagged"}}),
        [ContentFiltered, "flagged"],
    ),
    "an error event": (
        words("a") + event("error", code="rate_limit_exceeded", message="slow", param=None),
        [
            Text("a"),
            RateLimited,
            "slow",
        ],
    ),
    "an error event with an object": (
        event("error", error={"type": "invalid_request_error", "code": "context_length_exceeded", "message": "long"}),
        [ContextTooLong, "long"],
    ),
    "an error event without a word": (event("error"), [UpstreamError, "did not say why"]),
    "an error without a type": ('data: {"error": {"message": "boom"}}\n\n', [UpstreamError, "boom"]),
    "a key in an error": (event("error", message="wrong key sk-1"), [UpstreamError, r"wrong key \[key\]"]),
    "held back until an error": (words("<") + event("error", message="x"), [Text("<"), UpstreamError, "x"]),
    "cut": (words("a"), [Text("a"), UpstreamError, "broke off"]),
    "[DONE] without an end": (words("a") + DONE, [Text("a"), UpstreamError, "broke off"]),
    "cut inside a call": (begun(call()) + pieces("{"), [UpstreamError, "broke off"]),
    "no bytes": ("", [UpstreamError, "no response"]),
    "white space": (" \n\n ", [UpstreamError, "no response"]),
    "HTML": ("<html>\n\n<body>Welcome: log in</body>", [UpstreamError, "no response"]),
    "a chat completion": (
        'data: {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}\n\n' + DONE,
        [UpstreamError, "no response; see its dialect"],
    ),
    "JSON cut short": ('{"output": [{"mess', [UpstreamError, "no response"]),
    "a malformed line": (
        words("a") + 'data: {"type": "resp\n\ndata: 5\n\n' + words("b") + completed(),
        [
            Text("a"),
            Text("b"),
            STOP,
        ],
    ),
    "nested too deep": ('data: {"x": ' + "[" * 100_000 + "\n\n" + says("b"), [Text("b"), STOP]),
    "half a surrogate pair": (words("aXb").replace("X", "\\ud83d") + completed(), [Text("ab"), STOP]),
    "invalid UTF-8": ((words("aXb") + completed()).encode().replace(b"X", b"\xff"), [Text("a\ufffdb"), STOP]),
    "invalid UTF-8 at the end": (
        (words("a") + completed(usage=USAGE, user="X")).encode().replace(b"X", b"\xff"),
        [Text("a"), Finished("stop", Usage(9, 5, 4, 2))],
    ),
}


def whole(*output: Any, status: str = "completed", **more: Any) -> str:
    return json.dumps({"id": "r", "object": "response", "status": status, "error": None, "output": output, **more})


WHOLE: dict[str, tuple[str, Outcome]] = {
    "text": (whole(message(output_text("a")), usage=USAGE), [Text("a"), Finished("stop", Usage(9, 5, 4, 2))]),
    "indented, after white space": (
        "\n " + json.dumps(json.loads(whole(message(output_text("a")))), indent=2),
        [Text("a"), STOP],
    ),
    "a thought, text and a call": (
        whole(
            {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "hm"}]},
            message(output_text("a")),
            call(arguments=WEATHER),
        ),
        [Reasoning("hm", "rs"), Text("a"), ToolCall(0, "call_1", "weather", WEATHER), CALLED],
    ),
    "a limit": (
        whole(message(output_text("a")), status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
        [Text("a"), Finished("length")],
    ),
    "failed": (whole(status="failed", error=None), [UpstreamError, "is failed"]),
    "still at work": (whole(status="in_progress"), [UpstreamError, "is in_progress"]),
    "an error": ('{"error": {"message": "no", "code": "insufficient_quota"}}', [QuotaGone, "no"]),
    "something else": ('{"models": []}', [UpstreamError, "no response"]),
    "nothing": (whole(), [EmptyAnswer, "empty answer"]),
}

ANSWERED: dict[str, Outcome] = {
    "llama-cpp-text.sse": [
        *map(Text, ("I", "'", "m", " fine", ".", " I", "'", "m", " in", " Rome", ".")),
        Finished("stop", Usage(98, 12)),
    ],
    "llama-cpp-calls.sse": [
        *map(Text, ("Let", " me", " see", ".", "\n")),
        ToolCall(0, "call_N76kZCMnvGOvoRFJdEfereVQCQX4e6WT", "weather", '{"city": "Oslo"}'),
        ToolCall(1, "call_7Wvy92sPWOna1vsBT3NMk3OyfkOtX8Ld", "now", '{"city": "Oslo"}'),
        Finished("tool_calls", Usage(398, 63)),
    ],
    "llama-cpp-thought.sse": [
        *(
            Reasoning(text, "rs_eev9EG4Emjx3fZRcFZoLauBiOMncpZEQ")
            for text in ("They", " want", " the", " capital", " of", " France", ".", "\n")
        ),
        Text("Paris"),
        Text("."),
        Finished("stop", Usage(111, 15)),
    ],
    "llama-cpp-whole.body": [Text("I'm fine. I'm from Italy."), Finished("stop", Usage(98, 12, 93))],
    "llama-cpp-whole-calls.body": [
        Text("Let me see.\n"),
        ToolCall(0, "call_RdY9vzV6kLNvZuHdhsRnTEEuoPVX1rtQ", "weather", '{"city": "Oslo"}'),
        ToolCall(1, "call_7ol1NHUB1EwT73HDPvc52Nc1xaBwf98K", "now", '{"city": "Oslo"}'),
        Finished("tool_calls", Usage(398, 63, 393)),
    ],
    "openai-call.sse": [
        ToolCall(0, "call_2FQdm3Br7Qb35YUBSkDR7kue", "get_weather", '{"city":"Beijing"}'),
        Finished("tool_calls", Usage(45, 25)),
    ],
    "openai-quota.sse": [QuotaGone, "exceeded your current quota"],
}

RECORDED: dict[str, tuple[bytes, Outcome]] = {
    name: ((FIXTURES / name).read_bytes(), outcome) for name, outcome in ANSWERED.items()
}

Table = (
    Mapping[str, tuple[str, Outcome]] | Mapping[str, tuple[str | bytes, Outcome]] | Mapping[str, tuple[bytes, Outcome]]
)
TABLES: dict[str, Table] = {
    "text": TEXT,
    "thought": THOUGHTS,
    "call": CALLS,
    "end": ENDS,
    "whole": WHOLE,
    "recorded": RECORDED,
}
CASES = {f"{kind}: {name}": case for kind, table in TABLES.items() for name, case in table.items()}


def parser(**options: Any) -> ResponsesParser:
    return ResponsesParser(job_id="j", target="t", key="sk-1", seals=Seals("own"), **options)


def read(pieces: list[bytes], told: ResponsesParser | None = None) -> list[Frame | ServiceError]:
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


def quickly(pieces: list[bytes], told: ResponsesParser) -> list[Frame | ServiceError]:
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


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def shown(outcome: list[Frame | ServiceError]) -> list[object]:
    return [(type(item), str(item)) if isinstance(item, ServiceError) else item for item in outcome]


def as_bytes(stream: str | bytes) -> bytes:
    return stream.encode() if isinstance(stream, str) else stream


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
        if len(data) < 20_000 or size > 7:
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
    stream = (words("Well, ").encode() if said_before else b"") + as_bytes(case[0])
    borders = [match.end() for match in re.finditer(rb"\r?\n\r?\n", stream)]
    at = sorted(data.draw(st.sets(st.sampled_from([0, *borders]) | st.integers(0, len(stream)))))
    pieces = [stream[a:b] for a, b in itertools.pairwise([0, *at, len(stream)])]
    quick, plain = parser(), parser()

    assert merged(quickly(pieces, quick)) == merged(read(pieces, plain))
    assert (quick.skipped, quick.usage, quick.said_chars) == (plain.skipped, plain.usage, plain.said_chars)


def test_the_short_way_is_taken_by_whole_events_of_text_in_the_middle_of_an_answer() -> None:
    told = parser()
    one = words("a").encode()
    assert told.speech(one) == "", "the first one opens the answer"
    list(told.feed(one))

    assert told.speech(one * 3) == "aaa"
    assert told.speech(re.sub(rb"event: .*\n", b"", one)) == "a", "the name of the event may be missing"
    assert told.speech(one[:-1]) == "", "it has no end"
    assert told.speech(one + completed().encode()) == "", "there is more than text in it"
    assert told.speech(words("a", logprobs=[LOGPROB]).encode()) == "", "log probabilities go with it"
    assert told.speech(words("a", at=1).encode()) == "", "it is another message"
    assert told.speech(one.replace(b"\n", b"\r\n")) == "", "its lines end in another way"
    assert told.speech(words("<").encode()) == "", "it may become a tag"
    list(told.feed(one[:5]))
    assert told.speech(one) == "", "another has begun"


def test_a_thought_of_github_copilot_with_an_id_of_its_own_in_each_event_is_told_once() -> None:
    thought, *said, last = read([(FIXTURES / "copilot-thought.sse").read_bytes()])
    assert thought == Reasoning("**Counting character occurrences**", "capture-id-5")
    assert len(said) == 55
    assert "".join(frame.text for frame in said if isinstance(frame, Text)) == (
        "There are **3** letter **“r”**s in **“strawberry.”**\n\nBreakdown: **s t r a w b e r r y**  \n"
        "You can see **r** at positions **3, 8, and 9**."
    )
    assert last == Finished("stop", Usage(19, 105, 0, 44))


# --- whatever comes --------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
STRANGE_EVENTS = st.builds(
    lambda kind, fields: f"event: {kind}\ndata: {json.dumps(fields | {'type': kind})}\n\n",
    st.sampled_from(("response.audio.delta", "response.queued", "keepalive", "response.new_thing.done", "ping")),
    st.dictionaries(st.sampled_from(("delta", "item", "part", "text", "response", "error", "output_index")), JSON),
)


@given(st.sampled_from(list(RECORDED)), st.lists(st.tuples(st.integers(0, 100), STRANGE_EVENTS), max_size=3), JSON)
def test_unknown_events_and_fields_change_nothing(name: str, strange: list[tuple[int, str]], more: Any) -> None:
    stream = RECORDED[name][0].decode()
    events = stream.split("\n\n")
    richer = [re.sub(r"(?m)^data: {", lambda _: f'data: {{"x_new": {json.dumps(more)}, ', one) for one in events]
    if name.endswith(".sse"):
        for at, one in strange:
            richer.insert(min(at, len(events) - 1), one.removesuffix("\n\n"))

    assert shown(read(["\n\n".join(richer).encode()])) == shown(read([stream.encode()]))


@given(st.binary(), st.binary())
def test_whatever_bytes_come_a_service_error_is_the_worst(before: bytes, after: bytes) -> None:
    read([before, b"\n\n", says("a").encode(), after])


KNOWN = st.sampled_from(
    (
        *("type", "delta", "text", "item", "response", "output", "content", "summary", "arguments", "name", "call_id"),
        *("id", "item_id", "output_index", "content_index", "summary_index", "usage", "error", "code", "status"),
        *("incomplete_details", "reason", "logprobs", "refusal", "encrypted_content", "message", "object"),
    )
)
TYPES = st.sampled_from(
    (
        *("response.output_text.delta", "response.output_text.done", "response.output_item.done", "error"),
        *("response.output_item.added", "response.function_call_arguments.delta", "response.completed", "message"),
        *("response.incomplete", "response.reasoning_summary_text.delta", "function_call", "reasoning", "output_text"),
    )
)
CRAFTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | TYPES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KNOWN, inner, max_size=4)
        | st.builds(lambda fields, kind: {**fields, "type": kind}, st.dictionaries(KNOWN, inner, max_size=4), TYPES)
    ),
    max_leaves=12,
)


@given(st.lists(CRAFTED, max_size=5))
def test_whatever_json_comes_a_service_error_is_the_worst(values: list[Any]) -> None:
    read([b"".join(b"data: %b\n\n" % json.dumps(value).encode() for value in values)])
    read([json.dumps({"object": "response", "output": values}).encode()])


# --- how far it is ---------------------------------------------------------------------------------


def test_malformed_events_are_counted() -> None:
    told = parser()
    read([b"data: {\n\ndata: 7\n\ndata:\n\n" + says("a").encode()], told)
    assert told.skipped == 2


def test_what_could_be_lived_with_is_named() -> None:
    told = parser()
    read([words("a\\ud83d").replace("\\\\", "\\").encode() + completed().encode() + words("b").encode()], told)
    assert told.faults == {"no_text", "after_its_end"}


def test_a_mark_of_the_end_after_the_end_is_no_fault() -> None:
    told = parser()
    read([says("a").encode() + DONE.encode()], told)
    assert not told.faults


def test_a_continuation_may_have_nothing_left_to_say() -> None:
    assert read([incomplete("max_output_tokens").encode()], parser(may_be_empty=True)) == [STOP]


def test_one_call_at_most_where_one_was_asked_for() -> None:
    stream = ended(call(), 0) + ended(call("now", "nonsense", "call_2"), 1) + completed()
    assert read([stream.encode()], parser(max_calls=1)) == [ToolCall(0, "call_1", "weather", "{}"), CALLED]


@pytest.mark.parametrize("arguments", ['{"id":', "17", '"x"', "[1]"])
def test_where_calls_are_checked_one_with_arguments_that_are_no_object_is_passed_on_at_the_end(arguments: str) -> None:
    """Some upstreams say of a call that it is whole, and then that a limit cut it off."""
    told = parser(calls_are_checked=True)
    broken = begun(call()) + pieces(arguments) + ended(call(arguments=arguments))
    second = ended(call("now", "{}", "call_2"), 1)

    assert read([(broken + second + completed()).encode()], told) == [
        ToolCall(0, "call_2", "now", "{}"),
        ToolCall(1, "call_1", "weather", arguments),
        CALLED,
    ]
    assert told.faults == {"tool_call"}
    cut = broken + incomplete("max_output_tokens")
    assert [type(item) for item in read([cut.encode()], parser(calls_are_checked=True))] == [LimitTooLow]
    at_once = completed(call(arguments=arguments))
    assert read([at_once.encode()], parser(calls_are_checked=True))[0] == ToolCall(0, "call_1", "weather", arguments)


def test_a_thought_may_begin_in_the_prompt() -> None:
    stream = says("\nhm", "</think>", "\n\n", "a").encode()
    assert read([stream], parser(thinks_first=True)) == [Reasoning("hm"), Text("a"), STOP]
    told = parser()
    read([stream], told)
    assert told.stray_end


def test_the_bill_of_a_call_that_was_cut_short_is_known() -> None:
    told = parser()
    cut = ended(call(arguments='{"city', status="incomplete")) + incomplete("max_output_tokens", usage=USAGE)
    *_, error = read([cut.encode()], told)
    assert isinstance(error, LimitTooLow)
    assert told.usage == Usage(9, 5, 4, 2)


def test_progress_is_what_brings_the_answer_on() -> None:
    """Beginnings, keep-alives and nonsense keep a connection warm, not a caller."""
    told, seen = parser(), []
    for one in (
        event("response.created", response={}), event("response.output_item.added", output_index=0, item=message()),
        ": ping\n\n", event("keepalive"), "data: {\n\n", thought("hm"),
        begun(call(), 1), pieces("{}", at=1), completed(),
    ):  # fmt: skip
        before = told.progress
        list(told.feed(one.encode()))
        seen.append((told.progress > before, told.answering, told.finished))
    assert seen == [
        *[(False, False, False)] * 5, (True, False, False),
        (True, True, False), (True, True, False), (True, True, True),
    ]  # fmt: skip


def test_what_is_thought_is_counted_beside_what_is_said() -> None:
    told = parser()
    read([(thought("hm") + words("abc", at=1) + ended(call(arguments=WEATHER), 2) + completed()).encode()], told)
    assert (told.said_chars, told.thought_chars) == (2 + 3 + len(WEATHER), 2)


# --- bounds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [b"data: " + b"a" * MAX_LINE_BYTES, b"{" + b"a" * MAX_LINE_BYTES])
def test_a_line_over_a_megabyte_is_refused(stream: bytes) -> None:
    for size in (len(stream), 65_536):
        outcome = read(in_pieces(stream, size))
        assert [type(item) for item in outcome] == [Fault]
        assert "longer than" in str(outcome[0])


def test_tool_arguments_over_a_megabyte_are_refused() -> None:
    outcome = read([begun(call()).encode(), *[pieces("x" * 1000).encode()] * (MAX_BYTES // 1000 + 1)])
    assert [type(item) for item in outcome] == [Fault]
    assert "over 1048576 bytes" in str(outcome[0])


def test_an_output_of_endless_items_is_refused() -> None:
    parts = (event("response.output_text.done", output_index=at, text="a").encode() for at in range(MAX_RUNS + 1))
    *said, error = read([b"".join(parts)])
    assert len(said) == MAX_RUNS
    assert isinstance(error, Fault)
    assert "pieces of output" in str(error)
