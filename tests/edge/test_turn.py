"""What to do next when something happens to a turn."""

from typing import Any

import pytest

from edge.endings import Ending
from edge.inbox import Lost
from edge.turn import MAX_OFFERS, Close, End, Fail, Offer, Turn, add, cost_of
from protocol.errors import Cancelled, UpstreamError, WorkerLost
from protocol.messages import Attempt, Failed, Finished, OnLost, Reasoning, Refusal, Text, ToolCall, Usage

CALL = ToolCall(0, "i", "f", "{}")
LOST = Lost("w")
CUT_OFF = Lost(cut_off=True)
FAILED = Failed("upstream_error", "cut")
HANDED_ON = Failed("draining", "stops", retryable=True)

POLICIES: tuple[OnLost, ...] = ("error", "finish", "continue")


def turn(on_lost: OnLost = "error", *, stream: bool = True) -> Turn:
    made = Turn(on_lost=on_lost, finish_text="Again?", stream=stream)
    made.offered()
    return made


def after(made: Turn, *heard: Any) -> Turn:
    for frame in heard:
        made.hear(frame)
        made.headers_sent = True
    return made


def told(step: object) -> tuple[Any, ...]:
    """A step, with its error's code in the error's place."""
    match step:
        case Fail(error):
            return "fail", error.code
        case Close(text, error):
            return "close", text, error.code
        case Offer(said):
            return "offer", said
        case other:
            return (other,)


TABLE: list[tuple[str, tuple[Any, ...], str, OnLost, tuple[Any, ...]]] = [
    # what the caller has heard, what happens, the policy -> what is done
    *[("nothing", (), event, policy, ("offer", "")) for event in ("lost", "handed on") for policy in POLICIES],
    *[("a thought", (Reasoning("hm"),), "lost", policy, ("offer", "")) for policy in POLICIES],
    *[("nothing", (), "failed", policy, ("fail", "upstream_error")) for policy in POLICIES],
    *[("nothing", (), "cut off", policy, ("fail", "no_worker")) for policy in POLICIES],
    ("a thought", (Reasoning("hm"),), "failed", "finish", ("close", "Again?", "upstream_error")),
    ("words", (Text("a "), Text("b")), "lost", "error", ("fail", "worker_lost")),
    ("words", (Text("a "), Text("b")), "lost", "finish", ("close", " Again?", "worker_lost")),
    ("words", (Text("a "), Text("b")), "lost", "continue", ("offer", "a b")),
    ("words", (Text("a "), Text("b")), "handed on", "error", ("fail", "draining")),
    ("words", (Text("a "), Text("b")), "handed on", "continue", ("offer", "a b")),
    ("words", (Text("a "),), "failed", "continue", ("fail", "upstream_error")),
    ("words", (Text("a "),), "cut off", "error", ("fail", "worker_lost")),
    ("words", (Text("a "),), "cut off", "finish", ("close", "Again?", "worker_lost")),
    ("words", (Text("a "),), "cut off", "continue", ("fail", "worker_lost")),
    ("a refusal", (Refusal("No"),), "lost", "continue", ("fail", "worker_lost")),
    ("a refusal", (Refusal("No"),), "handed on", "continue", ("fail", "draining")),
    ("a tool call", (CALL,), "lost", "error", ("fail", "worker_lost")),
    ("a tool call", (CALL,), "lost", "finish", ("close", "Again?", "worker_lost")),
    ("a tool call", (Text("a "), CALL), "lost", "continue", ("close", "", "worker_lost")),
]


@pytest.mark.parametrize(
    ("heard", "event", "policy", "done"),
    [row[1:] for row in TABLE],
    ids=[f"{what}, {event}, {policy}" for what, _, event, policy, _ in TABLE],
)
def test_the_table(heard: tuple[Any, ...], event: str, policy: OnLost, done: tuple[Any, ...]) -> None:
    made = after(turn(policy), *heard)

    step = {
        "lost": lambda: made.lost(LOST),
        "cut off": lambda: made.lost(CUT_OFF),
        "failed": lambda: made.failed(FAILED),
        "handed on": lambda: made.failed(HANDED_ON),
    }[event]()

    assert told(step) == done


def test_an_answer_that_came_to_its_end_ends() -> None:
    last = Finished("stop")

    assert turn().finished(last) == End(last)


def test_without_a_stream_the_caller_has_heard_nothing_before_the_end() -> None:
    made = turn("error", stream=False)
    made.hear(Text("a"))
    made.hear(CALL)

    assert told(made.lost(LOST)) == ("offer", "")
    assert made.heard == [], "the next answer begins anew"
    assert not made.audible


def test_without_a_stream_a_failure_is_always_a_clean_status() -> None:
    made = turn("finish", stream=False)
    made.hear(Text("a"))

    assert told(made.failed(FAILED)) == ("fail", "upstream_error")


def test_before_the_headers_a_failure_is_a_clean_status_under_every_policy() -> None:
    assert told(turn("finish").give_up(UpstreamError("x"))) == ("fail", "upstream_error")


def test_a_refusal_is_text_where_its_profile_speaks_it_and_counts_as_said() -> None:
    voiced = Turn(on_lost="continue", finish_text="", stream=True, ending=Ending(speaks_refusals=True))

    assert turn().taken(Refusal("No")) == Refusal("No")
    assert voiced.taken(Refusal("No")) == Text("No")
    assert told(after(voiced, Text("No")).lost(LOST)) == ("offer", "No")


def test_a_thought_without_words_and_seal_is_nothing_for_a_client() -> None:
    assert turn().taken(Reasoning("")) is None
    assert turn().taken(Reasoning("hm")) == Reasoning("hm")


def test_what_is_sealed_of_a_thought_goes_to_the_dialect_and_is_no_answer() -> None:
    made = turn("error")
    sealed = Reasoning("", encrypted="seal")
    made.hear(sealed)

    assert made.taken(sealed) == sealed
    assert (made.audible, made.worded) == (False, False)


def test_a_turn_is_offered_three_times_at_most_continuations_included() -> None:
    made = after(turn("continue"), Text("a"))
    steps = []
    for _ in range(MAX_OFFERS):
        step = made.lost(LOST)
        steps.append(told(step)[0])
        if isinstance(step, Offer):
            made.offered()

    assert steps == ["offer", "offer", "fail"]


def test_what_lost_claims_cost_is_part_of_the_bill() -> None:
    made = after(turn("continue"), Text("x" * 40))
    made.lost(LOST)
    made.failed(Failed("draining", "", retryable=True, usage=Usage(prompt=7, completion=3)))

    assert made.usage(Usage(prompt=1, completion=1)) == Usage(prompt=8, completion=14, estimated=True)


def test_bills_add_up() -> None:
    assert add(Usage(), Usage(1, 2, 3, 4)) == Usage(1, 2, 3, 4)
    assert add(Usage(1, 2, 3, 4), Usage(1, 1, 1, 1, estimated=True)) == Usage(2, 3, 4, 5, estimated=True)


def test_an_error_that_is_given_up_with_is_told_as_it_is() -> None:
    error = WorkerLost("gone")

    step = turn().give_up(error)

    assert isinstance(step, Fail)
    assert step.error is error


def test_what_was_said_is_billed_once_however_many_claims_are_lost() -> None:
    made = after(turn("continue"), Text("x" * 400))
    made.lost(LOST)
    made.offered()
    made = after(made, Text("y" * 400))
    made.lost(LOST)
    assert made.spent == Usage(completion=200, estimated=True)


def test_attempts_of_all_offers_are_one_list() -> None:
    """A claim that was handed on has spent money too; one that was lost said nothing."""
    made = turn("continue")
    first, second, third = (Attempt(name, "answered") for name in "abc")
    made.failed(Failed("draining", "stops", retryable=True, attempts=(first,)))
    made.lost(LOST)

    assert made.attempts((second, third)) == (first, second, third)


@pytest.mark.parametrize(
    ("costs", "expected"),
    [((), None), ((None, None), None), ((None, 0.5), 0.5), ((0.1, 0.2), 0.3), ((0.0,), 0.0)],
)
def test_the_cost_of_a_turn_is_that_of_all_attempts_with_a_price(
    costs: tuple[float | None, ...], expected: float | None
) -> None:
    assert cost_of(Attempt("a", "answered", cost=cost) for cost in costs) == expected


@pytest.mark.parametrize("on_lost", ["error", "finish", "continue"])
@pytest.mark.parametrize("ending", [Ending(), Ending(early="say", late="say", sentence="Sorry?")])
@pytest.mark.parametrize("headers_sent", [False, True])
def test_whoever_cancels_an_answer_hears_no_sentence(on_lost: OnLost, ending: Ending, headers_sent: bool) -> None:
    made = after(Turn(on_lost=on_lost, finish_text="Sorry?", stream=True, ending=ending), Text("So "))
    made.headers_sent = headers_sent
    cancelled = Cancelled("by its client")

    assert made.give_up(cancelled) == Fail(cancelled)
