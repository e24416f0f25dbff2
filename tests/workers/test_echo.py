"""The built-in models, by table."""

import asyncio
import json
from contextlib import aclosing
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import InvalidValue, ServiceError, UpstreamError, UpstreamTimeout
from protocol.lifecycle import Claim, advance
from protocol.messages import (
    Claimed,
    Finished,
    Format,
    Frame,
    Job,
    Message,
    PastCall,
    Reasoning,
    Sampling,
    Text,
    TextPart,
    Thought,
    TokenLogprob,
    Tool,
    ToolChoice,
    Usage,
)
from tests.workers import virtual_time
from tests.workers.target_jobs import job, user
from workers.targets import Patience
from workers.targets.echo import Echo
from workers.targets.echo_commands import MAX_TOKENS
from workers.targets.echo_script import GREETING, THOUGHTS, words

Heard = list[tuple[float, Frame | ServiceError]]
PATIENCE = Patience(8.0, 60.0)


async def _listen(model: str, told: Job) -> Heard:
    heard: Heard = []
    now = asyncio.get_running_loop().time
    try:
        async for frame in Echo(model).stream(
            told, headers={}, patience=Patience(told.budget_ms / 1000, told.total_ms / 1000)
        ):
            heard.append((round(now(), 6), frame))  # what came before an error is kept
    except ServiceError as error:
        heard.append((round(now(), 6), error))
    return heard


def listen(model: str, told: Job) -> Heard:
    """Frames, or the error that ended them, with the seconds at which they came."""
    return virtual_time.run(_listen(model, told))


def frames(told: Job, model: str = "echo") -> list[Any]:
    return [frame for _, frame in listen(model, told)]


def text(told: Job, model: str = "echo") -> str:
    return "".join(frame.text for frame in frames(told, model) if isinstance(frame, Text))


def commands(**values: str) -> dict[str, str]:
    return {f"echo.{name}": value for name, value in values.items()}


# --- what is said ----------------------------------------------------------------------------------


def test_it_says_the_last_user_message_word_by_word() -> None:
    *spoken, last = frames(job("one  two\nthree"))
    assert spoken == [Text("one  "), Text("two\n"), Text("three")]
    assert (last.reason, last.usage, last.target) == ("stop", Usage(prompt=3, completion=3), "echo")


def test_asked_for_log_probabilities_it_is_certain_of_every_token() -> None:
    told = job("hé you", sampling=Sampling(logprobs=True))
    certain = TokenLogprob("hé ", 0.0, (104, 195, 169, 32))

    assert frames(told)[0] == Text("hé ", (certain,))
    told = job("hé you", sampling=Sampling(logprobs=True, top_logprobs=3))
    assert frames(told)[0] == Text("hé ", (TokenLogprob("hé ", 0.0, certain.bytes, (certain,)),))


@given(st.text(min_size=1))
def test_joined_the_words_are_the_text(said: str) -> None:
    assert "".join(words(said)) == said


def test_a_word_without_an_end_comes_in_frames_that_pass_the_bus() -> None:
    assert [len(word) for word in words("a" * 2500)] == [1000, 1000, 500]


SPOKEN: dict[str, tuple[tuple[Message, ...], str]] = {
    "no user message": ((Message("system", "Be brief."),), GREETING),
    "an empty one": ((user(""),), GREETING),
    "the last of several": ((user("a"), Message("assistant", "b"), user("c")), "c"),
    "before an assistant message": ((user("a"), Message("assistant", "b")), "a"),
    "text parts": ((Message("user", (TextPart("a "), TextPart("b"))),), "a b"),
    "a tool's result": ((user("a"), Message("tool", "12 degrees", tool_call_id="c")), "12 degrees"),
    "white space": ((user(" "),), " "),
}


@pytest.mark.parametrize(("messages", "said"), SPOKEN.values(), ids=SPOKEN)
def test_what_is_said(messages: tuple[Message, ...], said: str) -> None:
    assert text(job(messages=messages)) == said


@pytest.mark.parametrize(("count", "said"), [(1, "a "), (2, "a b"), (3, "a b a "), (5, "a b a b a ")])
def test_it_says_exactly_as_many_tokens_as_are_wanted(count: int, said: str) -> None:
    told = job("a b", metadata=commands(tokens=str(count)))
    assert text(told) == said
    assert frames(told)[-1].usage.completion == count


def test_max_tokens_ends_it_as_a_length() -> None:
    told = job("a b c", sampling=Sampling(max_tokens=2))
    assert [type(frame) for frame in frames(told)] == [Text, Text, Finished]
    assert frames(told)[-1].reason == "length"


def test_ten_thousand_tokens_are_the_most() -> None:
    assert len(frames(job("a", metadata=commands(tokens="999999999")))) == MAX_TOKENS + 1
    last = frames(job("a " * (MAX_TOKENS + 1)))[-1]
    assert (last.reason, last.usage.completion) == ("length", MAX_TOKENS)


@pytest.mark.parametrize(
    ("said", "rest"),
    [
        ("one ", ["two ", "three"]),
        ("one t", ["wo ", "three"]),
        ("one two three", []),
        ("other", ["one ", "two ", "three"]),
    ],
)
def test_a_continuation_says_the_rest(said: str, rest: list[str]) -> None:
    *spoken, last = frames(job("one two three", said=said))
    assert spoken == [Text(piece) for piece in rest]
    assert last.reason == "stop"


def test_reasoning_comes_first_and_is_counted() -> None:
    *spoken, last = frames(job("a b"), "echo-reasoning")
    thoughts = [frame.text for frame in spoken if isinstance(frame, Reasoning)]
    assert "".join(thoughts) == THOUGHTS
    assert spoken[len(thoughts) :] == [Text("a "), Text("b")]
    assert last.usage == Usage(prompt=2, completion=2 + len(thoughts), reasoning=len(thoughts))


def test_its_thoughts_have_one_id() -> None:
    for told in (job("a"), job("b", id="turn-2")):
        ids = {frame.id for frame in frames(told, "echo-reasoning") if isinstance(frame, Reasoning)}
        assert len(ids) == 1
        assert ids != {None}


def test_it_knows_its_own_thoughts_again() -> None:
    asked = Sampling(encrypted_reasoning=True)
    first = [frame for frame in frames(job("a", sampling=asked), "echo-reasoning") if isinstance(frame, Reasoning)]
    sealed = first[-1]
    assert [frame.encrypted for frame in first[:-1]] == [None] * (len(first) - 1)
    assert (sealed.text, sealed.id) == ("", first[0].id)

    own, other = Thought("rs_edge", (THOUGHTS,), sealed.encrypted), Thought("rs_2", (), "gAAA")
    history = [Message("assistant", "a", thoughts=(own, other)), Message("assistant", "b", thoughts=(own,))]
    *spoken, last = frames(job(messages=(*history, user("c")), sampling=asked), "echo-reasoning")

    thought = [frame for frame in spoken if isinstance(frame, Reasoning)]
    assert "".join(frame.text for frame in thought) == f"{THOUGHTS} I remember 2 of my thoughts."
    assert thought[-1].encrypted == str(sealed.encrypted).replace(str(sealed.id), str(thought[-1].id))
    assert last.usage == Usage(prompt=3, completion=len(spoken) - 1, reasoning=len(thought) - 1)


# --- pace ------------------------------------------------------------------------------------------


def test_tokens_come_at_fixed_moments() -> None:
    heard = listen("echo", job("a b c", metadata=commands(first_ms="500", rate="10")))
    assert [at for at, _ in heard] == [0.5, 0.6, 0.7, 0.7]
    assert heard[-1][1].timings.first_content_ms == pytest.approx(500)  # type: ignore[union-attr]
    assert heard[-1][1].timings.total_ms == pytest.approx(700)  # type: ignore[union-attr]


def test_a_slow_listener_makes_no_later_token_late() -> None:
    async def listen_slowly() -> list[float]:
        loop = asyncio.get_running_loop()
        at = []
        async for frame in Echo("echo").stream(
            job("a b c", metadata=commands(rate="10")), headers={}, patience=PATIENCE
        ):
            if isinstance(frame, Text):
                at.append(round(loop.time(), 6))
                await asyncio.sleep(0.09)
        return at

    assert virtual_time.run(listen_slowly()) == [0.0, 0.1, 0.2]


def test_an_unpaced_answer_lets_others_run() -> None:
    async def count_turns() -> int:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(others())
        async for _ in Echo("echo").stream(job("a", metadata=commands(tokens="1000")), headers={}, patience=PATIENCE):
            pass
        task.cancel()
        return turns

    assert virtual_time.run(count_turns()) > 50


def test_after_a_minute_it_ends_as_a_length() -> None:
    heard = listen("echo", job("a", metadata=commands(rate="1", tokens="500"), total_ms=120_000))
    assert len(heard) == 62
    assert heard[-1][0] == 60
    assert heard[-1][1].reason == "length"  # type: ignore[union-attr]


LATE: dict[str, tuple[dict[str, str], float]] = {
    "first content after the budget": (commands(first_ms="9000"), 8.0),
    "an end after the total": (commands(rate="0.1"), 20.0),
}


@pytest.mark.parametrize(("metadata", "at"), LATE.values(), ids=LATE)
def test_the_jobs_budgets_bound_it(metadata: dict[str, str], at: float) -> None:
    heard = listen("echo", job("a b c d", metadata=metadata, budget_ms=8000, total_ms=20_000))
    assert (heard[-1][0], type(heard[-1][1])) == (at, UpstreamTimeout)


def test_reasoning_is_no_content_for_the_budget() -> None:
    heard = listen("echo-reasoning", job("a", metadata=commands(rate="1"), budget_ms=3000))
    assert (heard[-1][0], type(heard[-1][1])) == (3.0, UpstreamTimeout)


def test_closing_it_ends_its_sleep() -> None:
    async def hang_up() -> float:
        loop = asyncio.get_running_loop()
        async with aclosing(
            Echo("echo").stream(job("a b", metadata=commands(rate="0.1")), headers={}, patience=PATIENCE)
        ) as stream:
            assert await anext(stream) == Text("a ")
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(1)
            waiting.cancel()
            await asyncio.wait([waiting])
        return loop.time()

    assert virtual_time.run(hang_up()) == 1.0


# --- faults ----------------------------------------------------------------------------------------

FAULTS: dict[str, tuple[str, list[Any], float, str]] = {
    "before:503": ("before:503", [UpstreamError], 0.0, "503"),
    "cut:0": ("cut:0", [UpstreamError], 1.0, "broke off"),
    "cut:2": ("cut:2", [Text("a "), Text("b "), UpstreamError], 3.0, "broke off"),
    "cut after the last token": ("cut:9", [Text("a "), Text("b "), Text("c"), UpstreamError], 4.0, "broke off"),
    "stall:0": ("stall:0", [UpstreamTimeout], 8.0, "8 s"),
    "stall:2": ("stall:2", [Text("a "), Text("b "), UpstreamTimeout], 60.0, "60 s"),
    "empty": ("empty", [UpstreamError], 1.0, "empty answer"),
}


@pytest.mark.parametrize(("fail", "expected", "at", "words_"), FAULTS.values(), ids=FAULTS)
def test_it_fails_where_it_is_told_to(fail: str, expected: list[Any], at: float, words_: str) -> None:
    heard = listen("echo", job("a b c", metadata=commands(first_ms="1000", rate="1", fail=fail)))
    *spoken, kind = expected
    assert [frame for _, frame in heard[:-1]] == spoken
    assert (heard[-1][0], type(heard[-1][1])) == (at, kind)
    assert words_ in str(heard[-1][1])


def test_a_malformed_line_is_skipped() -> None:
    assert text(job("a b c", metadata=commands(fail="malformed:1"))) == "a b c"


def test_a_cut_counts_words_that_are_heard() -> None:
    spoken = frames(job("a b", metadata=commands(fail="cut:1")), "echo-reasoning")
    assert [frame for frame in spoken if isinstance(frame, Text)] == [Text("a ")]


WRONG: list[tuple[str, str]] = [
    *(("rate", value) for value in ("", "-1", "fast", "nan", "inf", "1e3", "1_0", " 1", "1.", ".5", "٣", "9" * 10)),
    *(("first_ms", value) for value in ("-1", "x")),
    *(("tokens", value) for value in ("0", "1.5", "-1", "")),
    *(("calls", value) for value in ("0", "x")),
    *(
        ("fail", value)
        for value in ("", "cut", "cut:", "cut:-1", "before", "before:500", "empty:1", "stall:x", "boom:1")
    ),
    ("rates", "1"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_command_is_named_before_anything_is_said(name: str, value: str) -> None:
    (error,) = frames(job(metadata=commands(**{name: value})))
    assert type(error) is InvalidValue
    assert error.param == f"metadata.echo.{name}"


def test_other_metadata_is_the_callers_own() -> None:
    assert text(job("a", metadata={"rate": "x", "user.echo.rate": "x"})) == "a"


# --- echo-tools ------------------------------------------------------------------------------------

WEATHER = Tool(
    "weather",
    parameters=b'{"type":"object","properties":{"city":{"enum":["Oslo","Rome"]},"days":{"type":"integer","minimum":1}},'
    b'"required":["city","days"]}',
)
CLOCK = Tool("clock")
OSLO = '{"city":"Oslo","days":1}'


def called(**fields: Any) -> list[tuple[str, str]]:
    *calls, last = frames(job(tools=(WEATHER, CLOCK), **fields), "echo-tools")
    assert last.reason == "tool_calls"
    assert [call.index for call in calls] == list(range(len(calls)))
    return [(call.name, call.arguments) for call in calls]


CALLED: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "the first one offered": ({}, [("weather", OSLO)]),
    "required": ({"tool_choice": ToolChoice("required")}, [("weather", OSLO)]),
    "named": ({"tool_choice": ToolChoice("named", ("clock",))}, [("clock", "{}")]),
    "allowed": ({"tool_choice": ToolChoice("allowed", ("clock",))}, [("clock", "{}")]),
    "three": ({"metadata": commands(calls="3")}, [("weather", OSLO), ("clock", "{}"), ("weather", OSLO)]),
    "one at a time": ({"metadata": commands(calls="3"), "parallel_tool_calls": False}, [("weather", OSLO)]),
}


@pytest.mark.parametrize(("fields", "expected"), CALLED.values(), ids=CALLED)
def test_it_calls(fields: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert called(**fields) == expected


SPEAKS: dict[str, tuple[dict[str, Any], str]] = {
    "no tools": ({"tools": ()}, "hello there"),
    "tool_choice none": ({"tool_choice": ToolChoice("none")}, "hello there"),
    "after a result": (
        {
            "messages": (
                user("hi"),
                Message("assistant", tool_calls=(PastCall("c", "clock", "{}"),)),
                Message("tool", "It is noon.", tool_call_id="c"),
            ),
            "tool_choice": ToolChoice("required"),
        },
        "It is noon.",
    ),
}


@pytest.mark.parametrize(("fields", "said"), SPEAKS.values(), ids=SPEAKS)
def test_it_speaks(fields: dict[str, Any], said: str) -> None:
    assert text(job(**{"tools": (WEATHER, CLOCK), **fields}), "echo-tools") == said


def test_call_ids_are_the_same_again_and_unique_otherwise() -> None:
    told: dict[str, Any] = {"tools": (CLOCK,), "metadata": commands(calls="3")}
    ids = [frame.id for which in ("a", "b", "a") for frame in frames(job(id=which, **told), "echo-tools")[:-1]]
    assert ids[:3] == ids[6:]
    assert len(set(ids)) == 6
    assert all(one.startswith("call_") for one in ids)


def test_a_demanded_tool_that_is_not_offered_is_named() -> None:
    (error,) = frames(job(tools=(CLOCK,), tool_choice=ToolChoice("named", ("weather",))), "echo-tools")
    assert (type(error), error.param) == (InvalidValue, "tool_choice")


@pytest.mark.parametrize("schema", [b'{"minimum":2,"maximum":1,"type":"integer"}', b"{", b"[" * 100_000])
def test_parameters_that_nothing_satisfies_are_named(schema: bytes) -> None:
    (error,) = frames(job(tools=(CLOCK, Tool("x", parameters=schema)), metadata=commands(calls="2")), "echo-tools")
    assert (type(error), error.param) == (InvalidValue, "tools[1].function.parameters")


# --- echo-json -------------------------------------------------------------------------------------

SCHEMA = {
    "type": "object",
    "properties": {
        "intent": {"type": "string", "enum": ["book", "cancel"]},
        "when": {"type": "string", "format": "date-time"},
        "guests": {"type": "array", "items": {"$ref": "#/$defs/guest"}, "minItems": 2},
    },
    "required": ["intent", "when", "guests"],
    "additionalProperties": False,
    "$defs": {
        "guest": {"type": "object", "properties": {"age": {"type": "integer", "minimum": 18}}, "required": ["age"]}
    },
}


def test_json_satisfies_its_schema_and_comes_in_pieces() -> None:
    told = job(response_format=Format("json_schema", "booking", json.dumps(SCHEMA).encode()))
    spoken = [frame.text for frame in frames(told, "echo-json")[:-1]]
    assert max(len(piece) for piece in spoken) <= 8 < len("".join(spoken))
    jsonschema_rs.validator_for(SCHEMA).validate(json.loads("".join(spoken)))


@pytest.mark.parametrize("form", [None, Format("text"), Format("json_object")])
def test_without_a_schema_the_text_is_in_it(form: Format | None) -> None:
    assert json.loads(text(job('say "ü"', response_format=form), "echo-json")) == {"echo": 'say "ü"'}


def test_a_schema_that_nothing_satisfies_is_named() -> None:
    (error,) = frames(job(response_format=Format("json_schema", "x", b"false")), "echo-json")
    assert (type(error), error.param) == (InvalidValue, "response_format.json_schema.schema")


# --- all of them -----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["echo", "echo-tools", "echo-json", "echo-reasoning"])
def test_the_same_job_gets_the_same_answer_in_an_order_that_the_protocol_allows(model: str) -> None:
    told = job("a b c", tools=(WEATHER, CLOCK), metadata=commands(calls="2", rate="5", first_ms="3"))
    state = advance(Claim.NEW, Claimed("ack"))
    for frame in frames(told, model):
        state = advance(state, frame)
    assert state is Claim.CLOSED
    assert listen(model, told) == listen(model, told)
