"""A target in the `messages` dialect against a real socket."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from protocol import settings
from protocol.errors import ServiceError, UnsupportedParameter, UpstreamError
from protocol.messages import Finished, Job, Message, Sampling, Text, ToolCall, Usage
from tests.workers.fake_upstream import Exchange, FakeUpstream, upstream
from tests.workers.target_jobs import job
from workers.targets import Patience
from workers.targets.connections import open_session
from workers.targets.messages import MESSAGES
from workers.targets.messages_request import MAX_TOKENS
from workers.targets.upstream import Upstream

ANSWERS = Path(__file__).parents[1] / "fixtures" / "upstreams" / "messages"
KEY = "sk-very-secret"
OVERLOADED = '{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_1"}'


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as opened:
        yield opened


def target(fake: FakeUpstream, session: ClientSession, **told: Any) -> Upstream:
    asked = settings.Target(base_url=fake.url, model="claude-haiku-4-5", dialect="messages", **told)
    return Upstream("claude", asked, MESSAGES, session=session, key=KEY)


async def listen(one: Upstream, asked: Job, told: Callable[[Usage], None] = lambda _: None) -> list[Any]:
    """The frames, and the error that ended them."""
    heard: list[Any] = []
    try:
        async for frame in one.stream(asked, headers={}, patience=Patience(8.0, 60.0, told=told)):
            heard.append(frame)  # noqa: PERF401  # what came before an error is kept
    except ServiceError as error:
        heard.append(error)
    return heard


async def calls_a_tool(exchange: Exchange) -> None:
    await exchange.begin()
    for event in (ANSWERS / "sdk-tool-use.sse").read_text().split("\n\n"):
        await exchange.send(f"{event}\n\n")
    await exchange.end()


async def breaks_off(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.send((ANSWERS / "docs-overloaded.sse").read_text())
    await exchange.end()


async def is_overloaded(exchange: Exchange) -> None:
    await exchange.plain(529, OVERLOADED, "Retry-After: 3")


async def test_an_answer_streams_through(session: ClientSession) -> None:
    """Words while they come, the call whole, and what it cost."""
    system = Message("system", "Be brief.")
    async with upstream(calls_a_tool) as fake:
        *spoken, call, last = await listen(
            target(fake, session), job(messages=(system, Message("user", "How is the weather in Paris?")))
        )
        (asked,) = fake.seen

    said = "".join(frame.text for frame in spoken if isinstance(frame, Text))
    assert said == "I'll check the current weather in Paris for you."
    assert call == ToolCall(0, "toolu_01NRLabsLyVHZPKxbKvkfSMn", "get_weather", '{"location": "Paris"}')
    assert isinstance(last, Finished)
    assert (last.reason, last.usage, last.target) == ("tool_calls", Usage(377, 65), "claude")
    assert asked.path == "/v1/messages"
    assert (asked.headers["x-api-key"], asked.headers["anthropic-version"]) == (KEY, "2023-06-01")
    assert asked.json == {
        "model": "claude-haiku-4-5",
        "max_tokens": MAX_TOKENS,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "How is the weather in Paris?"}],
        "stream": True,
    }


async def test_an_error_in_the_middle_ends_the_answer(session: ClientSession) -> None:
    told: list[Usage] = []
    async with upstream(breaks_off) as fake:
        *spoken, error = await listen(target(fake, session), job(), told.append)
    assert spoken == [Text("Hello")]
    assert [usage.prompt for usage in told] == [25], "the prompt is paid for all the same"
    assert isinstance(error, UpstreamError)
    assert "Overloaded" in str(error)


async def test_an_overloaded_upstream_says_when_to_come_back(session: ClientSession) -> None:
    async with upstream(is_overloaded) as fake:
        (error,) = await listen(target(fake, session), job())
    assert isinstance(error, UpstreamError)
    assert "answered 529: Overloaded" in str(error)
    assert error.retry_after_s == 3


async def test_what_cannot_be_said_is_refused_before_anything_is_sent(session: ClientSession) -> None:
    async with upstream(calls_a_tool) as fake:
        (error,) = await listen(target(fake, session), job(sampling=Sampling(seed=7)))
        assert fake.connections == 0
    assert isinstance(error, UnsupportedParameter)
    assert error.param == "seed"
