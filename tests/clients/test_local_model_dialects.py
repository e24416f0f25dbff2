"""llama.cpp's own server as a target, in each dialect that it speaks."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from bench.processes import free_ports
from protocol import settings
from protocol.errors import ContextTooLong, ServiceError
from protocol.messages import Finished, Message, Sampling, Text
from tests.clients.local_line import START_S, LocalTerminal
from tests.workers.target_jobs import job
from trunkline.local_model import FOLDER, join_parts
from trunkline.plain_chat import STOP
from workers.targets import Patience
from workers.targets.build import DIALECTS
from workers.targets.connections import open_session
from workers.targets.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

WAIT_S = 60.0  # the machine may be busy
CAPITAL = "What is the capital of France?"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(shared_terminal: LocalTerminal) -> str:
    """Its base URL."""
    model, (port,) = join_parts(shared_terminal.data_dir / FOLDER), free_ports(1)
    argv = ["--model", str(model), "--port", str(port), "--threads", "2", "--plain"]
    said = await shared_terminal.run_python(["-m", "trunkline.llama_server", *argv]).first_line(START_S)
    return f"{said['url']}/v1"


@pytest_asyncio.fixture(loop_scope="module")
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as opened:
        yield opened


async def listen(
    base_url: str, dialect: Any, session: ClientSession, *, prefill: bool = False, **asked: Any
) -> list[Any]:
    """The frames, and the error that ended them."""
    told = settings.Target(base_url=base_url, model="local", dialect=dialect, stop=(STOP,), prefill=prefill)
    heard: list[Any] = []
    try:
        async for frame in Upstream("llama", told, DIALECTS[dialect], session=session).stream(
            job(**asked), headers={}, patience=Patience(WAIT_S, WAIT_S)
        ):
            heard.append(frame)  # noqa: PERF401  # what came before an error is kept
    except ServiceError as error:
        heard.append(error)
    return heard


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_answer_comes_as_text_with_what_it_cost(server: str, session: ClientSession, dialect: str) -> None:
    *spoken, last = await listen(server, dialect, session, text=CAPITAL)
    assert all(isinstance(frame, Text) for frame in spoken)
    assert "Paris" in "".join(frame.text for frame in spoken)
    assert isinstance(last, Finished)
    assert last.reason == "stop"
    assert last.usage.prompt > 20
    assert last.usage.completion > 1
    assert not last.usage.estimated


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_answer_ends_at_the_callers_limit(server: str, session: ClientSession, dialect: str) -> None:
    """Of responses this server says `completed` even then, as of xllamacpp 2026.10.11549."""
    *spoken, last = await listen(server, dialect, session, text=CAPITAL, sampling=Sampling(max_tokens=2))
    assert spoken
    assert last.reason == ("stop" if dialect == "responses" else "length")


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_history_of_turns_is_understood(server: str, session: ClientSession, dialect: str) -> None:
    """System messages anywhere, a first word of the model's, and a turn taken in silence."""
    history = (
        Message("system", "You take bookings for a restaurant."),
        Message("assistant", "Good evening!"),
        Message("user", "My name is Anna."),
        Message("assistant", "Hello Anna."),
        Message("user", " "),
        Message("assistant", "Are you there?"),
        Message("system", "The line is bad."),
        Message("user", "What is my name?"),
    )
    *spoken, last = await listen(server, dialect, session, messages=history)
    assert spoken
    assert isinstance(last, Finished)


@pytest.mark.parametrize("dialect", ["chat-completions", "messages"])
async def test_half_an_answer_is_gone_on_with(server: str, session: ClientSession, dialect: str) -> None:
    spoken = await listen(server, dialect, session, prefill=True, text=CAPITAL, said="The capital of")
    said = "".join(frame.text for frame in spoken if isinstance(frame, Text))
    assert said.startswith(" France")


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_history_that_is_too_long_is_told_as_that(server: str, session: ClientSession, dialect: str) -> None:
    (error,) = await listen(server, dialect, session, text="hello there " * 9000)
    assert isinstance(error, ContextTooLong)
    assert error.param == "messages"
