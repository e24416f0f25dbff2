"""Every turn is one tree in a real Jaeger: nothing is missing, nothing hangs in the air, and the times are right."""

import asyncio
import itertools
import secrets

import pytest

from bench.line import Upstream
from protocol import telemetry
from tests.broker.line_fixture import RealLine
from tests.broker.otlp_sink import Span, Tree
from tests.broker.turn_trees import SLACK_S, Turn, agrees, nests, unheard, whole, without
from tests.jaeger import turns
from tests.jaeger.server import Jaeger
from tests.jaeger.turns import body, new_call, turn

pytestmark = pytest.mark.asyncio(loop_scope="session")

OFFER = "PRODUCER send job.default < POST /v1/chat/completions"
WAIT = "INTERNAL wait first_content < POST /v1/chat/completions"
REFUSED = ["INTERNAL admit < POST /v1/chat/completions", "SERVER POST /v1/chat/completions"]


async def one_tree(jaeger: Jaeger, trace_id: str, shape: list[str]) -> Tree:
    """That trace, which is one tree of that shape; neither we nor Jaeger find anything wrong with it."""
    tree = await jaeger.tree(trace_id, len(shape))
    known = {span.span_id for span in tree.spans}
    assert tree.shape == shape
    assert len(known) == len(tree.spans)
    assert [span.name for span in tree.spans if span.parent_id not in known] == [tree.one("POST").name]
    assert tree.one("POST").parent_id == ""
    assert await jaeger.warnings(trace_id) == []
    nests(tree)
    return tree


async def tree_of(jaeger: Jaeger, turned: Turn, shape: list[str]) -> Tree:
    """The tree of a turn, which agrees with what its client saw."""
    tree = await one_tree(jaeger, turned.trace_id, shape)
    agrees(tree, turned)
    return tree


def lasted(span: Span) -> float:
    return span.end - span.start


# --- turns that are answered -------------------------------------------------------------------------


async def test_a_paced_turn_lasts_as_long_as_was_ordered(line: RealLine, jaeger: Jaeger) -> None:
    """Ten words at 20 a second, the first after 300 ms."""
    call = new_call()
    turned = await turn(line, body(first_ms=300, rate=20, tokens=10), call)
    tree = await tree_of(jaeger, turned, whole("echo"))

    root, process, chat = (tree.one(name) for name in ("POST", "process", "chat"))
    cut = 0.005  # timers are cut to milliseconds
    assert lasted(tree.one("wait")) >= 0.300 - cut
    assert lasted(tree.one("stream")) >= 0.450 - SLACK_S
    assert lasted(root) >= lasted(chat) >= 0.750 - cut
    assert {
        telemetry.OUTCOME: "completed",
        telemetry.TURN: turned.answer.request_id,
        telemetry.CONVERSATION: call,
        telemetry.TENANT: "default",
        telemetry.REQUEST_MODEL: "echo",
        telemetry.OFFERS: 1,
        telemetry.WORKER: process.instance,
        telemetry.OUTPUT_TOKENS: 10,
        telemetry.HTTP_METHOD: "POST",
        telemetry.HTTP_ROUTE: "/v1/chat/completions",
        telemetry.HTTP_STATUS: 200,
    }.items() <= root.attributes.items()
    assert 300 - 1000 * cut <= root.attributes[telemetry.TTFT_MS] <= 1000 * lasted(root)
    assert root.attributes[telemetry.QUEUE_MS] >= 0
    assert root.attributes[telemetry.OVERHEAD_MS] >= 0
    assert root.attributes[telemetry.MAX_GAP_MS] >= 50 - 1000 * cut
    assert process.attributes[telemetry.EDGE] == root.instance
    assert chat.attributes[telemetry.FINISH_REASONS] == ["stop"]
    assert chat.attributes[telemetry.TIME_TO_FIRST_CHUNK] >= 0.300 - cut
    assert not any(span.failed for span in tree.spans)


async def test_a_call_over_two_edges_and_two_workers(line: RealLine, jaeger: Jaeger) -> None:
    """Each turn is one tree, whichever edge took it and whichever worker answered; the call id finds all of them."""
    call = new_call()
    taken: list[Turn] = []
    trees: list[Tree] = []
    for number in itertools.count():
        taken.append(await turn(line, body(rate=100), call, edge=number % 2))
        trees.append(await tree_of(jaeger, taken[-1], whole("echo")))
        if number >= 5 and len({tree.one("process").instance for tree in trees}) > 1:
            break
        assert number < 100, "the server deals round-robin, and yet one worker has it all"

    assert len({tree.one("POST").instance for tree in trees}) == 2
    for tree in trees:
        root, process = tree.one("POST"), tree.one("process")
        assert process.attributes[telemetry.EDGE] == root.instance
        assert root.attributes[telemetry.WORKER] == process.instance
        assert {span.service for span in (root, process)} == {"trunkline-edge", "trunkline-worker"}
    assert await jaeger.search({telemetry.CONVERSATION: call}) == {one.trace_id for one in taken}


async def test_side_by_side_every_turn_has_its_own_tree(line: RealLine, jaeger: Jaeger) -> None:
    taken = await asyncio.gather(*(turn(line, body(rate=50), new_call(), edge=number % 2) for number in range(40)))

    assert len({one.trace_id for one in taken}) == 40
    for one in taken:
        await tree_of(jaeger, one, whole("echo"))


async def test_a_callers_own_trace_goes_on_here(line: RealLine, jaeger: Jaeger) -> None:
    """Its span is not in this Jaeger, which says so, of the root and of nothing else."""
    trace_id, span_id = secrets.token_hex(16), secrets.token_hex(8)
    turned = await turn(line, body(), new_call(), headers={"traceparent": f"00-{trace_id}-{span_id}-00"})
    tree = await jaeger.tree(trace_id, len(whole("echo")))

    assert turned.trace_id == trace_id
    assert tree.shape == whole("echo")
    assert tree.one("POST").parent_id == span_id
    [warning] = await jaeger.warnings(trace_id)
    assert f"{span_id} is not in the trace" in warning


# --- callers who hang up -----------------------------------------------------------------------------


async def test_a_barge_in_ends_the_tree_when_the_caller_leaves(line: RealLine, jaeger: Jaeger) -> None:
    turned = await turns.interrupted(line, new_call())
    tree = await one_tree(jaeger, turned.trace_id, whole("echo"))

    root, chat = tree.one("POST"), tree.one("chat")
    assert root.attributes[telemetry.OUTCOME] == "interrupted"
    assert root.attributes[telemetry.CANCEL_MS] >= 0
    assert lasted(root) < 20  # which it would have gone on for
    assert abs(root.end - turned.ended) < 1
    assert chat.end - root.end < 1
    assert chat.attributes[telemetry.FINISH_REASONS] == ["interrupted"]
    assert 2 <= chat.attributes[telemetry.OUTPUT_TOKENS] < 400
    assert not any(span.failed for span in tree.spans)


async def test_a_barge_in_before_the_first_word_has_no_stream(
    line: RealLine, upstream: Upstream, jaeger: Jaeger
) -> None:
    call = new_call()
    await turns.interrupted_early(line, upstream, call)
    [trace_id] = await jaeger.awaited({telemetry.CONVERSATION: call, telemetry.OUTCOME: "interrupted"})
    tree = await one_tree(jaeger, trace_id, unheard("upstream"))

    assert telemetry.TTFT_MS not in tree.one("POST").attributes
    assert tree.one("wait").end == tree.one("POST").end
    assert not any(span.failed for span in tree.spans)


# --- workers that are killed -------------------------------------------------------------------------


async def test_a_turn_that_was_offered_again_is_one_tree(line: RealLine, upstream: Upstream, jaeger: Jaeger) -> None:
    """The worker that was killed exports nothing, so the edge records it."""
    turned, killed = await turns.reoffered(line, upstream, new_call())
    tree = await tree_of(jaeger, turned, sorted([*whole("upstream"), OFFER]))

    root, process = tree.one("POST"), tree.one("process")
    first, second = tree.named("send")
    assert turned.answer.done
    assert first.end <= second.start
    assert process.parent_id == second.span_id
    assert root.attributes[telemetry.OUTCOME] == "completed"
    assert root.attributes[telemetry.OFFERS] == 2
    assert root.attributes[telemetry.WORKER] == process.instance != killed
    assert root.events[telemetry.EVENT_LOST][telemetry.WORKER] == killed
    assert lasted(tree.one("wait")) >= 1.0  # the second worker began anew
    assert not any(span.failed for span in tree.spans)
    assert turned.trace_id in await jaeger.search({telemetry.WORKER: killed})


async def test_a_worker_that_is_killed_after_the_first_word_leaves_the_edges_half(
    line: RealLine, jaeger: Jaeger
) -> None:
    turned, killed = await turns.lost(line, new_call())
    tree = await tree_of(jaeger, turned, without(whole("echo"), "CLIENT", "CONSUMER"))

    root = tree.one("POST")
    assert root.failed
    assert root.attributes[telemetry.OUTCOME] == root.attributes[telemetry.ERROR_TYPE] == "worker_lost"
    assert root.attributes[telemetry.WORKER] == killed
    assert root.events[telemetry.EVENT_LOST][telemetry.WORKER] == killed


# --- turns that fail ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("fail", "shape"), [("before:503", unheard("echo")), ("cut:2", whole("echo"))])
async def test_a_model_that_fails_is_an_error_in_every_span_above_it(
    line: RealLine, jaeger: Jaeger, fail: str, shape: list[str]
) -> None:
    turned = await turn(line, body(fail=fail), new_call())
    tree = await tree_of(jaeger, turned, shape)

    root, chat = tree.one("POST"), tree.one("chat")
    assert turned.answer.error is not None
    assert (root.failed, chat.failed) == (True, True)
    assert root.attributes[telemetry.OUTCOME] == "upstream_error"
    assert root.attributes[telemetry.ERROR_TYPE] == chat.attributes[telemetry.ERROR_TYPE] == "upstream_error"


async def test_a_model_that_is_too_slow_is_cut_off_at_the_end_of_the_budget(line: RealLine, jaeger: Jaeger) -> None:
    turned = await turns.late(line, new_call())
    tree = await tree_of(jaeger, turned, unheard("echo"))

    root = tree.one("POST")
    assert turned.answer.status == 504
    assert root.failed
    assert root.attributes[telemetry.OUTCOME] == "deadline"
    assert root.attributes[telemetry.ERROR_TYPE] == "upstream_timeout"
    assert 0.5 - SLACK_S <= lasted(root) < 20  # the budget, and not what the model would have taken


async def test_a_turn_that_nobody_serves_ends_at_the_edge(line: RealLine, jaeger: Jaeger) -> None:
    await turn(
        line, body("lonely"), new_call()
    )  # an edge that came up just now may wait for the first word of a worker
    turned = await turn(line, body("lonely"), new_call())
    tree = await tree_of(jaeger, turned, sorted([*REFUSED, WAIT, OFFER.replace("default", "empty")]))

    root = tree.one("POST")
    assert turned.answer.status == root.attributes[telemetry.HTTP_STATUS] == 503
    assert root.failed
    assert root.attributes[telemetry.OUTCOME] == "shed"
    assert root.attributes[telemetry.ERROR_TYPE] == "no_worker"
    assert telemetry.WORKER not in root.attributes


async def test_a_request_that_is_refused_is_a_tree_of_two(line: RealLine, jaeger: Jaeger) -> None:
    turned = await turn(line, body("nobody"), new_call())
    tree = await one_tree(jaeger, turned.trace_id, REFUSED)

    assert tree.one("POST").attributes[telemetry.HTTP_STATUS] == turned.answer.status == 404
    assert tree.one("POST").attributes[telemetry.ERROR_TYPE] == "model_not_found"
    assert telemetry.OUTCOME not in tree.one("POST").attributes
