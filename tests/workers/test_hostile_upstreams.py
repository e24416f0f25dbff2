"""What an upstream sends is untrusted: one clear outcome, bounded memory, the connection closed, counted by kind."""

import asyncio
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession

from protocol.errors import ServiceError, UpstreamError, UpstreamTimeout
from protocol.messages import Finished, Text
from protocol.settings import Target
from tests.workers.fake_upstream import DONE, SSE_HEAD, Answer, Exchange, chunk, says, upstream
from tests.workers.target_jobs import job
from workers.targets import Patience
from workers.targets import upstream as client
from workers.targets.chat_completions import CHAT_COMPLETIONS
from workers.targets.connections import open_session
from workers.targets.upstream import Upstream
from workers.targets.upstream_errors import FAULTS

MEGABYTE = 1 << 20
GOOD = says("Hello.")


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as opened:
        yield opened


class Heard:
    """What came of one turn."""

    def __init__(self) -> None:
        self.said = ""
        self.ended: Finished | ServiceError | None = None
        self.faults: list[tuple[str, str]] = []


async def hear(session: ClientSession, answer: Answer) -> Heard:
    """One turn; the upstream's connection is gone at its end, or good for the next turn."""
    heard = Heard()
    async with upstream(answer) as fake:
        told = Target(base_url=fake.url, model="up")
        one = Upstream(
            "gpt", told, CHAT_COMPLETIONS, session=session, on_fault=lambda *fault: heard.faults.append(fault)
        )
        try:
            async for frame in one.stream(job(), headers={"x-watch": "1"}, patience=Patience(60.0, 60.0)):
                if isinstance(frame, Text):
                    heard.said += frame.text
                elif isinstance(frame, Finished):
                    heard.ended = frame
        except ServiceError as error:
            heard.ended = error
        if any(idle for idle in session.connector._conns.values()):  # type: ignore[union-attr]  # nobody else tells
            return heard
        async with asyncio.timeout(10):
            await fake.seen[0].gone.wait()
    return heard


def test_every_kind_of_fault_is_shown_here_and_described() -> None:
    shown = {kind for _, kinds in SURVIVED.values() for kind in kinds} | {row[2] for row in ENDED.values()}
    elsewhere = {"too_many_items", "leaked"}  # of the dialect `responses`, and of answers that are cleaned
    assert shown - {None} == FAULTS.keys() - elsewhere


def event(**told: Any) -> str:
    return f"data: {json.dumps(told)}\n\n"


def body(*pieces: str) -> Answer:
    """A stream that is whole as far as HTTP goes."""

    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send("".join(pieces))
        await exchange.end()

    return answer


def raw(*pieces: bytes, cut: bool = False) -> Answer:
    """Bytes on the connection, which stays open unless it is `cut`."""

    async def answer(exchange: Exchange) -> None:
        for piece in pieces:
            await exchange.raw(piece)
        if cut:
            exchange.cut()
        await exchange.gone.wait()

    return answer


def without_end(head: bytes, piece: bytes) -> Answer:
    """The same again and again, until nobody reads it."""

    async def answer(exchange: Exchange) -> None:
        await exchange.raw(head)
        while not exchange.gone.is_set():
            await exchange.raw(piece)

    return answer


def zipped(piece: bytes, times: int) -> Answer:
    """A body that is small until it is unpacked."""

    async def answer(exchange: Exchange) -> None:
        packer = zlib.compressobj(9, wbits=31)
        await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n")
        for _ in range(times):
            await exchange.raw(packer.compress(piece))
        await exchange.raw(packer.flush())
        exchange.cut()

    return answer


async def half_closed(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.send(chunk({"content": "Hello."}))
    exchange.half_close()
    await exchange.gone.wait()


def pieces(*texts: str | bytes) -> bytes:
    """HTTP's chunks."""
    encoded = [text.encode() if isinstance(text, str) else text for text in texts]
    return b"".join(b"%x\r\n%b\r\n" % (len(text), text) for text in encoded)


HELLO = chunk({"content": "Hello."})
ENDS = chunk(finish="stop")
OK = b"HTTP/1.1 200 OK\r\n"
NO_TEXT = b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n'
LAST = b"0\r\n\r\n"

SURVIVED: dict[str, tuple[Answer, set[str]]] = {
    "nothing wrong": (body(GOOD), set()),
    "a line that is no JSON": (body("data: {\n\n", GOOD), {"skipped"}),
    "many of them": (body("data: {\n\n" * 5000, GOOD), {"skipped"}),
    "a second finish reason": (body(HELLO, ENDS, chunk(finish="length"), DONE), {"second_finish"}),
    "words after the end": (body(HELLO, ENDS, DONE, chunk({"content": "never"})), {"after_its_end"}),
    "words after the end, later": (
        raw(SSE_HEAD + pieces(HELLO, ENDS, DONE), pieces("data: x\n\n") + LAST),
        {"after_its_end"},
    ),
    "no end after [DONE]": (without_end(SSE_HEAD + pieces(HELLO, ENDS, DONE), pieces("x" * 0x2000)), {"after_its_end"}),
    "another choice": (body(event(choices=[{"index": -1, "delta": {"content": "x"}}]), GOOD), {"other_choice"}),
    "half a character": (body(r'data: {"choices":[{"delta":{"content":"\ud83d"}}]}', "\n\n", GOOD), {"no_text"}),
    "bytes that are no UTF-8": (raw(SSE_HEAD + pieces(NO_TEXT, GOOD) + LAST), {"no_text"}),
    "hints before it": (raw(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100 + SSE_HEAD + pieces(GOOD) + LAST), set()),
}


@pytest.mark.parametrize(("answer", "faults"), SURVIVED.values(), ids=SURVIVED)
async def test_what_an_answer_survives(session: ClientSession, answer: Answer, faults: set[str]) -> None:
    heard = await hear(session, answer)
    assert (heard.said.removeprefix("\ufffd"), isinstance(heard.ended, Finished)) == ("Hello.", True)
    assert sorted(heard.faults) == sorted(("gpt", kind) for kind in faults)


CALL = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "[1]"}}

ENDED: dict[str, tuple[Answer, str, str | None, str]] = {
    "a line of 10 MB": (without_end(SSE_HEAD, pieces("a" * MEGABYTE)), "", "line_too_long", "longer"),
    "an event of 10 MB": (without_end(SSE_HEAD, pieces("data:" + "a" * 1000 + "\n")), "", "line_too_long", "longer"),
    "white space without end": (without_end(SSE_HEAD, pieces(" " * 0x10000)), "", "line_too_long", "longer"),
    "a JSON body without end": (without_end(OK + b"\r\n{", b" " * 0x10000), "", "line_too_long", "longer"),
    "a bomb of one line": (zipped(b"a" * MEGABYTE, 40), "", "line_too_long", "longer"),
    "a bomb of comments": (zipped(b": ping\n" * 150_000, 12), "", "too_long", "longer than 4194304"),
    "comments without end": (without_end(SSE_HEAD, pieces(": ping\n" * 0x8000)), "", "too_long", "longer"),
    "words without end": (without_end(SSE_HEAD, pieces(HELLO * 1000)), "Hello.", "too_long", "longer"),
    "no such encoding": (raw(OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"), "", "cut", "broke off"),
    "a chunk size that is none": (raw(SSE_HEAD + b"zz\r\n"), "", "no_http", "HTTP"),
    "a chunk size below zero": (raw(SSE_HEAD + pieces(HELLO) + b"-5\r\nhello\r\n"), "", "no_http", "HTTP"),
    "a chunk size beyond every number": (raw(SSE_HEAD + pieces(HELLO) + b"f" * 20 + b"\r\n"), "", "no_http", "HTTP"),
    "a chunk shorter than it says": (
        raw(SSE_HEAD + pieces(HELLO) + b"ff\r\nx", cut=True),
        "Hello.",
        "cut",
        "in the middle",
    ),
    "a chunk longer than it says": (raw(SSE_HEAD + pieces(HELLO) + b"1\r\nxx\r\n"), "", "no_http", "HTTP"),
    "a body longer than it says": (raw(OK + b"Content-Length: 9\r\n\r\n" + HELLO.encode()), "", "no_http", "HTTP"),
    "a body shorter than it says": (
        raw(OK + b"Content-Length: 9999\r\n\r\n" + HELLO.encode(), cut=True),
        "Hello.",
        "cut",
        "in the middle",
    ),
    "two lengths": (raw(OK + b"Content-Length: 9\r\nContent-Length: 8\r\n\r\n"), "", "no_http", "HTTP"),
    "a header line without end": (without_end(OK + b"x: ", b"a" * 0x1000), "", "no_http", "HTTP"),
    "headers without end": (without_end(OK, b"x: a\r\n" * 100), "", "no_http", "HTTP"),
    "no HTTP": (raw(b"SSH-2.0-OpenSSH\r\n\r\n"), "", "no_http", "HTTP"),
    "another protocol": (
        raw(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nx"),
        "",
        None,
        "answered 101",
    ),
    "no content": (raw(b"HTTP/1.1 204 No Content\r\n\r\n"), "", None, "no chat completion"),
    "a redirect": (
        raw(b"HTTP/1.1 308 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
        "",
        "redirect",
        "redirect",
    ),
    "an error without end": (without_end(b"HTTP/1.1 500 Oops\r\n\r\n", b"a" * 0x10000), "", None, "answered 500"),
    "half a connection": (half_closed, "Hello.", "cut", "broke off"),
    "arguments that are no object": (
        body(event(choices=[{"delta": {"tool_calls": [CALL]}}]), chunk(finish="tool_calls")),
        "",
        "tool_call",
        "no object",
    ),
}


@pytest.mark.parametrize(("answer", "said", "kind", "words"), ENDED.values(), ids=ENDED)
async def test_what_ends_an_answer(
    session: ClientSession, answer: Answer, said: str, kind: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_ANSWER_BYTES", 4 * MEGABYTE)
    tracemalloc.start()
    try:
        heard = await hear(session, answer)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(heard.ended, UpstreamError)
    assert words in str(heard.ended)
    assert heard.said.startswith(said)
    assert heard.faults == ([("gpt", kind)] if kind else [])
    assert peak < 16 * MEGABYTE


async def test_a_flood_leaves_time_for_other_turns(session: ClientSession) -> None:
    """100,000 chunks, and no pause between them: after each piece of it everybody else has a turn of the loop."""
    rounds, over = 0, asyncio.Event()

    async def others() -> None:
        nonlocal rounds
        while not over.is_set():
            rounds += 1
            await asyncio.sleep(0)

    async def flood(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.raw(pieces(HELLO) * 100_000)
        await exchange.send(ENDS + DONE)
        await exchange.end()

    waiting = asyncio.create_task(others())
    heard = await hear(session, flood)
    over.set()
    await waiting
    assert heard.said == "Hello." * 100_000
    assert rounds > len(HELLO) * 100_000 / client.READ_BYTES


async def test_an_endless_answer_is_bounded_by_its_time_too(session: ClientSession) -> None:
    async def drips(exchange: Exchange) -> None:
        await exchange.begin()
        while not exchange.gone.is_set():
            await exchange.send(HELLO)
            await asyncio.sleep(0.002)

    async with upstream(drips) as fake:
        one = Upstream("gpt", Target(base_url=fake.url, model="up"), CHAT_COMPLETIONS, session=session)
        with pytest.raises(UpstreamTimeout, match=r"not at its end within 0.1 s \(total_s\)"):
            _ = [frame async for frame in one.stream(job(), headers={}, patience=Patience(8.0, 0.1))]
