"""What every backend of a voice platform has to keep, requirement by requirement, on each platform that needs it."""

import re

import aiohttp
import pytest

from bench.polling import until
from protocol.messages import TurnRecord
from protocol.profiles import PLAIN, SENTENCES
from tests.broker.line_fixture import RealLine
from tests.platforms.acts import LONG
from tests.platforms.callers import Caller
from tests.platforms.clients import AHEAD
from tests.platforms.hearing import Hearing
from tests.platforms.line import ALONE, KEY, MODEL, PACE, PATIENT, written_of
from tests.platforms.platforms import PLATFORMS
from tests.platforms.requests import NAMED, REQUESTS
from tests.platforms.upstream import Scripted
from tests.platforms.verdict import FLAWLESS

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENCE_S = 10.0  # of a test, for what it waits for
SENTENCE = re.compile(r"[A-Z][a-z ,]+\?")
every_platform = pytest.mark.parametrize("name", PLATFORMS)
RECOGNISED = ("elevenlabs", "livekit", "vapi", "fish", "telnyx")


def on(*names: str) -> pytest.MarkDecorator:
    """The platforms that a requirement is marked for."""
    return pytest.mark.parametrize("name", names)


@pytest.fixture
def caller(line: RealLine, web: aiohttp.ClientSession, name: str) -> Caller:
    return caller_of(line, web, name)


def caller_of(line: RealLine, web: aiohttp.ClientSession, name: str, profile: str = "", model: str = MODEL) -> Caller:
    return Caller(web, f"{line.edges[0].url}/p/{profile or name}/v1", name, pace=PACE, model=model)


def asks_usage(name: str) -> bool:
    _, body = REQUESTS[name]([{"role": "user", "content": ""}], MODEL, "", 1.0)
    return "stream_options" in body


def check_flawless(caller: Caller) -> None:
    assert (caller.call.dropped, caller.verdict) == ("", FLAWLESS)


# --- something is heard in time ----------------------------------------------------------------------


@pytest.mark.parametrize(("name", "late_s"), [("elevenlabs", 5), ("fish", 6.5), ("deepgram", 5.5)])
async def test_r_09_a_slow_first_word_is_preceded_by_content(
    line: RealLine, web: aiohttp.ClientSession, name: str, late_s: float
) -> None:
    """In the same answer, and the text reads on. ElevenLabs' clock has run out by then; Deepgram would have warned."""
    caller = caller_of(line, web, name, model=ALONE)
    turn = await caller.says(f"slow:{round(1000 * PACE * late_s)}")

    assert (turn.failures, len(turn.hearings), turn.warnings) == ([], 1, 0)
    assert not turn.hearings[0].pieces[0].startswith("1-1")
    assert re.fullmatch(r"( |.*\.\.\. )?1-1 1-2 1-3 1-4 1-5 1-6 ", turn.heard, re.DOTALL)
    check_flawless(caller)


async def test_r_09_a_filler_of_vapis_is_marked_to_be_spoken_at_once_and_comments_are_not_sent(
    line: RealLine, web: aiohttp.ClientSession, upstream: Scripted
) -> None:
    """The model never gets to see it, mark and all, when it comes back in the history. The headers leave with it: a
    comment with them, after 2 s, was one that Vapi has no use for.
    """
    caller = caller_of(line, web, "vapi", model=ALONE)
    turn = await caller.says(f"slow:{round(1000 * PACE * 9.5)}")
    caller.call.messages[-1]["content"] = turn.hearings[0].text  # as it came, in place of as it was spoken
    await caller.says("well")

    assert re.match(r"[A-Z][a-z ]+\.\.\.<flush /> 1-1 ", turn.hearings[0].text)
    assert (turn.failures, turn.hearings[0].comments) == ([], 0)
    assert turn.heard.endswith("1-6 ")
    kept = [told["content"] for told in upstream.histories[caller.tag] if told["role"] == "assistant"]
    assert [content.split()[0] for content in kept] == ["1-1"]


@on("elevenlabs", "vapi", "fish")
async def test_r_10_an_empty_answer_is_tried_again_and_never_heard(caller: Caller, name: str) -> None:
    mended = await caller.says("empty+well")
    lost = await caller.says("empty")

    assert [mended.failures, lost.failures] == [[], []]
    assert mended.heard.endswith("1-6 ")
    assert SENTENCE.fullmatch(lost.heard.strip())
    check_flawless(caller)


async def test_r_11_comments_come_while_livekit_waits_for_bytes(line: RealLine, web: aiohttp.ClientSession) -> None:
    """With a filler or without: the agent has words of its own for a long wait."""
    caller = caller_of(line, web, "livekit", PATIENT, ALONE)
    turn = await caller.says(f"late:{round(1000 * PACE * 7)}")

    assert turn.failures == []
    assert turn.hearings[0].comments >= 2
    assert turn.heard.startswith("1-1 ")


# --- the form of an answer ---------------------------------------------------------------------------


@on("elevenlabs", "livekit", "pipecat", "vapi", "fish", "deepgram")
async def test_r_12_each_tool_call_comes_whole_and_alone(caller: Caller, name: str) -> None:
    turn = await caller.says("two_calls")

    deltas = [chunk["choices"][0]["delta"] for chunk in turn.hearings[0].chunks if chunk["choices"]]
    calls = [delta["tool_calls"] for delta in deltas if delta.get("tool_calls")]
    assert [[call["index"] for call in told] for told in calls] == [[0], [1]]
    assert all(call["id"] and call["function"]["name"] == "get_hours" for told in calls for call in told)
    assert not any(delta.get("content") for delta in deltas if delta.get("tool_calls"))
    ends = [chunk["choices"][0] for chunk in turn.hearings[0].chunks if chunk["choices"]][-1]
    assert (ends["delta"], ends["finish_reason"]) == ({}, "tool_calls")
    assert [call.arguments for call in turn.executed] == ['{"day": "monday"}', '{"day": "sunday"}']
    assert turn.heard.endswith("1b-6 ")


@on("elevenlabs", "livekit", "pipecat", "vapi", "fish", "deepgram")
async def test_r_12_words_before_a_call_come_first(caller: Caller, name: str) -> None:
    turn = await caller.says("says_and_calls")

    assert turn.hearings[0].text == "1-1 1-2 1-3 "
    assert [call.name for call in turn.executed] == ["get_hours"]
    check_flawless(caller)


def check_form(hearing: Hearing, name: str) -> None:
    """R-13 and R-14, of one answer."""
    assert hearing.done, hearing.error
    told = [chunk for chunk in hearing.chunks if chunk["choices"]]
    assert [chunk["choices"][0]["finish_reason"] is None for chunk in told] == [True] * (len(told) - 1) + [False]
    usage = [chunk for chunk in hearing.chunks if chunk.get("usage")]
    assert [chunk["choices"] for chunk in usage] == [[]] * asks_usage(name)
    assert {(chunk["object"], chunk["model"]) for chunk in hearing.chunks} == {("chat.completion.chunk", MODEL)}
    assert len({(chunk["id"], chunk["created"]) for chunk in hearing.chunks}) == 1
    for chunk in told:
        assert {"index", "delta", "finish_reason"} <= chunk["choices"][0].keys()
        assert chunk["choices"][0]["index"] == 0


@every_platform
async def test_r_13_and_r_14_every_answer_is_whole_in_form_however_it_ends(caller: Caller, name: str) -> None:
    turns = [
        await caller.says(acts) for acts in ("well", "get_hours", "cut", "stall+well", "empty+well", "leaked_call")
    ]

    for hearing in [hearing for turn in turns for hearing in turn.hearings]:
        check_form(hearing, name)
    check_flawless(caller)


@every_platform
async def test_r_15_thoughts_are_never_spoken(caller: Caller, name: str) -> None:
    turns = [await caller.says(acts) for acts in ("thinks", "reasons")]

    assert [turn.heard.split()[0] for turn in turns] == ["1-1", "2-1"]
    check_flawless(caller)


@every_platform
async def test_leaked_marks_are_never_spoken(caller: Caller, name: str) -> None:
    turns = [await caller.says(acts) for acts in ("leaks", "leaked_call")]

    assert turns[0].heard.split() == [f"1-{number}" for number in range(1, 7)]
    assert [call.name for call in turns[1].executed] == ["get_hours"]
    check_flawless(caller)


# --- hanging up, and what must not happen twice ------------------------------------------------------


@every_platform
async def test_r_16_a_hang_up_ends_the_generation(
    caller: Caller, line: RealLine, upstream: Scripted, name: str
) -> None:
    turn = await caller.says("long", hear=3)

    assert turn.cut
    assert await until(lambda: any_open(upstream, caller.tag), lambda is_open: not is_open, PATIENCE_S) is False
    assert all(one.closed and one.words < LONG for one in upstream.of(caller.tag))


async def any_open(upstream: Scripted, tag: str) -> bool:
    return any(one.open for one in upstream.of(tag))


@on("elevenlabs", "livekit", "pipecat", "vapi", "deepgram")
async def test_r_19_a_transfer_happens_once_in_a_call(caller: Caller, name: str) -> None:
    """The model, asked again, says something in place of the second one."""
    first = await caller.says(PLATFORMS[name].transfer_tool)
    again = await caller.says(PLATFORMS[name].transfer_tool)

    assert [len(first.executed), len(again.executed)] == [1, 0]
    assert again.heard.strip()
    check_flawless(caller)


@on(*sorted(NAMED))
async def test_r_19_a_model_that_calls_in_a_circle_is_heard_in_the_end(caller: Caller, name: str) -> None:
    turn = await caller.says("loops")

    assert [call.name for call in turn.executed] == ["get_hours"]
    assert SENTENCE.search(turn.heard) or turn.failures
    assert caller.verdict == FLAWLESS


@every_platform
async def test_a_call_that_does_not_fit_its_schema_is_mended_or_withheld(caller: Caller, name: str) -> None:
    turn = await caller.says("unfit")

    assert [call.arguments for call in turn.executed] == ['{"day": "monday"}']
    check_flawless(caller)


# --- failures ----------------------------------------------------------------------------------------


@on("elevenlabs", "vapi", "fish")
async def test_r_20_where_a_status_ends_the_call_a_failure_is_spoken(caller: Caller, name: str) -> None:
    turn = await caller.says("fail:500")

    assert (turn.failures, len(turn.hearings)) == ([], 1)
    assert SENTENCE.fullmatch(turn.heard.strip())
    check_form(turn.hearings[0], name)


@on("livekit", "pipecat")
async def test_r_20_where_the_client_tries_again_a_failure_is_a_status_that_says_so(caller: Caller, name: str) -> None:
    turn = await caller.says("fail:500+fail:500+well")

    assert re.fullmatch(r"status 5\d\d", "".join(turn.failures))
    assert turn.headers[0]["x-should-retry"] == "true"
    assert int(turn.headers[0]["retry-after"]) >= 1
    assert turn.heard.endswith("1-6 ")


@on("elevenlabs", "livekit", "pipecat", "vapi", "fish")
async def test_r_20_a_failure_after_the_first_word_is_spoken_and_the_answer_ends(caller: Caller, name: str) -> None:
    turn = await caller.says("cut")

    assert turn.failures == []
    assert re.match(r"1-1 1-2 1-3 ", turn.heard)
    assert SENTENCE.search(turn.heard)
    assert turn.hearings[0].reason == "stop"
    check_form(turn.hearings[0], name)


async def test_r_20_a_failure_is_spoken_in_the_language_of_the_call(line: RealLine, web: aiohttp.ClientSession) -> None:
    caller = caller_of(line, web, "elevenlabs")
    await caller.says("language_detection")
    turn = await caller.says("fail:500")

    assert turn.heard.strip() == SENTENCES["es"]


# --- at the door -------------------------------------------------------------------------------------


@every_platform
async def test_r_21_a_key_is_taken_as_bearer_in_a_header_and_in_the_path(
    line: RealLine, web: aiohttp.ClientSession, upstream: Scripted, name: str
) -> None:
    url = line.edges[1].url
    how = {"pace": PACE, "model": MODEL}
    by_bearer = Caller(web, f"{url}/p/{name}/v1", name, key=KEY, **how)
    by_path = Caller(web, f"{url}/t/{KEY}/p/{name}/v1", name, **how)
    with_another = Caller(web, f"{url}/p/{name}/v1", name, key="sk-another", **how)
    for caller in (by_bearer, by_path, with_another):
        await caller.says("well")
    headers, body = REQUESTS[name]([{"role": "user", "content": "hi"}], MODEL, "c-1", 1.0)
    async with web.post(f"{url}/v1/chat/completions", json=body, headers={**headers, "X-Api-Key": KEY}) as by_header:
        assert by_header.status == 200
        await by_header.read()

    check_flawless(by_bearer)
    check_flawless(by_path)
    assert set(with_another.call.turns[0].failures) == {"status 401"}
    assert upstream.of(with_another.tag) == []


@every_platform
async def test_r_22_nothing_on_the_way_may_hold_a_stream_back(caller: Caller, name: str) -> None:
    turn = await caller.says("well")

    headers = turn.headers[0]
    assert headers["content-type"].startswith("text/event-stream")
    assert "no-cache" in headers["cache-control"]
    assert headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in headers


# --- which platform, and what was heard --------------------------------------------------------------


@pytest.mark.parametrize(("name", "acts"), [("elevenlabs", "empty"), ("elevenlabs", "fail:500"), ("vapi", "fail:500")])
async def test_without_its_profile_the_same_line_loses_the_call(
    line: RealLine, web: aiohttp.ClientSession, name: str, acts: str
) -> None:
    caller = caller_of(line, web, name, PLAIN)
    await caller.says(acts)

    assert caller.call.dropped


@on(*RECOGNISED)
async def test_a_platform_that_shows_itself_needs_no_path(
    line: RealLine, web: aiohttp.ClientSession, name: str
) -> None:
    """A failure is spoken; to LiveKit's client, which would take the status of the plain profile as well, it tells
    that it may try again.
    """
    caller = Caller(web, f"{line.edges[0].url}/v1", name, pace=PACE, model=MODEL)
    turn = await caller.says("fail:500+fail:500+well")

    if name == "livekit":
        assert turn.headers[0]["x-should-retry"] == "true"
    else:
        assert SENTENCE.fullmatch(turn.heard.strip())


async def interrupts(line: RealLine, caller: Caller, words: int) -> TurnRecord:
    """Hear so many words, and speak again once the edge has written down what was said: people take longer. The record
    of what was interrupted.
    """
    turn = await caller.says("long", hear=words)
    wanted = caller.call.requests
    records, _ = await until(
        lambda: written_of(line, caller.call.call_id), lambda told: len(told[0]) == wanted, PATIENCE_S
    )
    return next(record for record in records if record.id == turn.headers[-1]["x-request-id"])


@on(*sorted(NAMED))
async def test_said_is_held_against_heard_after_an_interruption(line: RealLine, caller: Caller, name: str) -> None:
    await caller.says("well")
    cut = await interrupts(line, caller, 4)
    await caller.says("well")
    await caller.says("well")

    _, found = await until(lambda: written_of(line, caller.call.call_id), lambda told: bool(told[1]), PATIENCE_S)
    assert [(heard.amends, heard.heard_words) for heard in found] == [(cut.id, 4)]
    assert found[0].said_words >= 4 + AHEAD
    assert (cut.outcome, cut.profile) == ("interrupted", name)
    assert cut.unheard is not None
    assert cut.unheard_cost is not None
