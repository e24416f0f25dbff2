"""How an answer leaves, over a connection."""

from collections.abc import Awaitable, Callable

from aiohttp import web
from pytest_aiohttp.plugin import AiohttpClient

from edge.answers import StreamAnswer
from edge.chat import ChatAnswer
from edge.endings import Ending
from edge.turn import Turn
from protocol.errors import UpstreamError
from protocol.messages import Finished, Reasoning, Text, ToolCall, Usage

Steps = Callable[[StreamAnswer], Awaitable[None]]


async def body_of(aiohttp_client: AiohttpClient, steps: Steps, ending: Ending | None = None) -> tuple[int, str, bool]:
    """Status and body of what these steps write, and whether it says that the request may be sent again."""

    async def handle(request: web.Request) -> web.StreamResponse:
        turn = Turn(on_lost="error", finish_text="", stream=True, ending=ending or Ending())
        dialect = ChatAnswer(turn_id="req_1", model="m", created=0)
        answer = StreamAnswer(request, dialect, turn, {})
        await steps(answer)
        return answer.response

    app = web.Application()
    app.router.add_post("/", handle)
    client = await aiohttp_client(app)
    async with client.post("/") as response:
        return response.status, await response.text(), response.headers.get("x-should-retry") == "true"


async def test_all_that_waits_for_the_end_leaves_with_it_in_order(aiohttp_client: AiohttpClient) -> None:
    async def steps(answer: StreamAnswer) -> None:
        await answer.say([Text("So I ")], ends=True)
        await answer.say([Text("Sorry?")], ends=True)
        await answer.finish(Finished("stop"), Usage())

    _, body, _ = await body_of(aiohttp_client, steps)

    assert body.index('"So I "') < body.index('"Sorry?"') < body.index('"stop"') < body.index("[DONE]")


async def test_an_answer_may_begin_and_end_with_a_call_of_ours(aiohttp_client: AiohttpClient) -> None:
    async def steps(answer: StreamAnswer) -> None:
        await answer.say([ToolCall(0, "call_1", "skip_turn", "{}")], ends=True)
        await answer.finish(Finished("stop"), Usage())

    status, body, _ = await body_of(aiohttp_client, steps)

    assert status == 200
    assert body.index('"skip_turn"') < body.index('"finish_reason":"tool_calls"') < body.index("[DONE]")


async def test_a_status_tells_a_platform_that_tries_again_to_do_so(aiohttp_client: AiohttpClient) -> None:
    async def steps(answer: StreamAnswer) -> None:
        await answer.fail(UpstreamError("the target answered 500"))

    assert (await body_of(aiohttp_client, steps))[::2] == (502, False)
    assert (await body_of(aiohttp_client, steps, Ending(retried=True)))[::2] == (503, True)


async def test_what_the_dialect_says_nothing_of_opens_no_stream(aiohttp_client: AiohttpClient) -> None:
    """A failure after it is still a clean status."""

    async def steps(answer: StreamAnswer) -> None:
        assert not await answer.say([Reasoning("", encrypted="seal")], ends=False)
        await answer.fail(UpstreamError("the target answered 500"))

    status, _, _ = await body_of(aiohttp_client, steps)

    assert status == 502


async def test_the_headers_leave_with_what_opens_the_stream(aiohttp_client: AiohttpClient) -> None:
    async def steps(answer: StreamAnswer) -> None:
        assert await answer.say([Reasoning("", encrypted="seal"), Text("Hi")], ends=False)
        await answer.fail(UpstreamError("the target answered 500"))

    status, body, _ = await body_of(aiohttp_client, steps)

    assert status == 200
    assert body.index('"Hi"') < body.index('"error"')
