"""A target in the `chat-completions` dialect against a real socket."""

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, closing
from typing import Any

import pytest
from aiohttp import ClientSession

from protocol import settings
from protocol.errors import KeyRefused, RateLimited, ServiceError, UpstreamError, UpstreamRefused, UpstreamTimeout
from protocol.messages import Finished, Frame, Job, Reasoning, Text, TokenLogprob, Tool, ToolCall, Usage
from tests.tcp import listening
from tests.workers.fake_upstream import DONE, SSE_HEAD, Exchange, FakeUpstream, chunk, says, upstream
from tests.workers.target_jobs import job
from workers.targets import NOTHING, Patience
from workers.targets.chat_completions import CHAT_COMPLETIONS
from workers.targets.connections import open_session
from workers.targets.upstream import Upstream, joined

KEY = "sk-very-secret"
SOON_MS = 60  # a budget that a test waits for


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as opened:
        yield opened


def target(fake: FakeUpstream, session: ClientSession, **told: Any) -> Upstream:
    asked = settings.Target(base_url=fake.url, model="up", **told)
    return Upstream("gpt", asked, CHAT_COMPLETIONS, session=session, key=KEY)


def patient(one: Job | None = None) -> Patience:
    """What a lone target is given."""
    asked = one or job()
    return Patience(asked.budget_ms / 1000, asked.total_ms / 1000)


async def listen(
    one: Upstream, told: Job | None = None, *, patience: Patience | None = None, **headers: str
) -> list[Any]:
    """The frames, and the error that ended them."""
    heard: list[Frame | ServiceError] = []
    asked = told or job()
    try:
        async for frame in one.stream(asked, headers=headers, patience=patience or patient(asked)):
            heard.append(frame)  # noqa: PERF401  # what came before an error is kept
    except ServiceError as error:
        heard.append(error)
    return heard


async def whole(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.send(says("Hel", "lo."))
    await exchange.end()


async def hang(exchange: Exchange) -> None:
    await exchange.gone.wait()


# --- a good turn -----------------------------------------------------------------------------------


async def test_an_answer_streams_through(session: ClientSession) -> None:
    async with upstream(whole) as fake:
        *spoken, last = await listen(target(fake, session), traceparent="00-aa-bb-01")
    assert "".join(frame.text for frame in spoken) == "Hello."
    assert (last.reason, last.target) == ("stop", "gpt")
    assert 0 < last.timings.first_content_ms <= last.timings.total_ms
    assert last.usage == Usage()


async def test_what_the_upstream_is_sent(session: ClientSession) -> None:
    async with upstream(whole) as fake:
        await listen(target(fake, session), job(metadata={"secret": "x"}), traceparent="00-aa-bb-01")
    (exchange,) = fake.seen
    assert exchange.path == "/v1/chat/completions"
    assert (exchange.json["model"], "metadata" in exchange.json) == ("up", False)
    expected = {
        "authorization": f"Bearer {KEY}",
        "traceparent": "00-aa-bb-01",
        "accept": "text/event-stream",
        "accept-encoding": "identity",
        "content-type": "application/json",
    }
    assert {name: exchange.headers.get(name) for name in expected} == expected


async def test_each_frame_comes_as_it_is_said(session: ClientSession) -> None:
    go_on = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send(chunk({"content": "a"}))
        await go_on.wait()
        await exchange.send(chunk({"content": "b"}, finish="stop") + DONE)
        await exchange.end()

    async with upstream(answer) as fake:
        stream = target(fake, session).stream(job(), headers={}, patience=patient())
        assert await anext(stream) == Text("a")
        go_on.set()
        assert await anext(stream) == Text("b")
        assert isinstance(await anext(stream), Finished)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_usage_of_the_upstream_counts(session: ClientSession) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        told = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}
        await exchange.send(chunk({"content": "a"}, finish="stop") + f"data: {json.dumps(told)}\n\n" + DONE)
        await exchange.end()

    async with upstream(answer) as fake:
        assert (await listen(target(fake, session)))[-1].usage == Usage(prompt=9, completion=2)


async def test_an_upstream_that_ignores_stream_is_understood(session: ClientSession) -> None:
    async def answer(exchange: Exchange) -> None:
        told = {"choices": [{"message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}]}
        await exchange.plain(200, json.dumps(told), "Content-Type: application/json")

    async with upstream(answer) as fake:
        *spoken, last = await listen(target(fake, session))
    assert spoken == [Text("Hello.")]
    assert last.timings.first_content_ms is not None


async def test_a_compressed_answer_is_understood(session: ClientSession) -> None:
    """Nobody asked for it, yet some proxies do."""

    async def answer(exchange: Exchange) -> None:
        body = gzip.compress(says("a").encode())
        await exchange.raw(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )

    async with upstream(answer) as fake:
        assert (await listen(target(fake, session)))[0] == Text("a")


async def test_one_call_at_most_where_the_job_wants_one(session: ClientSession) -> None:
    async def answer(exchange: Exchange) -> None:
        calls = [{"index": i, "id": f"c{i}", "function": {"name": "f", "arguments": "{}"}} for i in range(2)]
        await exchange.begin()
        await exchange.send(chunk({"tool_calls": calls}, finish="tool_calls") + DONE)
        await exchange.end()

    async with upstream(answer) as fake:
        told = job(tools=(Tool("f"),), parallel_tool_calls=False)
        *calls, last = await listen(target(fake, session), told)
    assert calls == [ToolCall(0, "c0", "f", "{}")]
    assert last.reason == "tool_calls"


# --- connections -----------------------------------------------------------------------------------


async def test_the_connection_is_kept_for_the_next_turn(session: ClientSession) -> None:
    async with upstream(whole) as fake:
        for _ in range(3):
            await listen(target(fake, session))
    assert (len(fake.seen), fake.connections) == (3, 1)


async def test_also_when_the_body_ends_a_little_after_done(session: ClientSession) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send(says("a"))
        await asyncio.sleep(0.001)
        await exchange.end()

    async with upstream(answer) as fake:
        for _ in range(2):
            assert isinstance((await listen(target(fake, session)))[-1], Finished)
    assert fake.connections == 1


async def test_also_after_a_refusal(session: ClientSession) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.plain(429, '{"error": {"message": "slow down"}}')

    async with upstream(answer) as fake:
        for _ in range(2):
            assert isinstance((await listen(target(fake, session)))[-1], RateLimited)
    assert fake.connections == 1


async def test_a_body_left_open_after_done_is_closed(session: ClientSession) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send(says("a"))
        await exchange.gone.wait()

    async with upstream(answer) as fake:
        assert isinstance((await listen(target(fake, session)))[-1], Finished)


async def test_a_kept_connection_that_was_closed_costs_no_turn(session: ClientSession) -> None:
    """It is closed while the next request is already on its way."""

    async def answer(exchange: Exchange) -> None:
        if len(fake.seen) == 2:
            exchange.cut()
        else:
            await whole(exchange)

    async with upstream(answer) as fake:
        for _ in range(2):
            assert isinstance((await listen(target(fake, session)))[-1], Finished)
    assert (len(fake.seen), fake.connections) == (3, 2)


async def test_where_one_kept_connection_was_closed_no_other_is_tried(session: ClientSession) -> None:
    """An upstream that restarts has closed them all."""

    async def answer(exchange: Exchange) -> None:
        if exchange.connection <= 2 and sum(one.connection == exchange.connection for one in fake.seen) > 1:
            exchange.cut()
        else:
            await asyncio.sleep(0.02)
            await whole(exchange)

    async with upstream(answer) as fake:
        one = target(fake, session)
        await asyncio.gather(listen(one), listen(one))
        assert fake.connections == 2
        assert isinstance((await listen(one))[-1], Finished)
    assert (len(fake.seen), fake.connections) == (4, 3)


async def test_a_new_connection_that_is_closed_is_not_tried_again(session: ClientSession) -> None:
    async def answer(exchange: Exchange) -> None:
        exchange.cut()

    async with upstream(answer) as fake:
        (error,) = await listen(target(fake, session))
    assert type(error) is UpstreamError
    assert len(fake.seen) == 1


async def begin_and_wait(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.gone.wait()


async def speak_and_wait(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.send(chunk({"content": "a"}))
    await exchange.gone.wait()


@pytest.mark.parametrize(("answer", "frames"), [(hang, 0), (begin_and_wait, 0), (speak_and_wait, 1)])
async def test_a_reader_that_is_cancelled_closes_the_upstream(session: ClientSession, answer: Any, frames: int) -> None:
    """Whoever hangs up pays for no more tokens."""
    async with upstream(answer) as fake:
        stream = target(fake, session).stream(job(), headers={"x-watch": "1"}, patience=patient())
        for _ in range(frames):
            assert await anext(stream) == Text("a")
        reading = asyncio.ensure_future(anext(stream))
        exchange = await fake.exchanges.get()
        await asyncio.sleep(0.01)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        async with asyncio.timeout(5):
            await exchange.gone.wait()


async def test_a_stream_that_is_closed_closes_the_upstream(session: ClientSession) -> None:
    async with upstream(speak_and_wait) as fake:
        before = asyncio.all_tasks()
        async with aclosing(
            target(fake, session).stream(job(), headers={"x-watch": "1"}, patience=patient())
        ) as stream:
            assert await anext(stream) == Text("a")
        async with asyncio.timeout(5):
            await fake.seen[0].gone.wait()
        await asyncio.sleep(0.01)
        assert not asyncio.all_tasks() - before, "no task is left behind"


# --- what goes wrong -------------------------------------------------------------------------------

STATUSES: list[tuple[int, str, type[ServiceError]]] = [
    (400, '{"error": {"message": "no tools here"}}', UpstreamRefused),
    (401, '{"error": {"message": "bad key sk-very-secret"}}', KeyRefused),
    (404, "", UpstreamError),
    (408, "", UpstreamTimeout),
    (500, "<html>", UpstreamError),
]


@pytest.mark.parametrize(("status", "body", "kind"), STATUSES)
async def test_a_refusal_is_passed_on(
    session: ClientSession, status: int, body: str, kind: type[ServiceError], caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.plain(status, body)

    with caplog.at_level(logging.DEBUG):
        async with upstream(answer) as fake:
            (error,) = await listen(target(fake, session))
    assert type(error) is kind
    assert KEY not in f"{error}{caplog.text}{target(fake, session)!r}"


async def test_how_long_to_wait_is_passed_on(session: ClientSession) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.plain(429, "", "Retry-After: 7")

    async with upstream(answer) as fake:
        (error,) = await listen(target(fake, session))
    assert (type(error), error.retry_after_s) == (RateLimited, 7)


async def test_a_redirect_is_not_followed(session: ClientSession) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.plain(307, "", f"Location: {fake.url}/elsewhere")

    async with upstream(answer) as fake:
        (error,) = await listen(target(fake, session))
    assert "redirect" in str(error)
    assert len(fake.seen) == 1


async def test_nobody_listens(session: ClientSession, caplog: pytest.LogCaptureFixture) -> None:
    async with upstream(whole) as fake:
        pass
    (error,) = await listen(target(fake, session))
    assert type(error) is UpstreamError
    assert "127.0.0.1" not in str(error)
    assert "127.0.0.1" in caplog.text


async def no_http(exchange: Exchange) -> None:
    await exchange.raw(b"SSH-2.0-OpenSSH\r\n\r\n")
    exchange.cut()


async def cut(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.send(chunk({"content": "a"}))
    exchange.cut()


async def ends_early(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.send(chunk({"content": "a"}))
    await exchange.end()


async def broken_chunks(exchange: Exchange) -> None:
    await exchange.raw(SSE_HEAD + b"zz\r\n")


@pytest.mark.parametrize(("answer", "spoken"), [(no_http, 0), (cut, 1), (ends_early, 1), (broken_chunks, 0)])
async def test_a_cut_is_an_error(session: ClientSession, answer: Any, spoken: int) -> None:
    async with upstream(answer) as fake:
        *frames, error = await listen(target(fake, session))
    assert frames == [Text("a")] * spoken
    assert isinstance(error, UpstreamError)


@pytest.mark.parametrize("ending", ["cut", "open"])
async def test_after_a_finish_reason_no_ending_is_a_failure(session: ClientSession, ending: str) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send(chunk({"content": "a"}, finish="stop"))
        if ending == "cut":
            exchange.cut()
        else:
            await exchange.gone.wait()

    async with upstream(answer) as fake:
        *_, last = await listen(target(fake, session, stall_s=0.05))
    assert isinstance(last, Finished)


async def test_skipped_events_are_counted_in_the_log(session: ClientSession, caplog: pytest.LogCaptureFixture) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send("data: {\n\n" + says("a"))
        await exchange.end()

    async with upstream(answer) as fake:
        assert (await listen(target(fake, session)))[0] == Text("a")
    assert "skipped 1 event" in caplog.text


# --- time ------------------------------------------------------------------------------------------


async def only_noise(exchange: Exchange) -> None:
    await exchange.begin()
    for _ in range(500):
        await exchange.send(": ping\n\n" + chunk({"role": "assistant", "content": ""}) + chunk({"reasoning": "hm"}))
        await asyncio.sleep(0.005)


async def slow_refusal(exchange: Exchange) -> None:
    await exchange.raw(b"HTTP/1.1 500 Oops\r\nContent-Length: 10\r\n\r\n")
    await exchange.gone.wait()


async def thought_without_end(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.send(chunk({"content": "<think>"}))
    for _ in range(500):
        await exchange.send(chunk({"content": "hm "}))
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("answer", [hang, begin_and_wait, only_noise, thought_without_end, slow_refusal])
async def test_no_content_within_the_budget(session: ClientSession, answer: Any) -> None:
    """Comments, roles and reasoning are no content. `connect_s` and `first_content_s` are for a next target."""
    async with upstream(answer) as fake:
        one = target(fake, session, connect_s=0.001, first_content_s=0.001, stall_s=0.001)
        *_, error = await listen(one, job(budget_ms=SOON_MS))
        assert type(error) is UpstreamTimeout
        assert "no content within 0.06 s (the turn's budget)" in str(error)


NEXT = Patience(8.0, 60.0, last=False)  # another target is left


@pytest.mark.parametrize("answer", [hang, begin_and_wait, only_noise, thought_without_end, slow_refusal])
async def test_a_first_content_too_late_makes_room_for_the_next_target(session: ClientSession, answer: Any) -> None:
    """Reasoning does not count."""
    async with upstream(answer) as fake:
        *_, error = await listen(target(fake, session, first_content_s=0.06), patience=NEXT)
    assert type(error) is UpstreamTimeout
    assert "no content within 0.06 s (first_content_s)" in str(error)


async def test_a_connection_too_late_makes_room_for_the_next_target(session: ClientSession) -> None:
    async with never_connected(session) as (one, _):
        *_, error = await listen(one, patience=NEXT)
    assert isinstance(error, UpstreamTimeout)
    assert str(error) == "target 'gpt': not connected within 0.06 s (connect_s)"


@asynccontextmanager
async def never_connected(session: ClientSession) -> AsyncIterator[tuple[Upstream, asyncio.Event]]:
    """TCP is there at once, which is told; TLS never."""
    begun = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.set()
        with closing(writer):
            await reader.read()

    async with listening(silent) as port:
        told = settings.Target(base_url=f"https://127.0.0.1:{port}", model="up", connect_s=0.06)
        yield Upstream("gpt", told, CHAT_COMPLETIONS, session=session), begun


@pytest.mark.parametrize("last", [True, False], ids=["the last", "not the last"])
async def test_who_could_not_be_reached_is_owed_nothing(session: ClientSession, last: bool) -> None:
    told: list[Usage] = []
    async with never_connected(session) as (one, _):
        (error,) = await listen(one, patience=Patience(SOON_MS / 1000, 60.0, last, told.append))
    assert isinstance(error, UpstreamTimeout)
    assert [usage is NOTHING for usage in told] == [True]


async def test_nor_is_who_was_given_up_before(session: ClientSession) -> None:
    """Hung up, or outrun."""
    told: list[Usage] = []
    async with never_connected(session) as (one, begun):
        asking = asyncio.create_task(listen(one, patience=Patience(8.0, 60.0, told=told.append)))
        await begun.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    assert [usage is NOTHING for usage in told] == [True]


async def refused(exchange: Exchange) -> None:
    await exchange.plain(408, "{}")


@pytest.mark.parametrize(("answer", "owed"), [(refused, False), (slow_refusal, False), (hang, True)])
async def test_a_refusal_is_free_and_a_silence_may_not_be(session: ClientSession, answer: Any, owed: bool) -> None:
    told: list[Usage] = []
    async with upstream(answer) as fake:
        (error,) = await listen(target(fake, session), patience=Patience(SOON_MS / 1000, 60.0, told=told.append))
    assert isinstance(error, UpstreamTimeout)
    assert [usage is NOTHING for usage in told] == ([] if owed else [True])


async def test_reasoning_is_progress_once_content_has_come(session: ClientSession) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send(chunk({"content": "a"}))
        for _ in range(20):
            await exchange.send(chunk({"reasoning": "hm"}))
            await asyncio.sleep(0.02)
        await exchange.send(says("b"))
        await exchange.end()

    async with upstream(answer) as fake:
        *_, last = await listen(target(fake, session, stall_s=0.3), patience=NEXT)
    assert isinstance(last, Finished)


@pytest.mark.parametrize("noise", ["", ": ping\n\n", "data: {\n\n", chunk({"content": ""})])
async def test_a_stall_after_content(session: ClientSession, noise: str) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send(chunk({"content": "a"}))
        while noise:
            await exchange.send(noise)
            await asyncio.sleep(0.01)
        await exchange.gone.wait()

    async with upstream(answer) as fake:
        frame, error = await listen(target(fake, session, stall_s=0.06))
    assert frame == Text("a")
    assert type(error) is UpstreamTimeout
    assert "stalled for 0.06 s" in str(error)


async def test_a_call_that_is_being_told_is_no_stall(session: ClientSession) -> None:
    """Its fragments are progress, also past the budget."""

    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        for piece in ('{"x"', *[" "] * 25, ":1}"):
            call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": piece}}
            await exchange.send(chunk({"tool_calls": [call]}))
            await asyncio.sleep(0.02)
        await exchange.send(chunk(finish="tool_calls") + DONE)
        await exchange.end()

    async with upstream(answer) as fake:
        call, _ = await listen(target(fake, session, stall_s=2), job(budget_ms=300))
    assert isinstance(call, ToolCall)


@pytest.mark.parametrize(("total_ms", "total_s"), [(100, 60.0), (60_000, 0.1)])
async def test_the_total_ends_an_answer_that_goes_on_for_ever(
    session: ClientSession, total_ms: int, total_s: float
) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        while True:
            await exchange.send(chunk({"content": "a"}))
            await asyncio.sleep(0.005)

    async with upstream(answer) as fake:
        *_, error = await listen(target(fake, session, total_s=total_s), job(total_ms=total_ms))
    assert type(error) is UpstreamTimeout
    assert "not at its end within 0.1 s" in str(error)


async def test_reasoning_without_end_does_not_outlive_the_budget(session: ClientSession) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        while True:
            await exchange.send(chunk({"reasoning_content": "hm "}))
            await asyncio.sleep(0.002)

    async with upstream(answer) as fake:
        *_, error = await listen(target(fake, session), job(budget_ms=100))
    assert type(error) is UpstreamTimeout
    assert "no content within 0.1 s" in str(error)


async def test_a_slow_reader_is_no_stall(session: ClientSession) -> None:
    """The rest has long arrived when it is asked for."""
    heard_one = asyncio.Semaphore(0)

    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        for piece in (chunk({"content": "a"}), chunk({"content": "b"}), says("c")):
            await exchange.send(piece)
            await heard_one.acquire()
        await exchange.end()

    async with upstream(answer) as fake:
        heard: list[Frame] = []
        async for frame in target(fake, session, stall_s=0.05).stream(job(), headers={}, patience=patient()):
            heard.append(frame)
            heard_one.release()
            await asyncio.sleep(0.15)
    assert heard[:3] == [Text("a"), Text("b"), Text("c")]
    assert isinstance(heard[3], Finished)


# --- continuing ------------------------------------------------------------------------------------


def continues(*texts: str) -> Any:
    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send("".join(chunk({"content": text}) for text in texts) + chunk(finish="stop") + DONE)
        await exchange.end()

    return answer


@pytest.mark.parametrize(
    ("prefill", "texts", "spoken"),
    [
        (False, ["table is ", "booked for eight."], "for eight."),
        (False, ["table is ", "booked"], ""),
        (False, [], ""),
        (True, ["table is ", "booked for eight."], "table is booked for eight."),
    ],
)
async def test_a_continuation_repeats_nothing(
    session: ClientSession, prefill: bool, texts: list[str], spoken: str
) -> None:
    async with upstream(continues(*texts)) as fake:
        *frames, last = await listen(target(fake, session, prefill=prefill), job(said="Your table is booked "))
    assert "".join(frame.text for frame in frames) == spoken
    assert last.reason == "stop"
    assert len(fake.seen[0].json["messages"]) == (2 if prefill else 3)


# --- thoughts in tags --------------------------------------------------------------------------------


def texts(frames: list[Any], kind: type[Text | Reasoning]) -> str:
    return "".join(frame.text for frame in frames if isinstance(frame, kind))


async def test_a_thought_is_never_spoken(session: ClientSession) -> None:
    async with upstream(continues("<thi", "nk>\nThey greet me.", "</think", ">\n\nHel", "lo.")) as fake:
        *frames, _ = await listen(target(fake, session))
    assert (texts(frames, Reasoning), texts(frames, Text)) == ("They greet me.", "Hello.")


@pytest.mark.parametrize(
    ("prefill", "said", "thought", "spoken"),
    [
        (False, "", "hm", "for eight."),
        (False, "Booked ", "hm", "for eight."),
        (True, "Booked ", "", "hmfor eight."),
    ],
)
async def test_a_target_may_begin_with_a_thought(
    session: ClientSession, prefill: bool, said: str, thought: str, spoken: str
) -> None:
    """Its template opens the thought, unless it goes on with its own half answer."""
    async with upstream(continues("hm", "</think>", "for eight.")) as fake:
        one = target(fake, session, thinks_first=True, prefill=prefill)
        *frames, last = await listen(one, job(said=said))
    assert (texts(frames, Reasoning), texts(frames, Text), last.reason) == (thought, spoken, "stop")


async def test_a_thought_that_was_spoken_names_its_cure_in_the_log(
    session: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with upstream(continues("hm", "</think>", "Hello.")) as fake:
        await listen(target(fake, session))
    assert "[targets.gpt] thinks_first = true" in caplog.text


async def test_a_thought_in_the_middle_of_an_answer_is_not_spoken(session: ClientSession) -> None:
    async with upstream(continues("Booked. ", "<thi", "nk>", "Thursday? ", "</think", ">", "For ", "eight.")) as fake:
        *frames, _ = await listen(target(fake, session))
    assert (texts(frames, Reasoning), texts(frames, Text)) == ("Thursday? ", "Booked. For eight.")


# --- no connection --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base_url", "why"),
    [
        ("http://127.0.0.1:1/v1", "it cannot be connected to"),
        ("http://no-such-host.invalid/v1", "its name is not known"),
        ("https://127.0.0.1:1/v1", "it cannot be connected to"),
        ("http://no..such/v1", "its address is none"),
        ("http://127.1/v1", "its address is none"),
    ],
)
async def test_why_there_is_no_answer_is_said_in_words_and_without_an_address(
    session: ClientSession, base_url: str, why: str
) -> None:
    nowhere = Upstream("gpt", settings.Target(base_url=base_url, model="up"), CHAT_COMPLETIONS, session=session)
    *_, error = await listen(nowhere)

    assert str(error) == f"no answer from target 'gpt': {why}"


# --- what is read together --------------------------------------------------------------------------

TOKEN = TokenLogprob("c", -0.1)
TOGETHER: dict[str, tuple[list[Frame], list[Frame]]] = {
    "nothing": ([], []),
    "neighbours": ([Text("a"), Text("b")], [Text("ab")]),
    "with reasoning between": (
        [Text("a"), Reasoning("x"), Text("b"), Text("c")],
        [Text("a"), Reasoning("x"), Text("bc")],
    ),
    "with log probabilities": (
        [Text("a"), Text("c", (TOKEN,)), Text("b")],
        [Text("a"), Text("c", (TOKEN,)), Text("b")],
    ),
    "not without end": ([Text("a" * 16_000), Text("b" * 9_000)], [Text("a" * 16_000), Text("b" * 9_000)]),
    "before the end": ([Text("a"), Text("b"), Finished("stop")], [Text("ab"), Finished("stop")]),
}


@pytest.mark.parametrize(("frames", "said"), TOGETHER.values(), ids=TOGETHER)
def test_texts_that_were_read_together_are_said_together(frames: list[Frame], said: list[Frame]) -> None:
    assert list(joined(frames)) == said


def test_what_came_before_a_failure_is_said() -> None:
    def frames() -> Iterator[Frame]:
        yield Text("a")
        yield Text("b")
        raise UpstreamError("cut")

    said: list[Frame] = []
    with pytest.raises(UpstreamError):
        said.extend(joined(frames()))
    assert said == [Text("ab")]
