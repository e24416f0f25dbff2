"""What a try at a target costs: as it was told, else counted; and in money."""

import asyncio

import pytest
from msgspec.structs import replace

from protocol.errors import (
    Draining,
    Interrupted,
    RateLimited,
    ServiceError,
    Unheard,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)
from protocol.messages import (
    Claimed,
    Finished,
    Frame,
    ImagePart,
    Job,
    Message,
    PastCall,
    Reasoning,
    Refusal,
    Text,
    TextPart,
    Tool,
    ToolCall,
    Usage,
)
from protocol.settings_types import Prices
from workers import tokens
from workers.targets import NOTHING, usage
from workers.targets.usage import cost_of, usage_of

JARGON = (
    Message(
        "system",
        "You are a helpful, pattern-following assistant that translates corporate jargon into plain English.",
    ),
    Message("system", "New synergies will help drive top-line growth.", name="example_user"),
    Message("system", "Things working well together will increase revenue.", name="example_assistant"),
    Message(
        "system",
        "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
        name="example_user",
    ),
    Message("system", "Let's talk later when we're less busy about how to do better.", name="example_assistant"),
    Message("user", "This late pivot means we don't have time to boil the ocean for the client deliverable."),
)  # fmt: skip
WEATHER = (
    Message("system", "You are a helpful assistant that can answer to questions about the weather."),
    Message("user", "What's the weather like in San Francisco?"),
)
WEATHER_TOOL = Tool(
    "get_current_weather",
    "Get the current weather in a given location",
    b"""{"type": "object", "properties": {
        "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
        "unit": {"type": "string", "description": "The unit of temperature to return",
                 "enum": ["celsius", "fahrenheit"]}
    }, "required": ["location"]}""",
)
"""Both from OpenAI's cookbook, "How to count tokens with tiktoken", sections 6 and 7
(github.com/openai/openai-cookbook, commit c81359cd): the API itself counted 124 and 101 tokens for gpt-4o."""


def job(*messages: Message, tools: tuple[Tool, ...] = (), said: str = "") -> Job:
    return Job(id="t", model="m", messages=messages, tools=tools, said=said, budget_ms=1, total_ms=1)


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens are counted with the vocabulary, whatever another test has left."""
    monkeypatch.setattr(tokens, "_count", tokens._counter())


@pytest.fixture
def by_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """A word is a token: figures that can be checked by eye."""
    monkeypatch.setattr(tokens, "_count", lambda text: len(text.split()))


@pytest.mark.parametrize(
    ("asked", "expected"), [(job(*JARGON), 124), (job(*WEATHER, tools=(WEATHER_TOOL,)), 101)], ids=["names", "tools"]
)
async def test_a_prompt_counts_what_openai_counted(real: None, asked: Job, expected: int) -> None:
    counted = await usage_of(asked, [])

    assert counted == Usage(prompt=expected, estimated=True)


HI = job(Message("user", "hi there"))  # 3 + role 1 + 2, and 3 for the reply
PROMPT = 9
TOLD = Usage(100, 50, cached=20, reasoning=5)

COUNTED: dict[str, tuple[list[Frame], Usage]] = {
    "nothing yet": ([], Usage(prompt=PROMPT, estimated=True)),
    "a claim is nobody's answer": ([Claimed("a")], Usage(prompt=PROMPT, estimated=True)),
    "words, as one text": ([Text("one two"), Text(" three")], Usage(prompt=PROMPT, completion=3, estimated=True)),
    "a word in two frames is one": ([Text("twen"), Text("ty")], Usage(prompt=PROMPT, completion=1, estimated=True)),
    "a refusal and a call": (
        [Refusal("I will not"), ToolCall(0, "i", "f", '{"a": 1}')],
        Usage(prompt=PROMPT, completion=6, estimated=True),
    ),
    "thoughts are among them": (
        [Reasoning("so so"), Text("yes")],
        Usage(prompt=PROMPT, completion=3, reasoning=2, estimated=True),
    ),
    "a last frame that does not tell": ([Text("yes"), Finished("stop")], Usage(PROMPT, 1, estimated=True)),
}


@pytest.mark.parametrize(("frames", "expected"), COUNTED.values(), ids=COUNTED)
async def test_what_was_not_told_is_counted(by_words: None, frames: list[Frame], expected: Usage) -> None:
    assert await usage_of(HI, frames) == expected


ENDINGS: dict[str, tuple[list[Frame], Usage | None, ServiceError | None, Usage]] = {
    "it told": ([Text("yes")], TOLD, None, TOLD),
    "it told, then broke off": ([Text("yes")], TOLD, UpstreamError("cut"), TOLD),
    "it told the prompt alone": (
        [Text("yes")],
        Usage(100, cached=20),
        Interrupted("gone"),
        Usage(100, 1, cached=20, estimated=True),
    ),
    "cut in the middle": ([Text("yes")], None, UpstreamError("cut"), Usage(PROMPT, 1, estimated=True)),
    "hung up in the middle": ([Text("yes")], None, Interrupted("gone"), Usage(PROMPT, 1, estimated=True)),
    "hung up while it was at work": ([], None, Interrupted("gone"), Usage(PROMPT, estimated=True)),
    "the worker stops": ([], None, Draining("stops"), Usage(PROMPT, estimated=True)),
    "its edge is gone": ([], None, Unheard("gone"), Usage(PROMPT, estimated=True)),
    "too slow, at work": ([], None, UpstreamTimeout("slow"), Usage(PROMPT, estimated=True)),
    "outrun by a hedge": ([], None, None, Usage(PROMPT, estimated=True)),
    "outrun while it thought": ([Reasoning("so")], None, None, Usage(PROMPT, 1, reasoning=1, estimated=True)),
    "never reached": ([], NOTHING, UpstreamTimeout("down"), Usage()),
    "hung up before it was reached": ([], NOTHING, Interrupted("gone"), Usage()),
    "outrun before it was reached": ([], NOTHING, None, Usage()),
    "it told zeros, at work": ([], Usage(), UpstreamTimeout("slow"), Usage(PROMPT, estimated=True)),
    "refused": ([], None, UpstreamRefused("no"), Usage()),
    "refused for a while": ([], None, RateLimited("no"), Usage()),
    "failed before a word": ([], None, UpstreamError("500"), Usage()),
}


@pytest.mark.parametrize(("frames", "told", "error", "expected"), ENDINGS.values(), ids=ENDINGS)
async def test_every_way_of_ending_has_its_bill(
    by_words: None, frames: list[Frame], told: Usage | None, error: ServiceError | None, expected: Usage
) -> None:
    """Whoever refuses, or was never reached, bills nothing."""
    assert await usage_of(HI, frames, told, error) == expected


PROMPTS: dict[str, tuple[Job, int]] = {
    "parts without text": (job(Message("user", (TextPart("hi there"), ImagePart("data:image/png;base64,AAAA")))), 9),
    "a past call": (job(Message("assistant", None, tool_calls=(PastCall("i", "look up", '{"a": 1}'),))), 11),
    "a half answer to go on with": (replace(HI, said="well then"), PROMPT + 6),
    "a tool without parameters": (replace(HI, tools=(Tool("f"),)), PROMPT + 7 + 12 + 1),
    "a tool whose schema is none": (replace(HI, tools=(Tool("f", None, b"{"),)), PROMPT + 7 + 12 + 1),
    "properties that are none": (replace(HI, tools=(Tool("f", None, b'{"properties": [1]}'),)), PROMPT + 7 + 12 + 1),
    "a property that is no schema": (
        replace(HI, tools=(Tool("f", None, b'{"properties": {"a": true}}'),)),
        PROMPT + 7 + 12 + 1 + 3 + 3 + 1,
    ),
    "odd types and enums": (
        replace(
            HI, tools=(Tool("f", None, b'{"properties": {"a": {"type": ["string", "null"], "enum": [1, null]}}}'),)
        ),
        PROMPT + 7 + 12 + 1 + 3 + 3 + 1 - 3 + 3 + 1 + 3,
    ),
    "what a property nests": (
        replace(HI, tools=(Tool("f", None, b'{"properties": {"a": {"items": {"type": "a b"}}}}'),)),
        PROMPT + 7 + 12 + 1 + 3 + 3 + 1 + 2,
    ),
}


@pytest.mark.parametrize(("asked", "expected"), PROMPTS.values(), ids=PROMPTS)
async def test_a_prompt_counts_everything_that_has_words(by_words: None, asked: Job, expected: int) -> None:
    assert (await usage_of(asked, [])).prompt == expected


async def test_a_schema_that_is_too_deep_is_left_out(by_words: None) -> None:
    deep = b'{"properties": {"a": {"items": ' + b'{"items": ' * 100_000 + b"1" + b"}" * 100_002
    assert (await usage_of(replace(HI, tools=(Tool("f", None, deep),)), [])).prompt == PROMPT + 7 + 12 + 1


async def test_large_texts_are_counted_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop goes on meanwhile."""
    loop, going_on = asyncio.get_running_loop(), asyncio.Event()

    def count(text: str) -> int:
        loop.call_soon_threadsafe(going_on.set)
        assert asyncio.run_coroutine_threadsafe(going_on.wait(), loop).result(10)
        return len(text)

    monkeypatch.setattr(usage, "count", count)
    large = job(Message("user", "x" * (usage.INLINE_CHARS + 1)))

    counted = await usage_of(large, [])

    assert counted.prompt > usage.INLINE_CHARS


async def test_who_is_cancelled_while_they_are_counted_has_a_bill_too(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, counting, may_end = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def count(text: str) -> int:
        loop.call_soon_threadsafe(counting.set)
        asyncio.run_coroutine_threadsafe(may_end.wait(), loop).result(10)
        return 0

    monkeypatch.setattr(usage, "count", count)
    large = job(Message("user", "x" * 40_000))
    billing = asyncio.create_task(usage_of(large, [Text("y" * 400)]))
    await counting.wait()

    billing.cancel()

    assert await billing == Usage(prompt=10_000, completion=100, estimated=True)
    may_end.set()


COSTS: dict[str, tuple[Usage, Prices | None, float | None]] = {
    "no prices": (Usage(100, 50), None, None),
    "nothing spent": (Usage(), Prices(input=1, output=2), 0.0),
    "input and output": (Usage(1_000_000, 500_000), Prices(input=0.4, output=1.6), 1.2),
    "cached input is cheaper": (Usage(1000, 10, cached=400), Prices(input=2, cached=0.5, output=8), 0.00148),
    "cached input as any other": (Usage(1000, 10, cached=400), Prices(input=2, output=8), 0.00208),
    "more cached than asked": (Usage(10, 0, cached=400), Prices(input=2, cached=1, output=8), 0.00001),
    "thoughts are output": (Usage(0, 100, reasoning=90), Prices(input=0, output=10), 0.001),
    "free": (Usage(100, 50), Prices(input=0, output=0), 0.0),
}


@pytest.mark.parametrize(("spent", "prices", "expected"), COSTS.values(), ids=COSTS)
def test_what_it_costs(spent: Usage, prices: Prices | None, expected: float | None) -> None:
    assert cost_of(spent, prices) == expected
