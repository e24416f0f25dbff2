"""OpenAI's library for JavaScript, and what it can do with a response that is kept."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.broker.line_fixture import RealLine
from tests.clients.client_program import ClientProgram, client_program, node
from tests.clients.programs.orders import Order

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(echo_line: RealLine, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ClientProgram]:
    log = tmp_path_factory.mktemp("stored") / "stderr.log"
    async with client_program(node("openai_stored.mjs"), f"{echo_line.edges[0].url}/v1", log) as program:
        yield program


async def test_a_response_is_read_as_it_was_made_and_its_input_page_by_page_until_it_is_deleted(
    client: ClientProgram,
) -> None:
    seen = (await client.obey(Order("echo", "one two three"))).value

    assert seen["text"] == "three"
    assert seen["same"]
    assert [item["content"] for item in seen["items"]] == [
        [{"type": "input_text", "text": word}] for word in ("one", "two", "three")
    ]
    assert seen["gone"] == 404


async def test_a_response_that_is_cancelled_ends_its_stream_and_says_so_when_it_is_read(client: ClientProgram) -> None:
    slow = {"echo.rate": "20", "echo.tokens": "1000"}

    seen = (await client.obey(Order("echo", "one two three", slow, hang_up_after=4))).value

    assert seen["seen"][-1] == "response.failed"
    assert (seen["cancelled"], seen["read"]) == ("cancelled", "cancelled")
