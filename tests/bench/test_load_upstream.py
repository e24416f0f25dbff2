"""The load's upstream and sink, over real sockets."""

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from bench import sink
from bench.client import Call, fetch
from bench.load import upstream, words
from bench.load.serving import Factory
from bench.polling import until


async def serve(factory: Factory) -> AsyncIterator[str]:
    server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """An upstream."""
    async for one in serve(upstream.connections()):
        yield one


@pytest.fixture
async def collector() -> AsyncIterator[str]:
    """A sink."""
    async for one in serve(sink.connections()):
        yield one


async def place(url: str, message: str, **body: object) -> Call:
    request = {"model": "fake", "stream": True, "messages": [{"role": "user", "content": message}], **body}
    return await Call.place(f"{url}/v1/chat/completions", request)


async def stats(url: str) -> dict[str, int]:
    _, body = await fetch(f"{url}/stats")
    seen: dict[str, int] = orjson.loads(body)
    return seen


@pytest.mark.parametrize("rate", [0, 200], ids=["unpaced", "paced"])
async def test_a_stream_is_said_word_by_word_to_its_end(url: str, rate: int) -> None:
    call = await place(url, words.order("s1", tokens=20, rate=rate, first_ms=0), stream_options={"include_usage": True})

    answer = await call.ended()

    assert answer.text.encode() == words.text("s1", 20)
    assert (answer.done, answer.finish_reason, answer.malformed) == (True, "stop", 0)
    assert answer.usages == [{"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}]
    assert len(answer.chunk_at) == 20


async def test_what_is_paced_takes_its_time(url: str) -> None:
    call = await place(url, words.order("s1", tokens=11, rate=100, first_ms=50))

    answer = await call.ended()

    assert answer.first_at
    assert answer.first_at - answer.started >= 0.05
    assert answer.chunk_at[-1] - answer.first_at >= 0.095


async def test_many_streams_share_the_clock_and_none_is_late_for_ever(url: str) -> None:
    calls = [await place(url, words.order(f"s{number}", tokens=30, rate=300, first_ms=number)) for number in range(20)]

    answers = await asyncio.gather(*(call.ended() for call in calls))

    assert [answer.text.encode() for answer in answers] == [words.text(f"s{number}", 30) for number in range(20)]
    assert await stats(url) == {"connections": 1, "open": 0, "finished": 20, "hung_up": 0, "tokens": 600}


async def test_a_caller_who_leaves_is_counted_and_told_nothing_more(url: str) -> None:
    call = await place(url, words.order("s1", tokens=10_000, rate=100, first_ms=0))
    assert await call.heard(2)

    call.hang_up()

    seen = await until(lambda: stats(url), lambda seen: seen["hung_up"] == 1, 5.0)
    assert (seen["open"], seen["hung_up"], seen["finished"]) == (0, 1, 0)


async def test_a_wait_before_the_first_token_may_end_in_a_hang_up(url: str) -> None:
    call = await place(url, words.order("s1", tokens=3, rate=0, first_ms=60_000))
    await until(lambda: stats(url), lambda seen: seen["open"] == 1, 5.0)

    call.hang_up()

    seen = await until(lambda: stats(url), lambda seen: seen["open"] == 0, 5.0)
    assert seen["hung_up"] == 1


async def test_a_connection_serves_one_stream_after_the_other(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    message = {"role": "user", "content": words.order("s1", tokens=2, rate=0, first_ms=0)}
    body = orjson.dumps({"stream": True, "messages": [message]})
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)

    writer.write((head + body) * 2)

    for _ in range(2):
        assert (await reader.readuntil(b"0\r\n\r\n")).count(b'"s1.') == 2
    writer.close()


@pytest.mark.parametrize(
    ("message", "why"),
    [("#s1 tokens=0", "from 1 to"), ("#s1 fail=cut:3", "bench.upstream"), ("#s1 tokens=many", "int")],
)
async def test_what_it_cannot_say_is_refused(url: str, message: str, why: str) -> None:
    answer = await (await place(url, message)).ended()

    assert answer.status == 400
    assert answer.error
    assert why in answer.error["message"]


async def test_an_export_is_taken_and_its_spans_are_counted(collector: str) -> None:
    spans = [Span(name=f"span {number}") for number in range(3)]
    export = ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])] * 2)
    data = export.SerializeToString()
    host, port = collector.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))

    writer.write(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data))

    assert b" 200 " in await reader.readline()
    assert await stats(collector) == {"exports": 1, "spans": 6, "bytes": len(data)}
    writer.close()
