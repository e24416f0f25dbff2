"""A call from turn to turn: what it needs is there when it is asked for, and what a barge-in cost is told."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from edge.calls import CallState
from protocol.errors import UpstreamError
from protocol.messages import Finished, Job, Text, TurnRecord, Usage
from protocol.settings_profiles import Profile
from tests.flow.client import Client
from tests.flow.fates import Fates
from tests.flow.line import Line
from tests.flow.processes import SUBJECTS, EdgeProcess
from tests.flow.target import words

GUARDED = Profile(
    guard=("filler",), guard_s=1.0, again_s=2.0, fillers={"en": ("One moment", "Let me see")}, fillers_per_call=3
)
USER = {"role": "user", "content": "hello"}
SLOW = words(3, first_s=2.0)


def post(edge: EdgeProcess, *history: Any, call: str | None = "call-1", stream: bool = True) -> Client:
    return edge.post(messages=[*history, USER], stream=stream, metadata={"call_id": call} if call else {})


def kept(line: Line) -> list[CallState]:
    """What is kept of calls."""
    bucket = line.server.streams.streams[SUBJECTS.calls_stream]
    return [msgspec.json.decode(message.data, type=CallState) for message in bucket.messages.values()]


def run(line: Line, client: Client) -> TurnRecord:
    """Until it has ended; its record."""
    count = len(line.records)
    line.until(lambda: len(line.records) > count)
    line.settle()
    return line.records[-1]


def test_fillers_go_on_where_the_turn_before_has_stopped() -> None:
    with Line(script=SLOW, profile=GUARDED) as line:
        first, second = line.add_edge(), line.add_edge()
        line.add_worker()

        spoken = [run(line, post(edge)).spoken_by_edge for edge in (first, second, first, second)]

        assert spoken[:2] in ([("One moment... ",), ("Let me see... ",)], [("Let me see... ",), ("One moment... ",)])
        assert spoken[2] == spoken[0]
        fillers = [text for turn in spoken for text in turn if text.strip()]
        assert len(fillers) == 3, "as many as a call may have"
        state = kept(line)[0]
        assert state.fillers == 3
        assert [turn for turn, _ in state.turns] == [record.id for record in line.records]


def test_a_sentence_that_ends_like_a_filler_is_no_filler_of_the_call() -> None:
    profile = replace(GUARDED, late_failure="say", sentences={"en": "Sorry, once more... "})
    with Line(script=lambda _, job: [1.5, UpstreamError("cut")], profile=profile) as line:
        edge, _ = line.add_edge(), line.add_worker()

        spoken = run(line, post(edge)).spoken_by_edge

        assert spoken[1:] == ("Sorry, once more... ",)
        state = kept(line)[0]
        assert (state.fillers, state.last_filler) == (1, spoken[0])


def test_two_calls_know_nothing_of_each_other() -> None:
    with Line(script=SLOW, profile=GUARDED) as line:
        edge, _ = line.add_edge(), line.add_worker()

        one, other = run(line, post(edge, call="one")), run(line, post(edge, call="other"))

        assert one.spoken_by_edge == other.spoken_by_edge
        assert [state.fillers for state in kept(line)] == [1, 1]


@pytest.mark.parametrize("profile", [None, GUARDED])
def test_a_turn_without_a_call_or_of_the_plain_profile_asks_for_nothing(profile: Profile | None) -> None:
    fates = Fates()
    with Line(script=words(3), profile=profile, fate=fates) as line:
        edge, _ = line.add_edge(), line.add_worker()

        run(line, post(edge, call=None if profile else "call-1"))

        assert (fates.seen["call read"], fates.seen["call state"]) == (0, 0)


@pytest.mark.parametrize("lost", ["call read", "call answer", "call state"])
def test_a_bucket_that_does_not_answer_holds_up_no_turn(lost: str) -> None:
    fates = Fates()
    with Line(script=SLOW, profile=GUARDED, fate=fates) as line:
        edge, _ = line.add_edge(), line.add_worker()
        run(line, post(edge))
        fates.lose_all(lost)

        record = run(line, post(edge))

        assert record.outcome == "completed"
        assert record.ttft_ms == pytest.approx(2000, abs=50)
        assert len(record.spoken_by_edge) == 1
        missed = edge.edge._metrics.registry.get_sample_value("trunkline_call_state_missed_total", {"why": "late"})
        assert missed == (0.0 if lost == "call state" else 1.0)


def test_a_turn_that_has_not_read_its_calls_record_leaves_it_as_it_was() -> None:
    """An empty one in its place would let the fillers of the call begin anew."""
    fates = Fates()
    with Line(script=SLOW, profile=GUARDED, fate=fates) as line:
        edge, _ = line.add_edge(), line.add_worker()
        run(line, post(edge))
        before = kept(line)
        fates.lose_next("call answer")

        run(line, post(edge))

        assert kept(line) == before
        run(line, post(edge))
        assert kept(line)[0].fillers == before[0].fillers + 1


def test_a_bucket_that_is_gone_is_made_again() -> None:
    with Line(script=words(2), profile=GUARDED) as line:
        edge, _ = line.add_edge(), line.add_worker()
        line.server.streams.drop(SUBJECTS.calls_stream)

        run(line, post(edge))
        line.until(lambda: SUBJECTS.calls_stream in line.server.streams.streams)
        run(line, post(edge))

        assert len(kept(line)) == 1


def test_a_plain_body_is_remembered_too() -> None:
    with Line(script=words(2), profile=GUARDED) as line:
        edge, _ = line.add_edge(), line.add_worker()

        run(line, post(edge, stream=False))

        assert kept(line)[0].said == line.sayings[0].text


def test_a_cut_answer_that_comes_back_says_how_much_of_it_was_heard() -> None:
    with Line(script=words(40, every_s=0.1), profile=GUARDED) as line:
        edge, _ = line.add_edge(), line.add_worker()
        client = post(edge)
        line.until(lambda: client.text.count(" ") == 12)
        client.hang_up()
        cut = run(line, client)
        assert cut.outcome == "interrupted"
        assert kept(line)[0].interrupted

        answer = {"role": "assistant", "content": "0.0 0.1 0.2..."}
        following = run(line, post(edge, USER, answer))
        line.until(lambda: line.amendments)

        amendment = line.amendments[0]
        assert (amendment.amends, amendment.by, amendment.call_id) == (cut.id, following.id, "call-1")
        assert amendment.heard_words == 3
        assert amendment.said_words == 12
        assert edge.edge._metrics.registry.get_sample_value("trunkline_turns_cut_total") == 1


def test_a_caller_who_asks_again_at_once_finds_what_the_cut_turn_was_though_its_claim_has_not_ended_yet() -> None:
    """What it cost is known only when its worker answers the cancel."""
    with Line(script=words(40, first_s=1.5, every_s=0.1), profile=GUARDED, fate=Fates({"cancel": (0.5,)})) as line:
        edge, _ = line.add_edge(), line.add_worker()
        client = post(edge)
        line.until(lambda: "0.3" in client.text)
        client.hang_up()
        line.run(0.01)
        assert line.records == []

        again = post(edge, USER, {"role": "assistant", "content": "0.0 0.1"})
        line.until(lambda: again.ended)
        line.settle()
        line.until(lambda: len(line.records) == 2 and line.amendments)

        cut, following = sorted(line.records, key=lambda record: record.outcome, reverse=True)
        assert cut.outcome == "interrupted"
        assert line.amendments[0].amends == cut.id
        assert {*cut.spoken_by_edge, *following.spoken_by_edge} == {"One moment... ", "Let me see... "}
        state = kept(line)[0]
        assert (state.turn_id, state.fillers) == (following.id, 2)


def test_a_request_that_comes_again_amends_once() -> None:
    with Line(script=words(40, every_s=0.1), profile=GUARDED) as line:
        edge, _ = line.add_edge(), line.add_worker()
        client = post(edge)
        line.until(lambda: client.text.count(" ") == 12)
        client.hang_up()
        run(line, client)
        answer = {"role": "assistant", "content": "0.0 0.1"}

        retries = [post(edge, USER, answer), post(edge, USER, answer)]
        line.until(lambda: len(line.records) == 3)
        line.run(0.5)

        assert all(retry.text for retry in retries)
        assert len(line.amendments) == 1


def test_a_history_that_shows_all_of_an_answer_amends_nothing() -> None:
    with Line(script=words(4), profile=GUARDED) as line:
        edge, _ = line.add_edge(), line.add_worker()
        client = post(edge)
        run(line, client)

        run(line, post(edge, USER, {"role": "assistant", "content": client.text.strip()}))
        line.run(0.5)

        assert line.amendments == []


def burst(_: int, __: Job) -> Any:
    """Three words, then ten that come while the cancel is on its way."""
    for at in range(3):
        yield 0.05
        yield Text(f"{at} ")
    yield 1.0
    for _at in range(10):
        yield Text("x ")
    yield 1.0
    yield Finished("stop", Usage(prompt=5, completion=13))


def test_what_a_barge_in_left_unheard_is_on_its_record() -> None:
    fates = Fates({"cancel": (0.3,)})
    with Line(script=burst, profile=GUARDED, fate=fates) as line:
        edge, _ = line.add_edge(), line.add_worker()
        client = post(edge)
        line.until(lambda: client.text == "0 1 2 ")
        line.run(0.9)  # the ten come a tenth of a second later
        client.hang_up()

        record = run(line, client)

        assert record.outcome == "interrupted"
        assert record.usage.completion > 0
        assert record.unheard == round(record.usage.completion * 20 / 26)
        unheard = edge.edge._metrics.registry.get_sample_value("trunkline_unheard_tokens_total")
        assert unheard == record.unheard


def test_a_caller_who_leaves_before_the_first_word_has_heard_nothing_of_what_was_generated() -> None:
    with Line(script=words(5), profile=GUARDED) as line:
        edge, _ = line.add_edge(), line.add_worker()
        client = post(edge, stream=False)
        line.until(lambda: line.sayings and len(line.sayings[0].said) == 3)
        client.hang_up()

        record = run(line, client)

        assert record.unheard == record.usage.completion > 0


def test_a_turn_that_came_to_its_end_left_nothing_unheard() -> None:
    with Line(script=words(5), profile=GUARDED) as line:
        edge, _ = line.add_edge(), line.add_worker()

        assert run(line, post(edge)).unheard is None
