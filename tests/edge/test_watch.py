"""What is written down of a turn: its record, its root span, its log line, its metrics."""

import logging
from typing import Any

import pytest
from opentelemetry.context import Context
from prometheus_client import generate_latest

from edge.metrics import Metrics
from edge.turn import Turn
from edge.watch import Clock, TurnWatch
from protocol.errors import Interrupted, UpstreamError
from protocol.messages import Attempt, Failed, Finished, Job, Message, Timings, TurnRecord, Usage
from protocol.otlp import Ended
from protocol.spans import Spans

JOB = Job(id="turn_1", model="m", messages=(Message("user", "hi"),), budget_ms=8000, total_ms=60_000)
SLOW = Attempt("gpt", "upstream_timeout", usage=Usage(10, estimated=True), cost=0.25, total_ms=1500.0)
GOOD = Attempt("claude", "answered", usage=Usage(10, 5, cached=4), cost=0.5, first_content_ms=200.0)
FREE = Attempt("echo", "answered", usage=Usage(2, 3))
ANSWERED = Finished("stop", GOOD.usage, "claude", Timings(200.0, 400.0), (SLOW, GOOD))
HANDED_ON = Failed("draining", "stops", retryable=True, usage=SLOW.usage, target="gpt", attempts=(SLOW,))


class Watched:
    """One turn that is watched."""

    def __init__(self) -> None:
        self.spans: list[Ended] = []
        self.metrics = Metrics()
        spans = Spans(lambda _: None, encode=self._keep)
        self.watch = TurnWatch(
            spans, self.metrics, name="POST /v1/chat/completions", context=Context(), began=0.0, clock=Clock(float)
        )
        self.turn = Turn(on_lost="error", finish_text="", stream=True)
        self.watch.admitted(JOB, 0.0, stream=True)

    def _keep(self, span: Ended) -> bytes:
        self.spans.append(span)
        return b""

    def end(self) -> TurnRecord:
        return self.watch.end(self.turn, now=1.0)

    @property
    def root(self) -> dict[str, Any]:
        return dict(self.spans[-1].attributes)

    def measured(self, name: str) -> dict[str, float]:
        """By the one label that it has; what is 0 is left out."""
        lines = generate_latest(self.metrics.registry).decode().splitlines()
        samples = [line.removeprefix(f"{name}{{").split('"') for line in lines if line.startswith(f"{name}{{")]
        return {label: float(value.strip("} ")) for _, label, value in samples if float(value.strip("} "))}


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_an_answered_turn_has_the_attempts_and_the_cost_of_its_claim(watched: Watched) -> None:
    watched.watch.finished(ANSWERED)
    watched.watch.completed(ANSWERED, 1.0)

    record = watched.end()

    assert (record.attempts, record.cost, record.target) == ((SLOW, GOOD), 0.75, "claude")
    assert record.usage == GOOD.usage


def test_what_an_earlier_claim_spent_is_on_the_same_bill(watched: Watched) -> None:
    """A worker that drained handed the turn on; the next one answered."""
    watched.watch.failed(HANDED_ON)
    watched.turn.failed(HANDED_ON)
    watched.watch.finished(ANSWERED)
    watched.watch.completed(ANSWERED, 1.0)

    record = watched.end()

    assert (record.attempts, record.cost) == ((SLOW, SLOW, GOOD), 1.0)
    assert record.usage == Usage(20, 5, cached=4, estimated=True)


def test_a_turn_that_failed_cost_what_its_targets_took(watched: Watched) -> None:
    last = Failed("upstream_error", "cut", usage=GOOD.usage, target="claude", attempts=(SLOW, GOOD))
    watched.watch.failed(last)
    watched.turn.failed(last)
    watched.watch.gave_up(UpstreamError("cut"))

    record = watched.end()

    assert (record.outcome, record.attempts, record.cost) == ("upstream_error", (SLOW, GOOD), 0.75)


def test_a_barge_in_costs_what_the_cancelled_claim_says(watched: Watched) -> None:
    watched.watch.left(Interrupted("gone"), 0.5)
    watched.watch.confirmed(Failed("interrupted", "gone", usage=GOOD.usage, target="claude", attempts=(GOOD,)), 0.6)

    record = watched.end()

    assert (record.outcome, record.attempts, record.cost) == ("interrupted", (GOOD,), 0.5)


def test_without_prices_there_is_no_cost(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    last = Finished("stop", FREE.usage, "echo", attempts=(FREE,))
    watched.watch.finished(last)
    watched.watch.completed(last, 1.0)

    record = watched.end()

    assert record.cost is None
    assert "trunkline.cost" not in watched.root
    assert caplog.records[-1].__dict__["cost"] is None


def test_root_span_and_log_line_say_who_answered_how_many_were_tried_and_what_it_cost(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    watched.watch.finished(ANSWERED)
    watched.watch.completed(ANSWERED, 1.0)

    watched.end()

    root, line = watched.root, caplog.records[-1].__dict__
    assert (root["trunkline.target"], root["trunkline.attempts"], root["trunkline.cost"]) == ("claude", 2, 0.75)
    assert (line["target"], line["attempts"], line["cost"]) == ("claude", 2, 0.75)


def test_one_attempt_is_not_worth_a_field_in_the_log(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    last = Finished("stop", GOOD.usage, "claude", attempts=(GOOD,))
    watched.watch.finished(last)
    watched.watch.completed(last, 1.0)

    watched.end()

    assert caplog.records[-1].__dict__["attempts"] is None
    assert watched.root["trunkline.attempts"] == 1


def test_metrics_count_cost_by_target_and_the_tokens_of_every_target(watched: Watched) -> None:
    watched.watch.finished(ANSWERED)
    watched.watch.completed(ANSWERED, 1.0)

    watched.end()

    assert watched.measured("trunkline_cost_total") == {"gpt": 0.25, "claude": 0.5}
    assert watched.measured("trunkline_turn_tokens_total") == {"input": 20.0, "cached": 4.0, "output": 5.0}


def test_the_tokens_of_a_worker_that_names_no_attempts_count_too(watched: Watched) -> None:
    """During a rollout an older worker may answer."""
    last = Finished("stop", Usage(7, 3), "gpt")
    watched.watch.finished(last)
    watched.watch.completed(last, 1.0)

    record = watched.end()

    assert (record.attempts, record.cost) == ((), None)
    assert watched.measured("trunkline_turn_tokens_total") == {"input": 7.0, "output": 3.0}
