"""A plain answer that is lost in the middle goes on, where the job says so."""

from typing import Any

import pytest

from protocol.errors import ContextTooLong, UpstreamError, UpstreamRefused, UpstreamTimeout
from protocol.messages import Finished, Format, Reasoning, Refusal, Text, ToolCall, Usage
from protocol.settings_types import BreakerSettings
from tests.virtual_time import play
from tests.workers.cascade_turns import Step, Worker, choice, cut, fails, says, silent, target
from workers.claims import KEPT_BYTES

LOST = UpstreamError("it broke off")
REST = says("three ", "four", usage=Usage(20, 2))


@pytest.mark.parametrize("error", [LOST, UpstreamTimeout("stalled")])
def test_the_next_target_says_the_rest(error: UpstreamError) -> None:
    async def scene() -> None:
        first, second = target("first", cut(error, "one ", "two ")), target("second", REST)

        heard = await Worker(first, second).answer(on_lost="continue", said="zero ")

        assert heard.text == "one two three four"
        assert isinstance(heard.last, Finished)
        assert heard.ways == [("first", error.code), ("second", "answered")]
        assert heard.attempts[1].reason == "continues"
        [asked] = second.asked
        assert asked.job.said == "zero one two "
        assert asked.patience[::2] == (8.0, True)
        assert asked.patience.total_s == pytest.approx(59.8, abs=0.01)
        assert asked.job.total_ms == pytest.approx(59_800, abs=10)
        assert first.asked[0].closed_at is not None

    play(scene())


def test_a_target_alone_is_asked_once_more() -> None:
    async def scene() -> None:
        alone = target("alone", cut(LOST, "one ", "two "), REST)

        heard = await Worker(alone).answer(on_lost="continue")

        assert heard.text == "one two three four"
        assert [asked.job.said for asked in alone.asked] == ["", "one two "]

    play(scene())


def test_once_more_is_once() -> None:
    async def scene() -> None:
        alone = target("alone", cut(LOST, "one "))

        heard = await Worker(alone).answer(on_lost="continue")

        assert (heard.text, heard.code) == ("one one ", "upstream_error")
        assert len(alone.asked) == 2

    play(scene())


def test_a_turn_is_continued_twice_and_no_more() -> None:
    async def scene() -> None:
        targets = [target(f"t{at}", cut(LOST, f"{at} ")) for at in range(4)]

        heard = await Worker(*targets).answer(on_lost="continue")

        assert (heard.text, heard.code) == ("0 1 2 ", "upstream_error")
        assert [len(one.asked) for one in targets] == [1, 1, 1, 0]
        assert targets[2].asked[0].job.said == "0 1 "

    play(scene())


def test_where_the_next_target_fails_the_first_one_is_asked_once_more() -> None:
    async def scene() -> None:
        first = target("first", cut(LOST, "one "), REST)

        heard = await Worker(first, target("down", fails(UpstreamError("503")))).answer(on_lost="continue")

        assert heard.text == "one three four"
        assert [way for _, way in heard.ways] == ["upstream_error", "upstream_error", "answered"]

    play(scene())


def test_the_answers_usage_is_its_prompt_and_all_that_was_said() -> None:
    async def scene() -> None:
        heard = await Worker(target("first", cut(LOST, "one ", "two ")), target("second", REST)).answer(
            on_lost="continue"
        )

        lost, rest = (one.usage for one in heard.attempts)
        assert lost.estimated
        assert lost.completion > 0
        assert rest == Usage(20, 2)
        assert heard.last.usage == Usage(lost.prompt, lost.completion + 2, estimated=True)

    play(scene())


def test_what_a_continuation_thinks_is_not_heard() -> None:
    async def scene() -> None:
        first = target("first", [0.1, Reasoning("hm "), Text("one "), 0.1, LOST])
        rest: list[Step] = [0.1, Reasoning("so "), Text("two"), Reasoning("well"), Finished("stop")]

        heard = await Worker(first, target("second", rest)).answer(on_lost="continue")

        assert (heard.thoughts, heard.text) == ("hm ", "one two")

    play(scene())


def test_a_continuation_may_bring_nothing() -> None:
    async def scene() -> None:
        heard = await Worker(target("first", cut(LOST, "one ")), target("second", [0.1, Finished("stop")])).answer(
            on_lost="continue"
        )

        assert (heard.text, heard.last.target) == ("one ", "first")
        assert isinstance(heard.last, Finished)

    play(scene())


def test_a_continuation_may_end_in_a_tool_call() -> None:
    async def scene() -> None:
        call = ToolCall(0, "call_a", "f", "{}")
        second = target("second", [0.1, call, Finished("tool_calls")])

        heard = await Worker(target("first", cut(LOST, "one ")), second).answer(on_lost="continue")

        assert [frame for _, frame in heard.frames][:2] == [Text("one "), call]
        assert isinstance(heard.last, Finished)

    play(scene())


NOT: dict[str, dict[str, Any]] = {
    "unless the job says so": {"on_lost": "finish"},
    "json": {"response_format": Format("json_object")},
    "no time": {"total_ms": 200},
}


@pytest.mark.parametrize("fields", NOT.values(), ids=NOT)
def test_no_answer_goes_on(fields: dict[str, Any]) -> None:
    async def scene() -> None:
        never = target("never", REST)

        heard = await Worker(target("first", cut(LOST, "one ")), never).answer(**{"on_lost": "continue", **fields})

        assert (heard.text, heard.code, never.asked) == (
            "one ",
            LOST.code if "total_ms" not in fields else heard.code,
            [],
        )
        assert heard.code

    play(scene())


@pytest.mark.parametrize("frame", [ToolCall(0, "call_a", "f", "{}"), Refusal("I will not")])
def test_nothing_goes_on_after_a_tool_call_or_a_refusal(frame: ToolCall) -> None:
    async def scene() -> None:
        never = target("never", REST)

        heard = await Worker(target("first", [0.1, Text("one "), frame, LOST]), never).answer(on_lost="continue")

        assert (heard.code, never.asked) == ("upstream_error", [])

    play(scene())


def test_what_the_next_target_would_repeat_is_not_gone_on_with() -> None:
    async def scene() -> None:
        never = target("never", REST)

        heard = await Worker(target("first", cut(UpstreamRefused("400"), "one ")), never).answer(on_lost="continue")

        assert (heard.code, never.asked) == ("upstream_refused", [])

    play(scene())


def test_an_answer_that_is_kept_no_more_is_not_gone_on_with() -> None:
    async def scene() -> None:
        page = "x" * (200 << 10)
        long = cut(LOST, *[page] * (KEPT_BYTES // len(page) + 2))
        never = target("never", REST)

        heard = await Worker(target("first", long), never).answer(on_lost="continue")

        assert (heard.code, never.asked) == ("upstream_error", [])

    play(scene())


def test_continuations_draw_on_the_retry_budget() -> None:
    async def scene() -> None:
        first = choice(target("first", cut(LOST, "one ")), BreakerSettings(requests=1000))
        worker = Worker(first, target("second", REST), retry_share=0.0)

        turns = [await worker.answer(on_lost="continue") for _ in range(40)]

        texts = [heard.text for heard in turns]
        assert texts[:30] == ["one three four"] * 30  # the free ones of ten seconds
        assert texts[30] == "one "
        assert turns[30].ways == [("first", "upstream_error"), ("second", "retry_budget")]

    play(scene())


def test_a_target_that_was_outrun_goes_on_with_the_answer_of_the_faster_one() -> None:
    async def scene() -> None:
        slow = target("slow", silent(), REST)
        fast = target("fast", cut(LOST, "one ", "two "))

        heard = await Worker(choice(slow, hedge_after_s=0.3), fast).answer(on_lost="continue")

        assert heard.text == "one two three four"
        assert heard.ways == [("slow", "outrun"), ("fast", "upstream_error"), ("slow", "answered")]

    play(scene())


def test_a_hedge_that_was_outrun_goes_on_too() -> None:
    async def scene() -> None:
        first, hedge = target("first", cut(LOST, "one ", after_s=0.4)), target("hedge", silent(), REST)

        heard = await Worker(choice(first, hedge_after_s=0.3), hedge).answer(on_lost="continue")

        assert heard.text == "one three four"
        assert heard.ways == [("first", "upstream_error"), ("hedge", "outrun"), ("hedge", "answered")]

    play(scene())


def test_who_hangs_up_during_a_continuation_closes_it() -> None:
    async def scene() -> None:
        second = target("second", silent())

        heard = await Worker(target("first", cut(LOST, "one ")), second).answer(on_lost="continue", cancel_s=1.0)

        assert heard.code == "interrupted"
        assert second.asked[0].closed_at is not None

    play(scene())


def test_a_continuation_that_does_not_fit_the_next_target_ends_the_turn_with_that() -> None:
    async def scene() -> None:
        short = target("short", fails(ContextTooLong("too long")))

        heard = await Worker(target("first", cut(LOST, "one ")), short).answer(on_lost="continue")

        assert heard.text == "one one "
        assert heard.ways == [
            ("first", "upstream_error"),
            ("short", "context_length_exceeded"),
            ("first", "upstream_error"),
        ]

    play(scene())
