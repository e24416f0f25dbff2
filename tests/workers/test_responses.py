"""A target in the `responses` dialect: where it is asked, and an answer of it on a real socket."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from protocol import settings
from protocol.errors import ServiceError, UnsupportedParameter
from protocol.messages import Finished, Frame, Job, Reasoning, Sampling, Text, ToolCall, Usage
from tests.workers.fake_upstream import Exchange, FakeUpstream, upstream
from tests.workers.target_jobs import job
from workers.targets import Patience
from workers.targets.connections import open_session
from workers.targets.dialect import Dialect
from workers.targets.responses import RESPONSES
from workers.targets.upstream import Upstream

FIXTURES = Path(__file__).parents[1] / "fixtures" / "upstreams" / "responses"
KEY = "sk-very-secret"


def told(base_url: str = "https://up.example/v1", **fields: Any) -> settings.Target:
    return settings.Target(base_url=base_url, model="up", dialect="responses", **fields)


@pytest.mark.parametrize(
    "base_url", ["https://up.example/v1", "https://up.example/v1/", "https://up.example/v1/responses"]
)
def test_where_it_is_asked(base_url: str) -> None:
    dialect: Dialect = RESPONSES
    assert dialect.url(told(base_url)) == "https://up.example/v1/responses"


def test_its_key_goes_as_a_bearers_or_as_its_preset_has_it() -> None:
    assert RESPONSES.headers(told(), KEY)["Authorization"] == f"Bearer {KEY}"
    assert "Authorization" not in RESPONSES.headers(told(), None)
    azure = RESPONSES.headers(told(preset="azure", api_version="preview"), KEY)
    assert (azure["api-key"], azure.get("Authorization")) == (KEY, None)


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as opened:
        yield opened


def playing(name: str, size: int) -> Any:
    """An upstream that answers with a recorded stream, in pieces of `size`."""
    recorded = (FIXTURES / name).read_text()

    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        for at in range(0, len(recorded), size):
            await exchange.send(recorded[at : at + size])
        await exchange.end()

    return answer


async def listen(fake: FakeUpstream, session: ClientSession, asked: Job, **fields: Any) -> list[Any]:
    """The frames, and the error that ended them."""
    target = Upstream("up", told(fake.url, **fields), RESPONSES, session=session, key=KEY)
    heard: list[Frame | ServiceError] = []
    try:
        async for frame in target.stream(asked, headers={}, patience=Patience(8.0, 60.0)):
            heard.append(frame)  # noqa: PERF401  # what came before an error is kept
    except ServiceError as error:
        heard.append(error)
    return heard


def texts(frames: list[Any], kind: type[Text | Reasoning]) -> str:
    return "".join(frame.text for frame in frames if isinstance(frame, kind))


@pytest.mark.parametrize("size", [50, 400, 100_000])
async def test_an_answer_streams_through(session: ClientSession, size: int) -> None:
    async with upstream(playing("copilot-thought.sse", size)) as fake:
        frames = await listen(fake, session, job("How many r?"))
    assert texts(frames, Reasoning) == "**Counting character occurrences**"
    assert texts(frames, Text).startswith("There are **3** letter **“r”**s in")
    assert texts(frames, Text).endswith("at positions **3, 8, and 9**.")
    last = frames[-1]
    assert isinstance(last, Finished)
    assert (last.reason, last.target, last.usage) == ("stop", "up", Usage(19, 105, 0, 44))
    (exchange,) = fake.seen
    assert (exchange.path, exchange.headers["authorization"]) == ("/v1/responses", f"Bearer {KEY}")
    assert exchange.json["input"] == [{"type": "message", "role": "user", "content": "How many r?"}]


async def test_calls_stream_through(session: ClientSession) -> None:
    async with upstream(playing("llama-cpp-calls.sse", 300)) as fake:
        frames = await listen(fake, session, job())
    assert texts(frames, Text) == "Let me see.\n"
    assert [(frame.index, frame.name) for frame in frames if isinstance(frame, ToolCall)] == [
        (0, "weather"),
        (1, "now"),
    ]
    assert frames[-1].reason == "tool_calls"


async def test_a_continuation_repeats_nothing(session: ClientSession) -> None:
    async with upstream(playing("llama-cpp-text.sse", 200)) as fake:
        frames = await listen(fake, session, job(said="Well, I'm fine. I'm in"))
    assert texts(frames, Text) == " Rome."
    assert fake.seen[0].json["input"][1]["content"] == "Well, I'm fine. I'm in"


async def test_the_connection_is_kept_for_the_next_turn(session: ClientSession) -> None:
    async with upstream(playing("llama-cpp-text.sse", 1000)) as fake:
        for _ in range(2):
            await listen(fake, session, job())
    assert (len(fake.seen), fake.connections) == (2, 1)


async def test_what_it_cannot_be_asked_for_never_reaches_it(session: ClientSession) -> None:
    async with upstream(playing("llama-cpp-text.sse", 1000)) as fake:
        (error,) = await listen(fake, session, job(sampling=Sampling(stop=("a",))))
        frames = await listen(fake, session, job(sampling=Sampling(stop=("a",))), refuses=("stop",))
    assert isinstance(error, UnsupportedParameter)
    assert texts(frames, Text) == "I'm fine. I'm in Rome."
    assert len(fake.seen) == 1
