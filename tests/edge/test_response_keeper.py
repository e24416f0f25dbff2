"""A response is stored before its client reads of the end, and the client reads whether it was."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from msgspec import Raw
from pytest_aiohttp.plugin import AiohttpClient

from edge.answers import Answer, BodyAnswer, StreamAnswer
from edge.response_keeper import ResponseKeeper
from edge.response_store import StoredResponse
from edge.responses import ResponsesAnswer, parse
from edge.turn import Turn
from protocol.errors import Cancelled, ServiceError, UpstreamError
from protocol.messages import Finished, Text, Usage

ITEMS = (Raw(b'{"role":"user","content":"hi","id":"msg_1"}'),)
END = Finished("stop")
GUARD_S = 20.0

Steps = Callable[[Answer, Turn], Awaitable[None]]


class Shelf:
    """A store that a test may hold back, or have refuse."""

    def __init__(self, kept: bool | Exception = True, *, held: bool = False) -> None:
        self.records: list[tuple[str, str, StoredResponse]] = []
        self.asked = asyncio.Event()
        self.free = asyncio.Event()
        self._kept = kept
        if not held:
            self.free.set()

    async def write(self, tenant: str, response_id: str, record: StoredResponse) -> bool:
        self.asked.set()
        await self.free.wait()
        if isinstance(self._kept, Exception):
            raise self._kept
        self.records.append((tenant, response_id, record))
        return self._kept

    async def read(self, tenant: str, response_id: str) -> StoredResponse | None:
        raise NotImplementedError

    async def delete(self, tenant: str, response_id: str) -> bool:
        raise NotImplementedError

    @property
    def response(self) -> dict[str, Any]:
        """The one that was written."""
        ((_, _, record),) = self.records
        said: dict[str, Any] = json.loads(bytes(record.response))
        return said


async def ask(aiohttp_client: AiohttpClient, shelf: Shelf, steps: Steps, *, stream: bool = True) -> ClientResponse:
    """The answer to a request whose turn takes these steps."""

    async def handle(request: web.Request) -> web.StreamResponse:
        turn = Turn(on_lost="error", finish_text="", stream=stream)
        asked = parse(b'{"model":"m","input":"hi"}')
        dialect = ResponsesAnswer(
            turn_id="turn_0a1b", model="m", created=100, echoed=asked.echoed, store=True, clock=lambda: 101.0
        )
        keeper = ResponseKeeper(shelf, "desk", dialect, ITEMS)
        answer = (StreamAnswer if stream else BodyAnswer)(request, dialect, turn, {}, keeper)
        await steps(answer, turn)
        return answer.response

    app = web.Application()
    app.router.add_post("/", handle)
    client = await aiohttp_client(app)
    return await client.post("/")


async def speak(answer: Answer, turn: Turn) -> None:
    words = [Text("Hel"), Text("lo.")]
    for word in words:
        turn.hear(word)
    await answer.say(words, ends=True)
    await answer.finish(END, Usage(prompt=1, completion=2))


def fails_with(error: ServiceError, *, after: bool = True) -> Steps:
    async def steps(answer: Answer, turn: Turn) -> None:
        if after:
            await answer.say([Text("Hel")], ends=False)
        await answer.fail(error)

    return steps


def last_response(body: str) -> dict[str, Any]:
    """Of a stream: the response in its terminal event."""
    data = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: {")]
    said: dict[str, Any] = data[-1]["response"]
    return said


async def test_only_the_terminal_event_waits_for_the_store(aiohttp_client: AiohttpClient) -> None:
    shelf = Shelf(held=True)
    async with asyncio.timeout(GUARD_S), await ask(aiohttp_client, shelf, speak) as response:
        await shelf.asked.wait()
        words = b""
        while b'"delta":"lo."' not in words:
            words += await response.content.readany()
        assert b"response.completed" not in words

        shelf.free.set()
        rest = await response.text()

    assert last_response(rest)["store"] is True
    assert rest.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [True, False])
async def test_what_is_kept_is_what_is_said(aiohttp_client: AiohttpClient, stream: bool) -> None:
    shelf = Shelf()
    async with await ask(aiohttp_client, shelf, speak, stream=stream) as response:
        body = await response.text()

    said = last_response(body) if stream else json.loads(body)
    assert shelf.response == said
    assert (said["status"], said["store"], said["completed_at"]) == ("completed", True, 101)
    ((tenant, response_id, record),) = shelf.records
    assert (tenant, response_id, record.items) == ("desk", "resp_0a1b", ITEMS)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kept", [False, RuntimeError("a bug")])
async def test_where_it_cannot_be_kept_the_words_are_whole_and_the_end_says_so(
    aiohttp_client: AiohttpClient, kept: bool | Exception, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with await ask(aiohttp_client, Shelf(kept), speak, stream=stream) as response:
        body = await response.text()

    said = last_response(body) if stream else json.loads(body)
    assert (said["status"], said["store"]) == ("completed", False)
    assert said["output"][0]["content"][0]["text"] == "Hello."
    assert ("could not be stored" in caplog.text) == isinstance(kept, Exception)


async def test_one_that_was_cancelled_is_kept_as_far_as_it_came(aiohttp_client: AiohttpClient) -> None:
    shelf = Shelf()
    async with await ask(aiohttp_client, shelf, fails_with(Cancelled("cancelled"))) as response:
        said = last_response(await response.text())

    assert shelf.response == said
    assert (said["status"], said["store"], said["output"][0]["content"][0]["text"]) == ("cancelled", True, "Hel")


@pytest.mark.parametrize("stream", [True, False])
async def test_before_its_headers_a_cancelled_one_is_a_499_and_kept(
    aiohttp_client: AiohttpClient, stream: bool
) -> None:
    shelf = Shelf()
    steps = fails_with(Cancelled("the response was cancelled"), after=False)
    async with await ask(aiohttp_client, shelf, steps, stream=stream) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (499, "cancelled")

    assert (shelf.response["status"], shelf.response["output"]) == ("cancelled", [])


async def test_one_that_failed_is_not_kept_and_does_not_say_that_it_is(aiohttp_client: AiohttpClient) -> None:
    shelf = Shelf()
    async with await ask(aiohttp_client, shelf, fails_with(UpstreamError("m"))) as response:
        said = last_response(await response.text())

    assert (said["status"], said["store"]) == ("failed", False)
    assert shelf.records == []


async def test_a_cancelled_one_that_cannot_be_kept_says_so(aiohttp_client: AiohttpClient) -> None:
    async with await ask(aiohttp_client, Shelf(False), fails_with(Cancelled("cancelled"))) as response:
        said = last_response(await response.text())

    assert (said["status"], said["store"]) == ("cancelled", False)
