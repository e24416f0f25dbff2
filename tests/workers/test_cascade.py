"""Which target answers a turn: the caller hears one answer, or one error."""

import asyncio
import gc
import weakref
from typing import Any

import pytest

from protocol.errors import (
    ContentFiltered,
    ContextTooLong,
    EmptyAnswer,
    KeyRefused,
    NotReady,
    QuotaGone,
    RateLimited,
    ServiceError,
    TooLarge,
    UnsupportedParameter,
    UnsupportedValue,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)
from protocol.messages import Finished, Reasoning, Refusal, Text, ToolCall, Usage
from protocol.settings_types import BreakerSettings, Prices
from tests.virtual_time import play
from tests.workers.cascade_turns import (
    Heard,
    Step,
    Worker,
    choice,
    cut,
    fails,
    says,
    silent,
    target,
)
from workers.cascade import Cascade
from workers.targets.upstream_errors import LimitTooLow

NEXT: list[ServiceError] = [
    UpstreamError("no connection"),
    UpstreamTimeout("too slow"),
    EmptyAnswer("nothing"),
    RateLimited("429"),
    QuotaGone("nothing left"),
    NotReady("loads"),
    KeyRefused("401"),
    ContextTooLong("too long"),
    ContentFiltered("not that"),
    TooLarge("a frame of a megabyte"),
]


def ids(errors: list[ServiceError]) -> list[str]:
    return [error.code for error in errors]


@pytest.mark.parametrize("error", NEXT, ids=ids(NEXT))
@pytest.mark.parametrize("position", [0, 1], ids=["first", "second"])
def test_the_next_target_answers_where_one_fails(error: ServiceError, position: int) -> None:
    async def scene() -> None:
        targets = [target(f"bad{at}", fails(error)) for at in range(position + 1)]
        good = target("good", says("hi ", "there"))

        heard = await Worker(*targets, good).answer()

        assert heard.text == "hi there"
        assert isinstance(heard.last, Finished)
        assert heard.last.target == "good"
        assert heard.ways == [*((one.name, error.code) for one in targets), ("good", "answered")]
        assert heard.first_s() == pytest.approx(0.1 * (position + 2), abs=0.01)
        assert all(one.asked[0].closed_at is not None for one in (*targets, good))

    play(scene())


def test_what_the_next_target_would_repeat_ends_the_turn_at_once() -> None:
    async def scene() -> None:
        never = target("never", says("hi"))

        heard = await Worker(target("strict", fails(UpstreamRefused("no such field"))), never).answer()

        assert heard.code == "upstream_refused"
        assert heard.ways == [("strict", "upstream_refused")]
        assert never.asked == []

    play(scene())


def test_a_target_that_is_too_slow_makes_room_for_the_next() -> None:
    async def scene() -> None:
        slow, good = target("slow", silent(), first_content_s=1.5), target("good", says("hi"))

        heard = await Worker(slow, good).answer()

        assert heard.ways == [("slow", "upstream_timeout"), ("good", "answered")]
        assert heard.first_s() == pytest.approx(1.6, abs=0.01)
        assert slow.asked[0].closed_at == pytest.approx(slow.asked[0].at + 1.5, abs=0.01)

    play(scene())


def test_budgets_run_from_the_beginning_of_the_turn() -> None:
    async def scene() -> None:
        one = target("one", fails(UpstreamError("broken"), after_s=1.0))
        two = target("two", silent(), first_content_s=2.0)
        three = target("three", silent())

        heard = await Worker(one, two, three).answer(budget_ms=5000, total_ms=60_000)

        assert [asked.patience[:3] for scripted in (one, two, three) for asked in scripted.asked] == [
            (5.0, 60.0, False),
            (pytest.approx(4.0, abs=0.01), pytest.approx(59.0, abs=0.01), False),
            (pytest.approx(2.0, abs=0.01), pytest.approx(57.0, abs=0.01), True),
        ]
        assert heard.code == "upstream_timeout"
        assert heard.frames[-1][0] == pytest.approx(5.0, abs=0.01)

    play(scene())


def test_no_target_is_asked_when_the_budget_is_used_up() -> None:
    async def scene() -> None:
        late = target("late", says("hi"))

        heard = await Worker(target("slow", silent(), first_content_s=9.0), late).answer(budget_ms=2000)

        assert heard.ways == [("slow", "upstream_timeout")]
        assert late.asked == []

    play(scene())


def test_a_target_alone_has_all_the_time_and_no_task_but_its_turns() -> None:
    async def scene() -> None:
        tasks: list[int] = []
        alone = target("alone", says("hi", after_s=3.0))

        heard = await Worker(alone).answer(look=lambda _: tasks.append(len(asyncio.all_tasks())))

        assert alone.asked[0].patience[:3] == (8.0, 60.0, True)
        assert heard.text == "hi"
        assert set(tasks) == {2}  # the test's own, and the turn's

    play(scene())


@pytest.mark.parametrize("unsupported", [UnsupportedParameter("no logprobs"), UnsupportedValue("no images")])
def test_a_target_that_cannot_be_told_the_job_is_passed_over(unsupported: ServiceError) -> None:
    async def scene() -> None:
        deaf = choice(target("deaf", [unsupported]), BreakerSettings(requests=1, failures=0.1))

        heard = await Worker(deaf, target("good", says("hi")), retry_share=0.0).answer()

        assert heard.ways == [("deaf", "unsupported"), ("good", "answered")]
        assert heard.attempts[0].usage == Usage()
        assert not deaf.breaker.is_open
        assert heard.sample("trunkline_targets_skipped_total", target="deaf", reason="unsupported") == 1

    play(scene())


def test_no_room_is_made_for_a_target_that_cannot_be_told_the_job() -> None:
    async def scene() -> None:
        slow = target("slow", says("hi", after_s=3.0), first_content_s=1.5)

        heard = await Worker(slow, target("deaf", [UnsupportedValue("no images")])).answer()

        assert slow.asked[0].patience.last
        assert (heard.text, heard.ways) == ("hi", [("slow", "answered")])

    play(scene())


def test_a_target_is_asked_once_in_a_turn_what_it_takes_and_a_target_alone_never() -> None:
    async def scene() -> None:
        slow, bad, good = (
            target("slow", silent()),
            target("bad", fails(UpstreamError("500"))),
            target("good", says("hi")),
        )
        alone = target("alone", says("hi"))

        await Worker(slow, bad, good).answer()
        await Worker(alone).answer()

        assert [one.considered for one in (slow, bad, good, alone)] == [0, 1, 1, 0]

    play(scene())


def test_a_record_tells_of_the_target_that_was_asked_last() -> None:
    async def scene() -> None:
        lost = target("lost", [Usage(prompt=700), 0.1, UpstreamError("broken")])

        heard = await Worker(lost, target("deaf", fails(UnsupportedValue("no images")))).answer()

        assert heard.ways == [("lost", "upstream_error"), ("deaf", "unsupported")]
        assert (heard.last.target, heard.last.usage.prompt) == ("lost", 700)

    play(scene())


def test_where_no_target_can_be_told_the_job_the_first_one_says_why() -> None:
    async def scene() -> None:
        first, second = UnsupportedParameter("no logprobs", param="logprobs"), UnsupportedValue("no images")

        heard = await Worker(target("a", [first]), target("b", [second])).answer()

        assert heard.code == "unsupported_parameter"
        assert heard.ways == [("a", "unsupported"), ("b", "unsupported")]

    play(scene())


@pytest.mark.parametrize(
    ("errors", "told"),
    [
        ([UpstreamError("1"), UpstreamTimeout("2")], "2"),
        ([RateLimited("1"), UpstreamError("2")], "1"),
        ([ContextTooLong("1"), RateLimited("2"), UpstreamError("3")], "1"),
        ([UnsupportedValue("1"), UpstreamError("2")], "2"),
        ([UpstreamError("1"), UnsupportedValue("2")], "1"),
        ([ContextTooLong("1"), UpstreamRefused("2")], "2"),
    ],
)
def test_the_caller_hears_the_most_telling_error(errors: list[ServiceError], told: str) -> None:
    async def scene() -> None:
        targets = [target(f"t{at}", fails(error, after_s=0.0)) for at, error in enumerate(errors)]

        heard = await Worker(*targets).answer()

        assert getattr(heard.last, "message", None) == told

    play(scene())


CONTENT: dict[str, list[Step]] = {
    "text": [Text("wait ")],
    "refusal": [Refusal("I will not")],
    "tool call": [ToolCall(0, "call_a", "f", "{}")],
}


@pytest.mark.parametrize("content", CONTENT.values(), ids=CONTENT)
def test_after_content_no_other_target_begins(content: list[Step]) -> None:
    async def scene() -> None:
        never = target("never", says("hi"))

        heard = await Worker(target("lost", [0.1, *content, 0.1, UpstreamError("broke off")]), never).answer()

        assert heard.code == "upstream_error"
        assert never.asked == []

    play(scene())


def test_nobody_hears_what_a_target_thought_that_did_not_answer() -> None:
    async def scene() -> None:
        first = target("first", [0.1, Reasoning("hm "), UpstreamError("broken")])
        second = target("second", [0.1, Reasoning("aha "), 0.1, Text("yes"), Finished("stop")])

        heard = await Worker(first, second, target("third", says("no"))).answer()

        assert (heard.thoughts, heard.text) == ("aha ", "yes")
        assert [type(frame) for _, frame in heard.frames] == [Reasoning, Text, Finished]

    play(scene())


def test_what_the_last_target_thinks_is_passed_on_at_once() -> None:
    async def scene() -> None:
        heard = await Worker(target("alone", [0.1, Reasoning("hm "), 1.0, Text("yes"), Finished("stop")])).answer()

        at, frame = heard.frames[0]
        assert frame == Reasoning("hm ")
        assert at == pytest.approx(0.1, abs=0.01)

    play(scene())


def test_thoughts_of_a_second_request_do_not_follow_those_of_the_first() -> None:
    async def scene() -> None:
        busy = target(
            "busy",
            [0.1, Reasoning("hm "), RateLimited("429", retry_after_s=1.0)],
            [0.1, Reasoning("hm again "), Text("yes"), Reasoning("after all"), Finished("stop")],
        )

        heard = await Worker(busy).answer()

        assert (heard.thoughts, heard.text) == ("hm ", "yes")

    play(scene())


# --- Retry-After -----------------------------------------------------------------------------------


def test_a_target_that_says_when_to_come_back_is_waited_for_where_no_other_is_left() -> None:
    async def scene() -> None:
        busy = target("busy", fails(RateLimited("429", retry_after_s=2.0)), says("hi"))
        down = target("down", fails(UpstreamError("503", retry_after_s=5.0)))

        heard = await Worker(busy, down).answer()

        assert heard.ways == [("busy", "rate_limit_exceeded"), ("down", "upstream_error"), ("busy", "answered")]
        assert heard.attempts[2].reason == "waited"
        assert busy.asked[1].at == pytest.approx(busy.asked[0].at + 2.1, abs=0.01)

    play(scene())


@pytest.mark.parametrize("retry_after_s", [None, 8.0, 3600.0])
def test_nobody_waits_beyond_the_budget(retry_after_s: float | None) -> None:
    async def scene() -> None:
        heard = await Worker(target("busy", fails(RateLimited("429", retry_after_s=retry_after_s)))).answer()

        assert heard.code == "rate_limit_exceeded"
        assert getattr(heard.last, "retry_after_s", 0.0) == retry_after_s
        assert heard.frames[-1][0] == pytest.approx(0.1, abs=0.01)

    play(scene())


def test_a_target_is_waited_for_once() -> None:
    async def scene() -> None:
        busy = target("busy", fails(RateLimited("429", retry_after_s=1.0)))

        heard = await Worker(busy).answer()

        assert heard.code == "rate_limit_exceeded"
        assert len(busy.asked) == 2

    play(scene())


@pytest.mark.parametrize("error", [ContextTooLong, ContentFiltered])
def test_a_target_that_is_not_to_blame_is_not_waited_for(error: type[ServiceError]) -> None:
    async def scene() -> None:
        sure = target("sure", fails(error("no", retry_after_s=1.0)))

        heard = await Worker(sure).answer()

        assert heard.code == error.code
        assert len(sure.asked) == 1

    play(scene())


# --- an empty answer -------------------------------------------------------------------------------

EMPTY = EmptyAnswer("not a word")


def test_a_target_alone_that_says_nothing_is_asked_once_more() -> None:
    async def scene() -> None:
        alone = target("alone", fails(EMPTY), says("hi"))

        heard = await Worker(alone).answer()

        assert heard.text == "hi"
        assert heard.ways == [("alone", "empty_answer"), ("alone", "answered")]
        assert [one.reason for one in heard.attempts] == ["", "empty"]

    play(scene())


def test_once_more_after_an_empty_answer_is_once_and_then_the_turn_fails_as_one() -> None:
    async def scene() -> None:
        alone = target("alone", fails(EMPTY))

        heard = await Worker(alone).answer()

        assert (heard.code, len(alone.asked)) == ("empty_answer", 2)

    play(scene())


def test_the_next_target_is_the_second_try_of_an_empty_answer() -> None:
    async def scene() -> None:
        one, two = target("one", fails(EMPTY)), target("two", fails(EMPTY))

        heard = await Worker(one, two).answer()

        assert heard.code == "empty_answer"
        assert heard.ways == [("one", "empty_answer"), ("two", "empty_answer")]

    play(scene())


def test_where_the_next_target_is_down_the_one_that_said_nothing_is_asked_once_more() -> None:
    async def scene() -> None:
        one, down = target("one", fails(EMPTY), says("hi")), target("down", fails(UpstreamError("503")))

        heard = await Worker(one, down).answer()

        assert heard.text == "hi"
        assert heard.ways == [("one", "empty_answer"), ("down", "upstream_error"), ("one", "answered")]

    play(scene())


def test_after_an_empty_answer_nobody_waits_for_a_target_that_wants_to_be_asked_later() -> None:
    async def scene() -> None:
        busy = target("busy", fails(RateLimited("429", retry_after_s=3.0)))

        heard = await Worker(target("one", fails(EMPTY), says("hi")), busy).answer()

        assert (heard.text, len(busy.asked)) == ("hi", 1)
        assert heard.first_s() == pytest.approx(0.3, abs=0.01)

    play(scene())


def test_the_second_try_of_an_empty_answer_draws_on_the_retry_budget_and_on_the_turns_time() -> None:
    async def scene() -> None:
        worker = Worker(choice(target("alone", fails(EMPTY)), BreakerSettings(requests=1000)), retry_share=0.0)

        turns = [await worker.answer() for _ in range(31)]
        late = await Worker(target("late", fails(EMPTY, after_s=3.0))).answer(budget_ms=3000)

        assert [len(heard.attempts) for heard in turns] == [2] * 31
        assert turns[29].ways[1] == ("alone", "empty_answer")
        assert turns[30].ways[1] == ("alone", "retry_budget")
        assert len(late.attempts) == 1

    play(scene())


@pytest.mark.parametrize("error", [LimitTooLow("no room"), ContentFiltered("not that")])
def test_an_answer_that_may_not_be_is_not_an_empty_one(error: ServiceError) -> None:
    async def scene() -> None:
        alone = target("alone", fails(error))

        heard = await Worker(alone).answer()

        assert (heard.code, len(alone.asked)) == (error.code, 1)

    play(scene())


# --- breaker ---------------------------------------------------------------------------------------

TOUCHY = BreakerSettings(requests=2, failures=0.5, open_s=5.0)


def test_a_target_that_keeps_failing_is_passed_over_and_probed_again() -> None:
    async def scene() -> None:
        bad = choice(target("bad", *[fails(UpstreamError("500"))] * 2, says("back")), TOUCHY)
        worker = Worker(bad, target("good", says("hi")))

        ways = [(await worker.answer()).ways[0] for _ in range(3)]
        await asyncio.sleep(5.0)
        heard = await worker.answer()

        assert ways == [("bad", "upstream_error")] * 2 + [("bad", "breaker_open")]
        assert heard.text == "back"
        assert not bad.breaker.is_open

    play(scene())


def test_one_turn_at_a_time_probes_a_target() -> None:
    async def scene() -> None:
        bad = choice(target("bad", *[fails(UpstreamError("500"))] * 2, says("back", after_s=1.0)), TOUCHY)
        worker = Worker(bad, target("good", says("hi")))
        for _ in range(2):
            await worker.answer()
        await asyncio.sleep(5.0)

        probe, other = await asyncio.gather(worker.answer(), worker.answer())

        assert (probe.text, other.text) == ("back", "hi")
        assert other.ways[0] == ("bad", "breaker_open")

    play(scene())


def test_a_probe_whose_caller_hangs_up_leaves_the_next_turn_to_probe() -> None:
    async def scene() -> None:
        bad = choice(target("bad", *[fails(UpstreamError("500"))] * 2, silent(), says("back")), TOUCHY)
        worker = Worker(bad, target("good", says("hi")))
        for _ in range(2):
            await worker.answer()
        await asyncio.sleep(5.0)

        assert (await worker.answer(cancel_s=0.5)).code == "interrupted"

        assert (await worker.answer()).text == "back"

    play(scene())


def test_the_only_target_is_asked_though_its_breaker_is_open() -> None:
    async def scene() -> None:
        bad = choice(target("bad", *[fails(UpstreamError("500"))] * 3, says("back")), TOUCHY)
        worker = Worker(bad)

        turns = [await worker.answer() for _ in range(4)]

        assert [heard.ways for heard in turns] == [[("bad", "upstream_error")]] * 3 + [[("bad", "answered")]]
        assert not bad.breaker.is_open

    play(scene())


def test_where_all_breakers_are_open_the_target_that_is_ready_first_is_asked() -> None:
    async def scene() -> None:
        one = choice(target("one", fails(RateLimited("429", retry_after_s=30.0))))
        two = choice(target("two", fails(RateLimited("429", retry_after_s=20.0)), says("hi")))
        worker = Worker(one, two)
        await worker.answer()

        heard = await worker.answer()

        assert heard.ways == [("one", "breaker_open"), ("two", "answered")]

    play(scene())


def test_a_target_that_was_passed_over_is_better_than_none() -> None:
    async def scene() -> None:
        one = choice(target("one", fails(RateLimited("429", retry_after_s=30.0)), says("hi")))
        two = target("two", says("two"), fails(UpstreamError("500")))
        worker = Worker(one, two)
        await worker.answer()

        heard = await worker.answer()

        assert heard.ways == [("one", "breaker_open"), ("two", "upstream_error"), ("one", "answered")]

    play(scene())


@pytest.mark.parametrize(
    "error", [UpstreamRefused("400"), ContextTooLong("long"), ContentFiltered("no"), LimitTooLow("4 tokens")]
)
def test_what_the_caller_is_to_blame_for_opens_no_breaker(error: ServiceError) -> None:
    async def scene() -> None:
        fine = choice(target("fine", fails(error)), TOUCHY)
        worker = Worker(fine)

        for _ in range(5):
            await worker.answer()

        assert not fine.breaker.is_open

    play(scene())


def test_a_caller_who_hangs_up_opens_no_breaker() -> None:
    async def scene() -> None:
        fine = choice(target("fine", silent()), TOUCHY)
        worker = Worker(fine)

        for _ in range(5):
            await worker.answer(cancel_s=0.5)

        assert not fine.breaker.is_open

    play(scene())


def test_a_target_that_is_cut_off_again_and_again_is_passed_over() -> None:
    async def scene() -> None:
        bad = choice(target("bad", cut(UpstreamError("cut"), "a ")), BreakerSettings(requests=4, failures=1.0))
        worker = Worker(bad, target("good", says("hi")))

        turns = [await worker.answer() for _ in range(5)]

        assert [heard.text for heard in turns] == ["a "] * 4 + ["hi"]

    play(scene())


def test_a_probe_that_is_cut_off_brings_no_target_back() -> None:
    async def scene() -> None:
        down = [fails(UpstreamError("500"))] * 2
        bad = choice(target("bad", *down, cut(UpstreamError("cut"), "a ")), TOUCHY)
        worker = Worker(bad, target("good", says("hi")))
        for _ in range(2):
            await worker.answer()
        await asyncio.sleep(5.0)

        texts = [(await worker.answer()).text for _ in range(2)]

        assert texts == ["a ", "hi"]

    play(scene())


def test_while_a_probe_speaks_nobody_else_is_let_through() -> None:
    async def scene() -> None:
        long: list[Step] = [0.1, Text("back "), 10.0, Text("again"), Finished("stop")]
        bad = choice(target("bad", *[fails(UpstreamError("500"))] * 2, long), TOUCHY)
        worker = Worker(bad, target("good", says("hi")))
        for _ in range(2):
            await worker.answer()
        await asyncio.sleep(5.0)
        probe = asyncio.create_task(worker.answer())
        await asyncio.sleep(1.0)

        assert (await worker.answer()).text == "hi"
        assert (await probe).text == "back again"
        assert not bad.breaker.is_open

    play(scene())


@pytest.mark.parametrize(("cancel_s", "is_open"), [(0.05, True), (1.0, False)])
def test_a_probe_whose_caller_hangs_up_proves_something_once_it_has_spoken(cancel_s: float, is_open: bool) -> None:
    async def scene() -> None:
        long: list[Step] = [0.1, Text("back "), 10.0, Text("again"), Finished("stop")]
        bad = choice(target("bad", *[fails(UpstreamError("500"))] * 2, long), TOUCHY)
        worker = Worker(bad, target("good", says("hi")))
        for _ in range(2):
            await worker.answer()
        await asyncio.sleep(5.0)

        assert (await worker.answer(cancel_s=cancel_s)).code == "interrupted"

        assert bad.breaker.is_open == is_open

    play(scene())


# --- retry budget ----------------------------------------------------------------------------------


def test_an_outage_is_not_multiplied() -> None:
    async def scene() -> None:
        never = BreakerSettings(requests=1000)
        bad, good = choice(target("bad", fails(UpstreamError("500"), after_s=0.0)), never), target("good", says("hi"))
        worker = Worker(bad, good, retry_share=0.1)

        turns: list[Heard] = [*await asyncio.gather(*(worker.answer() for _ in range(100)))]

        assert len(good.asked) == 30 + 10  # the free ones of ten seconds, and a tenth of the turns
        failed = [heard for heard in turns if heard.code]
        assert failed[0].code == "upstream_error"
        assert failed[0].ways == [("bad", "upstream_error"), ("good", "retry_budget")]

    play(scene())


# --- the bill --------------------------------------------------------------------------------------


def test_every_attempt_has_its_bill_and_the_answer_has_its_own() -> None:
    async def scene() -> None:
        slow = choice(target("slow", silent()), prices=Prices(input=1.0, output=2.0))
        broken = target("broken", fails(UpstreamError("500")))
        good = choice(target("good", says("hi", usage=Usage(100, 50))), prices=Prices(input=1.0, output=2.0))

        heard = await Worker(slow, broken, good).answer()

        timed_out, failed, answered = heard.attempts
        assert timed_out.usage.prompt > 0
        assert timed_out.usage.estimated
        assert timed_out.cost is not None
        assert timed_out.cost > 0
        assert (failed.usage, failed.cost) == (Usage(), None)
        assert answered.usage == heard.last.usage == Usage(100, 50)
        assert answered.cost == pytest.approx(200 / 1e6)
        assert answered.first_content_ms == pytest.approx(100, abs=1)
        assert heard.last.timings.first_content_ms == pytest.approx(1700, abs=1)  # from the first request on

    play(scene())


def test_what_an_upstream_said_of_its_cost_counts_though_it_was_lost() -> None:
    async def scene() -> None:
        prices = Prices(input=2.0, output=8.0)
        lost = target("lost", [0.1, Usage(prompt=700), Text("One two"), 0.1, UpstreamError("cut")])

        heard = await Worker(choice(lost, prices=prices)).answer()

        (attempt,) = heard.last.attempts
        assert attempt.usage.prompt == 700
        assert 0 < attempt.usage.completion < 10
        assert attempt.usage.estimated
        assert attempt.cost == pytest.approx((700 * 2 + attempt.usage.completion * 8) / 1e6)

    play(scene())


def test_every_attempt_is_a_span() -> None:
    async def scene() -> None:
        deaf = target("deaf", [UnsupportedValue("no images")])
        closed = choice(target("closed", says("no")))
        closed.breaker.failed(closed.breaker.begin(0.0), asyncio.get_running_loop().time(), 30.0)
        good = choice(target("good", says("hi", usage=Usage(100, 50))), prices=Prices(input=1.0, output=2.0))

        heard = await Worker(deaf, target("bad", fails(UpstreamError("x"))), closed, good).answer()

        chats = {str(span.attributes["trunkline.target"]): span for span in heard.spans if span.name == "chat m"}
        outcomes = {name: span.attributes["trunkline.attempt.outcome"] for name, span in chats.items()}
        assert outcomes == {"deaf": "skipped", "bad": "upstream_error", "closed": "skipped", "good": "answered"}
        assert chats["closed"].attributes["trunkline.attempt.reason"] == "breaker_open"
        assert chats["closed"].end_ns - chats["closed"].start_ns < 1_000_000_000
        assert chats["bad"].error == chats["bad"].attributes["error.type"] == "upstream_error"
        assert chats["good"].attributes["gen_ai.usage.input_tokens"] == 100
        assert chats["good"].attributes["trunkline.cost"] == pytest.approx(200 / 1e6)
        process = next(span for span in heard.spans if span.name == "process job.p")
        assert all(span.parent_id == process.span_id for span in chats.values())

    play(scene())


def test_metrics_count_what_came_of_each_target() -> None:
    async def scene() -> None:
        heard = await Worker(target("bad", fails(UpstreamError("x"))), target("good", says("hi"))).answer()

        attempts = "trunkline_target_attempts_total"
        assert heard.sample(attempts, target="bad", outcome="upstream_error") == 1
        assert heard.sample(attempts, target="good", outcome="answered") == 1
        assert heard.sample("trunkline_generations_total", outcome="finished") == 1
        assert heard.sample("trunkline_target_first_content_seconds_count", target="good") == 1

    play(scene())


PHASES = {"first": 0.1, "closing": 0.4, "second": 0.6, "waiting": 1.2, "again": 1.6}


@pytest.mark.parametrize("cancel_s", PHASES.values(), ids=PHASES)
def test_who_hangs_up_in_any_phase_closes_what_is_open_before_the_last_frame(cancel_s: float) -> None:
    async def scene() -> None:
        one = target("one", fails(RateLimited("429", retry_after_s=1.0), after_s=0.3), silent(), close_s=0.2)
        two = target("two", fails(UpstreamError("500"), after_s=0.2), close_s=0.2)
        closed: list[bool] = []

        heard = await Worker(one, two).answer(
            cancel_s=cancel_s,
            look=lambda _: closed.extend(asked.closed_at is not None for asked in (*one.asked, *two.asked)),
        )

        assert heard.code == "interrupted"
        assert len(closed) == len(heard.attempts) > 0
        assert all(closed)

    play(scene())


def test_a_bug_in_a_target_is_told_as_one_and_closes_it() -> None:
    async def scene() -> None:
        endless = target("endless", [0.1, Text("hi")])

        with pytest.raises(RuntimeError, match="without a last frame"):
            await Worker(endless).answer()

        assert endless.asked[0].closed_at is not None

    play(scene())


def test_a_probe_that_meets_a_bug_leaves_the_next_turn_to_probe() -> None:
    async def scene() -> None:
        bad = choice(target("bad", *[fails(UpstreamError("500"))] * 2, [0.1], says("back")), TOUCHY)
        worker = Worker(bad, target("good", says("hi")))
        for _ in range(2):
            await worker.answer()
        await asyncio.sleep(5.0)

        with pytest.raises(RuntimeError, match="without a last frame"):
            await worker.answer()

        assert (await worker.answer()).text == "back"

    play(scene())


def test_a_turn_leaves_nothing_to_the_garbage_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ring of objects in each turn costs more than its targets' order does, and keeps what was said."""
    made: list[weakref.ref[Cascade]] = []
    init = Cascade.__init__

    def remembered(self: Cascade, *args: Any, **told: Any) -> None:
        init(self, *args, **told)
        made.append(weakref.ref(self))

    async def scene() -> None:
        monkeypatch.setattr(Cascade, "__init__", remembered)
        gc.disable()
        try:
            await Worker(target("good", says("hi"))).answer()
            assert [cascade() for cascade in made] == [None]
        finally:
            gc.enable()

    play(scene())
