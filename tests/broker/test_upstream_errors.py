"""An upstream that answers an error, nonsense or nothing: the caller gets the contract's error, never silence."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import openai
import pytest
import pytest_asyncio
from msgspec import Struct
from openai import AsyncOpenAI

from bench.processes import free_ports
from tests.broker.line_fixture import RealLine, real_line, user
from tests.workers.fake_upstream import DONE, SSE_HEAD, Exchange, FakeUpstream, chunk, upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENCE_S = 20.0
BUDGET_S = PATIENCE_S + 5.0  # only where nothing comes does a time run out, however busy the machine is
HASTY_S, STALL_S = 2.0, 0.4  # there
KEY = "sk-upstream-4c"
NO_TIME_TO_LINGER = struct.pack("ii", 1, 0)  # close() sends RST in place of FIN
Answer = Callable[[Exchange], Awaitable[None]]


# --- what an upstream may do -------------------------------------------------------------------------


def status(number: int, body: str = '{"error": {"message": "told so", "code": null}}', *headers: str) -> Answer:
    """An answer that is no success, or one that is no stream."""
    return lambda exchange: exchange.plain(number, body, *headers)


def events(*pieces: str) -> Answer:
    """A stream of these events, to the end of its body."""

    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        for piece in pieces:
            await exchange.send(piece)
        await exchange.end()

    return answer


def then(answer: str, ending: Answer) -> Answer:
    """Begin a stream, then do something else."""

    async def both(exchange: Exchange) -> None:
        await exchange.begin()
        if answer:
            await exchange.send(answer)
        await asyncio.sleep(0.02)  # so that it is heard before a reset
        await ending(exchange)

    return both


def raw(data: bytes) -> Answer:
    """Bytes, and the end of the connection."""

    async def answer(exchange: Exchange) -> None:
        await exchange.raw(data)
        exchange.cut()

    return answer


async def cut(exchange: Exchange) -> None:
    exchange.cut()


async def reset(exchange: Exchange) -> None:
    exchange._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_TIME_TO_LINGER)
    exchange._writer.transport.abort()


async def silence(_: Exchange) -> None:
    await asyncio.sleep(60)


HTML = "<!doctype html><html><body><h1>502 Bad Gateway</h1></body></html>"
TOLD = "data: " + '{"error": {"message": "told so", "type": "server_error"}}' + "\n\n"
LIMITED = "data: " + '{"error": {"message": "told so", "code": "rate_limit_exceeded"}}' + "\n\n"
TOO_LONG = '{"error": {"message": "told so", "code": "context_length_exceeded"}}'
LOADING = '{"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}'
QUOTES_THE_KEY = f'{{"error": {{"message": "told so: {KEY} is no good here"}}}}'
WORDS = chunk({"role": "assistant", "content": ""}) + chunk({"content": "one "}) + chunk({"content": "two "})
ROLE = chunk({"role": "assistant", "content": ""})


class Case(Struct):
    """What an upstream does, and what the caller hears of it."""

    answer: Answer
    status: int
    code: str | None
    headers: dict[str, str] = {}
    param: str | None = None
    quoted: bool = False  # the upstream's own sentence
    model: str = "flaky"


FAILED = (502, "upstream_error")
SLOW = (504, "upstream_timeout")

BEFORE: dict[str, Case] = {
    "400": Case(status(400), 400, None, quoted=True),
    "400-too-long": Case(status(400, TOO_LONG), 400, "context_length_exceeded", param="messages", quoted=True),
    "400-html": Case(status(400, HTML), 400, None),
    "400-nothing": Case(status(400, ""), 400, None),
    "401": Case(status(401, QUOTES_THE_KEY), *FAILED),
    "403": Case(status(403, QUOTES_THE_KEY), *FAILED),
    "404": Case(status(404), *FAILED, quoted=True),
    "422": Case(status(422), 400, None, quoted=True),
    "429": Case(status(429), 429, "rate_limit_exceeded", {"Retry-After": "1"}, quoted=True),
    "429-later": Case(status(429, "{}", "Retry-After: 70"), 429, "rate_limit_exceeded", {"Retry-After": "70"}),
    "500": Case(status(500), *FAILED, quoted=True),
    "500-html": Case(status(500, HTML), *FAILED),
    "500-key": Case(status(500, QUOTES_THE_KEY), *FAILED, quoted=True),
    "503": Case(status(503, "{}", "Retry-After: 30"), *FAILED),
    "503-loading": Case(status(503, LOADING), 503, "not_ready", {"Retry-After": "1", "x-should-retry": "true"}),
    "504": Case(status(504, "{}"), *SLOW),
    "redirect": Case(status(302, "", "Location: http://127.0.0.1:1/"), *FAILED),
    "html": Case(status(200, HTML, "Content-Type: text/html"), *FAILED),
    "nothing": Case(status(200, ""), *FAILED),
    "not-a-completion": Case(status(200, '{"hello": "world"}', "Content-Type: application/json"), *FAILED),
    "a-list": Case(status(200, "[1, 2, 3]", "Content-Type: application/json"), *FAILED),
    "error-as-a-body": Case(status(200, '{"error": {"message": "told so"}}'), *FAILED, quoted=True),
    "nonsense": Case(events("data: {nonsense\n\n", "data: 7\n\n", "\xff\x00\n\n"), *FAILED),
    "no-events": Case(events(), *FAILED),
    "only-done": Case(events(DONE), *FAILED),
    "only-a-role": Case(events(ROLE), *FAILED),
    "empty": Case(events(ROLE, chunk(finish="stop"), DONE), *FAILED),
    "error": Case(events(TOLD), *FAILED, quoted=True),
    "error-after-a-role": Case(events(ROLE, TOLD), *FAILED, quoted=True),
    "limited": Case(events(LIMITED), 429, "rate_limit_exceeded", {"Retry-After": "1"}, quoted=True),
    "no-http": Case(raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), *FAILED),
    "half-a-head": Case(raw(b"HTTP/1.1 200 O"), *FAILED),
    "short-body": Case(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"), *FAILED),
    "bad-chunks": Case(raw(SSE_HEAD + b"zz\r\n"), *FAILED),
    "cut": Case(cut, *FAILED),
    "reset": Case(reset, *FAILED),
    "cut-after-a-role": Case(then(ROLE, cut), *FAILED),
    "silence": Case(silence, *SLOW, model="hasty"),
    "silence-after-a-head": Case(then("", silence), *SLOW, model="hasty"),
    "silence-after-a-role": Case(then(ROLE, silence), *SLOW, model="hasty"),
}
"""Before a word is heard."""

AFTER: dict[str, Case] = {
    "words-then-cut": Case(then(WORDS, cut), *FAILED),
    "words-then-reset": Case(then(WORDS, reset), *FAILED),
    "words-then-end": Case(events(WORDS), *FAILED),
    "words-then-done": Case(events(WORDS, DONE), *FAILED),
    "words-then-error": Case(events(WORDS, TOLD), *FAILED, quoted=True),
    "words-then-a-word-for-cut": Case(events(WORDS, chunk(finish="error")), *FAILED),
    "words-then-silence": Case(then(WORDS, silence), *SLOW, model="stalls"),
}
"""In the middle of an answer."""

FINE: dict[str, Answer] = {
    "good": events(WORDS + chunk(finish="stop") + DONE),
    "a-bad-line": events(WORDS, "data: {nonsense\n\n", ": comment\n\n", chunk(finish="stop"), DONE),
    "no-done": events(WORDS, chunk(finish="stop")),
    "cut-after-its-finish": then(WORDS + chunk(finish="stop"), cut),
    "a-foreign-reason": events(WORDS, chunk(finish="eos"), DONE),
    "not-a-stream": status(
        200, '{"choices": [{"message": {"role": "assistant", "content": "one two "}, "finish_reason": "stop"}]}'
    ),
}
"""What looks odd and is whole."""


# --- the line ----------------------------------------------------------------------------------------


async def as_named(exchange: Exchange) -> None:
    """Do what the caller's words name."""
    name = exchange.json["messages"][-1]["content"]
    await (FINE.get(name) or {**BEFORE, **AFTER}[name].answer)(exchange)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fake() -> AsyncIterator[FakeUpstream]:
    async with upstream(as_named) as fake:
        yield fake


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line(tmp_path_factory: pytest.TempPathFactory, fake: FakeUpstream) -> AsyncIterator[RealLine]:
    """One edge and one worker; nobody listens at the target `nowhere`."""
    directory = tmp_path_factory.mktemp("line")
    config = directory / "trunkline.toml"
    config.write_text(
        f"""
        [profiles.hasty]
        budget_s = {HASTY_S}
        [models]
        flaky.targets = ["flaky"]
        hasty = {{ targets = ["flaky"], profile = "hasty" }}
        stalls.targets = ["stalls"]
        nowhere = {{ targets = ["nowhere"], profile = "hasty" }}
        unnamed = {{ targets = ["unnamed"], profile = "hasty" }}
        [targets.flaky]
        base_url = "{fake.url}"
        model = "flaky-1"
        api_key_env = "FLAKY_KEY"
        [targets.stalls]
        base_url = "{fake.url}"
        model = "flaky-1"
        api_key_env = "FLAKY_KEY"
        stall_s = {STALL_S}
        [targets.nowhere]
        base_url = "http://127.0.0.1:{free_ports(1)[0]}/v1"
        model = "nowhere-1"
        [targets.unnamed]
        base_url = "http://no-such-host.invalid/v1"
        model = "unnamed-1"
        """
    )
    env = {
        "TRUNKLINE_CONFIG": str(config),
        "TRUNKLINE_TURN__BUDGET_S": str(BUDGET_S),
        "TRUNKLINE_EDGE__HEADERS_AFTER_S": str(BUDGET_S),
        "FLAKY_KEY": KEY,
    }
    async with real_line(directory, env=env) as line:
        line.add("edge")
        line.add("worker")
        await line.ready()
        yield line
        await line.idle()
        assert KEY not in line.logs()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(line: RealLine) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{line.edges[0].url}/v1", api_key="none", max_retries=0, timeout=30) as client:
        yield client


class Heard(Struct):
    """What a caller got."""

    text: str = ""
    finish_reason: str | None = None
    failed: openai.APIError | None = None


async def ask(client: AsyncOpenAI, name: str, *, stream: bool, model: str = "flaky") -> Heard:
    """One turn. Raises TimeoutError: silence."""
    heard = Heard()
    create: Any = client.chat.completions.create
    try:
        async with asyncio.timeout(PATIENCE_S):
            answer = await create(model=model, messages=[user(name)], stream=stream)
            if not stream:
                choice = answer.choices[0]
                return Heard(choice.message.content, choice.finish_reason)
            async for part in answer:
                heard.text += part.choices[0].delta.content or ""
                heard.finish_reason = part.choices[0].finish_reason
    except openai.APIError as failed:
        heard.failed = failed
    return heard


async def in_both_ways(client: AsyncOpenAI, name: str, *, model: str = "flaky") -> list[Heard]:
    """Plain and streamed."""
    return await asyncio.gather(*(ask(client, name, stream=stream, model=model) for stream in (False, True)))


async def the_next_turns_work(client: AsyncOpenAI) -> None:
    assert [heard.text for heard in await in_both_ways(client, "good")] == ["one two ", "one two "]


def is_told_as(failed: openai.APIError | None, case: Case) -> None:
    """A clean status, with the contract's object and headers."""
    assert isinstance(failed, openai.APIStatusError)
    assert (failed.status_code, failed.code, failed.param) == (case.status, case.code, case.param)
    assert failed.type == {400: "invalid_request_error", 429: "rate_limit_error"}.get(case.status, "server_error")
    assert failed.request_id
    assert failed.response.headers["content-type"] == "application/json"
    assert {name: failed.response.headers.get(name) for name in case.headers} == case.headers
    assert is_said_well(failed, case)


def is_said_well(failed: openai.APIError, case: Case) -> bool:
    """The upstream's own sentence where it made one; never a page, and never a key."""
    return (
        ("told so" in failed.message) is case.quoted and "<html" not in failed.message and KEY not in str(failed.body)
    )


@pytest.mark.parametrize("name", BEFORE)
async def test_before_the_first_word_it_is_a_status(client: AsyncOpenAI, name: str) -> None:
    case = BEFORE[name]
    for heard in await in_both_ways(client, name, model=case.model):
        is_told_as(heard.failed, case)
    await the_next_turns_work(client)


@pytest.mark.parametrize("name", AFTER)
async def test_after_it_an_error_ends_the_stream(client: AsyncOpenAI, name: str) -> None:
    case = AFTER[name]
    plain, streamed = await in_both_ways(client, name, model=case.model)

    is_told_as(plain.failed, case)
    assert (streamed.text, streamed.finish_reason) == ("one two ", None)
    assert streamed.failed is not None
    assert not isinstance(streamed.failed, openai.APIStatusError)
    assert (streamed.failed.code, streamed.failed.type) == (case.code, "server_error")
    assert is_said_well(streamed.failed, case)
    await the_next_turns_work(client)


@pytest.mark.parametrize("name", FINE)
async def test_what_only_looks_odd_is_an_answer(client: AsyncOpenAI, name: str) -> None:
    for heard in await in_both_ways(client, name):
        assert heard == Heard("one two ", "stop")


@pytest.mark.parametrize("model", ["nowhere", "unnamed"])
async def test_an_upstream_that_is_not_there_is_a_502(client: AsyncOpenAI, model: str) -> None:
    for heard in await in_both_ways(client, "anything", model=model):
        assert isinstance(heard.failed, openai.APIStatusError)
        assert (heard.failed.status_code, heard.failed.code) in [(502, "upstream_error"), (504, "upstream_timeout")]
        assert "127.0.0.1" not in heard.failed.message
    await the_next_turns_work(client)


async def test_failures_side_by_side_hit_nobody_else(client: AsyncOpenAI) -> None:
    cases = {**BEFORE, **AFTER}
    heard = await asyncio.gather(
        *(ask(client, name, stream=True, model=case.model) for name, case in cases.items()),
        *(ask(client, "good", stream=True) for _ in range(20)),
    )

    assert all(one.failed is not None for one in heard[: len(cases)])
    assert heard[len(cases) :] == [Heard("one two ", "stop")] * 20
