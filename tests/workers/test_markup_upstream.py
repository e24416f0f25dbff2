"""What an upstream leaks into its text, from a real socket to the frames."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession

from protocol import settings
from protocol.errors import EmptyAnswer, ServiceError
from protocol.messages import Finished, Frame, Text, Tool, ToolCall, ToolChoice
from tests.workers.fake_upstream import DONE, Answer, Exchange, chunk, says, upstream
from tests.workers.target_jobs import job
from workers.targets import Patience
from workers.targets.chat_completions import CHAT_COMPLETIONS
from workers.targets.connections import open_session
from workers.targets.upstream import Upstream

LEAK = 'One moment. <tool_call>\n{"name": "end_call", "arguments": {"reason": "done"}}\n</tool_call> Bye.'
TOOLS = (Tool("end_call"),)


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as opened:
        yield opened


def saying(*texts: str, chunk_by_chunk: bool = True) -> Answer:
    """An answer, each of its pieces in a read of its own where the network does not join them."""

    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        for text in texts:
            await exchange.send(chunk({"content": text}))
        await exchange.send(says())
        await exchange.end()

    async def at_once(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send(says(*texts))
        await exchange.end()

    return answer if chunk_by_chunk else at_once


async def heard(
    answer: Answer, session: ClientSession, faults: list[tuple[str, str]] | None = None, **fields: Any
) -> list[Any]:
    """The frames, and the error that ended them."""
    told = [] if faults is None else faults
    frames: list[Frame | ServiceError] = []
    asked = job(**{"tools": TOOLS, "clean_markup": True, **fields})
    async with upstream(answer) as fake:
        one = Upstream(
            "gpt",
            settings.Target(base_url=fake.url, model="up"),
            CHAT_COMPLETIONS,
            session=session,
            on_fault=lambda *fault: told.append(fault),
        )
        try:
            async for frame in one.stream(asked, headers={}, patience=Patience(8, 60)):
                frames.append(frame)  # noqa: PERF401  # what came before an error is kept
        except ServiceError as error:
            frames.append(error)
    return frames


def said(frames: list[Any]) -> str:
    return "".join(frame.text for frame in frames if isinstance(frame, Text))


@pytest.mark.parametrize("chunk_by_chunk", [True, False])
@pytest.mark.parametrize("size", [1, 4, 200])
async def test_a_call_in_the_text_is_a_call(session: ClientSession, size: int, chunk_by_chunk: bool) -> None:
    pieces = [LEAK[at : at + size] for at in range(0, len(LEAK), size)]
    frames = await heard(saying(*pieces, chunk_by_chunk=chunk_by_chunk), session)

    *_, call, last = frames
    assert said(frames) == "One moment. "
    assert isinstance(call, ToolCall)
    assert (call.index, call.name, call.arguments) == (0, "end_call", '{"reason":"done"}')
    assert isinstance(last, Finished)
    assert (last.reason, last.leaked, last.target) == ("tool_calls", 1, "gpt")
    assert last.timings.first_content_ms is not None


@pytest.mark.parametrize("check_tools", [True, False])
async def test_a_call_that_may_not_be_made_is_checked_or_makes_an_empty_answer(
    session: ClientSession, check_tools: bool
) -> None:
    async def answer(exchange: Exchange) -> None:
        call = {"index": 0, "id": "c", "type": "function", "function": {"name": "end_call", "arguments": "{}"}}
        await exchange.begin()
        await exchange.send(chunk({"tool_calls": [call]}, finish="tool_calls") + DONE)
        await exchange.end()

    frames = await heard(answer, session, tool_choice=ToolChoice("none"), check_tools=check_tools)

    kinds = [ToolCall, Finished] if check_tools else [EmptyAnswer]
    assert [type(frame) for frame in frames] == kinds


async def test_where_it_is_not_asked_for_text_stays_as_it_is(session: ClientSession) -> None:
    frames = await heard(saying("Hi", "<|im_end|>", " Assistant: x"), session, clean_markup=False)

    assert said(frames) == "Hi<|im_end|> Assistant: x"
    assert frames[-1].leaked == 0


async def test_an_answer_of_marks_alone_is_an_empty_one(session: ClientSession) -> None:
    (error,) = await heard(saying("<|im_", "end|>", "\n"), session)

    assert isinstance(error, EmptyAnswer)


async def test_a_target_that_leaks_is_counted_once_an_answer(session: ClientSession) -> None:
    faults: list[tuple[str, str]] = []
    await heard(saying("Hi.", "</s>", "</s>"), session, faults)
    await heard(saying("<|im_end|>"), session, faults)
    await heard(saying("Hi."), session, faults)

    assert faults == [("gpt", "leaked"), ("gpt", "leaked")]


async def test_words_between_marks_read_on(session: ClientSession) -> None:
    frames = await heard(saying("Hello", " there", ".", " <|eot_id|>", " How", " are", " you?", "</s>"), session)

    assert said(frames) == "Hello there. How are you?"
    assert frames[-1].leaked == 2
