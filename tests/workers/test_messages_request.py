"""What an upstream of Anthropic's dialect is sent, what it never is, and what is refused before anything is sent."""

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from edge.chat_body import parse
from edge.history import repair
from protocol.errors import ServiceError, UnsupportedParameter, UnsupportedValue
from protocol.messages import (
    Finished,
    Format,
    ImagePart,
    Message,
    OpaquePart,
    PastCall,
    RefusalPart,
    Sampling,
    TextPart,
    Thought,
    Tool,
    ToolCall,
    ToolChoice,
)
from protocol.settings import Target
from tests.platform_requests import REQUESTS
from tests.workers.target_jobs import job, user
from workers.targets.continuing import NUDGE
from workers.targets.messages import MESSAGES
from workers.targets.messages_history import SILENCE
from workers.targets.messages_request import BY_SCHEMA, JSON, MAX_TOKENS, request_body

HELLO = {"role": "user", "content": "hello there"}
PLAIN = {"model": "up", "max_tokens": MAX_TOKENS, "messages": [HELLO], "stream": True}
CLAUDE = "claude-haiku-4-5"
PIXEL = base64.b64encode(b"pixel").decode()


def sent(told: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """The body for a job with these fields; `told` is about the target."""
    body: dict[str, Any] = json.loads(request_body(job(**fields), **{"model": "up", **(told or {})}))
    return body


def model_says(text: str | None = None, *calls: PastCall, **fields: Any) -> Message:
    return Message("assistant", text, tool_calls=calls, **fields)


def result(text: str, id_: str) -> Message:
    return Message("tool", text, tool_call_id=id_)


def used(id_: str, name: str = "f", **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id_, "name": name, "input": given}


def resulted(id_: str, *content: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id_} | ({"content": content[0]} if content else {})


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def test_a_plain_turn_sends_nothing_but_what_it_needs() -> None:
    assert sent() == PLAIN


def test_what_is_the_callers_or_ours_stays_here() -> None:
    ours = sent(tenant="acme", call_id="call-7", metadata={"echo.rate": "1", "secret": "x"}, on_lost="continue")
    kept = sent(extras={"elevenlabs_extra_body": b'{"a":1}', "model": b"{}"}, repairs=("orphan_result",))
    assert ours == kept == PLAIN


def test_thoughts_and_what_is_asked_of_them_are_for_another_dialect() -> None:
    thinks = Message("assistant", "b", thoughts=(Thought("rs_1", ("hm",), "trunkline1.own.rs_1.gA"),))
    wishes = Sampling(reasoning_summary="auto", encrypted_reasoning=True, truncation="auto")
    history = (Message("user", "a"), thinks, Message("user", "c"))
    plain = tuple(replace(message, thoughts=()) for message in history)
    assert sent(messages=history, sampling=wishes) == sent(messages=plain)


# --- the history -----------------------------------------------------------------------------------

SAYS_NOTHING = {"role": "user", "content": SILENCE}
HI = {"role": "assistant", "content": "Hi."}

HISTORIES: dict[str, tuple[list[Message], str | None, list[Any]]] = {
    "system messages at the beginning": (
        [Message("system", "Be brief."), Message("developer", (TextPart("Be kind."),)), user("a")],
        "Be brief.\n\nBe kind.",
        [{"role": "user", "content": "a"}],
    ),
    "a system message in the middle": (
        [user("a"), model_says("Hi."), Message("system", "Hurry."), user("b")],
        None,
        [
            {"role": "user", "content": "a"},
            HI,
            {"role": "user", "content": [text("<system>\nHurry.\n</system>"), text("b")]},
        ],
    ),
    "a system message at the end": (
        [user("a"), model_says("Hi."), Message("system", "Hurry.")],
        None,
        [{"role": "user", "content": "a"}, HI, {"role": "user", "content": "<system>\nHurry.\n</system>"}],
    ),
    "blank system messages": (
        [Message("system", " "), user("a"), Message("system", "")],
        None,
        [{"role": "user", "content": "a"}],
    ),
    "nobody has spoken": ([Message("system", "Greet.")], "Greet.", [SAYS_NOTHING]),
    "the model spoke first": (
        [Message("system", "s"), model_says("Hi."), user("a")],
        "s",
        [SAYS_NOTHING, HI, {"role": "user", "content": "a"}],
    ),
    "the model spoke last": (
        [user("a"), model_says("Hi.")],
        None,
        [{"role": "user", "content": "a"}, HI, SAYS_NOTHING],
    ),
    "neighbours": (
        [user("a"), user("b"), model_says("Hi."), model_says("There."), user("c")],
        None,
        [
            {"role": "user", "content": [text("a"), text("b")]},
            {"role": "assistant", "content": [text("Hi."), text("There.")]},
            {"role": "user", "content": "c"},
        ],
    ),
    "a silent turn": (
        [user("a"), model_says("Hi."), user(" "), model_says("Hi."), user("")],
        None,
        [{"role": "user", "content": "a"}, HI, SAYS_NOTHING, HI, SAYS_NOTHING],
    ),
    "a silent turn beside another": ([user(""), user("a")], None, [{"role": "user", "content": "a"}]),
    "a blank answer": (
        [user("a"), model_says(" \n"), user("b")],
        None,
        [{"role": "user", "content": [text("a"), text("b")]}],
    ),
    "a refusal": (
        [user("a"), model_says(None, refusal="No."), user("b")],
        None,
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "No."}, {"role": "user", "content": "b"}],
    ),
    "refusals in parts": (
        [user("a"), Message("assistant", (TextPart("Well."), RefusalPart("No."))), user("b")],
        None,
        [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [text("Well."), text("No.")]},
            {"role": "user", "content": "b"},
        ],
    ),
    "a name": ([Message("user", "a", "Ann")], None, [{"role": "user", "content": "a"}]),
    "blank parts": (
        [Message("user", (TextPart(""), TextPart("a"), TextPart(" ")))],
        None,
        [{"role": "user", "content": "a"}],
    ),
    "a call and its result": (
        [user("a"), model_says("One moment.", PastCall("c", "f", '{"x": 1}')), result("7", "c"), user("b")],
        None,
        [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [text("One moment."), used("c", x=1)]},
            {"role": "user", "content": [resulted("c", "7"), text("b")]},
        ],
    ),
    "parallel calls": (
        [
            user("a"),
            model_says(None, PastCall("c", "f", "{}"), PastCall("d", "g", "{}")),
            result("7", "d"),
            result("", "c"),
        ],
        None,
        [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [used("c"), used("d", "g")]},
            {"role": "user", "content": [resulted("d", "7"), resulted("c")]},
        ],
    ),
    "arguments that are no object": (
        [
            *(
                user("a"),
                model_says(None, PastCall("c", "f", "[1]"), PastCall("d", "f", ""), PastCall("e", "f", '{"x')),
            ),
            *(result("1", "c"), result("2", "d"), result("3", "e")),
        ],
        None,
        [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [used("c", arguments="[1]"), used("d"), used("e", arguments='{"x')]},
            {"role": "user", "content": [resulted("c", "1"), resulted("d", "2"), resulted("e", "3")]},
        ],
    ),
    "an id that comes again": (
        [
            *(user("a"), model_says(None, PastCall("c", "f", "{}")), result("1", "c")),
            *(model_says(None, PastCall("c", "f", "{}")), result("2", "c")),
        ],
        None,
        [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [used("c")]},
            {"role": "user", "content": [resulted("c", "1")]},
            {"role": "assistant", "content": [used("c_2")]},
            {"role": "user", "content": [resulted("c_2", "2")]},
        ],
    ),
}


@pytest.mark.parametrize(("messages", "system", "wire"), HISTORIES.values(), ids=HISTORIES)
def test_a_history_is_said_in_turns(messages: list[Message], system: str | None, wire: list[Any]) -> None:
    body = sent(messages=tuple(messages))
    assert (body.get("system"), body["messages"]) == (system, wire)


def test_ids_and_names_have_the_characters_that_the_api_takes() -> None:
    call = PastCall("call:1/ü", "my.tool", "{}")
    _, asked, answered = sent(messages=(user("a"), model_says(None, call), result("1", "call:1/ü")))["messages"]
    (block,) = asked["content"]
    assert re.fullmatch(r"[a-zA-Z0-9_-]+", block["id"])
    assert block["name"] == "my_tool"
    assert answered["content"][0]["tool_use_id"] == block["id"]


def test_a_history_with_calls_brings_the_tools_that_were_called() -> None:
    """Without any the API refuses it; they are there to be read, not to be called."""
    history = (user("a"), model_says(None, PastCall("c", "f", "{}")), result("1", "c"))
    body = sent(messages=history)
    assert (body["tools"], body["tool_choice"]) == (
        [{"name": "f", "input_schema": {"type": "object"}}],
        {"type": "none"},
    )
    assert [tool["name"] for tool in sent(messages=history, tools=(Tool("g"),))["tools"]] == ["g"]


PARTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "an image by URL": (
        ImagePart("https://x/y.png", "low"),
        {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
    ),
    "an image": (
        ImagePart(f"data:image/jpg;base64,{PIXEL}"),
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": PIXEL}},
    ),
    "an image that is not in base64": (
        ImagePart("data:image/webp,pi%78el"),
        {"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": PIXEL}},
    ),
    "a file": (
        OpaquePart(
            "file", json.dumps({"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PIXEL}"}).encode()
        ),
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": PIXEL},
            "title": "a.pdf",
        },
    ),
    "a file by its URL": (
        OpaquePart("file", b'{"file_url":"https://y/a.pdf"}'),
        {"type": "document", "source": {"type": "url", "url": "https://y/a.pdf"}},
    ),
}


@pytest.mark.parametrize(("part", "wire"), PARTS.values(), ids=PARTS)
def test_parts_are_said_as_blocks(part: Any, wire: dict[str, Any]) -> None:
    (message,) = sent(messages=(Message("user", (TextPart("look"), part)),))["messages"]
    assert message["content"] == [text("look"), wire]


NO_PARTS: dict[str, tuple[Message, str]] = {
    "audio": (Message("user", (OpaquePart("input_audio", b"{}"),)), "messages[1].content[0].type"),
    "an image of another kind": (
        Message("user", (TextPart("a"), ImagePart("data:image/tiff;base64,AA"))),
        "messages[1].content[1].image_url.url",
    ),
    "an image that is no URL": (Message("user", (ImagePart("file:///x.png"),)), "messages[1].content[0].image_url.url"),
    "an image of the model's": (Message("assistant", (ImagePart("https://x"),)), "messages[1].content[0].type"),
    "a file of OpenAI's": (
        Message("user", (OpaquePart("file", b'{"file_id":"f"}'),)),
        "messages[1].content[0].file.file_data",
    ),
    "a file that is none": (
        Message("user", (OpaquePart("file", b'{"file_data":7}'),)),
        "messages[1].content[0].file.file_data",
    ),
}


@pytest.mark.parametrize(("message", "param"), NO_PARTS.values(), ids=NO_PARTS)
def test_a_part_that_cannot_be_said_is_refused(message: Message, param: str) -> None:
    with pytest.raises(UnsupportedValue) as raised:
        sent(messages=(user("a"), message))
    assert raised.value.param == param


# --- continuations ---------------------------------------------------------------------------------


def test_a_continuation_by_prefill_ends_with_the_half_answer() -> None:
    told = sent({"prefill": True}, said="Once upon \n")["messages"]
    assert told == [HELLO, {"role": "assistant", "content": "Once upon"}], "white space at its end is refused there"


def test_a_continuation_without_prefill_asks_for_the_rest() -> None:
    told = sent(said="Once upon ")["messages"]
    assert told == [HELLO, {"role": "assistant", "content": "Once upon "}, {"role": "user", "content": NUDGE}]


def test_a_prefill_is_no_beginning_of_json_and_no_thought() -> None:
    """The API refuses both together: the model is asked for the rest instead, or does not think."""
    form = Format("json_schema", "a", b"{}", strict=True)
    assert sent({"prefill": True}, said="{", response_format=form)["messages"][-1]["content"] == NUDGE
    body = sent({"prefill": True}, said="Once", sampling=Sampling(reasoning_effort="low"))
    assert (body["output_config"], "thinking" in body) == ({"effort": "low"}, False)


def test_a_history_that_ends_with_the_model_is_gone_on_with_by_prefill_alone() -> None:
    history = (user("a"), model_says("Hi, "))
    assert sent({"prefill": True}, messages=history)["messages"][-1] == {"role": "assistant", "content": "Hi,"}
    assert sent(messages=history)["messages"][-1] == SAYS_NOTHING


# --- tools -----------------------------------------------------------------------------------------

SCHEMA = b'{"type" : "object",  "properties": {"n": {"minimum": 1.0, "x": 1e400}}}'
A, B = Tool("a", "does a", SCHEMA, True), Tool("b", strict=False)
EMPTY = {"type": "object", "properties": {}, "additionalProperties": False}
WIRE_A = {"name": "a", "description": "does a", "input_schema": json.loads(SCHEMA), "strict": True}
WIRE_B = {"name": "b", "input_schema": EMPTY}

ALONE = {"disable_parallel_tool_use": True}
CHOICES: dict[str, tuple[ToolChoice | None, bool | None, Any, list[Any]]] = {
    "none given": (None, None, None, [WIRE_A, WIRE_B]),
    "auto": (ToolChoice("auto"), True, None, [WIRE_A, WIRE_B]),
    "one at a time": (None, False, {"type": "auto", **ALONE}, [WIRE_A, WIRE_B]),
    "none": (ToolChoice("none"), False, {"type": "none"}, [WIRE_A, WIRE_B]),
    "required": (ToolChoice("required"), None, {"type": "any"}, [WIRE_A, WIRE_B]),
    "required, one": (ToolChoice("required"), False, {"type": "any", **ALONE}, [WIRE_A, WIRE_B]),
    "named": (ToolChoice("named", ("b",)), None, {"type": "tool", "name": "b"}, [WIRE_B]),
    "one of two": (ToolChoice("named", ("a", "b")), None, {"type": "any"}, [WIRE_A, WIRE_B]),
    "allowed": (ToolChoice("allowed", ("a",)), None, None, [WIRE_A]),
    "allowed, and one must be called": (ToolChoice("allowed", ("a",), True), None, {"type": "any"}, [WIRE_A]),
}


@pytest.mark.parametrize(("choice", "parallel", "wire", "tools"), CHOICES.values(), ids=CHOICES)
def test_tools_and_the_choice_among_them(
    choice: ToolChoice | None, parallel: bool | None, wire: Any, tools: list[Any]
) -> None:
    body = sent(tools=(A, B), tool_choice=choice, parallel_tool_calls=parallel)
    assert (body.get("tool_choice"), body["tools"]) == (wire, tools)


def test_without_tools_nothing_about_them_is_sent() -> None:
    assert sent(tool_choice=ToolChoice("none"), parallel_tool_calls=False) == PLAIN


def test_carried_json_goes_out_byte_for_byte() -> None:
    told = job(
        tools=(A,),
        response_format=Format("json_schema", "a", SCHEMA, strict=True),
        messages=(user("a"), model_says(None, PastCall("c", "f", SCHEMA.decode())), result("1", "c")),
    )
    assert request_body(told, model="up").count(SCHEMA) == 3


# --- the form of the answer ------------------------------------------------------------------------


def test_a_strict_schema_is_a_format() -> None:
    body = sent(response_format=Format("json_schema", "a", SCHEMA, True, "an answer"))
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": json.loads(SCHEMA)}}
    assert "system" not in body


INSTRUCTIONS: dict[str, tuple[Format, str | None]] = {
    "text": (Format("text"), None),
    "json_object": (Format("json_object"), JSON),
    "a schema": (
        Format("json_schema", "a", b'{"x": 1}', None, "a list"),
        f'{JSON}\nIt is a list.\n{BY_SCHEMA}\n{{"x": 1}}',
    ),
    "strict, without a schema": (Format("json_schema", "a", None, True), JSON),
}


@pytest.mark.parametrize(("form", "system"), INSTRUCTIONS.values(), ids=INSTRUCTIONS)
def test_any_other_form_is_an_instruction(form: Format, system: str | None) -> None:
    body = sent(response_format=form)
    assert body.get("system") == system
    assert "output_config" not in body


def test_an_instruction_follows_the_callers() -> None:
    messages = (Message("system", "Be brief."), user("a"))
    assert sent(messages=messages, response_format=Format("json_object"))["system"] == f"Be brief.\n\n{JSON}"


# --- how the model writes --------------------------------------------------------------------------

OLD, NEW = {"model": CLAUDE}, {"model": "claude-sonnet-5"}
ADAPTIVE = {"type": "adaptive"}
SAMPLINGS: dict[str, tuple[dict[str, Any], Sampling, dict[str, Any]]] = {
    "a limit": ({}, Sampling(max_tokens=5), {"max_tokens": 5}),
    "a limit of the target's": ({"max_tokens": 9}, Sampling(), {"max_tokens": 9}),
    "the caller's limit comes first": ({"max_tokens": 9}, Sampling(max_tokens=5), {"max_tokens": 5}),
    "temperature": ({}, Sampling(temperature=0.0), {"temperature": 0.0}),
    "over 1": ({}, Sampling(temperature=1.7), {"temperature": 1.0}),
    "top_p": ({}, Sampling(top_p=0.5), {"top_p": 0.5}),
    "both": ({}, Sampling(temperature=0.2, top_p=0.5), {"temperature": 0.2, "top_p": 0.5}),
    "both, of an older Claude": (OLD, Sampling(temperature=0.2, top_p=0.5), {"temperature": 0.2}),
    "both, of a newer Claude": (NEW, Sampling(temperature=0.2, top_p=0.5), {}),
    "stop words": ({}, Sampling(stop=("a", "\n", " ")), {"stop_sequences": ["a"]}),
    "stop words of the target": (
        {"stop": ("b", "\n\n")},
        Sampling(stop=("a",)),
        {"stop_sequences": ["a", "b"]},
    ),
    "nothing left of the stop words": ({"stop": ("\n\n",)}, Sampling(), {}),
    "effort, and a summary": (
        NEW,
        Sampling(reasoning_effort="high", reasoning_summary="auto", temperature=0.3),
        {"thinking": {**ADAPTIVE, "display": "summarized"}, "output_config": {"effort": "high"}},
    ),
    "effort": (NEW, Sampling(reasoning_effort="high"), {"thinking": ADAPTIVE, "output_config": {"effort": "high"}}),
    "least effort": (
        {},
        Sampling(reasoning_effort="minimal"),
        {"thinking": ADAPTIVE, "output_config": {"effort": "low"}},
    ),
    "no effort": (
        OLD,
        Sampling(reasoning_effort="none", temperature=0.3),
        {"thinking": {"type": "disabled"}, "temperature": 0.3},
    ),
    "effort, of an older Claude": (OLD, Sampling(reasoning_effort="high"), {}),
    "effort and temperature": (
        {"model": "claude-sonnet-4-6"},
        Sampling(reasoning_effort="max", temperature=0.3),
        {"thinking": ADAPTIVE, "output_config": {"effort": "max"}},
    ),
    "effort, summary and temperature": (
        {"model": "claude-sonnet-4-6"},
        Sampling(reasoning_effort="low", reasoning_summary="auto", temperature=0.3),
        {"thinking": {**ADAPTIVE, "display": "summarized"}, "output_config": {"effort": "low"}},
    ),
    "a summary, and no effort": (NEW, Sampling(reasoning_summary="auto"), {}),
    "a summary of no thoughts": (
        NEW,
        Sampling(reasoning_effort="none", reasoning_summary="auto"),
        {"thinking": {"type": "disabled"}},
    ),
    "a summary, of an older Claude": (OLD, Sampling(reasoning_effort="high", reasoning_summary="auto"), {}),
    "neutral values": (
        {},
        Sampling(
            presence_penalty=0.0, frequency_penalty=0.0, logit_bias=b"{ }", verbosity="medium", service_tier="auto"
        ),
        {},
    ),
    "a tier": ({}, Sampling(service_tier="default"), {"service_tier": "standard_only"}),
    "a faster tier, where there is one": ({}, Sampling(service_tier="priority"), {}),
}


@pytest.mark.parametrize(("told", "sampling", "wire"), SAMPLINGS.values(), ids=SAMPLINGS)
def test_how_the_model_writes(told: dict[str, Any], sampling: Sampling, wire: dict[str, Any]) -> None:
    assert sent(told, sampling=sampling) == {**PLAIN, "model": told.get("model", "up"), **wire}


def test_a_forced_call_comes_without_a_thought() -> None:
    body = sent(sampling=Sampling(reasoning_effort="low"), tools=(A,), tool_choice=ToolChoice("required"))
    assert (body["output_config"], "thinking" in body) == ({"effort": "low"}, False)


@pytest.mark.parametrize(
    ("model", "is_sent"),
    [
        ("claude-3-5-haiku-latest", True), ("claude-sonnet-4-20250514", True), ("claude-opus-4-1-20250805", True),
        ("anthropic/claude-haiku-4.5", True), ("claude-sonnet-4-6", True), ("claude-sonnet-4@20250514", True),
        ("claude-opus-4-7", False), ("claude-opus-4-10", False), ("anthropic.claude-sonnet-5-5", False),
        ("local", True),
    ],
)  # fmt: skip
def test_the_newer_models_are_not_sent_what_they_refuse(model: str, is_sent: bool) -> None:
    assert ("temperature" in sent({"model": model}, sampling=Sampling(temperature=0.5))) is is_sent


def test_a_user_is_named_by_an_opaque_id() -> None:
    """The API wants no names, addresses or numbers."""
    assert sent(user="u-17")["metadata"] == {"user_id": "u-17"}
    numbers = [sent(user=user)["metadata"]["user_id"] for user in ("+4915112345", "+4915112345", "4915112345", "a@b.c")]
    assert numbers[0] == numbers[1]
    assert len(set(numbers)) == 3
    assert all(re.fullmatch("[0-9a-f]+", one) for one in numbers)


REFUSED: dict[str, tuple[Sampling, type[ServiceError]]] = {
    "seed": (Sampling(seed=0), UnsupportedParameter),
    "logprobs": (Sampling(logprobs=True), UnsupportedParameter),
    "logit_bias": (Sampling(logit_bias=b'{"1":2}'), UnsupportedParameter),
    "presence_penalty": (Sampling(presence_penalty=0.1), UnsupportedParameter),
    "frequency_penalty": (Sampling(frequency_penalty=-0.1), UnsupportedParameter),
    "verbosity": (Sampling(verbosity="low"), UnsupportedParameter),
    "reasoning_effort": (Sampling(reasoning_effort="much"), UnsupportedValue),
    "service_tier": (Sampling(service_tier="flex"), UnsupportedValue),
}


@pytest.mark.parametrize(("param", "sampling", "kind"), [(name, *row) for name, row in REFUSED.items()], ids=REFUSED)
def test_what_cannot_be_said_is_refused_by_its_callers_name(
    param: str, sampling: Sampling, kind: type[ServiceError]
) -> None:
    with pytest.raises(kind) as raised:
        sent(sampling=sampling)
    assert raised.value.param == param
    assert repr(param) in str(raised.value)


@pytest.mark.parametrize(("param", "sampling"), [(name, row[0]) for name, row in REFUSED.items()], ids=REFUSED)
def test_what_the_target_refuses_is_left_out(param: str, sampling: Sampling) -> None:
    assert sent({"refuses": (param,)}, sampling=sampling) == PLAIN


def test_a_target_without_tools_cannot_be_offered_any() -> None:
    with pytest.raises(UnsupportedParameter, match="takes no 'tools'") as raised:
        sent({"refuses": ("tools",)}, tools=(A,))
    assert raised.value.param == "tools"


# --- any history -----------------------------------------------------------------------------------

WORDS = st.sampled_from(("", " ", "\n", "hello", "a b ", "ü"))
IDS = st.sampled_from(("c", "d", "call:1", ""))
CALLS = st.builds(PastCall, IDS, st.sampled_from(("f", "my.tool")), st.sampled_from(("{}", '{"x":1}', "[1]", "", "{")))
CONTENT = WORDS | st.lists(WORDS.map(TextPart), min_size=1, max_size=2).map(tuple)
MESSAGES_ = st.one_of(
    st.builds(Message, st.sampled_from(("system", "developer", "user")), CONTENT),
    st.builds(Message, st.just("assistant"), CONTENT | st.none(), tool_calls=st.lists(CALLS, max_size=2).map(tuple)),
    st.builds(Message, st.just("tool"), WORDS, tool_call_id=IDS.filter(bool)),
)


def check_turns(body: dict[str, Any], *, prefill: bool) -> None:
    """What the API demands of any conversation."""
    turns = body["messages"]
    assert [turn["role"] for turn in turns] == [("user", "assistant")[at % 2] for at in range(len(turns))]
    assert prefill or turns[-1]["role"] == "user"
    waiting: list[str] = []
    called: set[str] = set()
    for turn in turns:
        blocks = [text(turn["content"])] if isinstance(turn["content"], str) else turn["content"]
        assert blocks
        assert all(block["text"].strip() for block in blocks if block["type"] == "text")
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        assert sorted(results) == sorted(waiting), "every call is answered in the turn behind it"
        assert all(block["type"] == "tool_result" for block in blocks[: len(results)]), "results come first"
        waiting = [block["id"] for block in blocks if block["type"] == "tool_use"]
        assert called.isdisjoint(waiting)
        called.update(waiting)
        assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", id_) for id_ in waiting)
        assert all(isinstance(block["input"], dict) for block in blocks if block["type"] == "tool_use")
    assert not waiting
    assert ("tools" in body) is bool(called)
    assert body.get("system", "x").strip()


@given(st.lists(MESSAGES_, min_size=1, max_size=8), st.booleans())
def test_any_repaired_history_is_one_that_the_api_takes(messages: list[Message], prefill: bool) -> None:
    check_turns(sent({"prefill": prefill}, messages=repair(tuple(messages)).messages), prefill=prefill)


@pytest.mark.parametrize("name", REQUESTS)
def test_every_platforms_history_is_one_that_the_api_takes(name: str) -> None:
    asked = parse(REQUESTS[name].data)
    body = sent(messages=repair(asked.messages).messages)
    check_turns(body, prefill=False)


# --- the dialect -----------------------------------------------------------------------------------

URLS = {
    "https://api.anthropic.com": "https://api.anthropic.com/v1/messages",
    "https://api.anthropic.com/v1/": "https://api.anthropic.com/v1/messages",
    "http://localhost:4000/anthropic/v1": "http://localhost:4000/anthropic/v1/messages",
    "http://localhost:8080/v1/messages": "http://localhost:8080/v1/messages",
}


@pytest.mark.parametrize(("base_url", "url"), URLS.items())
def test_where_it_is_posted(base_url: str, url: str) -> None:
    assert MESSAGES.url(Target(base_url=base_url, model="m", dialect="messages")) == url


def test_the_key_and_the_version_go_in_headers_of_their_own() -> None:
    told = Target(base_url="https://api.anthropic.com", model="m", dialect="messages")
    headers = MESSAGES.headers(told, "sk-1")
    assert (headers["x-api-key"], headers["anthropic-version"]) == ("sk-1", "2023-06-01")
    assert "Authorization" not in headers
    assert "x-api-key" not in MESSAGES.headers(told, None)


def test_the_settings_of_a_target_reach_the_body() -> None:
    told = Target(
        base_url="https://x",
        model="m",
        dialect="messages",
        max_tokens=7,
        stop=("END",),
        refuses=("seed",),
        prefill=True,
    )
    body = json.loads(MESSAGES.body(job(said="Once", sampling=Sampling(seed=1)), told))
    assert body == {
        **PLAIN,
        "model": "m",
        "max_tokens": 7,
        "messages": [HELLO, {"role": "assistant", "content": "Once"}],
        "stop_sequences": ["END"],
    }


def test_the_wishes_of_a_turn_reach_the_parser() -> None:
    told = Target(base_url="https://x", model="m", dialect="messages")
    calls = [json.dumps({"type": "tool_use", "id": name, "name": name, "input": {}}) for name in ("a", "b")]
    stream = f'{{"type": "message", "content": [{", ".join(calls)}], "stop_reason": "tool_use"}}'.encode()
    parser = MESSAGES.parser(job(parallel_tool_calls=False), told, name="claude", key=None)
    list(parser.feed(stream))
    assert [frame.name for frame in parser.end() if isinstance(frame, ToolCall)] == ["a"]

    goes_on = MESSAGES.parser(job(said="Once"), told, name="claude", key=None)
    list(goes_on.feed(b'{"type": "message", "content": [], "stop_reason": "end_turn"}'))
    assert list(goes_on.end()) == [Finished("stop")], "nothing may be left to say"
