"""llama.cpp behind the whole line, in each of the APIs that it speaks: what is said, what it cost, and who stops it."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bench.client import Call, fetch
from bench.polling import until
from bench.processes import free_ports
from protocol.messages import TurnRecord
from tests.broker.line_fixture import RealLine, real_line, user
from tests.clients.local_line import SETTLE_S, START_S, LocalTerminal
from trunkline.local_model import FOLDER, join_parts
from trunkline.plain_chat import STOP

pytestmark = pytest.mark.asyncio(loop_scope="module")

DIALECTS = ("chat-completions", "responses", "messages")
LONG = 2000  # tokens: minutes of this model
ANSWER_S = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(shared_terminal: LocalTerminal) -> str:
    """The server's URL."""
    model, (port,) = join_parts(shared_terminal.data_dir / FOLDER), free_ports(1)
    argv = ["--model", str(model), "--port", str(port), "--threads", "2", "--plain"]
    said = await shared_terminal.run_python(["-m", "trunkline.llama_server", *argv]).first_line(START_S)
    return str(said["url"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line(server: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealLine]:
    """One model for each API."""
    directory = tmp_path_factory.mktemp("line")
    config = directory / "trunkline.toml"
    config.write_text("\n".join(_model(dialect, server) for dialect in DIALECTS))
    async with real_line(directory, env={"TRUNKLINE_CONFIG": str(config), "TRUNKLINE_TURN__BUDGET_S": "60"}) as line:
        line.add("edge")
        line.add("worker")
        await line.ready()
        yield line
        await line.idle()


def _model(dialect: str, server: str) -> str:
    return f"""
        [models.{dialect}]
        targets = ["{dialect}"]
        [targets.{dialect}]
        preset = "llama.cpp"
        dialect = "{dialect}"
        base_url = "{server}/v1"
        model = "local"
        stop = [{json.dumps(STOP)}]
        prices = {{ input = 1.0, output = 1.0 }}
        """


async def placed(line: RealLine, dialect: str, text: str, **more: object) -> Call:
    told = {"model": dialect, "stream": True, "messages": [user(text)], **more}
    return await Call.place(f"{line.edges[0].url}/v1/chat/completions", told)


async def record_of(line: RealLine, call: Call) -> TurnRecord:
    trace_id = call.answer.headers["x-trace-id"]
    return (await until(line.records, lambda found: trace_id in found, SETTLE_S))[trace_id]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_it_answers_and_says_what_it_cost(line: RealLine, dialect: str) -> None:
    call = await placed(line, dialect, "What is the capital of France?")
    answer = await call.ended(ANSWER_S)

    assert "Paris" in answer.text
    assert (answer.finish_reason, answer.done) == ("stop", True)
    record = await record_of(line, call)
    [attempt] = record.attempts
    assert (attempt.target, attempt.outcome, attempt.usage.estimated) == (dialect, "answered", False)
    assert attempt.usage.prompt > 20
    assert attempt.usage.completion > 1
    assert record.cost == pytest.approx((attempt.usage.prompt + attempt.usage.completion) / 1_000_000)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_caller_who_hangs_up_stops_it(line: RealLine, server: str, dialect: str) -> None:
    async def at_work() -> int:
        _, body = await fetch(f"{server}/slots")
        return sum(slot["is_processing"] for slot in json.loads(body))

    call = await placed(line, dialect, "Count from one to one thousand, in words.", max_tokens=LONG)
    assert await call.heard(3)

    call.hang_up()

    assert await until(at_work, lambda slots: slots == 0, SETTLE_S) == 0
    record = await record_of(line, call)
    assert record.outcome == "interrupted"
    assert record.attempts[0].usage.completion < LONG / 2
    assert (record.cost or 0) > 0
