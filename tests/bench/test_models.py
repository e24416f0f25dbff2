"""The models' benches: their targets do as they are named, their line is configured as it should be, and one runs."""

import asyncio

import orjson
import pytest
from rich.console import Console

from bench.client import Call, End
from bench.models import cascade, hedge
from bench.models.cascade import CLOSED_TURNS, ENDS, WAYS, Way, dead_ends
from bench.models.hedge import Hedged
from bench.models.table import passed, show, to_json
from bench.models.turns import a_line
from bench.models.upstream import MANNERS, SLOW_SHARE, WORDS, Targets, serving
from bench.report import Figure, Target
from protocol.settings import parse

BODY = {"model": "bench", "stream": True, "messages": [{"role": "user", "content": "Count."}]}


async def answer_of(targets: Targets, manner: str) -> Call:
    return await Call.place(f"{targets.base_url(manner, manner)}/chat/completions", BODY)


async def test_a_target_that_is_well_answers_whole() -> None:
    async with serving() as targets:
        answer = await (await answer_of(targets, "well")).ended()

    assert (answer.text, answer.finish_reason, answer.done) == ("".join(WORDS), "stop", True)
    assert targets.requests["well"] == 1


@pytest.mark.parametrize("manner", sorted(MANNERS.keys() - {"well", "silence"}))
async def test_a_dead_target_never_says_a_word(manner: str) -> None:
    async with serving() as targets:
        answer = await (await answer_of(targets, manner)).ended()

    assert not answer.audible
    assert answer.end is (End.CUT if manner == "reset" else End.COMPLETE)


async def test_a_silent_target_takes_the_request() -> None:
    async with serving() as targets:
        call = await answer_of(targets, "silence")
        while not targets.requests["silence"]:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.001)

        assert call.answer.head_at is None
        call.hang_up()


async def test_every_way_to_be_dead_and_every_hedge_is_a_model_of_the_line() -> None:
    async with serving() as targets:
        with dead_ends() as ends:
            told = parse(f"{cascade.config(targets, ends)}\n{hedge.config(targets)}", {})

    assert {*WAYS, *(f"hedge-{number}" for number in range(len(hedge.SETUPS)))} < told.models.keys()
    assert WAYS.keys() - set(ENDS) == MANNERS.keys() - {"well"}
    assert told.breaker.requests == CLOSED_TURNS
    assert max(told.models[f"hedge-{number}"].hedge_share for number in range(len(hedge.SETUPS))) > SLOW_SHARE


async def test_a_dead_target_is_not_asked_any_more_once_its_breaker_is_open() -> None:
    async with serving() as targets:
        with dead_ends() as ends:
            async with a_line(targets.base_url("well", "upstream"), cascade.config(targets, ends)) as url:
                ways = await cascade.measure(url, targets, ("500", "empty", "refused"))

    assert [way.title for way in ways] == ["500", "empty answer", "connection refused"]
    assert [way.asked for way in ways] == [CLOSED_TURNS, CLOSED_TURNS, None]
    assert all(len(way.open.values) == cascade.OPEN_TURNS for way in ways)


def hedged(*values: float) -> Hedged:
    one = Hedged("hedge_after_s = 0.5", Target("p99", 100.0))
    one.figure.values = list(values)
    one.extra = 0.05
    return one


def way(closed: float, opened: float) -> Way:
    return Way("500", Figure("a", Target("p50", 20), [closed]), Figure("b", Target("p50", 20), [opened]), 10)


def test_one_missed_target_is_a_failure() -> None:
    assert passed([hedged(50)], [way(1, 1)])
    assert not passed([hedged(150)], [way(1, 1)])
    assert not passed([hedged(50)], [way(30, 1)])
    assert not passed([hedged(50)], [way(1, 30)])


def test_the_figures_are_in_the_table_and_in_the_json() -> None:
    console = Console(width=200, record=True)
    show([hedged(50, 60)], [way(12, -3)], console)
    told = orjson.loads(to_json([hedged(50, 60)], [way(12, -3)]))

    text = console.export_text()
    assert all(said in text for said in ("60 ms", "5.0%", "12 ms", "-3.0 ms", "passed"))
    assert told["hedge"][0]["extra_requests"] == 0.05
    assert told["cascade"][0]["asked"] == 10
