"""Fifty turns of a call on every platform, over a real line whose upstream is slow, empty, failing, cut, and leaks."""

import asyncio
import re

import aiohttp
import pytest
import pytest_asyncio

from protocol.profiles import BUILT_IN, FILLERS, PLAIN, SENTENCES
from protocol.settings import parse
from tests.broker.line_fixture import RealLine
from tests.platforms.apis import CHAINED, CHAT, RESPONSES, UNSTORED
from tests.platforms.callers import Caller
from tests.platforms.line import MODEL, PACE, SECONDS, TURN, config
from tests.platforms.platforms import PLATFORMS, Platform
from tests.platforms.requests import NAMED
from tests.platforms.upstream import Scripted
from tests.platforms.verdict import FLAWLESS

TURNS = 50
BUDGET_S = TURN["budget_s"]
WHOLE = ("well", "get_hours", "says_and_calls", "two_calls", "dribble", "thinks", "reasons", "leaks", "leaked_call")
MENDED = (
    *("empty+well", "muses+well", "fail:500+well", "refused+well", "cut+well", "stall+well"),
    *("no_json+get_hours", "unfit", "says_and_calls_unfit", "says_and_cuts_call+well"),
)
LOST = ("empty", "fail:500+fail:500+well", "refused+refused+well", "cut", "hang")
INTERRUPTED = ("long", "well")
PROXY_PACE = 0.2  # the proxied calls end with the others, and no answer that comes at once is late on a busy machine
SPOKEN = re.compile("|".join(re.escape(text) for texts in (*FILLERS.values(), SENTENCES.values()) for text in texts))
"""What the profiles have the edge say."""
Callers = dict[str, Caller]
OVER_RESPONSES = {"elevenlabs": RESPONSES, "livekit": CHAINED, "pipecat": UNSTORED}
"""Platforms that speak responses too, each in its way."""
SPOKEN_TO = {name: (name, CHAT) for name in PLATFORMS} | {
    f"{name} over responses": (name, api) for name, api in OVER_RESPONSES.items()
}
every_platform = pytest.mark.parametrize("name", PLATFORMS)
every_caller = pytest.mark.parametrize("name", SPOKEN_TO)


def script(platform: Platform) -> list[str]:
    """What the upstream does in each turn. It hangs up at the end, and tries to transfer the caller twice.

    A slow word comes when the platform has given up waiting for it, or the turn has; `hang` is beyond every clock.
    """
    slow = f"slow:{round(1000 * PACE * (min(platform.patience_s, BUDGET_S) + 1))}"
    transfer = platform.transfer_tool
    first = [*WHOLE, *INTERRUPTED, *MENDED, slow, "language_detection", transfer, *INTERRUPTED, *LOST, *INTERRUPTED]
    again = [transfer if platform.name in NAMED else "well", *MENDED, *WHOLE]
    whole = [*first, *again][: TURNS - 1]
    return [*whole, platform.end_tool]


async def speak(caller: Caller) -> None:
    """One call, to its end; the platform asks in a storm after each interruption."""
    interrupted = False
    for acts in script(caller.call.platform):
        if not caller.call.dropped:
            await caller.says(acts, hear=4 if acts == "long" else None, posts=3 if interrupted else 1)
            interrupted = acts == "long"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def spoken(line: RealLine, proxy_url: str, web: aiohttp.ClientSession) -> tuple[Callers, Callers]:
    """On the line, and on a plain proxy, where nobody waits long. Most turns are spent waiting: all at once."""
    url = line.edges[0].url
    callers = {
        name: Caller(web, f"{url}/p/{platform}/v1", platform, pace=PACE, model=MODEL, api=api)
        for name, (platform, api) in SPOKEN_TO.items()
    }
    proxied = {name: Caller(web, proxy_url, name, pace=PROXY_PACE, model=MODEL) for name in PLATFORMS}
    async with asyncio.TaskGroup() as calls:
        for caller in (*callers.values(), *proxied.values()):
            calls.create_task(speak(caller))
    return callers, proxied


@pytest.fixture
def callers(spoken: tuple[Callers, Callers]) -> Callers:
    return spoken[0]


@pytest.fixture
def proxied(spoken: tuple[Callers, Callers]) -> Callers:
    return spoken[1]


@every_caller
@pytest.mark.asyncio(loop_scope="module")
async def test_fifty_turns_end_by_the_agent_and_not_by_the_platform(callers: Callers, name: str) -> None:
    call = callers[name].call

    assert call.dropped == ""
    assert (len(call.turns), call.ended) == (TURNS, True)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_platform_goes_on_from_responses_where_it_knows_how_to(callers: Callers) -> None:
    continued = {name: caller.call.continued for name, caller in callers.items() if caller.call.continued}

    assert continued.keys() == {"livekit over responses"}
    assert continued["livekit over responses"] >= TURNS


@every_caller
@pytest.mark.asyncio(loop_scope="module")
async def test_nothing_is_repeated_lost_unspeakable_or_done_twice(callers: Callers, name: str) -> None:
    assert callers[name].verdict == FLAWLESS


@every_caller
@pytest.mark.asyncio(loop_scope="module")
async def test_an_answer_that_can_be_had_is_heard_whole(callers: Callers, name: str) -> None:
    caller = callers[name]
    orders = script(caller.call.platform)
    for turn, acts in zip(caller.call.turns, orders, strict=True):
        if acts in WHOLE + MENDED:
            assert turn.heard.rstrip().endswith("-6"), (acts, turn.heard, turn.failures)


@every_caller
@pytest.mark.asyncio(loop_scope="module")
async def test_a_caller_who_interrupts_hears_no_more_of_it(callers: Callers, upstream: Scripted, name: str) -> None:
    caller = callers[name]
    cut = [number for number, turn in enumerate(caller.call.turns, start=1) if turn.cut]

    assert len(cut) == 3
    for number in cut:
        assert all(one.closed for one in upstream.of(caller.tag, number))


@every_caller
@pytest.mark.asyncio(loop_scope="module")
async def test_what_the_edge_spoke_never_comes_to_the_model(callers: Callers, upstream: Scripted, name: str) -> None:
    """The platform has sent it back with every turn."""
    caller = callers[name]
    sent = [str(told.get("content")) for told in caller.call.messages if told["role"] == "assistant"]
    came = [str(told.get("content")) for told in upstream.histories[caller.tag] if told["role"] == "assistant"]

    assert any(SPOKEN.search(content) for content in sent)
    assert [content for content in came if SPOKEN.search(content)] == []


@every_platform
@pytest.mark.asyncio(loop_scope="module")
async def test_the_same_call_goes_wrong_on_a_plain_proxy(proxied: Callers, name: str) -> None:
    caller = proxied[name]

    assert caller.call.dropped or name == "livekit", caller.call.turns[-1]
    assert caller.verdict != FLAWLESS


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name != PLAIN])
def test_platforms_and_profiles_run_at_the_same_pace(name: str) -> None:
    profile = parse(config("http://127.0.0.1:1/v1"), {}).profiles[name]
    told = [getattr(profile, key) for key in SECONDS]
    meant = [getattr(BUILT_IN[name], key) for key in SECONDS]

    assert told == [value and pytest.approx(value * PACE) for value in meant]
