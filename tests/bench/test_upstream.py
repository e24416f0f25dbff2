"""The fake upstream and the client, set against each other: a drill can trust no more than these two."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from bench import verdict
from bench.client import Answer, Call, End, fetch
from bench.drills.stage import TOOL
from bench.orders import Generation
from bench.polling import until
from bench.upstream import Connection, Records

Place = Callable[..., Awaitable[Call]]


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """An upstream of its own, on loopback."""
    records = Records()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(records), "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


@pytest.fixture
def place(url: str) -> Place:
    """Place a call with an order."""

    async def place(orders: str, **body: Any) -> Call:
        message = {"role": "user", "content": orders}
        request = {"model": "m", "stream": True, "messages": [message], **body}
        return await Call.place(f"{url}/v1/chat/completions", request)

    return place


async def seen(url: str, tag: str) -> list[Generation]:
    """What the upstream saw of one tag."""
    status, body = await fetch(f"{url}/events?tag={tag}")
    assert status == 200
    return msgspec.json.decode(body, type=list[Generation])


async def closed(url: str, tag: str) -> list[Generation]:
    """The same once the other side has left."""
    return await until(lambda: seen(url, tag), lambda found: not any(one.open for one in found), 2.0)


def times(answer: Answer) -> tuple[float, float, float]:
    """Head, first content and end; all of them there."""
    assert answer.head_at
    assert answer.first_at
    assert answer.ended_at
    return answer.head_at, answer.first_at, answer.ended_at


async def test_a_whole_answer_is_told_as_such(url: str, place: Place) -> None:
    answer = await (await place("#a tokens=300")).ended()

    assert verdict.complete(answer, await seen(url, "a")) == []
    assert len(answer.chunk_at) == 300
    assert [answer.started, *times(answer)] == sorted([answer.started, *times(answer)])


async def test_every_generation_of_a_tag_says_something_else(url: str, place: Place) -> None:
    first = await (await place("#a tokens=2")).ended()
    second = await (await place("#a tokens=2")).ended()

    assert (first.text, second.text) == ("g1.0 g1.1 ", "g2.0 g2.1 ")


async def test_tokens_leave_at_their_time(place: Place) -> None:
    answer = await (await place("#a first_ms=100 rate=100 tokens=10")).ended()

    _, first_at, ended_at = times(answer)
    assert first_at - answer.started >= 0.095
    assert ended_at - first_at >= 0.085


async def test_the_status_line_can_be_late_too(place: Place) -> None:
    answer = await (await place("#a head_ms=80 tokens=2")).ended()

    head_at, _, _ = times(answer)
    assert head_at - answer.started >= 0.075


async def test_usage_comes_once_and_only_when_asked(place: Place) -> None:
    silent = await (await place("#a tokens=3")).ended()
    asked = await (await place("#a tokens=3", stream_options={"include_usage": True})).ended()

    assert silent.usages == []
    assert [usage["completion_tokens"] for usage in asked.usages] == [3]


async def test_tool_calls_come_in_parts_and_are_put_together(url: str, place: Place) -> None:
    answer = await (await place("#a tool=2 tokens=3", tools=[TOOL])).ended()

    assert [call["name"] for call in answer.tool_calls] == ["note", "note"]
    assert json.loads(answer.tool_calls[1]["arguments"]) == {"text": "g1.0 g1.1 g1.2 "}
    assert answer.finish_reason == "tool_calls"
    assert verdict.complete(answer, await seen(url, "a")) == []


async def test_reasoning_is_not_heard(url: str, place: Place) -> None:
    answer = await (await place("#a reasoning=3 tokens=2")).ended()

    assert answer.text == "g1.0 g1.1 "
    assert (await seen(url, "a"))[0].sent == 5


async def test_an_answer_without_a_stream_is_whole(url: str, place: Place) -> None:
    answer = await (await place("#a tokens=4", stream=False)).ended()

    assert verdict.complete(answer, await seen(url, "a")) == []


@pytest.mark.parametrize(("fail", "end", "words"), [("cut:3", End.CUT, 3), ("error:3", End.COMPLETE, 3)])
async def test_an_answer_that_fails_says_what_came_before(place: Place, fail: str, end: End, words: int) -> None:
    answer = await (await place(f"#a tokens=9 rate=200 fail={fail}")).ended()

    assert (answer.end, len(answer.words), answer.done) == (end, words, False)
    assert (answer.error is not None) == (fail == "error:3")


async def test_a_request_can_be_refused_by_status(place: Place) -> None:
    answer = await (await place("#a fail=before:503")).ended()

    assert (answer.status, answer.end) == (503, End.COMPLETE)
    assert answer.error
    assert answer.error["message"] == "ordered"


async def test_a_malformed_line_comes_beside_the_others(place: Place) -> None:
    answer = await (await place("#a tokens=4 fail=malformed:2")).ended()

    assert (answer.malformed, len(answer.words), answer.done) == (1, 4, True)


async def test_a_stalled_answer_says_no_more(place: Place) -> None:
    call = await place("#a tokens=9 fail=stall:2")

    assert await call.heard(2)
    with pytest.raises(TimeoutError):
        await call.ended(0.1)
    assert call.answer.end is End.HUNG_UP


async def test_an_empty_answer_ends_properly(place: Place) -> None:
    answer = await (await place("#a fail=empty")).ended()

    assert (answer.text, answer.finish_reason, answer.done) == ("", "stop", True)


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("orders", ["first_ms=5000", "head_ms=5000", "rate=50 tokens=500"])
async def test_a_hang_up_is_seen_at_once_even_in_silence(url: str, place: Place, orders: str, reset: bool) -> None:
    call = await place(f"#a {orders}")
    await until(lambda: seen(url, "a"), bool, 2.0)

    call.hang_up(reset=reset)

    [generation] = await closed(url, "a")
    assert generation.finished is None
    assert call.answer.hung_up_at
    assert generation.closed
    assert 0 <= generation.closed - call.answer.hung_up_at < 0.5
    assert verdict.hung_up(call.answer, [generation]) == []


async def test_a_connection_serves_one_request_after_the_other(url: str) -> None:
    reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
    body = json.dumps({"messages": [{"role": "user", "content": "#a tokens=1"}]}).encode()
    request = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    writer.write(request + request)
    said = await reader.readuntil(b"g2.0")

    assert b"g1.0" in said
    writer.close()


async def test_nonsense_gets_an_error_and_the_upstream_goes_on(url: str, place: Place) -> None:
    bad = await (await place("#a speed=2")).ended()
    good = await (await place("#a tokens=1")).ended()

    assert (bad.status, good.status) == (400, 200)
    assert (await fetch(f"{url}/nowhere"))[0] == 404


async def test_what_is_over_can_be_forgotten(url: str, place: Place) -> None:
    await (await place("#a tokens=1")).ended()
    speaking = await place("#b first_ms=5000")
    await until(lambda: seen(url, "b"), bool, 2.0)

    await fetch(f"{url}/events", method="DELETE")

    assert await seen(url, "a") == []
    assert len(await seen(url, "b")) == 1
    speaking.hang_up()


async def test_an_unpaced_answer_waits_for_a_slow_reader(url: str) -> None:
    """Nothing is counted as sent that is still here: a hang-up must tell how far the answer came."""
    reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"), limit=1024)
    body = json.dumps({"stream": True, "messages": [{"role": "user", "content": "#a tokens=200000"}]}).encode()
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    await reader.readuntil(b"g1.0")

    writer.transport.abort()

    [generation] = await closed(url, "a")
    assert 0 < generation.sent < 200_000
