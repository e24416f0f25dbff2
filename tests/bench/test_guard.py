"""The guard's bench: what it takes for silence and for a whole answer, and what must come out."""

import orjson
import pytest
from rich.console import Console

from bench.client import Answer, Call
from bench.guard import cost, silence
from bench.guard.cost import ADDED_MS, Cost, Rounds, urls_of
from bench.guard.silence import BUDGET_S, CLOCK_S, PROFILE, SAID, Late, Silence, Turn, apart, judged
from bench.guard.table import passed, show, to_json
from bench.load.rig import a_rig
from bench.models.turns import a_line
from bench.models.upstream import serving
from protocol.settings import parse

FILLERS = [f"{filler}... " for filler in PROFILE.fillers["en"]]
SENTENCE = PROFILE.sentences["en"]


def answer(*words: str, at: tuple[float, ...] = (), reason: str = "stop", done: bool = True) -> Answer:
    times = list(at) or [float(number + 1) for number in range(len(words))]
    ended_at = times[-1] + 0.01 if times else 1.0
    return Answer(
        started=0.0, status=200, words=list(words), chunk_at=times, ended_at=ended_at, finish_reason=reason, done=done
    )


@pytest.mark.parametrize("spoken", ["", " ", FILLERS[0], f" {FILLERS[1]}", f" {FILLERS[0]}{FILLERS[2]}"])
@pytest.mark.parametrize("rest", [SAID, SENTENCE, "", "One moment of your time"])
def test_what_the_edge_said_is_told_from_what_follows_it(spoken: str, rest: str) -> None:
    assert apart(spoken + rest) == (spoken, rest)


def test_the_words_have_to_be_there_whole_and_once() -> None:
    assert judged(answer(" ", SAID), 1.0).wrong == ""
    assert judged(answer(SAID), 1.0).spoke is False
    assert judged(answer(FILLERS[0], SENTENCE), 1.0).sentence
    for bad in (
        answer(SAID, SAID),
        answer(SAID, SENTENCE),
        answer("one", " two"),
        answer(" "),
        answer(),
        answer(SAID, reason="length"),
        answer(SAID, done=False),
    ):
        assert judged(bad, 1.0).wrong


def test_silence_is_counted_in_the_platforms_own_time() -> None:
    turn = judged(answer(" ", SAID, at=(0.3, 0.9)), 10.0)

    assert turn.first_s == pytest.approx(3.0)
    assert turn.pause_s == pytest.approx(6.0)


def test_a_turn_that_never_said_anything_was_silent_all_the_time() -> None:
    assert judged(answer(), 5.0).first_s == pytest.approx(5.0)


def turn(first_s: float = 3.0, *, wrong: str = "") -> Turn:
    return Turn(first_s, 2.0, spoke=first_s > 2, sentence=False, wrong=wrong)


def rounds(*firsts: float, bad: int = 0) -> Rounds:
    found = Rounds(list(firsts), bad=bad, examples=["s1: broke off"] * bad)
    found.first_p99_ms, found.us_per_token = [9.0] * len(firsts), [70.0] * len(firsts)
    return found


IN_TIME = Cost(rounds(3.0, 3.2, 3.1), rounds(3.1, 3.2, 3.0))
LATE = Silence([turn(), turn(0.2)], [5.0, 0.2])


def test_a_target_that_is_missed_is_a_failure() -> None:
    assert passed(IN_TIME, LATE)
    assert passed(IN_TIME, None)
    assert passed(None, LATE)
    assert not passed(Cost(rounds(3.0), rounds(3.0 + 2 * ADDED_MS)), LATE)
    assert not passed(Cost(rounds(3.0), rounds(3.0, bad=1)), LATE)
    assert not passed(IN_TIME, Silence([turn(CLOCK_S + 0.1)], [5.0]))
    assert not passed(IN_TIME, Silence([turn(wrong="'one one'")], [5.0]))


def test_nothing_measured_is_nothing_shown() -> None:
    assert not passed(Cost(), None)
    assert not passed(None, Silence())


def test_one_slow_round_is_no_delay() -> None:
    assert passed(Cost(rounds(3.0, 3.0, 3.0), rounds(3.0, 30.0, 3.0)), None)


def test_the_figures_are_in_the_tables_and_in_the_json() -> None:
    console = Console(width=160, record=True)
    wrong = Silence([turn(), turn(wrong="200 'one one'")], [5.0, 0.2])
    show(IN_TIME, wrong, console)
    told = orjson.loads(to_json(IN_TIME, wrong))

    text = console.export_text()
    assert all(
        said in text for said in ("3.10 ms", "+0.00 ms", "70.00 µs", "3.00 s", "50.0%", "200 'one one'", "missed")
    )
    assert told["passed"] is False
    assert told["late"]["first_max_s"] == 3.0
    assert told["late"]["late_share"] == 0.5
    assert told["in_time"]["guarded"]["first_p50_ms"] == [3.1, 3.2, 3.0]


def test_each_stream_is_a_call_of_its_own_on_one_of_the_edges() -> None:
    assert urls_of(["http://a/v1", "http://b/v1"], "elevenlabs", ["c-0", "c-1", "c-2"]) == (
        "http://a/p/elevenlabs/c/c-0/v1",
        "http://b/p/elevenlabs/c/c-1/v1",
        "http://a/p/elevenlabs/c/c-2/v1",
    )


async def test_the_profile_of_the_bench_is_the_platforms_own_but_faster() -> None:
    late, manners = silence.manners(4.0)
    async with serving(manners) as targets:
        told = parse(silence.config(targets, 4.0), {})

    profile = told.profiles["late"]
    assert (profile.guard, profile.fillers, profile.on_empty) == (PROFILE.guard, PROFILE.fillers, PROFILE.on_empty)
    assert (profile.guard_s, profile.budget_s) == (PROFILE.guard_s / 4, BUDGET_S / 4)
    assert profile.guard_s < CLOCK_S / 4
    assert late.waits == []


async def test_the_late_target_is_as_late_in_every_run() -> None:
    waits = []
    for _ in range(2):
        late = Late(1e6)
        async with serving({"late": late}) as targets:
            for _ in range(3):
                call = await Call.place(f"{targets.base_url('late', 'late')}/chat/completions", {"messages": []})
                assert (await call.ended()).text == SAID
        waits.append(late.waits)

    assert waits[0] == waits[1]
    assert len(set(waits[0])) == 3


async def test_late_turns_are_answered_whole_on_a_real_line() -> None:
    late, manners = silence.manners(8.0)
    async with (
        serving(manners) as targets,
        a_line(targets.base_url("well", "upstream"), silence.config(targets, 8.0)) as url,
    ):
        found = await silence.measure(url, late, 60, faster=8.0)

    assert (len(found.turns), found.wrong) == (60, [])
    assert len(found.waits) >= 60
    assert 0 < found.share("spoke") < 1


async def test_both_profiles_are_measured_on_a_real_line() -> None:
    async with a_rig() as rig:
        found = await cost.measure(rig, 1, measure_s=0.5, streams=4)

    assert found.bad == 0
    assert [len(side.first_p50_ms) for side in (found.plain, found.guarded)] == [1, 1]
