"""The soak: its calls are drawn as it says, its checks can fail, and a small one of it passes on a real line."""

from collections.abc import Callable
from typing import Any

import msgspec
import orjson
import pytest
from rich.console import Console

from protocol.messages import Attempt, TurnRecord
from protocol.profiles import BUILT_IN
from protocol.settings import parse
from tests.broker.otlp_sink import Span
from tests.platforms.acts import ACTS
from tests.platforms.platforms import PLATFORMS
from tests.platforms.soak.calls import MODEL, Outcome
from tests.platforms.soak.checks import COMPLAINTS, GROWN_MB, Left, Soak, rows
from tests.platforms.soak.line import configuration
from tests.platforms.soak.plan import RETRIES, SHARES, kinds, plan
from tests.platforms.soak.running import Size, soak
from tests.platforms.soak.table import passed, show, to_json
from tests.platforms.verdict import FLAWLESS, Verdict

SMALL = Size(calls=24, turns=5, at_once=12, pace=0.4)


async def test_a_small_soak_passes() -> None:
    found = rows(await soak(SMALL, lambda _: None))

    assert [(row.what, row.wrong) for row in found if not row.met] == []


def test_things_happen_as_often_as_they_should() -> None:
    found = kinds(plan(3000, 8, pace=0.25, seed=1))

    assert {kind: found[kind] for kind in SHARES} == pytest.approx(SHARES, rel=0.1)
    assert found["again"] == pytest.approx(RETRIES, rel=0.1)


def test_a_seed_draws_the_same_calls_again_and_every_platform_calls() -> None:
    calls = plan(16, 8, pace=0.25, seed=1)

    assert calls == plan(16, 8, pace=0.25, seed=1)
    assert calls != plan(16, 8, pace=0.25, seed=2)
    assert {call.platform for call in calls} == set(PLATFORMS)


def test_the_upstream_knows_every_act() -> None:
    drawn = {turn.acts for call in plan(300, 8, pace=0.25, seed=1) for turn in call.turns}

    assert {act.partition(":")[0] for acts in drawn for act in acts.split("+")} <= set(ACTS)


def test_the_profiles_of_the_line_are_the_built_in_ones_but_faster() -> None:
    told = parse(configuration("http://127.0.0.1:1/v1", 0.25), {})

    assert told.models[MODEL].targets == ("first", "second")
    for name, profile in BUILT_IN.items():
        assert told.profiles[name].guard_s == pytest.approx(profile.guard_s * (0.25 if name != "openai" else 1))
        assert told.profiles[name].fillers == profile.fillers


# --- the checks -----------------------------------------------------------------------------------------


def record(**told: Any) -> TurnRecord:
    whole = {"id": "t1", "tenant": "default", "model": MODEL, "outcome": "completed", "started_at": "", "trace_id": "a"}
    return TurnRecord(**{**whole, "worker": "w1", "attempts": (Attempt(target="first", outcome="answered"),), **told})


def span(number: str, parent: str, name: str, kind: str, trace: str = "a") -> Span:
    return Span(trace, number, parent, name, kind, 0.0, 1.0, {}, False, {}, "edge", "e1")


SPANS = (
    span("1", "", "POST /v1/chat/completions", "SERVER"),
    span("2", "1", "admit", "INTERNAL"),
    span("3", "1", "chat front-desk", "CLIENT"),
)
REPAIRED = record(
    attempts=(Attempt(target="first", outcome="answered"), Attempt("first", "answered", reason="tool_repair"))
)
PASSED_OVER = record(
    attempts=(Attempt("first", "skipped", reason="breaker_open"), Attempt(target="second", outcome="answered"))
)
LEFT = Left(0, 0.0, 1, (record(),), SPANS, {"edge 0": 60.0}, {"edge 0": 61.0})
HEARD = Outcome("vapi", 5, 1, "", FLAWLESS, ("t1",), 3.0)
DROPPED = msgspec.structs.replace(HEARD, dropped="status 500")
WELL = Soak({"well": 1.0}, [DROPPED], [HEARD], LEFT)


def changed(**left: Any) -> Soak:
    return Soak(WELL.kinds, WELL.proxied, WELL.outcomes, msgspec.structs.replace(LEFT, **left))


def missed(found: Soak) -> list[str]:
    return [row.what for row in rows(found) if not row.met]


def test_nothing_wrong_is_a_pass() -> None:
    assert missed(WELL) == []


@pytest.mark.parametrize(
    ("wrong", "row"),
    [
        (lambda: Soak(WELL.kinds, [HEARD], [HEARD], LEFT), "calls dropped on a plain proxy"),
        (lambda: Soak(WELL.kinds, [DROPPED], [DROPPED], LEFT), "calls dropped"),
        (lambda: changed(open_upstream=1), "generations that still run"),
        (lambda: changed(live=1.0), "generations that still run"),
        (lambda: changed(end_mb={"edge 0": 60.1 + GROWN_MB}), "memory at the end, MB (since a third)"),
        (lambda: changed(counted=2), "records"),
        (lambda: changed(records=(record(), record()), counted=2), "records"),
        (lambda: changed(records=(record(id="t2"),)), "records"),
        (lambda: changed(spans=()), "traces"),
        (lambda: changed(spans=SPANS[1:]), "traces"),
        (lambda: changed(spans=(*SPANS, span("4", "", "POST", "SERVER"))), "traces"),
        (lambda: changed(spans=(*SPANS, span("4", "9", "stream", "INTERNAL"))), "traces"),
        (lambda: changed(spans=SPANS[:2]), "traces"),
        (lambda: changed(spans=(SPANS[0], SPANS[2])), "traces"),
        (lambda: changed(records=(REPAIRED,)), "traces"),
        (lambda: changed(records=(record(trace_id="b"),)), "traces"),
    ],
)
def test_each_thing_that_is_wrong_is_a_row_that_is_missed(wrong: Callable[[], Soak], row: str) -> None:
    assert missed(wrong()) == [row]


def test_each_try_has_its_span_whatever_it_was_for() -> None:
    again = span("4", "1", "chat front-desk", "CLIENT")

    assert missed(changed(records=(REPAIRED,), spans=(*SPANS, again))) == []
    [row] = [row for row in rows(changed(records=(REPAIRED,))) if not row.met]
    assert row.wrong == ("turn t1 (completed): a target without its span",)


def test_a_target_that_was_passed_over_was_not_asked() -> None:
    assert missed(changed(records=(PASSED_OVER,))) == []


@pytest.mark.parametrize("complaint", COMPLAINTS)
def test_each_complaint_of_a_caller_is_one(complaint: str) -> None:
    wrong: dict[str, Any] = {complaint: ("1-1 1-1",)}
    told = msgspec.structs.replace(HEARD, verdict=Verdict(**wrong))

    [row] = [row for row in rows(Soak(WELL.kinds, [DROPPED], [told], LEFT)) if not row.met]
    assert row.wrong == ("vapi: 1-1 1-1",)


def test_the_summary_is_a_table_and_json() -> None:
    console = Console(width=160, record=True)
    found = rows(changed(live=2.0))
    show(found, console)
    told = orjson.loads(to_json(found, 41.23, 7))

    text = console.export_text()
    assert all(said in text for said in ("1 of 1, vapi 1", "0 + 2", "missed", "2 on the workers", "edge 0 61 (+1.0)"))
    assert (told["passed"], told["took_s"], told["seed"]) == (passed(found), 41.2, 7)
    assert [row["what"] for row in told["rows"] if not row["met"]] == ["generations that still run"]
