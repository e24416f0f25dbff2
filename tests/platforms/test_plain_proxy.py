"""On a plain proxy the simulators drop calls, and the verdict says what was wrong with them: both can fail."""

import aiohttp
import pytest

from tests.platforms.callers import Caller
from tests.platforms.platforms import PLATFORMS
from tests.platforms.upstream import Scripted
from tests.platforms.verdict import FLAWLESS, NUMBERED
from workers.targets.continuing import NUDGE

pytestmark = pytest.mark.asyncio(loop_scope="module")

PACE, FAST = 0.1, 0.02  # the second where a clock is to run out
every_platform = pytest.mark.parametrize("name", PLATFORMS)


def caller(web: aiohttp.ClientSession, url: str, name: str, pace: float = PACE) -> Caller:
    """Through the plain proxy."""
    return Caller(web, url, name, pace=pace, model="front-desk")


@every_platform
async def test_a_call_with_a_good_upstream_goes_well(web: aiohttp.ClientSession, proxy_url: str, name: str) -> None:
    told = caller(web, proxy_url, name)
    turns = [await told.says(acts) for acts in ("well", "get_hours", "well")]

    assert [turn.heard.split()[-1] for turn in turns] == ["1-6", "2b-6", "3-6"]
    assert [len(turn.executed) for turn in turns] == [0, 1, 0]
    assert (told.call.dropped, told.verdict) == ("", FLAWLESS)


@pytest.mark.parametrize(
    ("name", "acts", "turns", "why"),
    [
        ("elevenlabs", "empty", 1, "an empty answer, an empty answer, an empty answer"),
        ("elevenlabs", "slow:2000", 1, "time ran out, the platform's time ran out, the platform's time ran out"),
        ("elevenlabs", "fail:500", 1, "status 500, status 500, status 500"),
        ("elevenlabs", "refused", 1, "status 502, status 502, status 502"),
        ("assemblyai", "empty", 2, "nothing was said; no failure"),
        ("livekit", "fail:500", 3, "status 500, status 500, status 500, status 500"),
        ("livekit", "fail:400", 3, "status 400"),
        ("livekit", "hang", 3, "time ran out"),
        ("livekit", "cut", 3, "the connection broke"),
        ("pipecat", "fail:503", 2, "status 503, status 503, status 503"),
        ("vapi", "fail:429", 1, "status 429"),
        ("vapi", "late:2000", 1, "time ran out"),
        ("fish", "empty", 3, "an empty answer, an empty answer"),
        ("deepgram", "hang", 2, "time ran out"),
        ("telnyx", "fail:500", 2, "status 500"),
    ],
)
async def test_a_platform_drops_the_call_by_its_own_rule(
    web: aiohttp.ClientSession, proxy_url: str, name: str, acts: str, turns: int, why: str
) -> None:
    told = caller(web, proxy_url, name, FAST if "time ran out" in why else PACE)
    for _ in range(turns):
        assert told.call.dropped == ""
        await told.says(acts)

    assert why in told.call.dropped


@pytest.mark.parametrize("name", ["elevenlabs", "livekit", "pipecat"])
async def test_what_failed_once_is_asked_again(web: aiohttp.ClientSession, proxy_url: str, name: str) -> None:
    told = caller(web, proxy_url, name)
    turn = await told.says("fail:500+well")

    assert turn.failures == ["status 500"]
    assert (turn.heard.split()[-1], told.call.dropped) == ("1-6", "")


async def test_a_space_stops_the_clock_of_elevenlabs_and_a_comment_that_of_livekit(
    web: aiohttp.ClientSession, upstream: Scripted, proxy_url: str
) -> None:
    """An empty delta, as `slow` begins with, is content to nobody."""
    eleven = caller(web, proxy_url, "elevenlabs", FAST)
    await eleven.says("slow:2000")
    live = caller(web, proxy_url, "livekit")
    turn = await live.says("dribble")

    assert "time ran out" in eleven.call.dropped
    assert turn.failures == []


@pytest.mark.parametrize(
    ("acts", "wrong"),
    [
        ("thinks", "unspeakable"),
        ("leaks", "unspeakable"),
        ("leaked_call", "unspeakable"),
        ("unfit", "unfit"),
        ("no_json", "unfit"),
        ("empty", "silent"),
    ],
)
async def test_the_verdict_tells_what_was_wrong(
    web: aiohttp.ClientSession, proxy_url: str, acts: str, wrong: str
) -> None:
    told = caller(web, proxy_url, "telnyx")
    await told.says(acts)

    assert getattr(told.verdict, wrong)
    assert told.call.dropped == ""


async def test_a_tool_that_is_called_twice_is_executed_twice(web: aiohttp.ClientSession, proxy_url: str) -> None:
    told = caller(web, proxy_url, "elevenlabs")
    await told.says("transfer_to_agent")
    await told.says("transfer_to_agent")

    assert told.verdict.twice == ("transfer_to_agent",)


async def test_an_answer_to_a_tools_result_was_gone_on_with_by_calling_the_tool_again(
    web: aiohttp.ClientSession, upstream: Scripted
) -> None:
    """By the upstream, which took the worker's nudge for the caller's words."""
    call = {"id": "call_1", "type": "function", "function": {"name": "get_hours", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "What are your hours? (nudged/1 get_hours)"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "{}"},
        {"role": "assistant", "content": "1b-1 1b-2 "},
        {"role": "user", "content": NUDGE},
    ]
    async with web.post(f"{upstream.url}/chat/completions", json={"messages": messages}) as answer:
        said = await answer.text()

    assert NUMBERED.findall(said) == [("1b", "3"), ("1b", "4"), ("1b", "5"), ("1b", "6")]
    assert "tool_calls" not in said


@every_platform
async def test_a_caller_who_speaks_again_has_heard_only_a_part(
    web: aiohttp.ClientSession, upstream: Scripted, proxy_url: str, name: str
) -> None:
    told = caller(web, proxy_url, name)
    turn = await told.says("long", hear=3)
    after = await told.says("well")

    assert (turn.cut, turn.heard.split()) == (True, ["1-1", "1-2", "1-3"])
    kept = [message["content"] for message in told.call.messages if message["role"] == "assistant"]
    assert kept[0] == ("1-1 1-2 1-3..." if name == "elevenlabs" else "1-1 1-2 1-3")
    assert (after.heard.split()[-1], told.call.dropped) == ("2-6", "")
