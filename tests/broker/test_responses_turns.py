"""What the line gives every turn, shown for responses, on real processes: recovery, hang-up, call ids, traces."""

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from bench.polling import until
from protocol import telemetry
from tests.broker.line_fixture import SETTLE_S, RealLine, real_line
from tests.broker.otlp_sink import Sink, otlp_sink
from tests.broker.turn_trees import WHOLE

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = "desk:sk-desk-1,other:sk-other-2"
KEY = "sk-desk-1"
SECRET = "Parliament-7f"
TEXT = " ".join(f"w{number}" for number in range(30))
CONFIG = """
[turn]
on_lost = "continue"
[profiles.quick]
base = "elevenlabs"
guard_s = 0.3
guard = ["filler"]
fillers_per_turn = 1
[profiles.quick.fillers]
en = ["One moment"]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sink() -> AsyncIterator[Sink]:
    async with otlp_sink() as sink:
        yield sink


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> AsyncIterator[RealLine]:
    """Two edges and two workers. Neither keys nor what was said are in its logs and traces."""
    directory = tmp_path_factory.mktemp("line")
    config = directory / "trunkline.toml"
    config.write_text(CONFIG)
    env = {
        "TRUNKLINE_CONFIG": str(config),
        "TRUNKLINE_API_KEYS": KEYS,
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    async with real_line(directory, env=env) as line:
        for kind in ("edge", "edge", "worker", "worker"):
            line.add(kind)
        await line.ready()
        yield line
        await line.idle()
        for secret in (KEY, SECRET):
            assert secret not in line.logs()
            assert secret.encode() not in sink.raw


def client_of(line: RealLine, edge: int = 0, *, prefix: str = "") -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{line.edges[edge].url}{prefix}/v1", api_key=KEY, max_retries=0, timeout=30)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(line: RealLine) -> AsyncIterator[AsyncOpenAI]:
    async with client_of(line) as client:
        yield client


async def test_a_worker_that_dies_in_the_middle_costs_no_word_and_repeats_none(
    line: RealLine, client: AsyncOpenAI
) -> None:
    deltas: list[str] = []
    final: Any = None
    stream = await client.responses.create(model="echo", input=TEXT, stream=True, metadata={"echo.rate": "20"})
    async for event in stream:
        if event.type == "response.output_text.delta":
            deltas.append(event.delta)
            if len(deltas) == 5:
                [running] = await line.busy()
                running.process.send(signal.SIGKILL)
                line.workers.remove(running)
                line.add("worker")
        final = event
    await line.workers[-1].started()

    assert final.type == "response.completed"
    assert "".join(deltas) == final.response.output_text
    said = final.response.output_text.split()
    assert said[: len(TEXT.split())] == TEXT.split()
    kept = await client.responses.retrieve(final.response.id)
    assert kept.output_text == final.response.output_text
    assert final.response.to_dict()["store"] is True


async def test_who_hangs_up_frees_the_slot_and_leaves_nothing_stored(line: RealLine, client: AsyncOpenAI) -> None:
    slow = {"echo.rate": "20", "echo.tokens": "1000"}
    id_ = ""
    stream = await client.responses.create(model="echo", input=TEXT, stream=True, metadata=slow)
    async for event in stream:
        if event.type == "response.created":
            id_ = event.response.id
        if event.type == "response.output_text.delta":
            break
    await stream.close()
    await line.idle()

    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(id_)
    with pytest.raises(openai.BadRequestError) as refused:
        await client.responses.create(model="echo", input="And?", previous_response_id=id_)
    assert refused.value.code == "previous_response_not_found"


async def test_its_call_its_trace_and_its_record_are_as_those_of_chat(line: RealLine, sink: Sink) -> None:
    async with client_of(line) as client:
        raw = await client.responses.with_raw_response.create(
            model="echo", input=f"one two {SECRET}", extra_headers={"X-Conversation-Id": "call-9"}
        )
    response = raw.parse()
    trace_id = raw.headers["x-trace-id"]
    tree = await sink.tree(trace_id, len(WHOLE))
    root = tree.one("POST")

    assert raw.headers["x-trunkline-call-id"] == "call-9"
    assert raw.headers["x-request-id"].partition("_")[2] == response.id.partition("_")[2]
    assert root.name == "POST /v1/responses"
    assert root.attributes[telemetry.CONVERSATION] == "call-9"
    assert root.attributes[telemetry.OUTCOME] == "completed"

    async def record() -> Any:
        return (await line.records()).get(trace_id)

    written = await until(record, bool, SETTLE_S)
    assert (written.outcome, written.call_id, written.tenant) == ("completed", "call-9", "desk")
    assert (written.usage.prompt, written.usage.completion) == (3, 3)


async def test_what_the_edge_spoke_is_heard_and_stored_and_never_told_to_the_model(line: RealLine) -> None:
    """The built-in model counts the words of its history: a filler would be among them."""
    async with client_of(line, prefix="/p/quick") as first, client_of(line, 1, prefix="/p/quick") as second:
        slow = await first.responses.create(
            model="echo", input="What are your hours?", stream=True, metadata={"echo.first_ms": "900"}
        )
        events = [event async for event in slow]
        answer: Any = events[-1]
        again = await second.responses.create(
            model="echo", input="And on Sunday?", previous_response_id=answer.response.id
        )

    assert answer.type == "response.completed"
    assert answer.response.output_text == "One moment... What are your hours?"
    assert again.usage is not None
    assert again.usage.input_tokens == 4 + 4 + 3


async def test_a_failure_before_the_stream_is_a_status(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as before:
        await client.responses.create(model="echo", input=TEXT, metadata={"echo.fail": "before:503"})
    with pytest.raises(openai.NotFoundError) as unknown:
        await client.responses.create(model="no-such-model", input=TEXT)

    assert (before.value.status_code, before.value.code) == (502, "upstream_error")
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")


async def test_a_failure_in_the_stream_ends_it_openly(client: AsyncOpenAI) -> None:
    """The answer is gone on with once, where it was cut, and is cut again."""
    heard: list[str] = []
    stream = await client.responses.create(model="echo", input=TEXT, stream=True, metadata={"echo.fail": "cut:3"})

    async def hear() -> None:
        async for event in stream:
            heard.extend([event.delta] if event.type == "response.output_text.delta" else [])

    with pytest.raises(openai.APIError) as during:
        await hear()
    assert "".join(heard) == "w0 w1 w2 w3 w4 w5 "
    assert during.value.code == "upstream_error"


async def test_turns_side_by_side_go_on_from_their_own(line: RealLine, client: AsyncOpenAI) -> None:
    """Twenty conversations at once, each on both edges in turn."""

    async def conversation(number: int) -> list[int]:
        previous, told = None, []
        async with client_of(line, 1) as other:
            for turn in range(4):
                asked = " ".join(["word"] * (number + 1))
                by = (client, other)[turn % 2]
                response = await by.responses.create(model="echo", input=asked, previous_response_id=previous)
                previous = response.id
                assert response.usage is not None
                told.append(response.usage.input_tokens)
        return told

    told = await asyncio.gather(*(conversation(number) for number in range(20)))

    assert told == [[(2 * turn + 1) * (number + 1) for turn in range(4)] for number in range(20)]
