"""A target in the `responses` dialect: where it is asked, and an answer of it on a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from protocol import settings
from protocol.errors import ServiceError, UnsupportedParameter, UpstreamRefused
from protocol.messages import Finished, Frame, Job, Message, Reasoning, Sampling, Text, Thought, ToolCall, Usage
from tests.workers.fake_upstream import Exchange, FakeUpstream, upstream
from tests.workers.target_jobs import job, user
from workers.targets import NOTHING, Patience
from workers.targets.connections import open_session
from workers.targets.dialect import Dialect
from workers.targets.responses import RESPONSES
from workers.targets.seals import seals_of
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


@pytest.mark.parametrize("base_url", ["https://r.openai.azure.com", "https://r.openai.azure.com/openai/v1"])
def test_where_azure_is_asked(base_url: str) -> None:
    assert RESPONSES.url(told(base_url, preset="azure")) == "https://r.openai.azure.com/openai/v1/responses"


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
        async for frame in target.stream(asked, headers={}, patience=Patience(60.0, 60.0)):
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


# --- sealed thoughts -------------------------------------------------------------------------------

REFUSED = {"error": {"type": "invalid_request_error", "code": "invalid_encrypted_content", "message": "not mine"}}
UNSUPPORTED = {"error": {"message": "Encrypted content is not supported with this model.", "code": None}}


def thinking(fake: FakeUpstream, **fields: Any) -> Job:
    """A turn whose history has a thought that this upstream has sealed."""
    seal = seals_of(told(fake.url)).marked("gAAA", "rs_up")
    thought = Message("assistant", "b", thoughts=(Thought("rs_1", ("hm",), seal),))
    return job(messages=(user("a"), thought, user("c")), **fields)


async def test_it_is_shown_what_it_has_sealed(session: ClientSession) -> None:
    async with upstream(playing("llama-cpp-text.sse", 1000)) as fake:
        await listen(fake, session, thinking(fake))
    sent = fake.seen[0].json["input"]
    assert [item["type"] for item in sent] == ["message", "reasoning", "message", "message"]
    assert (sent[1]["id"], sent[1]["encrypted_content"]) == ("rs_up", "gAAA")


def failing(*before: dict[str, Any]) -> Any:
    """An upstream that refuses in a stream, after these events."""
    failed = {"type": "response.failed", "response": {"status": "failed", "error": REFUSED["error"]}}

    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        for event in (*before, failed):
            await exchange.send(f"data: {json.dumps(event)}\n\n")
        await exchange.end()

    return answer


def answering_with(status: int, error: dict[str, Any]) -> Any:
    async def answer(exchange: Exchange) -> None:
        await exchange.plain(status, json.dumps(error))

    return answer


CREATED = {"type": "response.created", "response": {"status": "in_progress"}}
THOUGHT = {"type": "response.reasoning_text.delta", "output_index": 0, "content_index": 0, "delta": "Hm."}
WORD = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "I am"}


@pytest.mark.parametrize("refusal", [answering_with(400, REFUSED), answering_with(400, UNSUPPORTED), failing(CREATED)])
async def test_what_it_does_not_know_again_costs_no_answer(session: ClientSession, refusal: Any) -> None:
    answering = playing("llama-cpp-text.sse", 1000)

    async def answer(exchange: Exchange) -> None:
        if "gAAA" in exchange.body.decode():
            await refusal(exchange)
        else:
            await answering(exchange)

    async with upstream(answer) as fake:
        sampling = Sampling(reasoning_effort="low", encrypted_reasoning=True)
        frames = await listen(fake, session, thinking(fake, sampling=sampling))
    assert texts(frames, Text) == "I'm fine. I'm in Rome."
    first, second = (exchange.json for exchange in fake.seen)
    assert first.pop("include") == ["reasoning.encrypted_content"]
    assert second == first | {"input": [item for item in first["input"] if item["type"] != "reasoning"]}


@pytest.mark.parametrize(("event", "said"), [(THOUGHT, Reasoning("Hm.")), (WORD, Text("I am"))])
async def test_what_was_heard_is_not_said_again(session: ClientSession, event: dict[str, Any], said: Frame) -> None:
    async with upstream(failing(CREATED, event)) as fake:
        *heard, error = await listen(fake, session, thinking(fake))
        assert isinstance(error, UpstreamRefused)
        assert (heard, len(fake.seen)) == ([said], 1)


async def test_what_it_refuses_without_any_is_refused(session: ClientSession) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.plain(400, json.dumps(REFUSED))

    async with upstream(answer) as fake:
        for asked, requests in ((thinking(fake), 2), (job(), 3)):
            (error,) = await listen(fake, session, asked)
            assert isinstance(error, UpstreamRefused)
            assert len(fake.seen) == requests


async def cut(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.send(f"data: {json.dumps(WORD)}\n\n")
    exchange.cut()


async def silent(exchange: Exchange) -> None:
    await exchange.gone.wait()


async def refusing(exchange: Exchange) -> None:
    await exchange.plain(429, "{}")


@pytest.mark.parametrize(("second", "owed"), [(cut, True), (silent, True), (refusing, False)])
async def test_an_answer_that_was_asked_for_again_is_billed_by_what_became_of_it(
    session: ClientSession, second: Any, owed: bool
) -> None:
    """The refusal before it has cost nothing, which says nothing of this one."""

    async def answer(exchange: Exchange) -> None:
        if "gAAA" in exchange.body.decode():
            await exchange.plain(400, json.dumps(REFUSED))
        else:
            await second(exchange)

    bills: list[Usage] = []
    async with upstream(answer) as fake:
        target = Upstream("up", told(fake.url), RESPONSES, session=session, key=KEY)
        patience = Patience(60.0, 60.0, told=bills.append)
        answers = target.stream(thinking(fake), headers={}, patience=patience)
        asking = asyncio.create_task(anext(answers))
        for _ in range(2):
            await fake.exchanges.get()
        if second is silent:
            asking.cancel()  # its caller has hung up
        await asyncio.gather(asking, return_exceptions=True)
        await answers.aclose()
    assert (bills[-1] is NOTHING) is not owed


async def test_nobody_is_asked_the_same_twice(session: ClientSession) -> None:
    """It was neither shown a seal nor asked for one, whatever its words are."""

    async def answer(exchange: Exchange) -> None:
        await exchange.plain(400, json.dumps(UNSUPPORTED))

    another = Message("assistant", "b", thoughts=(Thought("rs_1", (), "trunkline1.other.rs_1.gAAA"),))
    asked = job(messages=(user("a"), another, user("c")), sampling=Sampling(encrypted_reasoning=True))
    async with upstream(answer) as fake:
        (error,) = await listen(fake, session, asked)
        assert isinstance(error, UpstreamRefused)
        assert len(fake.seen) == 1


async def test_who_does_without_seals_neither_gets_nor_hands_out_any(session: ClientSession) -> None:
    """Be it the target or its caller. OpenAI's come unasked; one never shown again would only make histories long."""

    async def answer(exchange: Exchange) -> None:
        item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
        await exchange.begin()
        for told in (
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "Hi."},
            {"type": "response.completed", "response": {"status": "completed"}},
        ):
            await exchange.send(f"data: {json.dumps(told)}\n\n")
        await exchange.end()

    async with upstream(answer) as fake:
        asked = thinking(fake, sampling=Sampling(encrypted_reasoning=True))
        sealed = await listen(fake, session, asked)
        plain = await listen(fake, session, asked, refuses=("encrypted_reasoning",))
        unasked = await listen(fake, session, job())
    assert [type(frame) for frame in sealed] == [Reasoning, Text, Finished]
    assert [type(frame) for frame in plain] == [type(frame) for frame in unasked] == [Text, Finished]
    assert ["gAAA" in exchange.body.decode() for exchange in fake.seen] == [True, False, False]
