"""/v1/chat/completions, frames -> SSE bytes or one JSON body: the contract's forms, byte for byte."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.chat import ChatAnswer
from edge.dialect import Delta, Dialect
from protocol import errors
from protocol.messages import Finished, FinishReason, Reasoning, Refusal, Text, TokenLogprob, ToolCall, Usage

USAGE = Usage(prompt=9, completion=2, cached=4, reasoning=1)
COSTS = (
    '{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,'
    '"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0},'
    '"completion_tokens_details":{"reasoning_tokens":1,"audio_tokens":0,'
    '"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}'
)
OSLO = ToolCall(0, "call_ab", "get_weather", '{"city":"Oslo"}')
NOW = ToolCall(1, "call_cd", "get_time", "{}")


def answer(*, include_usage: bool = False, legacy: bool = False) -> ChatAnswer:
    return ChatAnswer(
        turn_id="req_9f01", model='front "desk"', created=1795228265, include_usage=include_usage, legacy=legacy
    )


def transcript(dialect: Dialect, frames: Sequence[Delta], reason: FinishReason = "stop", usage: Usage = USAGE) -> bytes:
    deltas = [dialect.delta(frame) for frame in frames]
    return b"".join([dialect.opening(), *deltas, dialect.finish(Finished(reason), usage=usage)])


def chunk(choices: str, usage: str | None = None) -> str:
    tail = f',"usage":{usage}' if usage else ""
    return (
        'data: {"id":"chatcmpl-9f01","object":"chat.completion.chunk","created":1795228265,'
        '"model":"front \\"desk\\"","service_tier":"default","system_fingerprint":"fp_trunkline",'
        f'"choices":[{choices}]{tail}}}\n\n'
    )


def choice(delta: str, finish_reason: str = "null", logprobs: str = "null") -> str:
    return f'{{"index":0,"delta":{delta},"logprobs":{logprobs},"finish_reason":{finish_reason}}}'


# --- golden transcripts ----------------------------------------------------------------------------

ROLE = '{"role":"assistant","content":"","refusal":null}'
NULL_ROLE = '{"role":"assistant","content":null,"refusal":null}'
CALL_0 = (
    '"tool_calls":[{"index":0,"id":"call_ab","type":"function",'
    '"function":{"name":"get_weather","arguments":"{\\"city\\":\\"Oslo\\"}"}}]'
)
CALL_1 = '{"tool_calls":[{"index":1,"id":"call_cd","type":"function","function":{"name":"get_time","arguments":"{}"}}]}'

GOLDEN: dict[str, tuple[Sequence[Delta], FinishReason, list[str]]] = {
    "text": (
        [Text("Hel"), Text("lo.")],
        "stop",
        [choice(ROLE), choice('{"content":"Hel"}'), choice('{"content":"lo."}'), choice("{}", '"stop"')],
    ),
    "text that was cut by its limit": (
        [Text("Hel")],
        "length",
        [choice(ROLE), choice('{"content":"Hel"}'), choice("{}", '"length"')],
    ),
    "characters that JSON and SSE care about": (
        [Text('"\\\n\r\x00\u2028'), Text("é😀</script>")],
        "stop",
        [
            choice(ROLE),
            choice('{"content":"\\"\\\\\\n\\r\\u0000\u2028"}'),
            choice('{"content":"é😀</script>"}'),
            choice("{}", '"stop"'),
        ],
    ),
    "tool calls": (
        [OSLO, NOW],
        "tool_calls",
        [
            choice(f'{{"role":"assistant","content":null,{CALL_0},"refusal":null}}'),
            choice(CALL_1),
            choice("{}", '"tool_calls"'),
        ],
    ),
    "text, then a tool call; the target says stop": (
        [Text("One moment."), OSLO],
        "stop",
        [
            choice(ROLE),
            choice('{"content":"One moment."}'),
            choice(f"{{{CALL_0}}}"),
            choice("{}", '"tool_calls"'),
        ],
    ),
    "a refusal": (
        [Refusal("I"), Refusal(" can't.")],
        "stop",
        [choice(NULL_ROLE), choice('{"refusal":"I"}'), choice('{"refusal":" can\'t."}'), choice("{}", '"stop"')],
    ),
    "reasoning first": (
        [Reasoning("hm", "rs_1", "opaque"), Reasoning("", "rs_1", "opaque"), Text("Hi")],
        "stop",
        [choice(ROLE), choice('{"reasoning_content":"hm"}'), choice('{"content":"Hi"}'), choice("{}", '"stop"')],
    ),
    "logprobs": (
        [Text("Hi", (TokenLogprob("Hi", -0.5, (72, 105), (TokenLogprob("Ho", -1.0),)),)), Text("!")],
        "stop",
        [
            choice(ROLE),
            choice(
                '{"content":"Hi"}',
                logprobs='{"content":[{"token":"Hi","logprob":-0.5,"bytes":[72,105],'
                '"top_logprobs":[{"token":"Ho","logprob":-1.0,"bytes":null}]}],"refusal":null}',
            ),
            choice('{"content":"!"}'),
            choice("{}", '"stop"'),
        ],
    ),
    "nothing at all": ([], "stop", [choice(ROLE), choice("{}", '"stop"')]),
    "only reasoning that is not shown": (
        [Reasoning("", "rs_1", "opaque")],
        "stop",
        [choice(ROLE), choice("{}", '"stop"')],
    ),
    "a target that says tool_calls and made none": (
        [Text("Hi")],
        "tool_calls",
        [choice(ROLE), choice('{"content":"Hi"}'), choice("{}", '"stop"')],
    ),
}


@pytest.mark.parametrize(("frames", "reason", "choices"), GOLDEN.values(), ids=GOLDEN.keys())
def test_a_stream_is_written_as_the_contract_has_it(
    frames: Sequence[Delta], reason: FinishReason, choices: list[str]
) -> None:
    expected = "".join(chunk(entry) for entry in choices) + "data: [DONE]\n\n"

    assert transcript(answer(), frames, reason).decode() == expected


@pytest.mark.parametrize(("frames", "reason", "choices"), GOLDEN.values(), ids=GOLDEN.keys())
def test_with_usage_every_chunk_says_null_and_one_more_says_it(
    frames: Sequence[Delta], reason: FinishReason, choices: list[str]
) -> None:
    expected = [*(chunk(entry, "null") for entry in choices), chunk("", COSTS), "data: [DONE]\n\n"]

    assert transcript(answer(include_usage=True), frames, reason).decode() == "".join(expected)


def test_the_role_travels_with_the_first_content() -> None:
    """Sent early it would stop the clocks of clients that time the first chunk."""
    dialect = answer()

    assert dialect.opening() == b""
    assert dialect.delta(Reasoning("")) == b""
    assert dialect.delta(Text("Hi")).decode() == chunk(choice(ROLE)) + chunk(choice('{"content":"Hi"}'))
    assert dialect.delta(Text("!")).decode() == chunk(choice('{"content":"!"}'))


def test_a_legacy_answer_calls_one_function() -> None:
    call = '"function_call":{"name":"get_weather","arguments":"{\\"city\\":\\"Oslo\\"}"}'
    expected = [
        chunk(choice(f'{{"role":"assistant","content":null,{call},"refusal":null}}')),
        chunk(choice("{}", '"function_call"')),
        "data: [DONE]\n\n",
    ]
    assert transcript(answer(legacy=True), [OSLO, NOW], "tool_calls").decode() == "".join(expected)


def test_a_legacy_answer_may_speak_before_its_call() -> None:
    written = transcript(answer(legacy=True), [Text("Hi"), OSLO, NOW], "tool_calls")

    assert [list(delta) for delta in deltas(written)] == [
        ["role", "content", "refusal"],
        ["content"],
        ["function_call"],
        [],
    ]


def test_an_error_ends_a_stream_without_the_end_mark() -> None:
    dialect = answer(include_usage=True)
    dialect.delta(Text("Hel"))

    assert dialect.error(errors.WorkerLost("the worker is gone: ask again")).decode() == (
        'data: {"error":{"message":"the worker is gone: ask again","type":"server_error","param":null,'
        '"code":"worker_lost"}}\n\n'
    )


BODIES: dict[str, tuple[Sequence[Delta], FinishReason, str, str]] = {
    "text": (
        [Text("Hello"), Text(".")],
        "stop",
        '{"role":"assistant","content":"Hello.","refusal":null,"annotations":[]}',
        '"logprobs":null,"finish_reason":"stop"',
    ),
    "nothing": (
        [],
        "content_filter",
        '{"role":"assistant","content":"","refusal":null,"annotations":[]}',
        '"logprobs":null,"finish_reason":"content_filter"',
    ),
    "a tool call": (
        [OSLO],
        "length",
        (
            '{"role":"assistant","content":null,"refusal":null,"annotations":[],"tool_calls":[{"id":"call_ab",'
            '"type":"function","function":{"name":"get_weather","arguments":"{\\"city\\":\\"Oslo\\"}"}}]}'
        ),
        '"logprobs":null,"finish_reason":"tool_calls"',
    ),
    "a refusal": (
        [Refusal("I can't.")],
        "stop",
        '{"role":"assistant","content":null,"refusal":"I can\'t.","annotations":[]}',
        '"logprobs":null,"finish_reason":"stop"',
    ),
    "reasoning": (
        [Reasoning("hm"), Text("Hi")],
        "stop",
        '{"role":"assistant","content":"Hi","refusal":null,"annotations":[],"reasoning_content":"hm"}',
        '"logprobs":null,"finish_reason":"stop"',
    ),
    "logprobs": (
        [Text("a", (TokenLogprob("a", -0.5, (97,)),)), Text("b", (TokenLogprob("b", -1.5, (98,)),))],
        "stop",
        '{"role":"assistant","content":"ab","refusal":null,"annotations":[]}',
        (
            '"logprobs":{"content":[{"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[]},'
            '{"token":"b","logprob":-1.5,"bytes":[98],"top_logprobs":[]}],"refusal":null},"finish_reason":"stop"'
        ),
    ),
}


@pytest.mark.parametrize(("frames", "reason", "message", "rest"), BODIES.values(), ids=BODIES.keys())
def test_a_body_is_written_as_the_contract_has_it(
    frames: Sequence[Delta], reason: FinishReason, message: str, rest: str
) -> None:
    assert answer().body(frames, Finished(reason), usage=USAGE).decode() == (
        '{"id":"chatcmpl-9f01","object":"chat.completion","created":1795228265,"model":"front \\"desk\\"",'
        f'"choices":[{{"index":0,"message":{message},{rest}}}],"usage":{COSTS},'
        '"service_tier":"default","system_fingerprint":"fp_trunkline"}'
    )


def test_a_legacy_body_calls_one_function() -> None:
    body = json.loads(answer(legacy=True).body([OSLO, NOW], Finished("tool_calls"), usage=USAGE))

    assert body["choices"][0]["message"]["function_call"] == {
        "name": "get_weather",
        "arguments": '{"city":"Oslo"}',
    }
    assert "tool_calls" not in body["choices"][0]["message"]
    assert body["choices"][0]["finish_reason"] == "function_call"


def test_a_body_may_be_made_again_after_another_claim() -> None:
    dialect = answer()
    dialect.body([OSLO], Finished("tool_calls"), usage=USAGE)

    assert json.loads(dialect.body([Text("Hi")], Finished("stop"), usage=USAGE))["choices"][0]["message"] == {
        "role": "assistant",
        "content": "Hi",
        "refusal": None,
        "annotations": [],
    }


# --- every answer that the lifecycle allows --------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
logprobs = st.none() | st.just((TokenLogprob("t", -1.0, (116,), (TokenLogprob("u", -2.0),)),))
spoken: st.SearchStrategy[Delta] = st.one_of(
    st.builds(Text, texts, logprobs), st.builds(Refusal, texts), st.builds(Reasoning, texts | st.just(""))
)
calls = st.integers(0, 3).map(lambda count: [ToolCall(n, f"call_{n}", f"f{n}", "{}") for n in range(count)])
answers: st.SearchStrategy[list[Delta]] = st.builds(lambda said, called: [*said, *called], st.lists(spoken), calls)
reasons: st.SearchStrategy[FinishReason] = st.sampled_from(["stop", "length", "tool_calls", "content_filter"])
usages = st.builds(Usage, *[st.integers(0, 2**40)] * 4)


def chunks(written: bytes) -> list[Any]:
    *events, end, rest = written.decode().split("\n\n")
    assert (end, rest) == ("data: [DONE]", "")
    assert all(event.startswith("data: {") and "\n" not in event for event in events)
    return [json.loads(event.removeprefix("data: ")) for event in events]


def deltas(written: bytes) -> list[Any]:
    return [entry["delta"] for piece in chunks(written) for entry in piece["choices"]]


def joined(pieces: list[Any], key: str) -> Any:
    """The strings of `key`, put together; None where none came."""
    found = [piece["delta"][key] for piece in pieces if piece["delta"].get(key) is not None]
    return "".join(found) if found else None


@settings(deadline=None)
@given(frames=answers, reason=reasons, usage=usages)
def test_a_stream_put_together_is_the_body(frames: list[Delta], reason: FinishReason, usage: Usage) -> None:
    whole = json.loads(answer().body(frames, Finished(reason), usage=usage))
    *parts, costs = chunks(transcript(answer(include_usage=True), frames, reason, usage))
    pieces = [part["choices"][0] for part in parts]
    message = whole["choices"][0]["message"]
    called = [call for piece in pieces for call in piece["delta"].get("tool_calls", [])]

    assert (joined(pieces, "content") or None) == (message["content"] or None)
    assert joined(pieces, "refusal") == message["refusal"]
    assert joined(pieces, "reasoning_content") == message.get("reasoning_content")
    assert [call.pop("index") for call in called] == list(range(len(called)))
    assert called == message.get("tool_calls", [])
    assert pieces[-1]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert costs["usage"] == whole["usage"]
    streamed = [entry for piece in pieces for entry in (piece["logprobs"] or {"content": []})["content"]]
    assert streamed == (whole["choices"][0]["logprobs"] or {"content": []})["content"]


@settings(deadline=None)
@given(frames=answers, reason=reasons, usage=usages, include_usage=st.booleans())
def test_every_stream_keeps_the_rules(
    frames: list[Delta], reason: FinishReason, usage: Usage, include_usage: bool
) -> None:
    parts = chunks(transcript(answer(include_usage=include_usage), frames, reason, usage))
    *pieces, last = [part["choices"][0] for part in parts if part["choices"]]

    assert all(part[key] == parts[0][key] for part in parts for key in ("id", "created", "model", "system_fingerprint"))
    assert ["role" in piece["delta"] for piece in [*pieces, last]] == [True, *[False] * len(pieces)]
    assert all(piece["finish_reason"] is None and piece["delta"] for piece in pieces)
    assert last["delta"] == {}
    assert last["finish_reason"] is not None
    assert (last["finish_reason"] == "tool_calls") == any(isinstance(frame, ToolCall) for frame in frames)
    assert all(piece["delta"].get("content") is None for piece in pieces if "tool_calls" in piece["delta"])
    assert all(len(piece["delta"].get("tool_calls", [0])) == 1 for piece in pieces)
    assert [part["choices"] == [] for part in parts if part.get("usage")] == [True] * include_usage
    assert bool(parts[-1].get("usage")) == include_usage
    assert all(("usage" in part) == include_usage for part in parts)
