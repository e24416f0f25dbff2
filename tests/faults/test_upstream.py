"""The fault upstream itself: it speaks as the APIs do, and sees what is done to it."""

import asyncio
from collections.abc import AsyncIterator

import openai
import orjson
import pytest
from openai import AsyncOpenAI
from openai.types.responses import ResponseCompletedEvent, ResponseTextDeltaEvent

from bench.client import Call, fetch
from bench.http1 import ResponseReader
from bench.polling import until
from tests.broker.line_fixture import user
from tests.faults.faults import ACTS, FAULTS
from tests.faults.upstream import FaultUpstream, Seen, fault_upstream
from tests.faults.voices import PROMPT_TOKENS, VOICES, WORDS, Voice

SETTLE_S = 5.0
BODY = {"model": "faults-1", "stream": True, "messages": [user("Count to four.")]}
every_voice = pytest.mark.parametrize("voice", VOICES, ids=lambda voice: voice.name)


@pytest.fixture
async def upstream() -> AsyncIterator[FaultUpstream]:
    async with fault_upstream(ACTS) as upstream:
        yield upstream


def client(upstream: FaultUpstream, fault: str) -> AsyncOpenAI:
    """OpenAI's own, which reads two of the three APIs."""
    return AsyncOpenAI(base_url=upstream.base_url(fault, "test"), api_key="none", max_retries=0)


async def events(upstream: FaultUpstream, fault: str, voice: Voice) -> list[bytes]:
    """The data of a stream's events, as bytes came."""
    reader, body = ResponseReader(), b""
    incoming, outgoing = await asyncio.open_connection("127.0.0.1", int(upstream.url.rpartition(":")[2]))
    data = orjson.dumps(BODY)
    head = f"POST /{fault}/test/v1{voice.path} HTTP/1.1\r\nHost: test\r\nContent-Length: {len(data)}\r\n\r\n"
    outgoing.write(head.encode() + data)
    while not reader.complete and (read := await incoming.read(65536)):
        body += reader.feed(read)
    outgoing.close()
    return [line.removeprefix(b"data: ") for line in body.split(b"\n") if line.startswith(b"data: ")]


async def test_openais_client_reads_a_chat_completion(upstream: FaultUpstream) -> None:
    async with client(upstream, "well") as one:
        stream = await one.chat.completions.create(model="faults-1", messages=[user("Count.")], stream=True)
        chunks = [chunk async for chunk in stream]

    *spoken, usage = chunks
    assert "".join(chunk.choices[0].delta.content or "" for chunk in spoken) == "".join(WORDS)
    assert spoken[-1].choices[0].finish_reason == "stop"
    assert usage.usage
    assert (usage.usage.prompt_tokens, usage.usage.completion_tokens) == (PROMPT_TOKENS, len(WORDS))


async def test_openais_client_reads_a_response(upstream: FaultUpstream) -> None:
    async with client(upstream, "well") as one:
        stream = await one.responses.create(model="faults-1", input="Count.", stream=True)
        heard = [event async for event in stream]

    assert "".join(event.delta for event in heard if isinstance(event, ResponseTextDeltaEvent)) == "".join(WORDS)
    assert isinstance(heard[-1], ResponseCompletedEvent)
    assert heard[-1].response.output_text == "".join(WORDS)
    assert heard[-1].response.usage
    assert heard[-1].response.usage.output_tokens == len(WORDS)


@every_voice
async def test_an_answer_has_an_opening_its_words_and_an_end(upstream: FaultUpstream, voice: Voice) -> None:
    told = await events(upstream, "well", voice)

    assert [word for data in told for word in WORDS if orjson.dumps(word) in data and b"elta" in data] == list(WORDS)
    assert len(told) > len(WORDS) + 2
    assert upstream.of("test", "well")[0].sent == len(WORDS)


@every_voice
async def test_a_question_that_holds_half_the_answer_gets_the_other_half(upstream: FaultUpstream, voice: Voice) -> None:
    half = {"role": "assistant", "content": "".join(WORDS[:2])}
    url = f"{upstream.base_url('well', 'test')}{voice.path}"
    await (await Call.place(url, {**BODY, "messages": [*BODY["messages"], half]})).ended()  # type: ignore[misc]

    assert upstream.of("test", "well")[0].sent == 2


async def test_openais_client_is_told_of_a_rate_limit(upstream: FaultUpstream) -> None:
    async with client(upstream, "429-later") as one:
        with pytest.raises(openai.RateLimitError) as told:
            await one.chat.completions.create(model="faults-1", messages=[user("Count.")])

    assert told.value.code == "rate_limit_exceeded"
    assert told.value.response.headers["retry-after"] == "60"


@pytest.mark.parametrize("fault", ["silence", "headers", "opening", "endless", "stall"])
@every_voice
async def test_it_sees_when_the_other_side_leaves(upstream: FaultUpstream, voice: Voice, fault: str) -> None:
    async def asked() -> list[Seen]:
        return upstream.of("test", fault)

    async def closed() -> bool:
        return seen.closed is not None

    call = await Call.place(f"{upstream.base_url(fault, 'test')}{voice.path}", BODY)
    [seen] = await until(asked, bool, SETTLE_S)
    assert seen.closed is None

    call.hang_up()

    assert await until(closed, bool, SETTLE_S)


async def test_it_tells_who_followed_a_redirect(upstream: FaultUpstream) -> None:
    with pytest.raises(OSError):
        await fetch(f"{upstream.url}/elsewhere", method="POST")

    assert upstream.strayed == ["/elsewhere"]


def test_every_fault_has_a_name_for_a_path_and_a_title_of_its_own() -> None:
    assert {name for name in FAULTS if not name.replace("-", "").isalnum()} == set()
    assert len({fault.title for fault in FAULTS.values()}) == len(FAULTS)
