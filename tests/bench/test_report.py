import json

import pytest
from rich.console import Console

from bench.report import Figure, Report, Run, Target, percentile, show, to_json


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_one_of_the_values(share: float, value: float) -> None:
    assert percentile([float(number) for number in range(1, 101)], share) == value


@pytest.mark.parametrize(
    ("target", "values", "met"),
    [
        (Target("max", 10), [1, 10], True),
        (Target("max", 10), [1, 11], False),
        (Target("p99", 10), [1] * 99 + [11], True),
        (Target("p99", 10), [1] * 9 + [11], False),
        (Target("share", 0.8), [1.0, 0.8], True),
        (Target("share", 0.8), [1.0, 0.79], False),
        (Target("max", 10), [], False),
        (None, [], True),
    ],
)
def test_a_figure_meets_its_target_or_not(target: Target | None, values: list[float], met: bool) -> None:
    assert Figure("f", target, values).met is met


def test_a_violation_fails_a_drill_however_fast_it_was() -> None:
    report = Report(1, "a drill", [Figure("delay", Target("max", 10))])
    report.add(Run(values={"delay": [5.0]}))
    assert report.passed

    report.add(Run(violations=["said twice"]))

    assert not report.passed
    assert report.violations == ["run 2: said twice"]


def test_a_report_is_shown_and_kept() -> None:
    report = Report(3, "a drill", [Figure("delay", Target("max", 10), [12.0]), Figure("share", Target("share", 0.8))])
    console = Console(record=True, width=160)

    show([report], console)

    shown = console.export_text()
    assert "12 ms" in shown
    assert "missed" in shown
    assert json.loads(to_json([report]))["drills"][0]["figures"][0]["max"] == 12.0


def test_counts_are_shown_without_a_unit_and_none_may_be_asked_for() -> None:
    missing = Figure("missing", Target("max", 0), [0], counts=True)
    report = Report(12, "a drill", [Figure("kept", values=[1000], counts=True), missing])
    console = Console(record=True, width=160)

    show([report], console)

    shown = console.export_text()
    assert "1,000" in shown
    assert "max ≤ 0 " in shown
    assert " ms" not in shown
    assert not Figure("missing", Target("max", 0), [1], counts=True).met
