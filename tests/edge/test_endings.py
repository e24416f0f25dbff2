"""How a turn ends whose answer did not come, or did not come whole."""

from typing import Any

import pytest
from msgspec.structs import replace

from edge.endings import PLAIN, Ending, ending_for, is_text, skip_of
from edge.errors import OPENAI, headers_for, is_own_fault, to_openai
from edge.inbox import Lost
from edge.turn import Close, End, Turn
from protocol.errors import (
    BY_CODE,
    ContentFiltered,
    ContextTooLong,
    EmptyAnswer,
    InvalidKey,
    ModelNotFound,
    NoWorker,
    Overloaded,
    QuotaGone,
    RateLimited,
    ServiceError,
    TooLarge,
    UnsupportedValue,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)
from protocol.messages import (
    Attempt,
    Failed,
    Finished,
    Format,
    Job,
    Message,
    Reasoning,
    Refusal,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    Usage,
    Withheld,
)
from protocol.profiles import BUILT_IN
from protocol.profiles import OPENAI as OPENAI_PROFILE
from tests.edge.test_turn import told

SORRY = "Sorry?"
SAYS = Ending(early="say", late="say", empty="say", sentence=SORRY)
SKIP = ToolCall(0, "call_1", "skip_turn", "{}")
CALL = ToolCall(0, "i", "f", "{}")
MISSED = ((Withheld("end_call", "repeated"), Withheld("f", "invalid")), (Withheld("look_up", "repeated"),))
INVALID, BEFORE = Withheld("f", "invalid"), Withheld("end_call", "repeated")
CUT = Failed("upstream_error", "cut")
EMPTY = Failed("empty_answer", "empty")


def turn(ending: Ending = SAYS, *heard: Any, stream: bool = True, spoken: tuple[str, ...] = ()) -> Turn:
    made = Turn(on_lost="continue", finish_text="Again?", stream=stream, ending=ending)
    made.offered()
    for text in spoken:
        made.spoke(text)
    for frame in heard:
        made.hear(frame)
    made.headers_sent = bool(heard or spoken)
    return made


def job(**more: Any) -> Job:
    given: dict[str, Any] = {"id": "req_1", "model": "m", "messages": (Message("user", "hi"),), **more}
    return Job(budget_ms=1, total_ms=1, **given)


# --- failures --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heard", "spoken", "sentence"),
    [
        ((), (), SORRY),
        ((), (" ",), SORRY),
        ((), (" ", "One moment... "), SORRY),
        ((Reasoning("hm"),), (), SORRY),
        ((Text("Well,"),), (), f" {SORRY}"),
        ((Text("Well, "),), (), SORRY),
        ((Text("Well,"),), ("One moment... ",), f" {SORRY}"),
        ((Refusal("No."),), (), SORRY),
        ((CALL,), (), ""),
        ((Text("Well,"), CALL), (), ""),
    ],
)
def test_a_failure_is_spoken_so_that_it_reads_on(
    heard: tuple[Any, ...], spoken: tuple[str, ...], sentence: str
) -> None:
    assert told(turn(SAYS, *heard, spoken=spoken).failed(CUT)) == ("close", sentence, "upstream_error")


@pytest.mark.parametrize("error", [Overloaded("full"), RateLimited("x"), NoWorker("x"), ContentFiltered("x")])
def test_before_the_headers_what_is_not_the_requests_fault_is_spoken(error: ServiceError) -> None:
    assert told(turn().give_up(error)) == ("close", SORRY, error.code)


@pytest.mark.parametrize("error", [ContextTooLong("x"), UpstreamRefused("x"), TooLarge("x")])
def test_what_a_target_finds_at_fault_in_a_call_that_lives_is_spoken_for_a_status_would_end_the_call(
    error: ServiceError,
) -> None:
    assert told(turn().give_up(error)) == ("close", SORRY, error.code)
    assert told(turn(replace(SAYS, early="status")).give_up(error)) == ("fail", error.code)


RETRIED = replace(SAYS, early="status", retried=True)  # as LiveKit's and Pipecat's


@pytest.mark.parametrize(
    "error",
    [
        UpstreamError("x"),
        Overloaded("x", retry_after_s=1),
        RateLimited("x"),
        RateLimited("x", retry_after_s=0.4),
        UpstreamTimeout("x"),
    ],
)
def test_a_platform_that_asks_again_gets_a_status_where_it_asks_again_soon(error: ServiceError) -> None:
    assert told(turn(RETRIED).give_up(error)) == ("fail", error.code)


@pytest.mark.parametrize(
    "error",
    [
        RateLimited("x", retry_after_s=12),
        UpstreamError("x", retry_after_s=60),
        QuotaGone("x"),
        ContextTooLong("x"),
        ContentFiltered("x"),
        UpstreamRefused("x"),
        TooLarge("x"),
    ],
)
def test_it_hears_the_sentence_where_it_would_not_ask_again_or_only_after_a_long_silence(error: ServiceError) -> None:
    assert told(turn(RETRIED).give_up(error)) == ("close", SORRY, error.code)
    assert told(turn(Ending(retried=True)).give_up(error)) == ("fail", error.code), "no words of ours stand in JSON"


@pytest.mark.parametrize("error", [UnsupportedValue("x"), InvalidKey("x"), ModelNotFound("x")])
def test_the_requests_own_fault_is_a_status_before_the_headers_and_spoken_after_them(error: ServiceError) -> None:
    assert told(turn().give_up(error)) == ("fail", error.code)
    assert told(turn(spoken=(" ",)).give_up(error)) == ("close", SORRY, error.code)


def test_an_edge_that_loses_its_bus_speaks_too() -> None:
    assert told(turn().lost(Lost(cut_off=True))) == ("close", SORRY, "no_worker")
    assert told(turn(SAYS, Text("so ")).lost(Lost(cut_off=True))) == ("close", SORRY, "worker_lost")


def test_what_the_edge_spoke_does_not_keep_the_turn_from_being_offered_again() -> None:
    made = turn(spoken=("One moment... ",))

    assert told(made.lost(Lost("w"))) == ("offer", "")
    assert told(made.failed(Failed("draining", "stops", retryable=True))) == ("offer", "")
    assert made.said == ""


def test_an_answer_is_gone_on_with_before_anything_of_ours_is_said() -> None:
    assert told(turn(SAYS, Text("so "), spoken=(" ",)).lost(Lost("w"))) == ("offer", "so ")


def test_a_profile_may_have_a_status_before_the_headers_and_a_sentence_after_them() -> None:
    ending = replace(SAYS, early="status")

    assert told(turn(ending).failed(CUT)) == ("fail", "upstream_error")
    assert told(turn(ending, spoken=(" ",)).failed(CUT)) == ("close", SORRY, "upstream_error")


# --- answers with nothing in them ------------------------------------------------------------------


@pytest.mark.parametrize("said", [(Reasoning("hm"),), (Reasoning("hm"), Text("\n\n"))])
@pytest.mark.parametrize("last", [EMPTY, Finished("stop"), *(Finished("stop", withheld=calls) for calls in MISSED)])
@pytest.mark.parametrize(
    ("ending", "spoken", "done"),
    [
        (SAYS, (), ("close", SORRY, "empty_answer")),
        (SAYS, ("One moment... ",), ("close", SORRY, "empty_answer")),
        (replace(SAYS, empty="silence"), (), ("close", " ", "empty_answer")),
        (replace(SAYS, empty="silence"), (" ",), ("close", "", "empty_answer")),
        (replace(SAYS, empty="error"), (), ("close", SORRY, "empty_answer")),
        (Ending(empty="error"), (), ("fail", "empty_answer")),
    ],
)
def test_an_empty_answer_ends_as_the_profile_says(
    last: Any, said: tuple[Any, ...], ending: Ending, spoken: tuple[str, ...], done: tuple[Any, ...]
) -> None:
    """White space alone is nothing."""
    made = turn(ending, *said, spoken=spoken)
    made.headers_sent = bool(spoken)
    if len(said) > 1 and ending.empty == "silence":
        done = ("close", "", "empty_answer")  # there is a space already
    if isinstance(last, Finished) and last.withheld and ending.empty == "say":
        done = (End(last, SORRY),)  # that was an answer, though nobody got it

    assert told(made.finished(last) if isinstance(last, Finished) else made.failed(last)) == done


def test_silence_is_a_call_of_skip_turn_where_that_is_offered() -> None:
    step = turn(replace(SAYS, empty="silence", skip=SKIP)).failed(EMPTY)

    assert isinstance(step, Close)
    assert (step.text, step.call) == ("", SKIP)


@pytest.mark.parametrize("heard", [(), (Text("\n\n"),)])
def test_an_answer_goes_out_as_it_came_for_the_plain_profile(heard: tuple[Any, ...]) -> None:
    last = Finished("stop")

    assert turn(PLAIN, *heard).finished(last) == End(last)


def test_an_empty_body_is_an_error_and_not_a_sentence() -> None:
    assert told(turn(Ending(empty="error"), Reasoning("hm"), stream=False).finished(Finished("stop"))) == (
        "fail",
        "empty_answer",
    )


def test_a_body_of_white_space_alone_is_an_error_too() -> None:
    made = turn(Ending(empty="error"), Text(" \n"), stream=False)

    assert told(made.finished(Finished("stop"))) == ("fail", "empty_answer")


def test_a_body_with_words_is_an_answer() -> None:
    last = Finished("stop")

    assert told(turn(Ending(empty="error"), Text("hi"), stream=False).finished(last))[0].last is last


def test_what_an_empty_answer_cost_is_on_the_bill() -> None:
    made = turn()
    made.finished(Finished("stop", Usage(prompt=3, completion=1), attempts=(Attempt("gpt", "answered"),)))

    assert made.usage(Usage()) == Usage(prompt=3, completion=1)
    assert made.attempts(()) == (Attempt("gpt", "answered"),)


# --- calls that nobody got -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heard", "withheld", "text"),
    [
        ((Text("Well,"),), (INVALID,), f" {SORRY}"),
        ((Text("Well, "),), (INVALID,), SORRY),
        ((Text("Bye."),), (BEFORE,), ""),
        ((Text("Well, "),), (BEFORE, INVALID), SORRY),
        ((Text("Well, "), CALL), (INVALID,), ""),
        ((Text("Well, "),), (), ""),
    ],
)
def test_after_words_a_missed_call_has_a_sentence_and_a_repeated_one_has_none(
    heard: tuple[Any, ...], withheld: tuple[Withheld, ...], text: str
) -> None:
    step: Any = turn(SAYS, *heard).finished(Finished("stop", withheld=withheld))

    assert step.text == text


@pytest.mark.parametrize(
    ("ending", "heard", "spoken", "text", "call"),
    [
        (SAYS, (), (), " ", None),
        (SAYS, (), (" ",), "", None),
        (SAYS, (Text("\n"),), (), "", None),
        (replace(SAYS, skip=SKIP), (), ("One moment... ",), "", SKIP),
        (Ending(empty="error"), (), (), " ", None),
    ],
)
def test_a_call_that_has_ended_the_conversation_already_and_nothing_else_is_silence_and_no_failure(
    ending: Ending, heard: tuple[Any, ...], spoken: tuple[str, ...], text: str, call: ToolCall | None
) -> None:
    last = Finished("stop", withheld=(BEFORE,))

    assert turn(ending, *heard, spoken=spoken).finished(last) == End(last, text, call)


def test_what_was_withheld_and_leaked_is_counted_over_all_claims_and_each_once() -> None:
    made = turn()
    first = Failed("draining", "stops", retryable=True, withheld=(INVALID,), leaked=1)
    last = Finished("stop", withheld=(BEFORE,), leaked=2)
    made.failed(first)
    made.hear(Text("hi"))
    made.finished(last)
    made.told(last)  # its client has left while it was written

    assert made.withheld == (INVALID, BEFORE)
    assert made.leaked == 3


# --- reading on ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "joined"),
    [
        ([Text(" Hi"), Text(" you")], [Text("Hi"), Text(" you")]),
        ([Text(" \n"), Text(" Hi")], [Text("Hi")]),
        ([Text(" ")], []),
        ([Reasoning("hm"), Text(" "), Reasoning(" hm"), Text(" Hi")], [Reasoning("hm"), Reasoning(" hm"), Text("Hi")]),
        ([CALL], [CALL]),
        ([Text(" "), CALL], [CALL]),
        ([Refusal(" No"), Text(" hm")], [Refusal(" No"), Text("hm")]),
    ],
)
def test_the_models_first_word_follows_ours_without_more_white_space(frames: list[Any], joined: list[Any]) -> None:
    made = turn(spoken=("One moment... ",))

    assert made.reads_on
    assert made.joined(frames) == joined


def test_the_finish_text_follows_what_was_said_after_a_space() -> None:
    made = Turn(on_lost="finish", finish_text="Again?", stream=True)
    made.offered()
    made.hear(Text("I will"))
    made.headers_sent = True

    assert told(made.failed(CUT)) == ("close", " Again?", "upstream_error")


def test_nothing_is_trimmed_where_the_edge_said_nothing_or_the_model_something() -> None:
    assert not turn().reads_on
    assert not turn(SAYS, Text("Hi"), spoken=(" ",)).reads_on


# --- what a profile makes of it --------------------------------------------------------------------


def test_the_plain_profile_has_the_plain_ending() -> None:
    assert ending_for(OPENAI_PROFILE, job(), speaks=True, finish_text="Again?") is PLAIN


def test_the_sentence_is_in_the_calls_language() -> None:
    profile = replace(BUILT_IN["elevenlabs"], sentences={"en": "Sorry?", "pt": "Perdão?"})

    assert ending_for(profile, job(language="pt-BR"), speaks=True, finish_text="x").sentence == "Perdão?"
    assert ending_for(profile, job(language="fi"), speaks=True, finish_text="x").sentence == "Sorry?"
    assert ending_for(replace(profile, sentences={}), job(), speaks=True, finish_text="x").sentence == "x"


def test_nothing_is_spoken_in_json_or_in_a_body() -> None:
    assert is_text(job())
    assert is_text(job(response_format=Format("text")))
    for asked in (job(), job(response_format=Format("json_object"))):
        ending = ending_for(BUILT_IN["elevenlabs"], asked, speaks=False, finish_text="x")
        assert ending == Ending(empty="error", speaks_refusals=is_text(asked))


@pytest.mark.parametrize(
    ("tools", "choice", "offered"),
    [
        (("skip_turn",), None, True),
        (("skip_turn",), ToolChoice("auto"), True),
        (("skip_turn",), ToolChoice("none"), False),
        (("skip_turn", "f"), ToolChoice("named", ("f",)), False),
        (("skip_turn", "f"), ToolChoice("allowed", ("skip_turn",)), True),
        (("f",), None, False),
        ((), None, False),
    ],
)
def test_skip_turn_is_called_where_the_model_might_have_called_it(
    tools: tuple[str, ...], choice: ToolChoice | None, offered: bool
) -> None:
    call = skip_of(job(tools=tuple(Tool(name) for name in tools), tool_choice=choice))

    assert call == (SKIP if offered else None)


# --- statuses --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["livekit", "pipecat"])
@pytest.mark.parametrize("speaks", [True, False])
def test_platforms_that_ask_again_are_those_that_take_a_status_whatever_the_answer_is(name: str, speaks: bool) -> None:
    assert ending_for(BUILT_IN[name], job(), speaks=speaks, finish_text="x").retried
    assert not ending_for(BUILT_IN["elevenlabs"], job(), speaks=True, finish_text="x").retried
    tells = replace(BUILT_IN[name], late_failure="error")
    assert not ending_for(tells, job(), speaks=speaks, finish_text="x").retried, "its errors are told as they are"


@pytest.mark.parametrize("error", [UpstreamError("x"), UpstreamTimeout("x"), EmptyAnswer("x"), Overloaded("x")])
def test_a_platform_that_asks_again_is_told_to_do_so_soon(error: ServiceError) -> None:
    assert to_openai(error, retried=True)[0] == 503
    assert to_openai(error, retried=True)[1] == to_openai(error)[1]
    assert headers_for(error, retried=True) == {
        "Retry-After": "1",
        "retry-after-ms": "100",
        "x-should-retry": "true",
    }


def test_an_api_client_is_told_not_to_ask_an_overloaded_line_again() -> None:
    assert headers_for(Overloaded("x"))["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("error", "retry"), [(QuotaGone("x"), "false"), (RateLimited("x"), None), (ContextTooLong("x"), None)]
)
def test_what_says_itself_whether_to_retry_stays_as_it_is(error: ServiceError, retry: str | None) -> None:
    assert to_openai(error, retried=True) == to_openai(error)
    assert headers_for(error, retried=True).get("x-should-retry") == retry


def test_every_failure_is_the_requests_fault_or_not() -> None:
    own = {code for code in OPENAI if code in BY_CODE and is_own_fault(BY_CODE[code]("x"))}

    assert {"invalid_json", "model_not_found", "no_key", "unsupported_parameter", "unsupported_value"} <= own
    assert own.isdisjoint({"context_length_exceeded", "too_large", "upstream_refused"}), "of a target, in a call"
    assert own.isdisjoint({"content_filter", "rate_limit_exceeded", "internal", "overloaded", "insufficient_quota"})
