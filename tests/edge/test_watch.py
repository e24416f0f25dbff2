"""What is written down of a turn: its record, its root span, its log line, its metrics."""

import logging
from typing import Any

import pytest
from msgspec.structs import replace
from opentelemetry.context import Context
from prometheus_client import generate_latest

from edge.dialect import Delta
from edge.metrics import Metrics
from edge.turn import Turn
from edge.watch import Clock, TurnWatch
from protocol import telemetry
from protocol.errors import Interrupted, UpstreamError
from protocol.messages import (
    Attempt,
    Failed,
    Finished,
    Job,
    Message,
    Reasoning,
    Text,
    Timings,
    ToolCall,
    TurnRecord,
    Usage,
    Withheld,
)
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

    def __init__(self, job: Job = JOB, **told: Any) -> None:
        self.spans: list[Ended] = []
        self.metrics = Metrics()
        spans = Spans(lambda _: None, encode=self._keep)
        self.watch = TurnWatch(
            spans,
            self.metrics,
            name="POST /v1/chat/completions",
            context=Context(),
            began=0.0,
            clock=Clock(float),
            **told,
        )
        self.turn = Turn(on_lost="error", finish_text="", stream=True)
        self.watch.admitted(job, 0.0, stream=True)

    def _keep(self, span: Ended) -> bytes:
        self.spans.append(span)
        return b""

    def end(self) -> TurnRecord:
        return self.watch.end(self.turn, now=1.0)

    @property
    def root(self) -> dict[str, Any]:
        return dict(self.spans[-1].attributes)

    def count(self, name: str) -> float:
        """Of a counter without labels."""
        return self.metrics.registry.get_sample_value(name) or 0.0

    def measured(self, name: str) -> dict[str, float]:
        """By the one label that it has; what is 0 is left out."""
        lines = generate_latest(self.metrics.registry).decode().splitlines()
        samples = [line.removeprefix(f"{name}{{").split('"') for line in lines if line.startswith(f"{name}{{")]
        return {label: float(value.strip("} ")) for _, label, value in samples if float(value.strip("} "))}


@pytest.fixture
def watched() -> Watched:
    return Watched(output_price={"claude": 2.0}.get)


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


def test_what_a_platform_said_of_the_call_is_on_the_trace_where_that_is_allowed() -> None:
    body = b'{"tenant": "t-1", "plan": {"name": "gold"}, "secret": "s-4711"}'
    told = Watched(replace(JOB, extras={"elevenlabs_extra_body": body}), extras=("tenant", "plan", "missing"))
    told.end()

    assert {name: value for name, value in told.root.items() if name.startswith(telemetry.EXTRA)} == {
        "trunkline.extra.tenant": "t-1"
    }
    assert "4711" not in str([dict(span.attributes) for span in told.spans])


def barged_in(watched: Watched, *, heard: str, unheard: list[Delta]) -> TurnRecord:
    """A caller who leaves in the middle of an answer, of which `unheard` was on its way."""
    watched.turn.headers_sent = bool(heard)
    if heard:
        watched.turn.hear(Text(heard))
    watched.watch.left(Interrupted("gone"), 0.5)
    for frame in unheard:
        watched.watch.unwritten(frame)
    watched.watch.confirmed(Failed("interrupted", "gone", usage=Usage(10, 30), target="claude"), 0.6)
    return watched.end()


def test_a_barge_in_says_what_was_generated_for_nobody_and_what_that_cost(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    record = barged_in(watched, heard="a" * 20, unheard=[Text("b" * 30), ToolCall(0, "1", "f", "c" * 10)])

    assert (record.unheard, record.unheard_cost) == (20, 0.00004)
    assert (watched.root["trunkline.unheard_tokens"], watched.root["trunkline.unheard_cost"]) == (20, 0.00004)
    assert caplog.records[-1].__dict__["unheard"] == 20
    assert watched.count("trunkline_unheard_tokens_total") == 20
    assert watched.count("trunkline_unheard_cost_total") == 0.00004


def test_thoughts_that_come_late_are_not_words_that_nobody_heard(watched: Watched) -> None:
    assert barged_in(watched, heard="a" * 20, unheard=[Reasoning("hm" * 50)]).unheard == 0


def test_a_caller_who_left_before_the_first_byte_has_heard_none_of_it(watched: Watched) -> None:
    assert barged_in(watched, heard="", unheard=[]).unheard == 30


def test_a_turn_that_was_heard_to_its_end_says_nothing_of_that_kind(watched: Watched) -> None:
    watched.watch.finished(ANSWERED)
    watched.watch.completed(ANSWERED, 1.0)

    record = watched.end()

    assert (record.unheard, record.unheard_cost) == (None, None)
    assert "trunkline.unheard_tokens" not in watched.root


def test_record_span_and_log_say_for_whom_the_turn_was_and_what_the_edge_said_and_kept_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    watched = Watched(replace(JOB, profile="vapi", language="de"))
    withheld = (Withheld("end_call", "too_early"), Withheld("book", "invalid"))
    last = Finished("stop", Usage(1, 2), "claude", withheld=withheld, leaked=3)
    for text in (" ", "Einen Moment... ", "Wie bitte?"):
        watched.turn.spoke(text)
    watched.watch.finished(last)
    watched.turn.finished(last)
    watched.watch.completed(last, 1.0)

    record = watched.end()

    assert (record.profile, record.language) == ("vapi", "de")
    assert (record.spoken_by_edge, record.withheld) == ((" ", "Einen Moment... ", "Wie bitte?"), withheld)
    assert record.leaked == 3
    root, line = watched.root, caplog.records[-1].__dict__
    assert (root["trunkline.profile"], root["trunkline.language"]) == ("vapi", "de")
    assert root["trunkline.spoken_by_edge"] == record.spoken_by_edge
    assert root["trunkline.withheld"] == ("end_call:too_early", "book:invalid")
    assert root["trunkline.leaked"] == 3
    assert (line["profile"], line["withheld"], line["leaked"]) == ("vapi", ["end_call:too_early", "book:invalid"], 3)
    assert watched.measured("trunkline_guard_spoken_total") == {"space": 1, "filler": 1, "sentence": 1}
    assert watched.measured("trunkline_tools_withheld_total") == {"too_early": 1, "invalid": 1}
    assert watched.count("trunkline_markup_leaked_total") == 3


def test_a_plain_turn_has_no_more_on_its_span_than_the_profiles_name(watched: Watched) -> None:
    watched.watch.finished(ANSWERED)
    watched.watch.completed(ANSWERED, 1.0)

    watched.end()

    voice = {"trunkline.language", "trunkline.spoken_by_edge", "trunkline.withheld", "trunkline.leaked"}
    assert watched.root["trunkline.profile"] == "openai"
    assert not voice & watched.root.keys()
