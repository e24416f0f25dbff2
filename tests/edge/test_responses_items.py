"""Items -> messages: what belongs together is one message, and what the line itself has said comes back as it was."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from edge.asked import to_job
from edge.dialect import Delta
from edge.history import repair
from edge.responses import ResponsesAnswer
from edge.responses_body import continued, parse
from edge.responses_items import messages_of, read
from protocol.messages import (
    Finished,
    ImagePart,
    Message,
    OpaquePart,
    PastCall,
    Reasoning,
    Refusal,
    RefusalPart,
    Text,
    TextPart,
    Thought,
    ToolCall,
    Usage,
    text_of,
)
from workers.targets.chat_request import request_body as chat_body
from workers.targets.responses_request import request_body as responses_body

USER = {"role": "user", "content": "hello"}
HELLO = Message("user", "hello")


def said(*parts: Any, **fields: Any) -> dict[str, Any]:
    """What a model has said, as its item."""
    texts = [
        {"type": "output_text", "text": part, "annotations": []} if isinstance(part, str) else part for part in parts
    ]
    return {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": texts, **fields}


def thought(id_: str = "rs_1", *summary: str, **fields: Any) -> dict[str, Any]:
    texts = [{"type": "summary_text", "text": text} for text in summary]
    return {"type": "reasoning", "id": id_, "summary": texts, **fields}


def call(id_: str, name: str = "f", arguments: str = "{}") -> dict[str, Any]:
    return {"type": "function_call", "id": f"fc_{id_}", "call_id": id_, "name": name, "arguments": arguments}


def result(id_: str, output: Any = "done") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": id_, "output": output}


def history(*items: Any) -> tuple[Message, ...]:
    return messages_of((f"input[{at}]", read(Raw(json.dumps(item).encode()), "item")) for at, item in enumerate(items))


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


# --- one item --------------------------------------------------------------------------------------

TEXT = {"type": "input_text", "text": "see"}
FILE = {"type": "input_file", "file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"}
ONE: list[tuple[Any, Message]] = [
    (USER, HELLO),
    ({"type": "message", **USER, "id": "msg_1", "status": "completed"}, HELLO),
    (user(TEXT), Message("user", "see")),
    (user({"type": "text", "text": "see"}), Message("user", "see")),
    (user(TEXT, TEXT), Message("user", (TextPart("see"), TextPart("see")))),
    (
        user(TEXT, {"type": "input_image", "image_url": "https://a/b", "detail": "low"}),
        Message("user", (TextPart("see"), ImagePart("https://a/b", "low"))),
    ),
    (
        user({"type": "input_image", "image_url": "https://a/b", "file_id": None}),
        Message("user", (ImagePart("https://a/b"),)),
    ),
    (
        user(FILE),
        Message(
            "user",
            (OpaquePart("file", b'{"file_data":"data:application/pdf;base64,AA==","filename":"a.pdf"}'),),
        ),
    ),
    (
        user({"type": "input_file", "file_id": "file-1"}),
        Message("user", (OpaquePart("file", b'{"file_id":"file-1"}'),)),
    ),
    (
        user({"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}),
        Message("user", (OpaquePart("input_audio", b'{"data": "AA==", "format": "wav"}'),)),
    ),
    ({"role": "system", "content": "be brief"}, Message("system", "be brief")),
    ({"role": "developer", "content": [TEXT]}, Message("developer", "see")),
    ({"role": "assistant", "content": "hi"}, Message("assistant", "hi")),
    (said("hi"), Message("assistant", "hi")),
    (said("a", "b"), Message("assistant", (TextPart("a"), TextPart("b")))),
    (said({"type": "input_text", "text": "hi"}, phase="final_answer"), Message("assistant", "hi")),
    (said({"type": "refusal", "refusal": "No."}), Message("assistant", refusal="No.")),
    (
        said("Well.", {"type": "refusal", "refusal": "No."}),
        Message("assistant", (TextPart("Well."), RefusalPart("No."))),
    ),
    (said(), Message("assistant", "")),
    ({"role": "assistant", "content": None}, Message("assistant", "")),
    ({"role": "assistant"}, Message("assistant", "")),
    (call("c", "f", '{"a": 1}'), Message("assistant", tool_calls=(PastCall("c", "f", '{"a": 1}'),))),
    (call("c", "f", ""), Message("assistant", tool_calls=(PastCall("c", "f", "{}"),))),
    (result("c"), Message("tool", "done", tool_call_id="c")),
    (result("c", ""), Message("tool", "", tool_call_id="c")),
    (result("c", []), Message("tool", "", tool_call_id="c")),
    (result("c", [TEXT]), Message("tool", "see", tool_call_id="c")),
    (
        result("c", [TEXT, {"type": "input_image", "image_url": "u"}]),
        Message("tool", (TextPart("see"), ImagePart("u")), tool_call_id="c"),
    ),
]


@pytest.mark.parametrize(("item", "expected"), ONE)
def test_an_item_is_a_message(item: Any, expected: Message) -> None:
    assert history(item) == (expected,)


# --- several ---------------------------------------------------------------------------------------

ONCE = PastCall("a", "f", "{}")
TWICE = (ONCE, PastCall("b", "f", "{}"))
SEVERAL: dict[str, tuple[list[Any], list[Message]]] = {
    "calls side by side are one message": (
        [USER, call("a"), call("b"), result("a"), result("b")],
        [
            HELLO,
            Message("assistant", tool_calls=TWICE),
            Message("tool", "done", tool_call_id="a"),
            Message("tool", "done", tool_call_id="b"),
        ],
    ),
    "a call after a result is another message": (
        [call("a"), result("a"), call("b"), result("b")],
        [
            Message("assistant", tool_calls=(ONCE,)),
            Message("tool", "done", tool_call_id="a"),
            Message("assistant", tool_calls=(PastCall("b", "f", "{}"),)),
            Message("tool", "done", tool_call_id="b"),
        ],
    ),
    "what was said before a call is of the same message": (
        [said("One moment."), call("a"), call("b")],
        [Message("assistant", "One moment.", tool_calls=TWICE)],
    ),
    "what is said after a call is not": (
        [call("a"), said("Hm."), said("Well.")],
        [Message("assistant", tool_calls=(ONCE,)), Message("assistant", "Hm."), Message("assistant", "Well.")],
    ),
    "a system message stays where it stands": (
        [USER, {"role": "system", "content": "now"}, USER],
        [HELLO, Message("system", "now"), HELLO],
    ),
    "a thought is of what was said next": (
        [USER, thought("rs_1", "Hm.", "So.", encrypted_content="sealed"), said("hi")],
        [HELLO, Message("assistant", "hi", thoughts=(Thought("rs_1", ("Hm.", "So."), "sealed"),))],
    ),
    "or of the calls": (
        [thought("rs_1"), thought("rs_2"), call("a"), call("b")],
        [Message("assistant", tool_calls=TWICE, thoughts=(Thought("rs_1"), Thought("rs_2")))],
    ),
    "one between two calls begins another message": (
        [thought("rs_1"), call("a"), thought("rs_2"), call("b")],
        [
            Message("assistant", tool_calls=(ONCE,), thoughts=(Thought("rs_1"),)),
            Message("assistant", tool_calls=(PastCall("b", "f", "{}"),), thoughts=(Thought("rs_2"),)),
        ],
    ),
    "one that led to nothing is dropped": (
        [thought("rs_1"), USER, said("hi"), thought("rs_2"), result("a"), call("b"), thought("rs_3")],
        [
            HELLO,
            Message("assistant", "hi"),
            Message("tool", "done", tool_call_id="a"),
            Message("assistant", tool_calls=(PastCall("b", "f", "{}"),)),
        ],
    ),
    "one in a form that nobody knows is none": (
        [{"type": "reasoning", "id": 5, "summary": "so", "content": {}}, said("hi")],
        [Message("assistant", "hi")],
    ),
    "a reference says nothing by itself": (
        [USER, {"type": "item_reference", "id": "msg_9"}, {"type": None, "id": "fc_9"}],
        [HELLO],
    ),
}


@pytest.mark.parametrize(("items", "expected"), SEVERAL.values(), ids=SEVERAL.keys())
def test_items_are_messages(items: list[Any], expected: list[Message]) -> None:
    assert history(*items) == tuple(expected)


def test_calls_whose_thoughts_stand_between_them_are_put_right_with_their_results() -> None:
    told = history(thought("rs_1"), call("a"), thought("rs_2"), call("b"), result("a"), result("b"))

    assert [message.role for message in repair(told).messages] == ["assistant", "tool", "assistant", "tool"]


# --- what clients send -----------------------------------------------------------------------------

END_CALL = {"type": "function", "name": "end_call", "parameters": {"type": "object", "properties": {}}}
BODIES: dict[str, tuple[dict[str, Any], list[Message]]] = {
    "ElevenLabs": (
        {
            "model": "acme-voice-1",
            "stream": True,
            "instructions": "be brief",
            "input": [USER],
            "temperature": 0.0,
            "max_output_tokens": 800,
            "reasoning": {"effort": "low", "summary": "auto"},
            "tools": [END_CALL],
            "elevenlabs_extra_body": {"conversation_id": "conv_1"},
        },
        [Message("system", "be brief"), HELLO],
    ),
    "LiveKit": (
        {
            "model": "acme-voice-1",
            "input": [
                {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "be brief"}]},
                {"role": "user", "content": [{"type": "input_text", "text": "hello"}]},
                {"role": "assistant", "content": [{"type": "output_text", "text": "hi"}]},
                call("a"),
                result("a", '{"ok": true}'),
            ],
            "tools": [{**END_CALL, "description": "", "strict": True}],
            "stream": True,
            "parallel_tool_calls": True,
        },
        [
            Message("system", "be brief"),
            HELLO,
            Message("assistant", "hi", tool_calls=(ONCE,)),
            Message("tool", '{"ok": true}', tool_call_id="a"),
        ],
    ),
    "LiveKit, going on": (
        {"model": "m", "input": [USER], "tools": [], "previous_response_id": "resp_1", "stream": True},
        [HELLO],
    ),
    "Pipecat": (
        {
            "model": "m",
            "stream": True,
            "store": False,
            "instructions": "be brief",
            "input": [{"role": "developer", "content": "greet the caller"}, USER],
            "include": ["reasoning.encrypted_content"],
            "reasoning": {"effort": "none"},
            "service_tier": "auto",
        },
        [Message("system", "be brief"), Message("developer", "greet the caller"), HELLO],
    ),
    "AI SDK": (
        {
            "model": "m",
            "input": [
                {"role": "developer", "content": "be brief"},
                {"role": "user", "content": [{"type": "input_text", "text": "hello"}]},
                {"type": "item_reference", "id": "rs_0_0"},
                {"type": "item_reference", "id": "fc_0_1"},
                result("a"),
            ],
            "tools": [{**END_CALL, "strict": False}],
            "tool_choice": "auto",
        },
        [Message("developer", "be brief"), HELLO, Message("tool", "done", tool_call_id="a")],
    ),
    "Agents SDK": (
        {
            "model": "m",
            "include": [],
            "input": [
                {**USER, "type": "message"},
                {**thought("rs_1", "Hm.", content=[], status=None), "encrypted_content": "sealed"},
                {**call("a"), "status": "completed"},
                {**result("a", "Oslo"), "id": None},
                said("It rains."),
                {"content": "and now?", "role": "user"},
            ],
            "instructions": "be brief",
            "prompt": None,
            "conversation": None,
            "tools": [{**END_CALL, "strict": True, "description": "ends the call"}],
            "text": {"format": {"type": "text"}},
            "truncation": None,
        },
        [
            Message("system", "be brief"),
            HELLO,
            Message("assistant", tool_calls=(ONCE,), thoughts=(Thought("rs_1", ("Hm.",), "sealed"),)),
            Message("tool", "Oslo", tool_call_id="a"),
            Message("assistant", "It rains."),
            Message("user", "and now?"),
        ],
    ),
}


@pytest.mark.parametrize(("body", "expected"), BODIES.values(), ids=BODIES.keys())
def test_what_real_clients_send_is_understood(body: dict[str, Any], expected: list[Message]) -> None:
    request = parse(json.dumps(body).encode())

    assert request.messages == tuple(expected)
    assert len(request.items) == request.own == len(body["input"])


# --- what the line itself has said -----------------------------------------------------------------

words = st.text(min_size=1, max_size=8)
spoken = st.lists(
    st.builds(Text, words)
    | st.builds(Refusal, words)
    | st.builds(Reasoning, words, st.sampled_from([None, "rs_up", "rs_other"]), st.sampled_from([None, "sealed"])),
    max_size=8,
)
called = st.lists(st.tuples(words, st.sampled_from(["{}", '{"a": "b"}'])), max_size=3)


@settings(deadline=None)
@given(before=spoken, calls=called, streamed=st.booleans(), reason=st.sampled_from(["stop", "length"]))
def test_what_was_answered_is_understood_when_it_comes_back(
    before: list[Delta], calls: list[tuple[str, str]], streamed: bool, reason: Any
) -> None:
    """As the past of the next turn, or sent back item by item."""
    frames = [*before, *(ToolCall(at, f"call_{at}", name, text) for at, (name, text) in enumerate(calls))]
    output = answered(frames, Finished(reason), streamed=streamed)

    request = parse(json.dumps({"model": "m", "input": "next", "previous_response_id": "resp_1"}).encode())
    after = continued(request, [Raw(json.dumps(item).encode()) for item in output], {})
    sent_back = parse(json.dumps({"model": "m", "input": [*output, {"role": "user", "content": "next"}]}).encode())

    assert after.messages == sent_back.messages
    assert after.items[:-1] == tuple(Raw(json.dumps(item).encode()) for item in output)
    *past, last = after.messages
    assert last == Message("user", "next")
    assert {message.role for message in past} <= {"assistant"}
    assert "".join(map(heard_in, past)) == "".join(frame.text for frame in before if isinstance(frame, Text | Refusal))
    assert [told for message in past for told in message.tool_calls] == [
        PastCall(f"call_{at}", name, text) for at, (name, text) in enumerate(calls)
    ]


def answered(frames: list[Delta], last: Finished, *, streamed: bool) -> list[dict[str, Any]]:
    """The output of the response that these frames make."""
    answer = ResponsesAnswer(turn_id="turn_0a", model="m", created=0, echoed={}, store=True, clock=lambda: 0.0)
    if streamed:
        for frame in frames:
            answer.delta(frame)
    response = answer.whole([] if streamed else frames, last, Usage())
    output: list[dict[str, Any]] = json.loads(response)["output"]
    return output


def heard_in(message: Message) -> str:
    refusals = [part.refusal for part in message.content or () if isinstance(part, RefusalPart)]
    if refusals:
        return "".join(
            part.refusal if isinstance(part, RefusalPart) else part.text if isinstance(part, TextPart) else ""
            for part in message.content or ()
            if not isinstance(part, str)
        )
    return text_of(message) + (message.refusal or "")


def test_a_thought_comes_back_with_the_words_that_followed_it() -> None:
    frames: list[Delta] = [Reasoning("Hm.", "rs_up", "sealed"), Text("It rains."), ToolCall(0, "call_1", "f", "{}")]
    (message,) = history(*answered(frames, Finished("tool_calls"), streamed=True))

    assert (message.content, [call.id for call in message.tool_calls]) == ("It rains.", ["call_1"])
    (one,) = message.thoughts
    assert (one.summary, one.encrypted) == (("Hm.",), "sealed")


def sent(write: Any, *items: Any) -> dict[str, Any]:
    """What an upstream is sent for these items."""
    request = parse(json.dumps({"model": "m", "input": items}).encode())
    job = to_job(request, turn_id="t", tenant="t", call_id=None, budget_ms=1, total_ms=1, on_lost="error")
    body: dict[str, Any] = json.loads(write(job, model="m"))
    return body


def test_what_comes_back_reaches_an_upstream_of_the_other_api() -> None:
    """It knows no thoughts, and takes a string where only a string was said."""
    items = [USER, thought("rs_1", "Hm."), said("One moment."), call("a"), result("a", [TEXT])]

    assert sent(chat_body, *items)["messages"] == [
        {"role": "user", "content": "hello"},
        {
            "role": "assistant",
            "content": "One moment.",
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "see", "tool_call_id": "a"},
    ]


def test_what_an_upstream_of_the_same_api_is_sent_says_the_same() -> None:
    image = {"type": "input_image", "image_url": "u", "detail": "low"}
    items = [
        user(TEXT, image, FILE),
        said("One moment.", {"type": "refusal", "refusal": "No."}),
        call("a"),
        result("a"),
    ]

    assert history(*sent(responses_body, *items)["input"]) == history(*items)
