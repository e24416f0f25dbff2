"""A second target beside a slow one: who has content first answers."""

import asyncio

import pytest

from protocol.errors import UnsupportedValue, UpstreamError, UpstreamRefused
from protocol.messages import Finished, Reasoning, Text, Usage
from protocol.settings_types import BreakerSettings, Prices
from tests.virtual_time import play
from tests.workers.cascade_turns import Scripted, Worker, choice, fails, says, silent, target
from workers.hedge import MIN_SAMPLES
from workers.routes import Choice

PRICES = Prices(input=1.0, output=2.0)


def hedged(scripted: Scripted, after_s: float = 0.3) -> Choice:
    return choice(scripted, hedge_after_s=after_s, prices=PRICES)


def test_the_first_content_wins_and_the_other_connection_is_closed_at_once() -> None:
    async def scene() -> None:
        slow, fast = target("slow", says("slow", after_s=1.0)), target("fast", says("fast"))

        heard = await Worker(hedged(slow), fast).answer()

        assert heard.text == "fast"
        assert heard.first_s() == pytest.approx(0.4, abs=0.01)
        assert slow.asked[0].closed_at == pytest.approx(slow.asked[0].at + 0.4, abs=0.01)
        assert heard.ways == [("slow", "outrun"), ("fast", "answered")]
        outrun, answered = heard.attempts
        assert (outrun.hedge, answered.hedge) == (False, True)
        assert outrun.usage.estimated
        assert outrun.cost is not None
        assert outrun.cost > 0
        assert (heard.sample("trunkline_hedges_total", what="started"), heard.last.target) == (1, "fast")
        assert heard.sample("trunkline_hedges_total", what="won") == 1

    play(scene())


def test_a_target_that_is_fast_enough_is_not_hedged() -> None:
    async def scene() -> None:
        never = target("never", says("no"))

        heard = await Worker(hedged(target("fast", says("fast", after_s=0.29))), never).answer()

        assert (heard.text, never.asked) == ("fast", [])

    play(scene())


def test_the_first_may_still_win() -> None:
    async def scene() -> None:
        slow, slower = target("slow", says("slow", after_s=0.4)), target("slower", says("slower", after_s=0.5))

        heard = await Worker(hedged(slow), slower).answer()

        assert heard.text == "slow"
        assert heard.ways == [("slow", "answered"), ("slower", "outrun")]
        assert slower.asked[0].closed_at == pytest.approx(slow.asked[0].at + 0.4, abs=0.01)
        assert heard.sample("trunkline_hedges_total", what="won") == 0

    play(scene())


def test_of_two_at_the_same_moment_the_first_asked_answers() -> None:
    async def scene() -> None:
        one, two = target("one", says("one", after_s=0.4)), target("two", says("two", after_s=0.1))

        heard = await Worker(hedged(one), two).answer()

        assert heard.text in ("one", "two")
        assert sorted(way for _, way in heard.ways) == ["answered", "outrun"]
        assert all(scripted.asked[0].closed_at is not None for scripted in (one, two))

    play(scene())


def test_the_winners_words_do_not_wait_until_the_other_connection_is_closed() -> None:
    async def scene() -> None:
        slow = target("slow", silent(), close_s=3.0)
        fast = target("fast", [0.1, Text("a "), 0.1, Text("b"), Finished("stop")])
        closed: list[bool] = []

        heard = await Worker(hedged(slow), fast).answer(look=lambda _: closed.append(bool(slow.asked[0].closed_at)))

        assert [at for at, _ in heard.frames] == [
            pytest.approx(0.4, abs=0.01),
            pytest.approx(0.5, abs=0.01),
            pytest.approx(3.4, abs=0.01),
        ]
        assert closed == [False, False, True]  # the last frame says that nothing is open any more

    play(scene())


def test_thoughts_are_those_of_the_winner() -> None:
    async def scene() -> None:
        slow = target("slow", [0.1, Reasoning("hm "), 1.0, Text("slow"), Finished("stop")])
        fast = target("fast", [0.1, Reasoning("aha "), 0.1, Text("fast"), Finished("stop")])

        heard = await Worker(hedged(slow), fast).answer()

        assert (heard.thoughts, heard.text) == ("aha ", "fast")

    play(scene())


@pytest.mark.parametrize("error", [UpstreamError("500"), UpstreamRefused("400")])
def test_where_the_first_fails_the_hedge_goes_on(error: UpstreamError) -> None:
    async def scene() -> None:
        first, hedge = target("first", fails(error, after_s=0.4)), target("hedge", says("hi", after_s=1.0))

        heard = await Worker(hedged(first), hedge).answer()

        assert heard.text == "hi"
        assert heard.first_s() == pytest.approx(1.3, abs=0.01)
        assert heard.ways == [("first", error.code), ("hedge", "answered")]

    play(scene())


@pytest.mark.parametrize("error", [UpstreamError("500"), UnsupportedValue("no images")])
def test_where_the_hedge_fails_the_first_goes_on(error: UpstreamError) -> None:
    async def scene() -> None:
        first, hedge = target("first", says("hi", after_s=1.0)), target("hedge", fails(error))

        heard = await Worker(hedged(first), hedge).answer()

        assert heard.text == "hi"
        assert heard.first_s() == pytest.approx(1.0, abs=0.01)

    play(scene())


def test_where_both_fail_the_cascade_goes_on_behind_them() -> None:
    async def scene() -> None:
        one, two = target("one", fails(UpstreamError("1"), after_s=0.5)), target("two", fails(UpstreamError("2")))

        heard = await Worker(hedged(one), two, target("three", says("hi"))).answer()

        assert heard.text == "hi"
        assert heard.ways == [("one", "upstream_error"), ("two", "upstream_error"), ("three", "answered")]

    play(scene())


def test_a_target_that_fails_before_it_is_slow_is_followed_by_the_next_as_ever() -> None:
    async def scene() -> None:
        heard = await Worker(hedged(target("bad", fails(UpstreamError("1")))), target("good", says("hi"))).answer()

        assert heard.ways == [("bad", "upstream_error"), ("good", "answered")]
        assert heard.first_s() == pytest.approx(0.2, abs=0.01)
        assert not any(one.hedge for one in heard.attempts)

    play(scene())


def test_a_target_may_be_hedged_against_itself() -> None:
    async def scene() -> None:
        moody = target("moody", says("slow", after_s=5.0), says("fast"))
        one = hedged(moody)
        again = Choice(moody, one.breaker, one.latencies)

        heard = await Worker(one, again).answer()

        assert heard.text == "fast"
        assert heard.ways == [("moody", "outrun"), ("moody", "answered")]

    play(scene())


def test_at_most_a_share_of_the_turns_is_hedged() -> None:
    async def scene() -> None:
        slow, fast = target("slow", says("slow", after_s=1.0)), target("fast", says("fast"))
        worker = Worker(hedged(slow), fast, hedge_share=0.1)

        texts = [(await worker.answer()).text for _ in range(50)]

        assert texts.count("fast") == 6  # a tenth, and the one that a line begins with
        assert texts[0] == "fast"

    play(scene())


def test_hedges_draw_on_the_retry_budget() -> None:
    async def scene() -> None:
        slow, fast = target("slow", says("slow", after_s=1.0)), target("fast", says("fast"))
        worker = Worker(hedged(slow), fast, hedge_share=1.0, retry_share=0.0)

        texts = [heard.text for heard in await asyncio.gather(*(worker.answer() for _ in range(40)))]

        assert texts.count("fast") == 30  # the free ones of ten seconds

    play(scene())


def test_a_percentile_of_its_own_times_says_when_a_target_is_slow() -> None:
    async def scene() -> None:
        usual = [says("usual", after_s=0.2)] * MIN_SAMPLES
        moody, fast = target("moody", *usual, says("slow", after_s=5.0)), target("fast", says("fast"))
        worker = Worker(choice(moody, hedge_percentile=0.9), fast)
        for _ in range(MIN_SAMPLES):
            assert (await worker.answer()).text == "usual"

        heard = await worker.answer()

        assert heard.text == "fast"
        assert heard.first_s() == pytest.approx(0.3, abs=0.01)

    play(scene())


def test_a_target_that_is_always_outrun_is_passed_over_in_the_end() -> None:
    async def scene() -> None:
        dead = choice(target("dead", silent()), BreakerSettings(requests=4), hedge_after_s=0.3)
        worker = Worker(dead, target("good", says("hi")), hedge_share=1.0)

        turns = [await worker.answer() for _ in range(5)]

        assert [heard.ways[0][1] for heard in turns] == ["outrun"] * 4 + ["breaker_open"]
        assert turns[4].first_s() == pytest.approx(0.1, abs=0.01)

    play(scene())


def test_a_target_that_is_outrun_now_and_then_is_not_passed_over() -> None:
    async def scene() -> None:
        often = [says("usual", after_s=0.2)] * 3
        moody = choice(
            target("moody", *[*often, silent()] * 20), BreakerSettings(requests=4, window_s=100.0), hedge_after_s=0.3
        )
        worker = Worker(moody, target("good", says("hi")), hedge_share=1.0)

        ways = [(await worker.answer()).ways[0] for _ in range(80)]

        assert ways == [*[("moody", "answered")] * 3, ("moody", "outrun")] * 20

    play(scene())


def test_a_hedge_that_is_outrun_has_proven_nothing() -> None:
    async def scene() -> None:
        hedge = choice(target("hedge", silent()), BreakerSettings(requests=1))
        worker = Worker(hedged(target("first", says("hi", after_s=0.4))), hedge, hedge_share=1.0)

        ways = [(await worker.answer()).ways for _ in range(MIN_SAMPLES)]

        assert ways == [[("first", "answered"), ("hedge", "outrun")]] * MIN_SAMPLES
        assert not hedge.breaker.is_open
        assert hedge.latencies.percentile(0.5) is None

    play(scene())


def test_a_target_that_is_hedged_against_itself_is_no_worse_for_being_outrun() -> None:
    async def scene() -> None:
        moody = target("moody", *[says("slow", after_s=5.0), says("fast")] * 10)
        one = choice(moody, BreakerSettings(requests=2), hedge_after_s=0.3)
        worker = Worker(one, Choice(moody, one.breaker, one.latencies), hedge_share=1.0)

        texts = [(await worker.answer()).text for _ in range(10)]

        assert texts == ["fast"] * 10
        assert not one.breaker.is_open

    play(scene())


def test_the_delay_of_a_target_that_is_always_outrun_stays_as_it_is() -> None:
    async def scene() -> None:
        dead = choice(target("dead", silent()), BreakerSettings(requests=10_000), hedge_percentile=0.9)
        for _ in range(MIN_SAMPLES):
            dead.latencies.add(0.2)
        worker = Worker(dead, target("good", says("hi", after_s=0.5)), hedge_share=1.0)

        heard = [await worker.answer() for _ in range(150)]

        assert {one.ways[0] for one in heard} == {("dead", "outrun")}
        assert dead.hedge_s == 0.2

    play(scene())


def test_no_hedge_is_spent_on_a_target_that_cannot_be_told_the_job() -> None:
    async def scene() -> None:
        deaf = target("deaf", [UnsupportedValue("no images")])
        worker = Worker(hedged(target("slow", says("slow", after_s=1.0))), deaf, target("good", says("hi")))
        alone = Worker(hedged(target("slow", says("slow", after_s=1.0))), deaf)

        heard, unhedged = await worker.answer(), await alone.answer()

        assert heard.ways == [("slow", "outrun"), ("deaf", "unsupported"), ("good", "answered")]
        assert unhedged.ways == [("slow", "answered")]
        assert unhedged.sample("trunkline_hedges_total", what="started") == 0

    play(scene())


def test_who_hangs_up_during_a_race_closes_both_before_the_last_frame() -> None:
    async def scene() -> None:
        one, two = target("one", silent(), close_s=0.5), target("two", silent(), close_s=0.5)
        closed: list[bool] = []

        heard = await Worker(hedged(one), two).answer(
            cancel_s=0.5,
            look=lambda _: closed.extend(asked.closed_at is not None for asked in (*one.asked, *two.asked)),
        )

        assert heard.ways == [("one", "interrupted"), ("two", "interrupted")]
        assert closed == [True, True]
        assert all(one.usage.prompt for one in heard.attempts)

    play(scene())


def test_who_hangs_up_while_the_winner_speaks_closes_both() -> None:
    async def scene() -> None:
        one = target("one", silent(), close_s=5.0)
        two = target("two", [0.1, Text("a "), 60.0, Text("b"), Finished("stop", Usage(1, 1))])

        heard = await Worker(hedged(one), two).answer(cancel_s=0.6)

        assert heard.ways == [("one", "outrun"), ("two", "interrupted")]
        assert all(scripted.asked[0].closed_at is not None for scripted in (one, two))
        assert heard.text == "a "

    play(scene())


def test_the_winner_alone_is_heard_in_the_turns_own_task() -> None:
    async def scene() -> None:
        tasks: list[int] = []
        two = target("two", [0.1, Text("a "), 1.0, Text("b"), Finished("stop")])

        await Worker(hedged(target("one", silent())), two).answer(
            look=lambda frame: tasks.append(len(asyncio.all_tasks())) if frame == Text("b") else None
        )

        assert tasks == [2]  # the test's own, and the turn's

    play(scene())
