"""Tool calls that may not go out: their model is asked once more, and nobody gets a wrong one."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import telemetry
from protocol.errors import Draining, EmptyAnswer, UpstreamError, UpstreamTimeout
from protocol.messages import (
    Failed,
    Finished,
    Message,
    PastCall,
    Reasoning,
    Refusal,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    Usage,
    Withheld,
)
from protocol.settings_profiles import Gate
from protocol.settings_types import BreakerSettings
from tests.virtual_time import play
from tests.workers.cascade_turns import Heard, Scripted, Step, Worker, choice, cut, fails, says, silent, target
from tests.workers.target_jobs import user
from workers.tools import unmatched

TOOLS = (
    Tool("look_up", parameters=b'{"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}'),
    Tool("end_call", parameters=b'{"type": "object", "required": ["reason"]}'),
)
USAGE = Usage(prompt=10, completion=5)
INVALID = (Withheld("look_up", "invalid"),)
ENDED = (
    Message("assistant", tool_calls=(PastCall("c", "end_call", '{"reason": "bye"}'),)),
    Message("tool", '{"status": "success"}', tool_call_id="c"),
)


def good(index: int = 0, number: int = 7, *, name: str = "good") -> ToolCall:
    return ToolCall(index, f"{name}_{index}", "look_up", json.dumps({"id": number}))


def bad(index: int = 0) -> ToolCall:
    return ToolCall(index, f"bad_{index}", "look_up", '{"id": "seven"}')


def end_call(index: int = 0, reason: str = "goodbye") -> ToolCall:
    return ToolCall(index, f"end_{index}", "end_call", json.dumps({"reason": reason}))


def answer(*frames: Text | ToolCall | Refusal | Reasoning, after_s: float = 0.1) -> list[Step]:
    """A whole one: it ends for its calls where there are any."""
    called = any(isinstance(frame, ToolCall) for frame in frames)
    return [after_s, *frames, Finished("tool_calls" if called else "stop", USAGE)]


async def ask(worker: Worker | Scripted, **fields: Any) -> Heard:
    worker = worker if isinstance(worker, Worker) else Worker(worker)
    return await worker.answer(**{"check_tools": True, "tools": TOOLS, "call_id": "conv-1", **fields})


def calls(heard: Heard) -> list[ToolCall]:
    return [frame for _, frame in heard.frames if isinstance(frame, ToolCall)]


def ended(heard: Heard) -> tuple[str, tuple[Withheld, ...]]:
    assert isinstance(heard.last, Finished), heard.last
    return heard.last.reason, heard.last.withheld


# --- what goes out ---------------------------------------------------------------------------------


def test_a_good_call_goes_out_as_it_came_and_nobody_is_asked_again() -> None:
    async def scene() -> None:
        model = target("model", answer(Text("One moment. "), good(), good(1, 8)))

        heard = await ask(model)

        assert [frame for _, frame in heard.frames][:-1] == [Text("One moment. "), good(), good(1, 8)]
        assert ended(heard) == ("tool_calls", ())
        assert len(model.asked) == 1
        assert heard.sample("trunkline_tool_repairs_total", what="tried") == 0

    play(scene())


def test_a_call_with_the_module_before_its_name_is_the_tools() -> None:
    async def scene() -> None:
        heard = await ask(target("model", answer(ToolCall(0, "c", "functions.look_up", '{"id": 7}'))))

        assert (calls(heard), ended(heard)) == ([ToolCall(0, "c", "look_up", '{"id": 7}')], ("tool_calls", ()))

    play(scene())


def test_the_same_call_twice_goes_out_twice_where_the_conversation_has_no_id() -> None:
    async def scene() -> None:
        without = await ask(target("model", answer(good(), good(1))), call_id=None)
        with_id = await ask(target("model", answer(good(), good(1))))

        assert (len(calls(without)), ended(without)) == (2, ("tool_calls", ()))
        assert (len(calls(with_id)), ended(with_id)) == (1, ("tool_calls", (Withheld("look_up", "repeated"),)))

    play(scene())


def test_a_job_that_does_not_ask_for_it_is_not_checked() -> None:
    async def scene() -> None:
        heard = await ask(target("model", answer(bad())), check_tools=False)

        assert calls(heard) == [bad()]
        assert ended(heard) == ("tool_calls", ())

    play(scene())


def test_a_bad_call_is_mended_by_its_model_which_hears_what_was_wrong() -> None:
    async def scene() -> None:
        model = target("model", answer(bad()), answer(good(name="again")))

        heard = await ask(model)

        assert calls(heard) == [good(name="again")]
        assert ended(heard) == ("tool_calls", ())
        first, again = model.asked
        assert again.job.messages[: len(first.job.messages)] == first.job.messages
        called, result = again.job.messages[len(first.job.messages) :]
        assert called == Message("assistant", tool_calls=(PastCall("bad_0", "look_up", '{"id": "seven"}'),))
        assert (result.role, result.tool_call_id) == ("tool", "bad_0")
        assert result.content == (
            "This call was not carried out: its arguments do not fit: "
            "'id': its value is not of type \"integer\" (type). "
            "Call the tool again with arguments that fit, or go on without it."
        )
        assert (again.job.tools, again.job.said) == (TOOLS, "")
        assert heard.ways == [("model", "answered"), ("model", "answered")]
        assert [one.reason for one in heard.attempts] == ["", "tool_repair"]
        assert first.closed_at is not None
        assert heard.sample("trunkline_tool_repairs_total", what="tried") == 1
        assert heard.sample("trunkline_tool_repairs_total", what="succeeded") == 1
        assert heard.sample("trunkline_tool_objections_total", reason="invalid") == 1
        told = [span.attributes.get(telemetry.ATTEMPT_OBJECTIONS) for span in heard.spans]
        assert told == [("look_up:invalid",), None, None]

    play(scene())


def test_a_repair_may_be_in_words() -> None:
    async def scene() -> None:
        model = target("model", answer(bad()), answer(Text("Which "), Text("number?")))

        heard = await ask(model)

        assert (heard.text, calls(heard), ended(heard)) == ("Which number?", [], ("stop", ()))

    play(scene())


def test_a_call_that_is_bad_twice_is_withheld() -> None:
    async def scene() -> None:
        model = target("model", answer(bad()))

        heard = await ask(model)

        assert (heard.text, calls(heard), ended(heard)) == ("", [], ("stop", INVALID))
        assert len(model.asked) == 2
        assert heard.sample("trunkline_tool_repairs_total", what="succeeded") == 0

    play(scene())


def test_what_was_said_before_a_bad_call_is_not_said_again() -> None:
    async def scene() -> None:
        first = answer(Text("Let me look. "), bad())
        model = target("model", first, answer(Text("Let me look again. "), good(name="again")))

        heard = await ask(model)

        assert [frame for _, frame in heard.frames][:-1] == [Text("Let me look. "), good(name="again")]
        assert model.asked[1].job.messages[-2].content == "Let me look. "

    play(scene())


def test_where_the_repair_has_only_words_and_some_were_said_the_call_is_withheld() -> None:
    async def scene() -> None:
        model = target("model", answer(Text("Let me look. "), bad()), answer(Text("Which number?")))

        heard = await ask(model)

        assert (heard.text, ended(heard)) == ("Let me look. ", ("stop", INVALID))

    play(scene())


def test_white_space_before_a_call_is_nothing_that_was_said() -> None:
    async def scene() -> None:
        model = target("model", answer(Text("\n\n"), bad()), answer(Text("Which number?")))

        heard = await ask(model)

        assert (heard.text, ended(heard)) == ("\n\nWhich number?", ("stop", ()))
        assert model.asked[1].job.messages[-2].content is None

    play(scene())


def test_where_the_job_continues_a_lost_turn_what_was_said_then_was_said() -> None:
    async def scene() -> None:
        model = target("model", answer(bad()), answer(Text("Let me look. "), good(name="again")))

        heard = await ask(model, said="One moment. ")

        assert (heard.text, calls(heard)) == ("", [good(name="again")])
        assert model.asked[1].job.messages[-2].content == "One moment. "

    play(scene())


PARALLEL: dict[str, tuple[list[ToolCall], list[ToolCall]]] = {
    "good, bad, good": ([good(), bad(1), good(2, 8)], [good(), good(1, 8)]),
    "bad, good": ([bad(), good(1)], [good(1)]),
    "good, bad": ([good(), bad(1)], [good()]),
}


@pytest.mark.parametrize(("made", "out"), PARALLEL.values(), ids=PARALLEL)
def test_beside_a_good_call_a_bad_one_is_just_withheld(made: list[ToolCall], out: list[ToolCall]) -> None:
    async def scene() -> None:
        model = target("model", answer(*made))

        heard = await ask(model)

        assert [one.arguments for one in calls(heard)] == [one.arguments for one in out]
        assert [one.index for one in calls(heard)] == list(range(len(out)))
        assert ended(heard) == ("tool_calls", INVALID)
        assert len(model.asked) == 1

    play(scene())


BROKEN = {
    "cut off": '{"id":',
    "a number": "17",
    "a text": '"x"',
    "a list": "[1]",
    "nested too deep": "[" * 5000,
}


def broken(index: int = 0, arguments: str = '{"id":') -> ToolCall:
    """One that nobody can make."""
    return ToolCall(index, f"broken_{index}", "look_up", arguments)


@pytest.mark.parametrize("arguments", BROKEN.values(), ids=BROKEN)
def test_arguments_that_are_no_object_are_mended_and_never_sent_back_as_they_are(arguments: str) -> None:
    async def scene() -> None:
        model = target("model", answer(broken(arguments=arguments)), answer(good(name="again")))

        heard = await ask(model)

        assert (calls(heard), ended(heard)) == ([good(name="again")], ("tool_calls", ()))
        called, result = model.asked[1].job.messages[-2:]
        assert called.tool_calls == (PastCall("broken_0", "look_up", "{}"),)
        assert "its arguments were no JSON object" in str(result.content)
        told = [span.attributes.get(telemetry.ATTEMPT_OBJECTIONS) for span in heard.spans]
        assert told == [("look_up:invalid",), None, None]

    play(scene())


@pytest.mark.parametrize("arguments", BROKEN.values(), ids=BROKEN)
def test_arguments_that_are_no_object_twice_are_withheld(arguments: str) -> None:
    async def scene() -> None:
        model = target("model", answer(Text("Hm. "), broken(arguments=arguments)))

        heard = await ask(Worker(model, target("never", says("hi"))))

        assert (heard.text, calls(heard), ended(heard)) == ("Hm. ", [], ("stop", INVALID))
        assert len(model.asked) == 2

    play(scene())


def test_whatever_else_speaks_against_a_call_its_broken_arguments_are_not_sent_back() -> None:
    async def scene() -> None:
        made = (ToolCall(0, "a", "end_call", "[1]"), ToolCall(1, "b", "look_down", "17"))
        model = target("model", answer(*made), answer(Text("Goodbye then.")))

        heard = await ask(model, messages=(user("hi"), *ENDED, user("bye")))

        assert heard.text == "Goodbye then."
        told = model.asked[1].job.messages[-3].tool_calls
        assert [(one.name, one.arguments) for one in told] == [("end_call", "{}"), ("look_down", "{}")]

    play(scene())


def test_beside_a_good_call_one_with_broken_arguments_is_just_withheld() -> None:
    async def scene() -> None:
        model = target("model", answer(good(), broken(1)))

        heard = await ask(model)

        assert (calls(heard), ended(heard)) == ([good()], ("tool_calls", INVALID))
        assert len(model.asked) == 1

    play(scene())


def test_a_continuation_that_ends_in_broken_arguments_is_checked_too() -> None:
    async def scene() -> None:
        first = target("first", cut(UpstreamError("cut"), "One "))

        heard = await ask(Worker(first, target("second", answer(Text("two."), broken()))), on_lost="continue")

        assert (heard.text, calls(heard), ended(heard)) == ("One two.", [], ("stop", INVALID))
        assert [one.reason for one in heard.attempts] == ["", "continues", "tool_repair"]

    play(scene())


def test_several_bad_calls_are_told_of_together() -> None:
    async def scene() -> None:
        model = target("model", answer(bad(), bad(1)), answer(good(name="again")))

        heard = await ask(model)

        assert calls(heard) == [good(name="again")]
        assert [message.tool_call_id for message in model.asked[1].job.messages[-2:]] == ["bad_0", "bad_1"]

    play(scene())


def test_calls_of_one_answer_have_ids_of_their_own() -> None:
    async def scene() -> None:
        twice = ToolCall(1, "good_0", "look_up", '{"id": 8}')
        heard = await ask(target("model", answer(good(), twice)))
        model = target("model", answer(bad(), bad(0)))
        await ask(model)

        assert len({one.id for one in calls(heard)}) == 2
        told = model.asked[1].job.messages[-3:]
        assert len({one.id for one in told[0].tool_calls} | {one.tool_call_id for one in told[1:]}) == 2

    play(scene())


def test_after_a_bad_call_nothing_is_spoken_and_the_model_has_thought_in_vain() -> None:
    async def scene() -> None:
        model = target("model", answer(bad(), Text("Done!"), Reasoning("hm")), answer(Text("Which number?")))

        heard = await ask(model)

        assert (heard.text, heard.thoughts) == ("Which number?", "")

    play(scene())


# --- why not ---------------------------------------------------------------------------------------


def test_a_call_is_ended_once_and_the_model_goes_on_without_it() -> None:
    async def scene() -> None:
        model = target("model", answer(end_call()), answer(Text("Goodbye then.")))

        heard = await ask(model, messages=(user("hi"), *ENDED, user("bye")), tool_choice=ToolChoice("required"))

        assert (heard.text, ended(heard)) == ("Goodbye then.", ("stop", ()))
        again = model.asked[1].job
        assert "Do not call it again" in str(again.messages[-1].content)
        assert again.tool_choice == ToolChoice("auto")
        assert heard.sample("trunkline_tool_objections_total", reason="repeated") == 1

    play(scene())


def test_a_call_that_was_ended_is_not_ended_again_where_no_tools_are_offered() -> None:
    """Its name is no secret, and by it the edge knows that the conversation is over: it says no sentence."""

    async def scene() -> None:
        model = target("model", answer(end_call()))

        heard = await ask(model, tools=(), messages=(user("hi"), *ENDED, user("bye")))

        [withheld] = heard.last.withheld
        assert (withheld.tool, withheld.reason) == ("end_call", "repeated")
        assert (heard.text, calls(heard), ended(heard)) == ("", [], ("stop", (withheld,)))
        assert len(model.asked) == 2
        told = [span.attributes.get(telemetry.ATTEMPT_OBJECTIONS) for span in heard.spans]
        assert told == [("end_call:repeated",), ("end_call:repeated",), None]

    play(scene())


def test_a_name_that_is_made_up_is_in_no_record_and_no_trace() -> None:
    async def scene() -> None:
        heard = await ask(target("model", answer(ToolCall(0, "c", "my_card_is_4111", "{}"))))

        assert ended(heard) == ("stop", (Withheld("unknown", "invalid"),))
        told = [span.attributes.get(telemetry.ATTEMPT_OBJECTIONS) for span in heard.spans]
        assert told == [("unknown:invalid",), ("unknown:invalid",), None]

    play(scene())


@pytest.mark.parametrize(
    ("made_up", "told"),
    [
        ("transfer to number!", "transfer_to_number_"),
        ("x" * 80, "x" * 64),
        ("", "unknown_function"),
        ("look up", "unknown_function"),
    ],
)
def test_a_repair_names_no_tool_in_a_way_that_upstreams_refuse(made_up: str, told: str) -> None:
    """OpenAI answers 400 to such a name in the history: the repair was lost. Nor is it one of those that there are."""

    async def scene() -> None:
        model = target("model", answer(ToolCall(0, "c", made_up, "{}")), answer(good()))

        assert ended(await ask(model)) == ("tool_calls", ())
        assert model.asked[1].job.messages[-2].tool_calls == (PastCall("c", told, "{}"),)

    play(scene())


def test_where_no_call_may_be_made_the_model_is_asked_for_words() -> None:
    async def scene() -> None:
        for tools in (TOOLS, ()):
            model = target("model", answer(good()), answer(Text("Well then.")))

            heard = await ask(model, tool_choice=ToolChoice("none"), tools=tools)

            assert (heard.text, ended(heard), calls(heard)) == ("Well then.", ("stop", ()), [])
            assert "no tool may be called in this answer" in str(model.asked[1].job.messages[-1].content)

    play(scene())


@pytest.mark.parametrize("wanted", [ToolChoice("required"), ToolChoice("named", ("look_up",)), None])
def test_a_call_that_can_be_mended_stays_demanded(wanted: ToolChoice | None) -> None:
    async def scene() -> None:
        model = target("model", answer(bad()), answer(good()))

        await ask(model, tool_choice=wanted)

        assert model.asked[1].job.tool_choice == wanted

    play(scene())


def test_a_gate_holds_and_is_held_again_by_the_repair() -> None:
    async def scene() -> None:
        gates = {"end_call": Gate(not_before_turn=3)}
        model = target("model", answer(end_call()))

        early = await ask(Worker(model, gates=gates))
        late = await ask(Worker(model, gates=gates), messages=(user("1"), user("2"), user("3")))
        spoken = target("model", answer(Text("Bye. "), end_call()))
        await ask(Worker(spoken, gates=gates))

        assert (calls(early), ended(early)) == ([], ("stop", (Withheld("end_call", "too_early"),)))
        assert calls(late) == [end_call()]
        assert (len(model.asked), len(spoken.asked)) == (3, 1)  # after words only words could come of it

    play(scene())


def test_a_gate_that_can_hold_nothing_back_is_told_of_when_the_tool_is_offered(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        worker = Worker(target("model", answer(good())), gates={"look_up": Gate(allowed={"number": ("7",)})})

        assert calls(await ask(worker)) == [good()]
        assert calls(await ask(worker)) == [good()]
        await ask(worker, check_tools=False)

    monkeypatch.setattr(unmatched, "_told", set())
    play(scene())

    assert [message for message in caplog.messages if "'number'" in message] == [
        "tools.look_up.allowed: the tool has no argument 'number', so that nothing is held back by it; it has: 'id'"
    ]


def test_the_second_of_two_end_calls_in_one_answer_stays() -> None:
    async def scene() -> None:
        heard = await ask(target("model", answer(end_call(), end_call(1, "really"))))

        assert calls(heard) == [end_call()]
        assert ended(heard) == ("tool_calls", (Withheld("end_call", "repeated"),))

    play(scene())


def test_a_call_whose_schema_checks_nothing_goes_out_and_is_counted() -> None:
    async def scene() -> None:
        heard = await ask(target("model", answer(bad())), tools=(Tool("look_up", parameters=b'{"type": "odd"}'),))

        assert calls(heard) == [bad()]
        assert heard.sample("trunkline_tool_schemas_unreadable_total") == 1

    play(scene())


# --- time, budgets, what goes wrong ----------------------------------------------------------------


def test_a_repair_has_what_is_left_of_the_turns_time() -> None:
    async def scene() -> None:
        model = target("model", answer(bad(), after_s=2.0), silent())

        heard = await ask(model, budget_ms=5000)

        patience = model.asked[1].patience
        assert patience[:2] == pytest.approx((3.0, 58.0), abs=0.01)
        assert patience.last
        assert heard.frames[-1][0] == pytest.approx(5.0, abs=0.01)
        assert heard.ways == [("model", "answered"), ("model", "upstream_timeout")]
        assert ended(heard) == ("stop", INVALID)

    play(scene())


def test_after_words_a_repair_is_no_longer_silence_than_callers_bear() -> None:
    async def scene() -> None:
        model = target("model", answer(Text("Hm. "), bad(), after_s=4.0), silent())

        heard = await ask(model, budget_ms=5000)

        assert model.asked[1].patience[:2] == (2.0, 2.0)
        assert heard.frames[-1][0] == pytest.approx(6.0, abs=0.01)
        assert (heard.text, ended(heard)) == ("Hm. ", ("stop", INVALID))

    play(scene())


def test_after_words_a_repair_that_goes_on_talking_is_no_longer_either() -> None:
    async def scene() -> None:
        model = target(
            "model", answer(Text("Hm. "), bad()), [1.0, Text("Well, "), 5.0, good(), Finished("tool_calls", USAGE)]
        )

        heard = await ask(model)

        assert heard.frames[-1][0] == pytest.approx(2.1, abs=0.01)
        assert (heard.text, ended(heard)) == ("Hm. ", ("stop", INVALID))

    play(scene())


def test_a_repair_that_runs_out_of_time_is_no_fault_of_its_target() -> None:
    async def scene() -> None:
        model = choice(target("model", answer(Text("Hm. "), bad()), silent()), BreakerSettings(failures=1))

        await ask(Worker(model))

        assert not model.breaker.is_open

    play(scene())


def test_after_words_nobody_is_asked_for_more_in_place_of_what_is_done() -> None:
    async def scene() -> None:
        model = target("model", answer(Text("Goodbye!"), end_call()), answer(Text("Okay, I will not."), after_s=5.0))

        heard = await ask(model, messages=(user("hi"), *ENDED, user("bye")))

        assert (heard.text, ended(heard)) == ("Goodbye!", ("stop", (Withheld("end_call", "repeated"),)))
        assert len(model.asked) == 1
        assert heard.frames[-1][0] == pytest.approx(0.1, abs=0.01)

    play(scene())


def test_without_time_there_is_no_repair() -> None:
    async def scene() -> None:
        model = target("model", answer(bad()), answer(good()), close_s=0.5)

        heard = await ask(model, budget_ms=500)

        assert len(model.asked) == 1
        assert ended(heard) == ("stop", INVALID)

    play(scene())


def test_repairs_draw_on_the_retry_budget() -> None:
    async def scene() -> None:
        model = choice(target("model", answer(bad())), BreakerSettings(requests=1000))
        worker = Worker(model, retry_share=0.0)

        turns = [await ask(worker) for _ in range(31)]

        assert turns[29].ways == [("model", "answered"), ("model", "answered")]
        assert turns[30].ways == [("model", "answered"), ("model", "retry_budget")]
        assert ended(turns[30]) == ("stop", INVALID)

    play(scene())


FAILURES: dict[str, list[Step]] = {
    "fails": fails(UpstreamError("503")),
    "says nothing": fails(EmptyAnswer("nothing")),
    "only thinks": [0.1, Reasoning("hm"), UpstreamTimeout("too slow")],
}


@pytest.mark.parametrize("script", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("words", ["", "Let me look. "])
def test_where_the_repair_comes_to_nothing_the_first_answer_stands_without_its_call(
    script: list[Step], words: str
) -> None:
    async def scene() -> None:
        model = target("model", answer(*[Text(words)][: len(words)], bad()), script)

        heard = await ask(Worker(model, target("never", says("hi"))))

        assert (heard.text, ended(heard)) == (words, ("stop", INVALID))
        assert [one for one, _ in heard.ways] == ["model", "model"]

    play(scene())


def test_a_repair_that_is_lost_in_its_words_is_gone_on_with() -> None:
    async def scene() -> None:
        model = target("model", answer(bad()), cut(UpstreamError("cut"), "Which "))

        heard = await ask(Worker(model, target("other", says("number?"))), on_lost="continue")

        assert (heard.text, ended(heard)) == ("Which number?", ("stop", ()))
        assert heard.sample("trunkline_tool_repairs_total", what="succeeded") == 1
        assert [one.reason for one in heard.attempts] == ["", "tool_repair", "continues"]

    play(scene())


def test_where_a_target_fails_after_a_bad_call_the_next_one_begins_anew() -> None:
    async def scene() -> None:
        first = target("first", [0.1, bad(), UpstreamError("cut")])

        heard = await ask(Worker(first, target("second", answer(good()))))

        assert (calls(heard), ended(heard)) == ([good()], ("tool_calls", ()))
        assert heard.ways == [("first", "upstream_error"), ("second", "answered")]

    play(scene())


def test_where_a_target_fails_after_words_and_a_bad_call_the_words_go_on() -> None:
    async def scene() -> None:
        first = target("first", [0.1, Text("One "), bad(), UpstreamError("cut")])

        heard = await ask(Worker(first, target("second", answer(Text("two."), bad()))), on_lost="continue")

        assert heard.text == "One two."
        assert [one.reason for one in heard.attempts] == ["", "continues", "tool_repair"]
        assert ended(heard) == ("stop", INVALID)

    play(scene())


def test_after_a_call_is_out_nothing_goes_on_and_nothing_is_mended() -> None:
    async def scene() -> None:
        never = target("never", says("hi"))

        heard = await ask(
            Worker(target("model", [0.1, good(), bad(1), UpstreamError("cut")]), never), on_lost="continue"
        )

        assert (heard.code, never.asked) == ("upstream_error", [])
        assert heard.last.withheld == INVALID

    play(scene())


@pytest.mark.parametrize("made", [bad(), broken()], ids=["of another type", "no object"])
def test_a_hedge_that_wins_with_a_bad_call_mends_it(made: ToolCall) -> None:
    async def scene() -> None:
        slow, fast = target("slow", silent()), target("fast", answer(made), answer(good()))

        heard = await ask(Worker(choice(slow, hedge_after_s=0.3), fast, hedge_share=1.0))

        assert calls(heard) == [good()]
        assert heard.ways == [("slow", "outrun"), ("fast", "answered"), ("fast", "answered")]

    play(scene())


@pytest.mark.parametrize("cancel_s", [0.05, 0.1, 0.15, 0.25])
def test_who_hangs_up_in_the_middle_of_a_repair_closes_it(cancel_s: float) -> None:
    async def scene() -> None:
        model = target("model", answer(bad()), silent())

        heard = await ask(model, cancel_s=cancel_s)

        assert heard.code == "interrupted"
        assert all(asked.closed_at is not None for asked in model.asked)
        assert heard.last.withheld == (INVALID if len(model.asked) > 1 else ())

    play(scene())


def test_a_worker_that_drains_in_the_middle_of_a_repair_leaves_all_of_it_to_the_next() -> None:
    async def scene() -> None:
        model = target("model", answer(bad()), silent())

        heard = await ask(model, cancel_s=0.25, cancel_for=Draining("the worker stops"))

        assert isinstance(heard.last, Failed)
        assert heard.last.retryable
        assert heard.last.withheld == ()
        assert [one.outcome for one in heard.attempts] == ["answered", "draining"]
        assert all(asked.closed_at is not None for asked in model.asked)

    play(scene())


def test_the_bill_of_a_bad_call_is_in_its_attempt_and_the_answers_usage_is_what_was_heard() -> None:
    async def scene() -> None:
        told = await ask(target("model", answer(bad()), answer(good())))
        counted = await ask(target("model", [0.1, bad(), Finished("tool_calls")], answer(Text("Which?"))))
        both = await ask(target("model", answer(Text("Hm. "), bad()), answer(good())))

        assert [one.usage for one in told.attempts] == [USAGE, USAGE]
        assert told.last.usage == USAGE
        first = counted.attempts[0].usage
        assert first.estimated
        assert first.completion > 0
        assert counted.last.usage == USAGE
        assert both.last.usage == Usage(prompt=10, completion=10)

    play(scene())


def test_marks_that_were_taken_out_are_added_up() -> None:
    async def scene() -> None:
        first: list[Step] = [0.1, bad(), Finished("tool_calls", USAGE, leaked=1)]

        heard = await ask(target("model", first, [0.1, Text("Which?"), Finished("stop", USAGE, leaked=2)]))

        assert isinstance(heard.last, Finished)
        assert heard.last.leaked == 3

    play(scene())


# --- whatever a model calls ------------------------------------------------------------------------

MADE = st.sampled_from(["good", "other", "bad", "broken", "end", "end badly", "unknown"])


def made(kind: str, index: int) -> ToolCall:
    return {
        "good": good(index),
        "other": good(index, 9),
        "bad": bad(index),
        "end": end_call(index),
        "broken": broken(index),
        "end badly": end_call(index, "{{reason}}"),
        "unknown": ToolCall(index, f"x_{index}", "no_such_tool", "{}"),
    }[kind]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.lists(MADE, max_size=4), st.booleans()), min_size=1, max_size=6))
def test_no_call_is_ended_twice_and_no_bad_call_goes_out_whatever_a_model_calls(
    turns: list[tuple[list[str], bool]],
) -> None:
    """Each entry is one request to the model: its calls, and whether it speaks before them."""

    async def scene() -> None:
        scripts = []
        for kinds, speaks in turns:
            frames = [made(kind, index) for index, kind in enumerate(kinds)]
            scripts.append(answer(*[Text("Hm. ")][: speaks or not frames], *frames))
        model, history, out = target("model", *scripts), [user("hi")], list[ToolCall]()
        while len(model.asked) < len(turns):
            heard = await ask(model, messages=tuple(history))
            assert isinstance(heard.last, Finished)
            assert [one.index for one in calls(heard)] == list(range(len(calls(heard))))
            assert (heard.last.reason == "tool_calls") == bool(calls(heard))
            assert heard.text.count("Hm.") <= 1
            out += calls(heard)
            for at, one in enumerate(calls(heard)):
                past = PastCall(f"{len(history)}-{at}", one.name, one.arguments)
                history += [Message("assistant", tool_calls=(past,)), Message("tool", "ok", tool_call_id=past.id)]
            history += [user("go on")]

        assert sum(one.name == "end_call" for one in out) <= 1
        assert all(json.loads(one.arguments) in ({"id": 7}, {"id": 9}, {"reason": "goodbye"}) for one in out)

    play(scene())
