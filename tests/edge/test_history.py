"""What is repaired in a history, what is passed on, and that nothing which was said is lost."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from edge.history import (
    DUPLICATE_RESULT,
    EMPTY_MESSAGE_DROPPED,
    MISSING_RESULT,
    NO_RESULT,
    ORPHAN_RESULT,
    RESULT_MOVED,
    repair,
)
from protocol.messages import ImagePart, Message, PastCall, RefusalPart, TextPart, Thought

SYSTEM = Message("system", "be brief")
USER = Message("user", "hello")
SAID = Message("assistant", "hi")
EMPTY = Message("assistant", "")
NOW = Message("system", "it is ten o'clock")
THOUGHTS = (Thought("rs_1", ("hm",)), Thought("rs_2", (), "gA"))
THOUGHT = Message("assistant", thoughts=THOUGHTS)


def calls(*ids: str, text: str | None = None) -> Message:
    return Message("assistant", text, tool_calls=tuple(PastCall(one, "f", "{}") for one in ids))


def result(call_id: str, text: str = "21") -> Message:
    return Message("tool", text, tool_call_id=call_id)


def made_up(*ids: str, name: str = "unknown_function") -> Message:
    return Message("assistant", tool_calls=tuple(PastCall(one, name, "{}") for one in ids))


UNKNOWN = NO_RESULT
History = tuple[Message, ...]

# --- what is passed on -----------------------------------------------------------------------------

PASSED: dict[str, History] = {
    "a first turn": (SYSTEM, USER),
    "no user message": (SYSTEM,),
    "no system message": (USER,),
    "an assistant message first": (SYSTEM, SAID, USER),
    "an assistant message at the end": (SYSTEM, USER, SAID),
    "two assistant messages at the end": (USER, SAID, SAID),
    "two of the caller's at the end": (USER, SAID, USER, USER),
    "system messages in the middle": (SYSTEM, USER, SAID, NOW, USER),
    "developer is a role": (Message("developer", "be brief"), USER),
    "the caller says nothing": (SYSTEM, SAID, Message("user", "")),
    "a system message that says nothing": (Message("system", ""), USER),
    "a space is something": (USER, Message("assistant", " "), USER),
    "a refusal": (USER, Message("assistant", refusal="no"), USER),
    "a refusal as a part": (USER, Message("assistant", (RefusalPart("no"),)), USER),
    "a call and its result": (USER, calls("a"), result("a")),
    "thoughts before words": (USER, replace(SAID, thoughts=THOUGHTS), USER),
    "thoughts before a call": (USER, replace(calls("a"), thoughts=THOUGHTS), result("a")),
    "a result that is empty": (USER, calls("a"), result("a", "")),
    "a call beside text": (USER, calls("a", text="one moment"), result("a"), SAID),
    "a call beside an empty text": (USER, calls("a", text=""), result("a"), SAID),
    "parallel calls": (USER, calls("a", "b"), result("a"), result("b"), SAID),
    "parallel calls, answered in another order": (USER, calls("a", "b"), result("b"), result("a"), SAID),
    "call after call": (USER, calls("a"), result("a"), calls("b"), result("b")),
    "the same id in two turns": (USER, calls("a"), result("a"), USER, calls("a"), result("a", "22"), SAID),
    "the same id twice in one message": (USER, calls("a", "a"), result("a", "1"), result("a", "2"), SAID),
    "a call under way, as Pipecat says it": (USER, calls("a"), result("a", "IN_PROGRESS"), USER),
    "a call that was cancelled, as Pipecat says it": (USER, calls("a"), result("a", "CANCELLED"), USER),
}


@pytest.mark.parametrize("history", PASSED.values(), ids=PASSED)
def test_what_openai_takes_is_passed_on(history: History) -> None:
    repaired, repairs = repair(history)

    assert repaired is history
    assert repairs == ()


# --- what is repaired ------------------------------------------------------------------------------

REPAIRED: dict[str, tuple[History, History, tuple[str, ...]]] = {
    "a call without a result": (
        (USER, calls("a"), USER),
        (USER, calls("a"), result("a", UNKNOWN), USER),
        (MISSING_RESULT,),
    ),
    "a call without a result at the end": (
        (USER, calls("a")),
        (USER, calls("a"), result("a", UNKNOWN)),
        (MISSING_RESULT,),
    ),
    "one of three calls has its result": (
        (USER, calls("a", "b", "c"), result("b"), USER),
        (USER, calls("a", "b", "c"), result("b"), result("a", UNKNOWN), result("c", UNKNOWN), USER),
        (MISSING_RESULT,),
    ),
    "one of two calls with the same id has its result": (
        (USER, calls("a", "a"), result("a"), USER),
        (USER, calls("a", "a"), result("a"), result("a", UNKNOWN), USER),
        (MISSING_RESULT,),
    ),
    "calls that the next one interrupts": (
        (USER, calls("a"), calls("b"), result("b")),
        (USER, calls("a"), result("a", UNKNOWN), calls("b"), result("b")),
        (MISSING_RESULT,),
    ),
    "a result without a call": (
        (SYSTEM, result("a"), USER),
        (SYSTEM, made_up("a"), result("a"), USER),
        (ORPHAN_RESULT,),
    ),
    "a result without a call at the start": (
        (result("a"), SAID, USER),
        (made_up("a"), result("a"), SAID, USER),
        (ORPHAN_RESULT,),
    ),
    "a result that says which function it was": (
        (Message("tool", "21", "get_weather", tool_call_id="a"), USER),
        (made_up("a", name="get_weather"), Message("tool", "21", "get_weather", tool_call_id="a"), USER),
        (ORPHAN_RESULT,),
    ),
    "a name that no function can have": (
        (Message("tool", "21", "the weather", tool_call_id="a"), USER),
        (made_up("a"), Message("tool", "21", "the weather", tool_call_id="a"), USER),
        (ORPHAN_RESULT,),
    ),
    "two results without calls": (
        (result("a"), result("b"), USER),
        (made_up("a", "b"), result("a"), result("b"), USER),
        (ORPHAN_RESULT,),
    ),
    "a result before its call": (
        (USER, result("a"), calls("a"), USER),
        (USER, calls("a"), result("a"), USER),
        (RESULT_MOVED,),
    ),
    "a result long before its call": (
        (result("a"), USER, SAID, calls("a"), USER),
        (USER, SAID, calls("a"), result("a"), USER),
        (RESULT_MOVED,),
    ),
    "two results before their call": (
        (result("a", "one"), USER, result("a", "two"), calls("a")),
        (USER, calls("a"), result("a", "one\ntwo")),
        (DUPLICATE_RESULT, RESULT_MOVED),
    ),
    "one result before its call, one that has none": (
        (result("a"), result("z"), calls("a", "b"), result("b")),
        (made_up("z"), result("z"), calls("a", "b"), result("b"), result("a")),
        (RESULT_MOVED, ORPHAN_RESULT),
    ),
    "a result before two calls of its id": (
        (result("a"), calls("a"), USER, calls("a")),
        (calls("a"), result("a"), USER, calls("a"), result("a", UNKNOWN)),
        (RESULT_MOVED, MISSING_RESULT),
    ),
    "a result whose call was cut off, and a later call of the same id with its own": (
        (result("a", "1"), USER, calls("a"), result("a", "2"), SAID),
        (made_up("a"), result("a", "1"), USER, calls("a"), result("a", "2"), SAID),
        (ORPHAN_RESULT,),
    ),
    "a result with a mangled id": (
        (USER, calls("a"), result("A"), USER),
        (USER, calls("a"), result("a", UNKNOWN), made_up("A"), result("A"), USER),
        (ORPHAN_RESULT, MISSING_RESULT),
    ),
    "the same result twice": (
        (USER, calls("a"), result("a"), result("a"), SAID),
        (USER, calls("a"), result("a"), SAID),
        (DUPLICATE_RESULT,),
    ),
    "the same result again, later": (
        (USER, calls("a"), result("a"), SAID, result("a")),
        (USER, calls("a"), result("a"), SAID),
        (DUPLICATE_RESULT,),
    ),
    "two different results": (
        (USER, calls("a"), result("a", "one"), result("a", "two"), SAID),
        (USER, calls("a"), result("a", "one\ntwo"), SAID),
        (DUPLICATE_RESULT,),
    ),
    "two different results, one in parts": (
        (USER, calls("a"), result("a", "one"), Message("tool", (TextPart("two"),), tool_call_id="a")),
        (USER, calls("a"), Message("tool", (TextPart("one"), TextPart("two")), tool_call_id="a")),
        (DUPLICATE_RESULT,),
    ),
    "a result after its placeholder": (
        (USER, calls("a"), result("a", "IN_PROGRESS"), USER, result("a", "21"), SAID),
        (USER, calls("a"), result("a", "21"), USER, SAID),
        (DUPLICATE_RESULT,),
    ),
    "a result after its placeholder as JSON": (
        (USER, calls("a"), result("a", '"IN_PROGRESS"'), USER, result("a", "21"), SAID),
        (USER, calls("a"), result("a", "21"), USER, SAID),
        (DUPLICATE_RESULT,),
    ),
    "the placeholder in both its forms": (
        (USER, calls("a"), result("a", '"IN_PROGRESS"'), result("a", "IN_PROGRESS")),
        (USER, calls("a"), result("a", '"IN_PROGRESS"')),
        (DUPLICATE_RESULT,),
    ),
    "an empty result before another": (
        (USER, calls("a"), result("a", ""), result("a", "21"), result("a", "22")),
        (USER, calls("a"), result("a", "21\n22")),
        (DUPLICATE_RESULT,),
    ),
    "an empty result after another": (
        (USER, calls("a"), result("a", "21"), result("a", "")),
        (USER, calls("a"), result("a", "21")),
        (DUPLICATE_RESULT,),
    ),
    "an empty result after its placeholder": (
        (USER, calls("a"), result("a", "IN_PROGRESS"), result("a", "")),
        (USER, calls("a"), result("a", "")),
        (DUPLICATE_RESULT,),
    ),
    "the same placeholder twice": (
        (USER, calls("a"), result("a", "IN_PROGRESS"), result("a", "IN_PROGRESS")),
        (USER, calls("a"), result("a", "IN_PROGRESS")),
        (DUPLICATE_RESULT,),
    ),
    "two orphans of one call": (
        (result("a", "one"), result("a", "two")),
        (made_up("a"), result("a", "one\ntwo")),
        (DUPLICATE_RESULT, ORPHAN_RESULT),
    ),
    "a result after somebody has spoken": (
        (USER, calls("a"), NOW, USER, result("a"), SAID),
        (USER, calls("a"), result("a"), NOW, USER, SAID),
        (RESULT_MOVED,),
    ),
    "parallel results with a word between them": (
        (USER, calls("a", "b"), result("a"), USER, result("b")),
        (USER, calls("a", "b"), result("a"), result("b"), USER),
        (RESULT_MOVED,),
    ),
    "a late result belongs to the latest call of that id": (
        (calls("a"), result("a", "1"), calls("a"), USER, result("a", "2")),
        (calls("a"), result("a", "1"), calls("a"), result("a", "2"), USER),
        (RESULT_MOVED,),
    ),
    "an assistant message that says nothing": (
        (USER, EMPTY, USER),
        (USER, USER),
        (EMPTY_MESSAGE_DROPPED,),
    ),
    "at the end": (
        (SYSTEM, USER, EMPTY),
        (SYSTEM, USER),
        (EMPTY_MESSAGE_DROPPED,),
    ),
    "in parts": (
        (USER, Message("assistant", (TextPart(""), TextPart(""))), USER),
        (USER, USER),
        (EMPTY_MESSAGE_DROPPED,),
    ),
    "between a call and its result": (
        (USER, calls("a"), EMPTY, result("a")),
        (USER, calls("a"), result("a")),
        (EMPTY_MESSAGE_DROPPED,),
    ),
    "thoughts that nothing came of": ((USER, THOUGHT, USER), (USER, USER), (EMPTY_MESSAGE_DROPPED,)),
    "thoughts before a call without its result": (
        (USER, replace(calls("a"), thoughts=THOUGHTS), USER),
        (USER, replace(calls("a"), thoughts=THOUGHTS), result("a", UNKNOWN), USER),
        (MISSING_RESULT,),
    ),
    "all at once": (
        (result("z"), EMPTY, calls("a", "b"), USER, result("b"), result("b")),
        (made_up("z"), result("z"), calls("a", "b"), result("b"), result("a", UNKNOWN), USER),
        (EMPTY_MESSAGE_DROPPED, RESULT_MOVED, DUPLICATE_RESULT, ORPHAN_RESULT, MISSING_RESULT),
    ),
}


@pytest.mark.parametrize(("came", "expected", "names"), REPAIRED.values(), ids=REPAIRED)
def test_what_openai_refuses_is_repaired_and_named(came: History, expected: History, names: tuple[str, ...]) -> None:
    assert repair(came) == (expected, names)


def test_a_history_of_nothing_but_emptiness_keeps_a_message() -> None:
    """A list without messages would be refused for a reason that the caller cannot see."""
    assert repair((EMPTY, EMPTY)) == ((EMPTY,), (EMPTY_MESSAGE_DROPPED,))
    assert repair((EMPTY,)) == ((EMPTY,), ())


# --- any history -----------------------------------------------------------------------------------

NOTHING = [TextPart(""), TextPart("IN_PROGRESS"), TextPart('"IN_PROGRESS"')]
texts = st.sampled_from([" ", "one", "two", *(part.text for part in NOTHING)])
ids = st.sampled_from(["a", "b", "c"])
contents = texts | st.lists(st.sampled_from([TextPart(""), TextPart("three"), ImagePart("u")]), min_size=1).map(tuple)
messages = st.one_of(
    st.builds(Message, st.sampled_from(["user", "system", "developer", "assistant"]), contents),
    st.lists(ids, min_size=1, max_size=3).map(lambda some: calls(*some)),
    st.builds(result, ids, texts),
)


@st.composite
def exchanges(draw: st.DrawFn) -> list[Message]:
    """Calls, and right behind them a result for each, in any order."""
    some = draw(st.lists(ids, min_size=1, max_size=3, unique=True))
    answers = [result(one, draw(texts)) for one in draw(st.permutations(some))]
    return [calls(*some, text=draw(st.none() | texts)), *answers]


spoken = st.builds(
    Message,
    st.sampled_from(["user", "system", "developer", "assistant"]),
    st.sampled_from(["x", " ", (TextPart("x"),), (TextPart(""), TextPart("x"))]),
)
silent = st.builds(Message, st.sampled_from(["user", "system", "developer"]), st.just(""))
valid = st.lists(exchanges() | (spoken | silent).map(lambda one: [one]), min_size=1).map(
    lambda some: tuple(message for part in some for message in part)
)


def said(history: Iterable[Message]) -> set[object]:
    """All that is told: texts, parts, calls. A placeholder tells nothing beside a result."""
    told: set[object] = set()
    for message in history:
        content = message.content or ()
        pieces = [TextPart(line) for line in content.split("\n")] if isinstance(content, str) else content
        told.update((message.role, piece) for piece in pieces)
        told.update(message.tool_calls)
    return {one for one in told if not (isinstance(one, tuple) and one[1] in NOTHING)}


def fits(history: Iterable[Message]) -> bool:
    """The rule of the API, once more: results stand right behind their call, one for each."""
    waiting: list[str | None] = []
    for message in history:
        if message.role == "tool" and message.tool_call_id in waiting:
            waiting.remove(message.tool_call_id)
        elif message.role == "tool" or waiting:
            return False
        else:
            waiting = [call.id for call in message.tool_calls]
    return not waiting


@given(valid)
def test_a_valid_history_is_never_changed(history: History) -> None:
    assert repair(history).messages is history
    assert repair(history).repairs == ()


@given(st.lists(messages, min_size=1).map(tuple))
def test_any_history_becomes_one_that_fits(history: History) -> None:
    repaired, repairs = repair(history)

    assert fits(repaired)
    assert repaired
    assert (repaired is history) == (repairs == ())
    assert repair(repaired).messages == repaired


@given(st.lists(messages, min_size=1).map(tuple))
def test_no_call_is_made_up_beside_one_of_its_id_that_has_no_result(history: History) -> None:
    repaired, _ = repair(history)
    came = [call for message in history for call in message.tool_calls]
    made = {call.id for message in repaired for call in message.tool_calls if call not in came}
    unknown = {message.tool_call_id for message in repaired if message.content == UNKNOWN}
    names = [call.id for message in repaired for call in message.tool_calls if call.name == "unknown_function"]

    assert not made & unknown
    assert len(names) == len(set(names))


@given(st.lists(messages, min_size=1).map(tuple))
def test_nothing_that_was_said_is_lost(history: History) -> None:
    repaired, _ = repair(history)

    assert said(history) <= said(repaired)
    for role in ("user", "system", "developer"):
        assert [one for one in repaired if one.role == role] == [one for one in history if one.role == role]


def test_a_long_history_full_of_faults_costs_no_more_than_its_length() -> None:
    """The whole process waits for it: were each result held against all others, a long body would stop every turn."""
    orphans = tuple(result(f"call_{number}", str(number)) for number in range(20_000))
    again = (calls("a"), *(result("a", str(number)) for number in range(20_000)))
    early = (*orphans, *(calls(f"call_{number}") for number in range(20_000)))

    assert len(repair(orphans).messages) == 20_001
    assert len(repair(again).messages) == 2
    assert len(repair(early).messages) == 40_000
