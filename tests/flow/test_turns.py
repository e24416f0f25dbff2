"""Turns on a line where nothing breaks: how they come to their end, and how they are refused."""

from collections.abc import Iterable

import pytest

from protocol.errors import UpstreamError
from protocol.messages import Finished, Job, Reasoning, Refusal, Text, ToolCall, Usage
from tests.flow.line import Line
from tests.flow.target import Script, Step, words

TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
SILENCE: list[Step] = [60.0, Text("too late "), Finished("stop")]


def says(*steps: Step) -> Script:
    def script(number: int, job: Job) -> Iterable[Step]:
        return steps

    return script


def test_an_answer_streams_word_by_word() -> None:
    with Line(script=words(3)) as line:
        edge, _ = line.add_edge(), line.add_worker()

        client = edge.post()

        line.until(lambda: client.text == "0.0 ")
        line.until(lambda: client.text == "0.0 0.1 ")
        line.until(lambda: client.ended)
        assert client.text == "0.0 0.1 0.2 "
        assert client.ended_well
        assert client.finish_reason == "stop"
        line.settle()


def test_an_answer_that_does_not_stream_comes_whole() -> None:
    with Line(script=words(3)) as line:
        edge, _ = line.add_edge(), line.add_worker()

        client = edge.post(stream=False)

        line.until(lambda: client.ended)
        assert client.text == "0.0 0.1 0.2 "
        assert client.json["usage"]["completion_tokens"] == 3
        line.settle()


def test_tool_calls_arrive_whole_and_decide_the_end() -> None:
    calls = [ToolCall(0, "call_a", "look_up", '{"a": 1}'), ToolCall(1, "call_b", "look_up", "{}")]
    with Line(script=says(0.05, Text("wait "), *calls, Finished("tool_calls"))) as line:
        edge, _ = line.add_edge(), line.add_worker()

        client = edge.post(tools=TOOLS)

        line.until(lambda: client.ended)
        assert client.text == "wait "
        assert [(call["id"], call["function"]["arguments"]) for call in client.calls] == [
            ("call_a", '{"a": 1}'),
            ("call_b", "{}"),
        ]
        assert client.finish_reason == "tool_calls"
        line.settle()


def test_reasoning_is_passed_on_and_never_spoken() -> None:
    with Line(script=says(0.05, Reasoning("hm "), 0.05, Text("yes "), Finished("stop"))) as line:
        edge, _ = line.add_edge(), line.add_worker()

        client = edge.post()

        line.until(lambda: client.ended)
        assert client.text == "yes "
        assert b"hm " in client.body
        line.settle()


def test_a_refusal_is_an_answer() -> None:
    with Line(script=says(0.05, Refusal("I will not "), Finished("stop"))) as line:
        edge, _ = line.add_edge(), line.add_worker()

        client = edge.post()

        line.until(lambda: client.ended)
        assert client.ended_well
        assert b'"refusal":"I will not "' in client.body
        line.settle()


@pytest.mark.parametrize("stream", [True, False])
def test_a_target_that_fails_before_its_first_word_is_a_clean_status(stream: bool) -> None:
    with Line(script=says(0.05, UpstreamError("the target answered 500"))) as line:
        edge, _ = line.add_edge(), line.add_worker()

        client = edge.post(stream=stream)

        line.until(lambda: client.ended)
        assert client.status == 502
        assert client.error == {
            "message": "the target answered 500",
            "type": "server_error",
            "param": None,
            "code": "upstream_error",
        }
        assert len(line.sayings) == 1, "an upstream's failure is never offered again"
        line.settle()


def test_a_target_that_fails_mid_stream_is_an_error_event() -> None:
    with Line(script=says(0.05, Text("so "), 0.05, UpstreamError("cut"))) as line:
        edge, _ = line.add_edge(), line.add_worker()

        client = edge.post()

        line.until(lambda: client.ended)
        assert client.text == "so "
        assert client.error is not None
        assert client.error["code"] == "upstream_error"
        assert client.ended_explicitly
        line.settle()


def test_under_finish_a_failed_target_ends_with_a_sentence() -> None:
    with Line(
        script=says(0.05, Text("so "), 0.05, UpstreamError("cut")), on_lost="finish", finish_text="Again?"
    ) as line:
        edge, _ = line.add_edge(), line.add_worker()

        client = edge.post()

        line.until(lambda: client.ended)
        assert client.text == "so Again?"
        assert client.ended_well
        assert client.finish_reason == "stop"


def test_a_full_queue_refuses_at_once() -> None:
    with Line(max_msgs=1, script=says(*SILENCE)) as line:
        edge, _ = line.add_edge(), line.add_worker(slots=1)
        running = edge.post()
        line.until(lambda: line.sayings and not line.queued)
        waiting = edge.post()
        line.until(lambda: line.queued)
        began = line.now

        client = edge.post()

        line.until(lambda: client.ended)
        assert line.now - began < 0.01
        assert client.status == 503
        assert client.error is not None
        assert client.error["code"] == "overloaded"
        assert client.headers["x-should-retry"] == "false"
        assert "retry-after" in client.headers
        assert running.status is None
        assert waiting.status is None


def test_without_a_worker_a_turn_is_refused_at_once() -> None:
    with Line() as line:
        edge = line.add_edge()
        line.run(3.1)
        began = line.now

        client = edge.post()

        line.until(lambda: client.ended)
        assert line.now - began < 0.01
        assert client.status == 503
        assert client.error is not None
        assert client.error["code"] == "no_worker"
        assert client.headers["x-should-retry"] == "true"
        line.settle()


def test_a_turn_that_waits_while_the_last_worker_goes_is_refused() -> None:
    with Line(script=says(*SILENCE)) as line:
        edge, worker = line.add_edge(), line.add_worker(slots=1)
        line.run(3.1)
        edge.post()
        line.until(lambda: line.sayings)
        waiting = edge.post()
        line.run(0.1)

        worker.kill()

        line.until(lambda: waiting.ended, within_s=3.5)
        assert waiting.error is not None
        assert waiting.error["code"] == "no_worker"


def test_a_full_house_is_overloaded_at_the_end_of_the_budget() -> None:
    talk = words(200, every_s=0.1)
    with Line(script=talk, budget_s=1.0) as line:
        edge, _ = line.add_edge(), line.add_worker(slots=1)
        talking = edge.post()
        line.until(lambda: talking.text)
        began = line.now

        client = edge.post()

        line.until(lambda: client.ended)
        assert line.now - began == pytest.approx(1.0, abs=0.01)
        assert client.error is not None
        assert client.error["code"] == "overloaded"
        line.until(lambda: not line.queued, within_s=0.01)
        assert len(line.sayings) == 1
        assert talking.status == 200


@pytest.mark.parametrize(("headers_after_s", "status"), [(2.0, 504), (0.2, 200)])
def test_a_claim_that_says_nothing_is_cancelled_at_the_end_of_the_budget(headers_after_s: float, status: int) -> None:
    with Line(script=says(*SILENCE), budget_s=1.0, headers_after_s=headers_after_s) as line:
        edge, _ = line.add_edge(), line.add_worker()

        client = edge.post()

        line.until(lambda: client.ended, within_s=1.01)
        assert client.status == status
        assert client.error is not None
        assert client.error["code"] == "upstream_timeout"
        assert client.ended_explicitly
        line.until(lambda: line.sayings[0].closed, within_s=0.01)
        line.settle()
        line.until(lambda: line.records)
        assert [record.outcome for record in line.records] == ["deadline"]


def test_an_answer_that_never_ends_is_cut_at_its_total() -> None:
    with Line(script=words(10_000, every_s=0.1), total_s=3.0) as line:
        edge, _ = line.add_edge(), line.add_worker()

        client = edge.post()

        line.until(lambda: client.ended, within_s=3.01)
        assert client.error is not None
        assert client.error["code"] == "upstream_timeout"
        assert line.sayings[0].text.startswith(client.text)
        line.settle()


def test_a_silent_stream_opens_and_is_kept_alive() -> None:
    with Line(script=says(4.0, Text("at last "), Finished("stop"))) as line:
        edge, _ = line.add_edge(), line.add_worker()

        client = edge.post()

        line.until(lambda: client.status == 200, within_s=2.01)
        assert client.body == b": ping\n\n"
        line.until(lambda: client.ended)
        assert client.text == "at last "
        assert client.ended_well


def test_every_turn_leaves_one_record() -> None:
    with Line(script=words(3)) as line:
        edge, _ = line.add_edge(), line.add_worker()

        clients = [edge.post() for _ in range(5)]

        line.until(lambda: all(client.ended for client in clients))
        line.until(lambda: len(line.records) == 5)
        line.run(2.0)
        assert {record.id for record in line.records} == {client.headers["x-request-id"] for client in clients}
        assert {(record.outcome, record.offers, record.worker) for record in line.records} == {
            ("completed", 1, "worker0")
        }
        assert {record.usage for record in line.records} == {Usage(prompt=5, completion=3)}


@pytest.mark.parametrize("stream", [True, False])
def test_a_bug_of_ours_ends_its_turn_openly_and_no_other(stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> bytes:
        raise RuntimeError("a bug")

    with Line(script=words(5)) as line:
        edge, worker = line.add_edge(), line.add_worker()
        with monkeypatch.context() as patch:
            patch.setattr("edge.chat.ChatAnswer.finish", broken)
            patch.setattr("edge.chat.ChatAnswer.body", broken)
            client = edge.post(stream=stream)
            line.until(lambda: client.ended)

        assert client.ended_explicitly
        assert client.error is not None
        assert client.error["type"] == "server_error"
        line.until(lambda: line.records)
        assert [record.outcome for record in line.records] == ["internal"]
        after = edge.post()
        line.until(lambda: after.ended_well)
        line.until(lambda: worker.bus.live == 0)
        line.settle()
