"""One trace per turn: every process's spans, collected by a real collector, and held against the client's clock."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from bench.client import Call
from bench.line import Upstream
from bench.polling import until
from bench.processes import free_ports
from protocol import telemetry
from tests.broker.line_fixture import RealLine, Tap, real_line, tap, user
from tests.broker.otlp_sink import Sink, Span, Tree, otlp_sink, spans_of
from tests.broker.turn_trees import SLACK_S, WHOLE, Turn, agrees, unheard, whole

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTLE_S = 10.0
CANARY, KEY, UPSTREAM_KEY = "canary-4711", "sk-canary-caller", "sk-canary-upstream"
HEADERS = {"Authorization": f"Bearer {KEY}"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sink() -> AsyncIterator[Sink]:
    async with otlp_sink() as sink:
        yield sink


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tap]:
    """The fake upstream, watched at its socket."""
    upstream = Upstream(tmp_path_factory.mktemp("upstream"))
    await upstream.start()
    async with tap(upstream.url) as tapped:
        yield tapped
    assert await upstream.stop() == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line(tmp_path_factory: pytest.TempPathFactory, sink: Sink, upstream: Tap) -> AsyncIterator[RealLine]:
    """An edge and two workers; nobody serves the pool of the model `lonely`."""
    directory = tmp_path_factory.mktemp("line")
    config = directory / "trunkline.toml"
    config.write_text(
        """
        [models.lonely]
        pool = "empty"
        targets = ["nowhere"]
        [targets.nowhere]
        base_url = "http://127.0.0.1:1/v1"
        model = "nowhere-1"
        """
    )
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "TRUNKLINE_CONFIG": str(config),
        "TRUNKLINE_UPSTREAM__URL": upstream.url,
        "TRUNKLINE_UPSTREAM__MODEL": "fake",
        "TRUNKLINE_UPSTREAM__KEY_ENV": "THE_UPSTREAM_KEY",
    }
    async with real_line(directory, env=env) as line:
        line.add("edge", {"TRUNKLINE_API_KEYS": f"desk:{KEY}"})
        for _ in range(2):
            line.add("worker", {"THE_UPSTREAM_KEY": UPSTREAM_KEY})
        await line.ready()
        yield line


@pytest.fixture
def url(line: RealLine) -> str:
    return f"{line.edges[0].url}/v1/chat/completions"


def body(model: str = "echo", text: str = f"{CANARY} two three", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [user(text)], "stream": True, **more}


async def turn(url: str, told: dict[str, Any], **headers: str) -> Turn:
    """A whole turn."""
    return await Turn.taken(url, told, {**HEADERS, **headers})


async def record_of(line: RealLine, trace_id: str) -> Any:
    """The turn record with that trace id."""
    records = await until(line.records, lambda found: trace_id in found, SETTLE_S)
    return records[trace_id]


# --- one tree per turn -------------------------------------------------------------------------------


async def test_a_turn_is_one_tree(line: RealLine, sink: Sink, url: str) -> None:
    turned = await turn(url, body(metadata={"echo.rate": "50", "echo.first_ms": "80"}), **{"X-Call-Id": "call-1"})
    tree = await sink.tree(turned.trace_id, len(WHOLE))

    assert tree.shape == whole("echo")
    agrees(tree, turned)
    root, send, process, chat = (tree.one(name) for name in ("POST", "send", "process", "chat"))
    record = await record_of(line, turned.trace_id)
    told = root.attributes
    assert {
        telemetry.TURN: turned.answer.request_id,
        telemetry.OUTCOME: "completed",
        telemetry.TENANT: "desk",
        telemetry.REQUEST_MODEL: "echo",
        telemetry.CONVERSATION: "call-1",
        telemetry.WORKER: process.instance,
        telemetry.OFFERS: 1,
        telemetry.INPUT_TOKENS: 3,
        telemetry.OUTPUT_TOKENS: 3,
        telemetry.HTTP_STATUS: 200,
    }.items() <= told.items()
    assert telemetry.ERROR_TYPE not in told
    assert telemetry.CANCEL_MS not in told
    assert 0 <= told[telemetry.QUEUE_MS] <= told[telemetry.OVERHEAD_MS] + SLACK_S * 1000
    assert told[telemetry.OVERHEAD_MS] <= told[telemetry.TTFT_MS]
    assert told[telemetry.TTFT_MS] >= 80
    assert told[telemetry.MAX_GAP_MS] > 0
    assert {
        telemetry.MESSAGING_SYSTEM: "nats",
        telemetry.MESSAGING_OPERATION: "send",
        telemetry.MESSAGING_DESTINATION: "job.default",
    }.items() <= send.attributes.items()
    assert {
        telemetry.MESSAGING_SYSTEM: "nats",
        telemetry.MESSAGING_OPERATION: "process",
        telemetry.MESSAGING_DESTINATION: "job.default",
        telemetry.WORKER: process.instance,
        telemetry.EDGE: root.instance,
        telemetry.TURN: turned.answer.request_id,
    }.items() <= process.attributes.items()
    assert type(process.attributes[telemetry.CLAIM]) is type(process.attributes[telemetry.LINE]) is int
    assert {
        telemetry.OPERATION: "chat",
        telemetry.REQUEST_MODEL: "echo",
        telemetry.TARGET: "echo",
        telemetry.CONVERSATION: "call-1",
        telemetry.INPUT_TOKENS: 3,
        telemetry.OUTPUT_TOKENS: 3,
        telemetry.FINISH_REASONS: ["stop"],
        telemetry.USAGE_ESTIMATED: False,
    }.items() <= chat.attributes.items()
    assert 0.075 <= chat.attributes[telemetry.TIME_TO_FIRST_CHUNK] <= chat.end - chat.start  # timers are cut to 1 ms
    assert not any(span.failed for span in tree.spans)
    assert (root.service, process.service) == ("trunkline-edge", "trunkline-worker")
    assert (record.outcome, record.call_id, record.tenant, record.offers) == ("completed", "call-1", "desk", 1)
    assert (record.worker, record.ttft_ms) == (process.instance, told[telemetry.TTFT_MS])


async def test_a_turn_without_a_stream_is_the_same_tree(line: RealLine, sink: Sink, url: str) -> None:
    turned = await turn(url, body(stream=False))
    tree = await sink.tree(turned.trace_id, len(WHOLE))

    assert tree.shape == whole("echo")
    agrees(tree, turned)
    assert tree.one("POST").attributes[telemetry.OUTCOME] == "completed"
    assert (await record_of(line, turned.trace_id)).outcome == "completed"


async def test_side_by_side_every_turn_has_its_own_tree(sink: Sink, url: str) -> None:
    turns = await asyncio.gather(*(turn(url, body(metadata={"echo.rate": "200"})) for _ in range(30)))
    trees = await asyncio.gather(*(sink.tree(one.trace_id, len(WHOLE)) for one in turns))

    assert len({one.trace_id for one in turns}) == 30
    for one, tree in zip(turns, trees, strict=True):
        assert tree.shape == whole("echo")
        agrees(tree, one)


async def test_the_callers_trace_context_is_the_roots_parent(sink: Sink, url: str) -> None:
    """A platform's sampled flag of 00 is not obeyed."""
    trace_id, span_id = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    turned = await turn(url, body(), traceparent=f"00-{trace_id}-{span_id}-00")
    tree = await sink.tree(trace_id, len(WHOLE))

    assert turned.trace_id == trace_id
    assert tree.one("POST").parent_id == span_id
    assert tree.shape == whole("echo")


async def test_the_upstream_is_told_the_chat_spans_context(sink: Sink, url: str, upstream: Tap) -> None:
    turned = await turn(url, body("upstream", f"#traced-{CANARY} tokens=3"))
    tree = await sink.tree(turned.trace_id, len(WHOLE))
    [request] = upstream.about(f"#traced-{CANARY}")

    assert tree.shape == whole("upstream")
    agrees(tree, turned)
    version, trace_id, parent, flags = request.headers["traceparent"].split("-")
    assert (version, trace_id, int(flags, 16) & 1) == ("00", turned.trace_id, 1)
    assert parent == tree.one("chat").span_id
    assert tree.one("chat").attributes[telemetry.TARGET] == "upstream"
    assert "canary" not in request.headers["traceparent"] + request.headers.get("tracestate", "")


async def test_a_caller_who_hangs_up_is_an_outcome_and_no_error(line: RealLine, sink: Sink, url: str) -> None:
    call = await Call.place(url, body(metadata={"echo.rate": "20", "echo.tokens": "400"}), headers=HEADERS)
    assert await call.heard(2)
    call.hang_up()
    turned = Turn(await call.ended())
    tree = await sink.tree(turned.trace_id, len(WHOLE))
    root, chat = tree.one("POST"), tree.one("chat")

    assert tree.shape == whole("echo")
    assert not any(span.failed for span in tree.spans)
    assert root.attributes[telemetry.OUTCOME] == "interrupted"
    assert root.attributes[telemetry.CANCEL_MS] >= 0
    assert abs(root.end - turned.ended) < 1  # when the client left, not when the worker had stopped
    assert chat.attributes[telemetry.FINISH_REASONS] == ["interrupted"]
    assert chat.attributes[telemetry.USAGE_ESTIMATED] is True
    assert chat.attributes[telemetry.OUTPUT_TOKENS] >= 2
    assert (await record_of(line, turned.trace_id)).outcome == "interrupted"


async def test_a_caller_who_hangs_up_before_the_first_word_is_one_too(sink: Sink, url: str, upstream: Tap) -> None:
    trace_id = "11112222333344445555666677778888"
    headers = {**HEADERS, "traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    call = await Call.place(url, body("upstream", "#unheard first_ms=5000"), headers=headers)

    async def asked() -> bool:
        return bool(upstream.about("#unheard"))

    assert await until(asked, bool, SETTLE_S)
    call.hang_up()
    tree = await sink.tree(trace_id, len(WHOLE) - 1)

    assert tree.shape == unheard("upstream")
    assert not any(span.failed for span in tree.spans)
    assert tree.one("POST").attributes[telemetry.OUTCOME] == "interrupted"
    assert telemetry.TTFT_MS not in tree.one("POST").attributes


async def test_a_turn_that_was_offered_twice_is_still_one_tree(line: RealLine, sink: Sink, url: str) -> None:
    """A worker that was killed exports nothing, so the edge records it."""
    call = await Call.place(url, body(metadata={"echo.first_ms": "700"}), headers=HEADERS)
    [running] = await until(line.busy, lambda members: len(members) == 1, SETTLE_S)
    _, readiness = await running.readiness()
    running.process.send(signal.SIGKILL)
    turned = Turn(await call.ended())
    line.workers.remove(running)
    line.add("worker", {"THE_UPSTREAM_KEY": UPSTREAM_KEY})
    await line.workers[-1].started()
    tree = await sink.tree(turned.trace_id, len(WHOLE) + 1)

    assert turned.answer.text == f"{CANARY} two three"
    assert tree.shape == sorted([*whole("echo"), "PRODUCER send job.default < POST /v1/chat/completions"])
    agrees(tree, turned)
    root, process = tree.one("POST"), tree.one("process")
    first, second = tree.named("send")
    assert first.end <= second.start
    assert process.parent_id == second.span_id
    assert root.attributes[telemetry.OUTCOME] == "completed"
    assert root.attributes[telemetry.OFFERS] == 2
    assert root.attributes[telemetry.WORKER] == process.instance != readiness["worker_id"]
    assert root.events[telemetry.EVENT_LOST][telemetry.WORKER] == readiness["worker_id"]
    assert not root.failed
    record = await record_of(line, turned.trace_id)
    assert (record.offers, record.outcome) == (2, "completed")


@pytest.mark.parametrize(
    ("fail", "status", "asked", "error"),
    [
        ("before:500", 502, 1, "upstream_error"),
        ("empty", 502, 2, "empty_answer"),  # an answer with nothing in it is asked for once more
        ("cut:2", 200, 1, "upstream_error"),
    ],
)
async def test_an_upstream_that_fails_is_an_error_in_every_span_above_it(
    line: RealLine, sink: Sink, url: str, fail: str, status: int, asked: int, error: str
) -> None:
    turned = await turn(url, body("upstream", f"#fails-{CANARY} tokens=3 fail={fail}"))
    shape = whole("upstream") if status == 200 else unheard("upstream")
    tree = await sink.tree(turned.trace_id, len(shape) + asked - 1)
    root, chats = tree.one("POST"), tree.named("chat")

    assert turned.answer.status == status
    assert turned.answer.error is not None
    assert len(chats) == asked
    assert list(dict.fromkeys(tree.shape)) == shape
    agrees(tree, turned)
    assert root.failed
    assert all(chat.failed for chat in chats)
    assert {span.attributes[telemetry.ERROR_TYPE] for span in (root, *chats)} == {error}
    assert root.attributes[telemetry.OUTCOME] == "upstream_error"
    assert root.attributes[telemetry.HTTP_STATUS] == status
    record = await record_of(line, turned.trace_id)
    assert (record.outcome, record.error) == ("upstream_error", error)


async def test_a_turn_that_nobody_serves_is_shed(line: RealLine, sink: Sink, url: str) -> None:
    first = await turn(url, body("lonely"))  # an edge that came up just now may wait for the first word of a worker
    turned = await turn(url, body("lonely"))
    tree = await sink.tree(turned.trace_id, 3)
    root = tree.one("POST")

    assert first.answer.error is not None
    assert first.answer.error["code"] == "no_worker"
    assert turned.answer.status == 503
    assert not tree.named("process")
    assert not tree.named("stream")
    agrees(tree, turned)
    assert root.failed
    assert root.attributes[telemetry.OUTCOME] == "shed"
    assert root.attributes[telemetry.ERROR_TYPE] == "no_worker"
    assert root.attributes[telemetry.HTTP_STATUS] == 503
    assert telemetry.WORKER not in root.attributes
    assert root.attributes[telemetry.OFFERS] == 0
    record = await record_of(line, turned.trace_id)
    assert (record.outcome, record.offers) == ("shed", 0)


async def test_a_request_that_is_refused_is_a_tree_of_two(sink: Sink, line: RealLine, url: str) -> None:
    refused = [turn(url, body("nobody")), turn(url, body(n=CANARY)), turn(url, body(), Authorization=f"Bearer {KEY}x")]
    for turned in await asyncio.gather(*refused):
        tree = await sink.tree(turned.trace_id, 2)
        assert tree.shape == ["INTERNAL admit < POST /v1/chat/completions", "SERVER POST /v1/chat/completions"]
        assert tree.one("POST").attributes[telemetry.HTTP_STATUS] == turned.answer.status
        assert turned.trace_id not in await line.records()


# --- the log, the record, and what is in none of them ------------------------------------------------


async def test_every_turn_has_one_log_line_with_its_trace(line: RealLine, url: str) -> None:
    turned = await turn(url, body(), **{"X-Call-Id": "call-9"})

    async def lines() -> list[dict[str, Any]]:
        return [told for told in line.turn_lines() if told.get("trace") == turned.trace_id]

    [told] = await until(lines, bool, SETTLE_S)
    assert {"ts", "level", "event", "turn", "call", "trace", "worker", "outcome", "ttft_ms", "total_ms"} <= told.keys()
    assert (told["turn"], told["call"], told["outcome"]) == (turned.answer.request_id, "call-9", "completed")


async def test_what_callers_say_and_their_keys_are_in_no_span_and_no_log(line: RealLine, sink: Sink, url: str) -> None:
    """Nor in a record. What went wrong is told by its kind."""
    calls: dict[str, Any] = {"tools": [{"type": "function", "function": {"name": f"tool_{CANARY}"}}], "user": CANARY}
    calls["metadata"] = {"note": CANARY}
    odd = [
        body("echo-tools", **calls),
        body("echo-json", response_format={"type": "json_object"}),
        body("echo-reasoning"),
        body("upstream", f"#{CANARY}-ok tokens=1"),
        body("upstream", f"#{CANARY} {CANARY}=1"),  # an order that its upstream refuses, quoting it
        body(f"{CANARY}"),
        body(temperature=CANARY),
        body(messages=[{"role": CANARY, "content": CANARY}]),
        body(metadata={"echo.rate": CANARY}),
        body(tools=[{"type": "function", "function": {"name": "f", "parameters": {"$ref": CANARY}}}]),
    ]
    turns = await asyncio.gather(*(turn(url, one) for one in odd))
    turns += [await turn(f"{url}/{CANARY}", {})]
    assert len({one.answer.status for one in turns}) > 2
    await asyncio.gather(*(sink.tree(one.trace_id, 2) for one in turns if one.trace_id))
    await asyncio.sleep(0.3)  # more than one export

    records = str(await line.records())
    logs = line.logs()
    for secret in (CANARY, KEY, UPSTREAM_KEY):
        assert secret.encode() not in sink.raw
        assert secret not in logs
        assert secret not in records


# --- without a collector -----------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def others(line: RealLine, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[RealLine, Path]]:
    """Two more lines on the same server: one's collector refuses, one writes to a file."""
    traces = tmp_path_factory.mktemp("traces") / "traces.jsonl"
    refusing = {
        "TRUNKLINE_NATS__PREFIX": "refusing",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_ports(1)[0]}",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    writing = {"TRUNKLINE_NATS__PREFIX": "writing", "TRUNKLINE_TELEMETRY__TRACES_FILE": str(traces)}
    env = {"TRUNKLINE_JOBS__MAX_BYTES": "1000000"}
    both = RealLine(tmp_path_factory.mktemp("others"), line.nats, env)
    for own in (refusing, writing):
        both.add("edge", own)
        both.add("worker", own)
    try:
        await both.ready()
        yield both, traces
    finally:
        await both.stop()


async def test_a_collector_that_is_down_costs_no_turn(others: tuple[RealLine, Path]) -> None:
    refusing = others[0].edges[0]
    async with AsyncOpenAI(base_url=f"{refusing.url}/v1", api_key="none", max_retries=0, timeout=10) as client:
        for _ in range(3):
            answers = await asyncio.gather(
                *(client.chat.completions.create(model="echo", messages=[user("one")]) for _ in range(20))
            )
            assert {answer.choices[0].message.content for answer in answers} == {"one"}
            await asyncio.sleep(0.1)  # an export fails meanwhile
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="nobody", messages=[user("one")])


async def test_without_a_collector_both_processes_write_one_file(others: tuple[RealLine, Path]) -> None:
    line, traces = others
    edge, worker = line.edges[1], line.workers[1]
    turns = await asyncio.gather(*(turn(f"{edge.url}/v1/chat/completions", body()) for _ in range(5)))
    for member in (edge, worker):
        member.process.send(signal.SIGTERM)
        assert await member.process.exited(10) == 0

    spans: list[Span] = []
    for written in traces.read_text().splitlines():
        spans += spans_of(json.loads(written), ids_in_hex=True)
    assert CANARY not in traces.read_text()
    assert {span.service for span in spans} == {"trunkline-edge", "trunkline-worker"}
    for one in turns:
        tree = Tree(span for span in spans if span.trace_id == one.trace_id)
        assert tree.shape == whole("echo")
        agrees(tree, one)
        assert all(len(bytes.fromhex(span.span_id)) == 8 for span in tree.spans)
