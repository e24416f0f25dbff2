"""The edge speaks where the model does not, and ends a turn as its platform bears it: whole paths, in virtual time."""

from collections.abc import Iterable
from functools import partial
from itertools import dropwhile
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edge.chat import ChatAnswer
from edge.dialect import Delta
from protocol import sse
from protocol.errors import (
    ContentFiltered,
    ContextTooLong,
    EmptyAnswer,
    QuotaGone,
    RateLimited,
    ServiceError,
    UnsupportedValue,
    UpstreamError,
)
from protocol.messages import Finished, Job, Reasoning, Refusal, Text, ToolCall, TurnRecord, Withheld
from protocol.settings_profiles import Profile
from tests.flow.client import Client
from tests.flow.line import Line
from tests.flow.target import Script, Step, words

SORRY = "Sorry?"
FIRST, SECOND = "Just a second... ", "One moment... "  # the first turn of a call that has no id begins with the third
VOICE = Profile(
    guard=("filler",),
    guard_s=3.0,
    again_s=2.0,
    fillers={"en": ("One moment", "Let me see", "Just a second"), "de": ("Moment", "Einen Augenblick")},
    on_lost="continue",
    early_failure="say",
    late_failure="say",
    on_empty="say",
    sentences={"en": SORRY, "de": "Wie bitte?"},
    check_tools=True,
    ping_s=0.0,
    headers_after_s=60.0,
)
SPACE_FIRST = replace(VOICE, guard=("space", "filler"))
LOOK_UP = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
TOOLS = [
    {"type": "function", "function": {"name": "look_up", "parameters": LOOK_UP}},
    {"type": "function", "function": {"name": "skip_turn", "parameters": {"type": "object", "properties": {}}}},
]
END_CALL = [{"type": "function", "function": {"name": "end_call", "parameters": LOOK_UP}}]
CALL = ToolCall(0, "call_a", "look_up", '{"id": "7"}')
BAD_CALL = ToolCall(0, "call_a", "look_up", "{}")


def says(*steps: Step) -> Script:
    def script(number: int, job: Job) -> Iterable[Step]:
        return steps

    return script


def after(seconds: float, *steps: Step) -> Script:
    return says(seconds, *steps, Finished("stop"))


def turned(profile: Profile, script: Script, **body: Any) -> tuple[Client, TurnRecord]:
    """One turn on a line of one edge and one worker, to its end."""
    with Line(script=script, profile=profile) as line:
        edge, _ = line.add_edge(), line.add_worker()
        client = edge.post(**body)
        line.until(lambda: client.ended)
        line.settle()
        line.until(lambda: line.records)
        return client, line.records[0]


def heard(profile: Profile, script: Script, **body: Any) -> Client:
    """The same, as the caller has it."""
    return turned(profile, script, **body)[0]


# --- the guard -------------------------------------------------------------------------------------


def test_nothing_is_said_while_the_model_is_in_time() -> None:
    client = heard(VOICE, after(2.9, Text(" Hello"), 5.0, Text(" there")))

    assert client.text == " Hello there", "nor is anything trimmed"
    assert client.ended_well


def test_fillers_cover_a_slow_first_token_and_the_text_reads_on() -> None:
    with Line(script=after(6.0, Text("\n Hello"), Text(" there")), profile=VOICE) as line:
        edge, _ = line.add_edge(), line.add_worker()
        began = line.now
        client = edge.post()

        line.until(lambda: client.text)
        assert line.now - began == pytest.approx(3.0, abs=0.05)
        assert client.text == FIRST
        line.until(lambda: client.text != FIRST)
        assert line.now - began == pytest.approx(5.0, abs=0.05)
        line.until(lambda: client.ended)
        assert client.text == f"{FIRST}{SECOND}Hello there"
        assert client.ended_well
        line.settle()
        line.until(lambda: line.records)
        assert [record.outcome for record in line.records] == ["completed"]


def test_the_role_goes_first_and_once() -> None:
    client = heard(VOICE, after(4.0, Text("Hello")))

    deltas = [chunk["choices"][0]["delta"] for chunk in client.chunks]
    assert [sorted(delta) for delta in deltas] == [["content", "refusal", "role"], ["content"], ["content"], []]


def test_a_space_that_nobody_hears_goes_before_the_filler() -> None:
    assert heard(SPACE_FIRST, after(4.0, Text(" Hello"))).text == " Hello"
    assert heard(SPACE_FIRST, after(6.0, Text("Hello"))).text == f" {FIRST}Hello"


def test_in_a_call_no_filler_is_said_twice_in_a_row_and_only_so_many() -> None:
    with Line(script=after(6.0, Text("Hello")), profile=replace(VOICE, fillers_per_call=5)) as line:
        edge, _ = line.add_edge(), line.add_worker()
        heard_in = []
        for _ in range(4):
            client = edge.post(session_id="call-1")
            line.until(partial(getattr, client, "ended"))
            line.run(1.0)
            heard_in.append(client.text)

        assert heard_in == [
            f"{FIRST}{SECOND}Hello",
            f"Let me see... {FIRST}Hello",
            f"{SECOND}Hello",
            " Hello",
        ]
        line.settle()


def test_the_guard_speaks_while_the_job_waits_in_the_queue() -> None:
    with Line(script=after(4.0, Text("Hello")), profile=VOICE, budget_s=20.0) as line:
        edge, _ = line.add_edge(), line.add_worker(slots=1)
        edge.post()
        line.run(0.5)
        waits = edge.post()

        line.until(lambda: waits.text)
        assert len(line.sayings) == 1, "it is not claimed yet"
        line.until(lambda: waits.ended)
        assert waits.text == f"{FIRST}{SECOND}Hello"
        line.settle()


def test_a_worker_that_dies_after_a_filler_costs_the_turn_nothing() -> None:
    """What the edge spoke is not audible: the turn is offered again, and the model begins anew."""
    with Line(script=after(4.0, Text("Hello")), profile=VOICE, budget_s=20.0) as line:
        edge, first = line.add_edge(), line.add_worker()
        client = edge.post()
        line.until(lambda: client.text == FIRST)

        first.kill()
        line.add_worker()

        line.until(lambda: client.ended)
        assert client.text == f"{FIRST}{SECOND}Hello"
        assert client.ended_well
        assert [saying.job.said for saying in line.sayings] == ["", ""]
        line.settle()


def test_after_the_first_content_nothing_more_is_said_however_slow_the_model_is() -> None:
    assert heard(VOICE, after(2.0, Text("Well,"), 9.0, Text(" hello"))).text == "Well, hello"


@pytest.mark.parametrize(("first", "text"), [(Refusal("I will not"), "I will not"), (CALL, "")])
def test_a_refusal_and_a_call_are_content_too(first: Any, text: str) -> None:
    client = heard(VOICE, says(1.0, first, 9.0, Finished("stop")), tools=TOOLS)

    assert client.text == text
    assert client.ended_well


@pytest.mark.parametrize("stream", [True, False])
def test_a_refusal_is_spoken_for_platforms_read_the_content_alone(stream: bool) -> None:
    client = heard(VOICE, says(0.1, Refusal("I will "), 0.1, Refusal("not"), Finished("stop")), stream=stream)

    assert client.text == "I will not"
    assert b'"refusal":"' not in client.body


def test_a_refusal_in_json_stays_beside_the_object() -> None:
    client = heard(VOICE, says(0.1, Refusal("No"), Finished("stop")), response_format={"type": "json_object"})

    assert (client.text, client.body.count(b'"refusal":"No"')) == ("", 1)


def test_reasoning_is_not_heard_so_the_guard_speaks_through_it() -> None:
    thoughts: list[Step] = [step for _ in range(40) for step in (0.1, Reasoning("hm "))]

    client = heard(VOICE, says(*thoughts, Text(" Hello"), Finished("stop")))

    assert client.text == f"{FIRST}Hello"
    assert client.body.count(b'"hm "') == 40


def test_white_space_is_no_content_after_a_filler() -> None:
    client = heard(VOICE, after(4.0, Text(" "), 2.0, Text("\n"), Text(" Hello")))

    assert client.text == f"{FIRST}{SECOND}Hello"


def test_a_call_alone_may_follow_a_filler() -> None:
    client = heard(VOICE, says(4.0, CALL, Finished("tool_calls")), tools=TOOLS)

    assert client.text == FIRST
    assert [call["id"] for call in client.calls] == ["call_a"]
    assert client.finish_reason == "tool_calls"


def test_beside_tools_the_profile_may_have_a_space_only() -> None:
    client = heard(replace(VOICE, fillers_beside_tools=False), says(6.0, CALL, Finished("tool_calls")), tools=TOOLS)

    assert client.text == " "


def test_fillers_and_sentences_are_in_the_calls_language() -> None:
    body = {"elevenlabs_extra_body": {"language": "de-AT"}}

    client = heard(VOICE, says(4.0, UpstreamError("cut")), **body)

    assert client.text == "Moment... Wie bitte?"


def test_in_a_language_without_fillers_nobody_hears_a_foreign_one() -> None:
    client = heard(VOICE, says(4.0, UpstreamError("cut")), elevenlabs_extra_body={"language": "fi"})

    assert client.text == f" {SORRY}"


def test_nothing_of_ours_is_in_a_body_and_before_json_there_is_a_space_at_most() -> None:
    script = after(6.0, Text("{}"))

    assert heard(VOICE, script, stream=False).text == "{}"
    assert heard(VOICE, script, response_format={"type": "json_object"}).text == " {}"


def test_comments_go_where_bytes_are_what_the_platform_watches() -> None:
    script = after(6.5, Text("Hello"))

    pinged = heard(replace(VOICE, guard=(), headers_after_s=1.0, ping_s=2.0), script)
    silent = heard(replace(VOICE, guard=("space",), again_s=60.0), script)

    assert pinged.body.count(sse.PING) == 3
    assert pinged.text == "Hello"
    assert silent.body.count(sse.PING) == 0
    assert silent.text == " Hello"


def test_a_caller_who_hangs_up_on_a_filler_ends_the_turn() -> None:
    with Line(script=after(6.0, Text("Hello")), profile=VOICE) as line:
        edge, _ = line.add_edge(), line.add_worker()
        client = edge.post()
        line.until(lambda: client.text == FIRST)

        client.hang_up()

        line.settle()
        assert line.sayings[0].closed
        line.until(lambda: line.records)
        assert line.records[0].outcome == "interrupted"


def test_a_client_that_does_not_read_a_filler_is_given_up() -> None:
    with Line(script=after(4.0, Text("Hello")), profile=VOICE, total_s=10.0) as line:
        edge, _ = line.add_edge(), line.add_worker()
        client = edge.post()
        line.run(1.0)

        client.stop_reading()

        line.settle(within_s=30.0)
        line.until(lambda: line.records)
        assert line.records[0].outcome == "interrupted"
        assert line.records[0].error == "slow_client"


# --- endings ---------------------------------------------------------------------------------------


def test_a_target_that_fails_after_a_filler_has_the_sentence_follow_at_once() -> None:
    client = heard(VOICE, says(3.5, UpstreamError("the target answered 500")))

    assert client.text == f"{FIRST}{SORRY}"
    assert client.finish_reason == "stop"
    assert client.ended_well


def test_a_target_that_fails_mid_sentence_has_the_sentence_read_on() -> None:
    client = heard(replace(VOICE, on_lost="error"), says(0.1, Text("So I"), 0.1, UpstreamError("cut")))

    assert client.text == f"So I {SORRY}"
    assert client.ended_well


def test_after_a_call_nothing_is_said_whatever_fails() -> None:
    client = heard(VOICE, says(0.1, Text("Well."), CALL, UpstreamError("cut")), tools=TOOLS)

    assert client.text == "Well."
    assert client.finish_reason == "tool_calls"
    assert client.ended_well


def test_a_failure_before_the_headers_is_spoken_and_recorded_as_what_it_is() -> None:
    with Line(script=says(0.1, UpstreamError("the target answered 500")), profile=VOICE) as line:
        edge, _ = line.add_edge(), line.add_worker()
        client = edge.post()

        line.until(lambda: client.ended)
        assert (client.status, client.text) == (200, SORRY)
        assert client.ended_well
        line.settle()
        line.until(lambda: line.records)
        assert (line.records[0].outcome, line.records[0].error) == ("upstream_error", "upstream_error")


def test_a_platform_that_asks_again_is_told_to() -> None:
    client = heard(replace(VOICE, early_failure="status"), says(0.1, UpstreamError("x")))

    assert client.status == 503
    assert client.headers["x-should-retry"] == "true"
    assert client.error is not None
    assert client.error["code"] == "upstream_error"


@pytest.mark.parametrize("body", [{"stream": False}, {"response_format": {"type": "json_object"}}])
def test_a_platform_that_asks_again_is_told_to_where_nothing_is_spoken_too(body: dict[str, Any]) -> None:
    client = heard(replace(VOICE, early_failure="status"), says(0.1, UpstreamError("x")), **body)

    assert client.status == 503
    assert client.headers["x-should-retry"] == "true"


@pytest.mark.parametrize("error", [RateLimited("x", retry_after_s=12), ContentFiltered("x"), QuotaGone("x")])
def test_it_hears_the_sentence_where_another_try_would_come_late_or_never(error: ServiceError) -> None:
    client, record = turned(replace(VOICE, early_failure="status"), says(0.1, error))

    assert (client.status, client.text) == (200, SORRY)
    assert record.error == error.code


def test_what_the_target_cannot_take_in_the_middle_of_a_call_is_spoken_and_recorded() -> None:
    client, record = turned(VOICE, says(0.1, ContextTooLong("too long", param="messages")))

    assert (client.status, client.text) == (200, SORRY)
    assert (record.outcome, record.error) == ("upstream_error", "context_length_exceeded")


def test_what_the_sender_of_a_request_can_change_stays_a_status() -> None:
    client = heard(VOICE, says(0.1, UnsupportedValue("no such thing", param="messages")))

    assert client.status == 400


def test_a_full_queue_has_a_platform_that_asks_again_do_so() -> None:
    with Line(script=after(7.0, Text("Hello")), profile=replace(VOICE, early_failure="status"), max_msgs=1) as line:
        edge, _ = line.add_edge(), line.add_worker(slots=1)
        for _ in range(2):
            edge.post()
            line.run(0.5)

        full = edge.post()

        line.until(lambda: full.ended, within_s=0.1)
        assert full.status == 503
        assert full.error is not None
        assert full.error["code"] == "overloaded"
        assert (full.headers["x-should-retry"], full.headers["retry-after"]) == ("true", "1")
        for client in edge.clients:
            client.hang_up()
        line.settle()


def test_without_a_worker_and_with_a_full_queue_the_sentence_is_said_at_once() -> None:
    with Line(script=after(8.0, Text("Hello")), profile=VOICE, max_msgs=1) as line:
        edge = line.add_edge()
        line.run(4.0)
        nobody = edge.post()
        line.until(lambda: nobody.ended, within_s=0.1)
        line.add_worker(slots=1)
        edge.post()
        line.run(0.5)
        edge.post()
        line.run(0.5)

        full = edge.post()

        line.until(lambda: full.ended, within_s=0.1)
        assert (nobody.text, full.text) == (SORRY, SORRY)
        for client in edge.clients:
            client.hang_up()
        line.settle()


def test_a_model_that_says_nothing_in_its_budget_is_given_up_with_the_sentence() -> None:
    with Line(script=after(30.0, Text("Hello")), profile=VOICE, budget_s=6.0) as line:
        edge, _ = line.add_edge(), line.add_worker()
        client = edge.post()

        line.until(lambda: client.ended, within_s=7.0)
        assert client.text == f"{FIRST}{SECOND}{SORRY}"
        line.settle()
        line.until(lambda: line.records)
        assert line.records[0].outcome == "deadline"


@pytest.mark.parametrize("steps", [[EmptyAnswer("nothing")], [BAD_CALL, Finished("tool_calls")]])
@pytest.mark.parametrize(
    ("on_empty", "tools", "text", "calls", "reason"),
    [
        ("say", TOOLS, SORRY, [], "stop"),
        ("silence", TOOLS[:1], " ", [], "stop"),
        ("silence", TOOLS, "", ["skip_turn"], "tool_calls"),
    ],
)
def test_an_answer_with_nothing_in_it_never_goes_out(
    steps: list[Step], on_empty: Any, tools: Any, text: str, calls: list[str], reason: str
) -> None:
    client, record = turned(replace(VOICE, on_empty=on_empty), says(0.1, *steps), tools=tools)

    assert client.text == text
    assert record.called_by_edge == tuple(calls)
    assert [call["function"]["name"] for call in client.calls] == calls
    assert client.finish_reason == reason
    assert client.ended_well


def test_white_space_alone_is_no_answer() -> None:
    client, record = turned(VOICE, says(0.1, Text("\n\n"), Finished("stop")))

    assert client.text == f"\n\n{SORRY}"
    assert record.error == "empty_answer"


@pytest.mark.parametrize(
    ("name", "tools", "text", "calls"),
    [
        ("end_call", END_CALL, " ", []),
        ("end_call", [*END_CALL, *TOOLS], "", ["skip_turn"]),
        ("look_up", TOOLS, SORRY, []),
    ],
)
def test_a_call_that_was_made_before_is_silence_where_it_has_ended_the_conversation(
    name: str, tools: Any, text: str, calls: list[str]
) -> None:
    """A model that looks something up in a circle owes an answer, and whoever has hung up none."""
    asked = {"id": "call_b", "type": "function", "function": {"name": name, "arguments": CALL.arguments}}
    history = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": None, "tool_calls": [asked]},
        {"role": "tool", "tool_call_id": "call_b", "content": "done"},
    ]

    again = ToolCall(0, "call_a", name, CALL.arguments)

    client, record = turned(
        VOICE, says(0.1, again, Finished("tool_calls")), tools=tools, messages=history, session_id="call-1"
    )

    assert client.text == text
    assert [call["function"]["name"] for call in client.calls] == calls
    assert client.ended_well
    assert record.outcome == "completed"  # the model has answered, and `withheld` says what became of that
    assert record.withheld == (Withheld(name, "repeated"),)


def test_a_body_with_nothing_in_it_is_an_error() -> None:
    client = heard(VOICE, says(0.1, BAD_CALL, Finished("tool_calls")), tools=TOOLS, stream=False)

    assert client.status == 502


def test_after_words_a_call_that_could_not_go_out_has_a_sentence() -> None:
    client = heard(VOICE, says(0.1, Text("I look"), BAD_CALL, Finished("tool_calls")), tools=TOOLS)

    assert client.text == f"I look {SORRY}"
    assert client.finish_reason == "stop"
    assert client.ended_well


def test_an_edge_that_stops_ends_its_turns_with_the_sentence() -> None:
    with Line(script=words(100, every_s=0.1), profile=VOICE) as line:
        edge, _ = line.add_edge(), line.add_worker()
        client = edge.post()
        line.until(lambda: "0.3" in client.text)

        edge.drain(0.2)

        line.until(lambda: client.ended)
        assert client.text.endswith(f" {SORRY}")
        assert client.ended_well
        line.settle()


def test_a_bug_of_ours_ends_its_turn_with_the_sentence_too(monkeypatch: pytest.MonkeyPatch) -> None:
    word = ChatAnswer.delta

    def with_a_bug(answer: ChatAnswer, frame: Delta) -> bytes:
        if frame == Text("unlucky"):
            raise ZeroDivisionError
        return word(answer, frame)

    monkeypatch.setattr(ChatAnswer, "delta", with_a_bug)

    client, record = turned(VOICE, after(0.1, Text("So. "), 0.1, Text("unlucky")))

    assert client.text.split() == ["So.", SORRY]
    assert client.ended_well
    assert record.outcome == "internal"


# --- whatever happens ------------------------------------------------------------------------------

pauses = st.sampled_from([0.0, 0.01, 0.4, 1.9, 2.1, 3.1])
frames = st.lists(
    st.sampled_from([Text(" so"), Text(" "), Text("it "), Text("\n goes"), Reasoning("hm"), Refusal("no")]), max_size=5
)
endings = st.sampled_from(
    [
        [Finished("stop")],
        [CALL, Finished("tool_calls")],
        [CALL, UpstreamError("cut")],
        [UpstreamError("cut")],
        [EmptyAnswer("nothing")],
        [BAD_CALL, Finished("tool_calls")],
    ]
)
profiles = st.builds(
    lambda guard, late, early, empty, on_lost: replace(
        VOICE,
        guard=guard,
        late_failure=late,
        early_failure=early,
        on_empty=empty,
        on_lost=on_lost,
        budget_s=60.0,
    ),
    st.sampled_from([(), ("space",), ("filler",), ("space", "filler")]),
    st.sampled_from(["say", "say", "error"]),
    st.sampled_from(["say", "status"]),
    st.sampled_from(["say", "silence", "error"]),
    st.sampled_from(["continue", "error"]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    profiles, st.lists(st.tuples(pauses, frames), max_size=4), pauses, endings, st.sampled_from([{}, {"tools": TOOLS}])
)
def test_whatever_comes_and_when_the_caller_hears_ours_and_the_models_words_in_order_and_an_end(
    profile: Profile, parts: list[tuple[float, list[Any]]], pause: float, ending: list[Any], body: dict[str, Any]
) -> None:
    steps: list[Step] = [step for wait, given_ in parts for step in (wait, *given_)]

    def script(number: int, _: Job) -> Iterable[Step]:
        """Whoever is asked again, to go on or to mend, has one word more."""
        return [*steps, pause, *ending] if number == 0 else [pause, Text(" on"), Finished("stop")]

    client, record = turned(profile, script, **body)

    note(f"{client.status} {client.text!r} {client.error} {record.spoken_by_edge}")
    said = "".join(step.text for step in steps if isinstance(step, Text | Refusal))
    assert client.ended_explicitly
    assert not client.is_stream or any(is_in_order(told, client, record) for told in (said, f"{said} on"))
    assert nothing_is_said_after_a_call(client)
    if client.ended_well and profile.on_empty != "error":
        assert client.text or client.calls, "never nothing"


def is_in_order(said: str, client: Client, record: TurnRecord) -> bool:
    """Whether the text is what the edge spoke first, all the model's words, and what the edge spoke last. White space
    that the model began with may stand before both, and where the edge spoke before it there is none.
    """
    spoken, words = record.spoken_by_edge, said.lstrip()
    blanks = [said[:at] for at in range(len(said) - len(words) + 1)]
    orders = [("".join(spoken[:at]), "".join(spoken[at:])) for at in range(len(spoken) + 1)]
    told = [blank + first + words + last for first, last in orders for blank in blanks]
    return client.text in (*told, *(first + said + last for first, last in orders))


def test_white_space_alone_does_not_keep_the_edge_silent() -> None:
    client, record = turned(VOICE, says(0.1, Text("\n\n"), 5.0, Text("  It is five."), Finished("stop")))

    assert client.text == f"\n\n{''.join(record.spoken_by_edge)}It is five."
    assert record.spoken_by_edge[0].endswith("... ")


def nothing_is_said_after_a_call(client: Client) -> bool:
    deltas = [choice["delta"] for chunk in client.chunks for choice in chunk.get("choices", ())]
    after_it = dropwhile(lambda delta: "tool_calls" not in delta, deltas)
    return all(not delta.get("content") for delta in after_it)
