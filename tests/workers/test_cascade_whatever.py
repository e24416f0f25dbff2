"""Whatever up to three targets do, the caller hears one answer, and nothing is left open."""

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from protocol.errors import (
    ContextTooLong,
    EmptyAnswer,
    RateLimited,
    ServiceError,
    UnsupportedValue,
    UpstreamError,
    UpstreamRefused,
)
from protocol.messages import LAST, Finished, Frame, Job, PastCall, Reasoning, Refusal, Text, Tool, ToolCall
from protocol.settings_types import BreakerSettings
from tests.virtual_time import play
from tests.workers.cascade_turns import Heard, Scripted, Step, Worker, choice
from workers.cascade import CONTINUATIONS

REQUESTS = 8  # more than one turn makes of one target
BUDGET_MS, TOTAL_MS = 4000, 20_000


class Script(Struct, frozen=True):
    """One answer: a wait, thoughts, words, and how it ends."""

    wait_s: float
    thoughts: int
    words: int
    pause_s: float
    end: str


ERRORS: dict[str, ServiceError] = {
    "fails": UpstreamError("broken"),
    "refuses": UpstreamRefused("400"),
    "too long": ContextTooLong("too long"),
    "cannot": UnsupportedValue("no"),
    "comes back": RateLimited("429", retry_after_s=1.0),
    "goes away": RateLimited("429", retry_after_s=60.0),
}
SCRIPTS = st.builds(
    Script,
    wait_s=st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0, 30.0]),
    thoughts=st.integers(0, 2),
    words=st.integers(0, 3),
    pause_s=st.sampled_from([0.0, 0.1, 5.0]),
    end=st.sampled_from(["well", "well", "call", "unknown call", "broken call", "refusal", *ERRORS]),
)


class Listed(Struct, frozen=True):
    """One target as a model lists it."""

    scripts: list[Script]
    hedge_after_s: float | None
    is_open: bool
    close_s: float


TARGETS = st.lists(
    st.builds(
        Listed,
        scripts=st.lists(SCRIPTS, min_size=1, max_size=3),
        hedge_after_s=st.sampled_from([None, None, 0.05, 0.5]),
        is_open=st.booleans(),
        close_s=st.sampled_from([0.0, 0.0, 0.3]),
    ),
    min_size=1,
    max_size=3,
)


def steps_of(script: Script, name: str) -> list[Step]:
    """Its thoughts and words name the request that they are from."""
    if script.end == "cannot":
        return [ERRORS["cannot"]]
    said: list[Step] = [script.wait_s]
    said += [Reasoning(f"{name} ")] * script.thoughts
    for at in range(script.words):
        said += [Text(f"{name}.{at} "), script.pause_s]
    if script.end in ERRORS:
        return [*said, ERRORS[script.end]]
    ends: dict[str, list[Step]] = {
        "well": [] if script.words else [EmptyAnswer("empty")],
        "call": [ToolCall(0, name, "f", "{}")],
        "unknown call": [ToolCall(0, name, "g", "{}")],
        "broken call": [ToolCall(0, name, "f", '{"x":')],
        "refusal": [Refusal(f"{name} will not")],
    }
    return [*said, *ends[script.end], Finished("stop")]


def built(at: int, listed: Listed) -> Scripted:
    each = [listed.scripts[min(number, len(listed.scripts) - 1)] for number in range(REQUESTS)]
    scripts = [steps_of(script, f"{at}{number}") for number, script in enumerate(each)]
    return Scripted(f"t{at}", scripts, close_s=listed.close_s)


async def played(listed: list[Listed], targets: list[Scripted], cancel_s: float | None, **fields: Any) -> Heard:
    now = asyncio.get_running_loop().time()
    choices = []
    for one, scripted in zip(listed, targets, strict=True):
        made = choice(scripted, BreakerSettings(requests=2), hedge_after_s=one.hedge_after_s)
        if one.is_open:
            made.breaker.failed(made.breaker.begin(now), now, 10.0)
        choices.append(made)

    def look(frame: Frame) -> None:
        if isinstance(frame, LAST):
            left = [asked for scripted in targets for asked in scripted.asked if asked.closed_at is None]
            assert not left, "a connection is open when the last frame leaves"

    worker = Worker(*choices)
    return await worker.answer(look=look, cancel_s=cancel_s, budget_ms=BUDGET_MS, total_ms=TOTAL_MS, **fields)


def past_calls(job: Job) -> list[PastCall]:
    return [call for message in job.messages for call in message.tool_calls]


def sources(heard: Heard) -> list[str]:
    """The requests that the spoken words are from, in order."""
    found: list[str] = []
    for word in heard.text.split():
        source = word.partition(".")[0]
        if found[-1:] != [source]:
            found.append(source)
    return found


@settings(max_examples=400, deadline=None)
@given(TARGETS, st.sampled_from(["error", "continue"]), st.none() | st.floats(0.0, 8.0), st.booleans())
def test_whatever_targets_do(listed: list[Listed], on_lost: str, cancel_s: float | None, check_tools: bool) -> None:
    targets = [built(at, one) for at, one in enumerate(listed)]

    heard = play(played(listed, targets, cancel_s, on_lost=on_lost, check_tools=check_tools, tools=(Tool("f"),)))

    frames = [frame for _, frame in heard.frames]
    assert [isinstance(frame, LAST) for frame in frames].count(True) == 1
    assert isinstance(frames[-1], LAST)

    calls = [(frame.name, frame.arguments) for frame in frames if isinstance(frame, ToolCall)]
    assert not (check_tools and any(call != ("f", "{}") for call in calls))
    told = [past.arguments for one in targets for asked in one.asked for past in past_calls(asked.job)]
    assert all(arguments == "{}" for arguments in told)

    said_by, asked = sources(heard), [asked for scripted in targets for asked in scripted.asked]
    assert len(said_by) == len(set(said_by)) <= (1 + CONTINUATIONS if on_lost == "continue" else 1)
    assert all(one.job.said == "" or heard.text.startswith(one.job.said) for one in asked)
    assert len(set(heard.thoughts.split())) <= 1

    tried = [one for one in heard.attempts if one.outcome != "skipped"]
    assert len(tried) == len(asked) or heard.code == "interrupted"  # who hangs up at once may be billed for nothing
    assert all(outcome.total_ms is not None for outcome in tried)
    if heard.text:
        assert heard.first_s() <= BUDGET_MS / 1000 + 0.01
    slow_s = 0.3 * len(asked)
    assert heard.frames[-1][0] <= TOTAL_MS / 1000 + slow_s + 0.01
