"""Tool calls on a real line: a platform gets no wrong one, and hears something in any case."""

import json
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from bench.polling import until
from protocol.messages import TurnRecord, Withheld
from tests.broker.line_fixture import SETTLE_S, RealLine, real_line, user
from tests.workers.fake_upstream import DONE, Exchange, FakeUpstream, chunk, says, upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """
[models.desk]
targets = ["desk"]

[targets.desk]
base_url = "{url}"
model = "m"

[tools.transfer_to_number]
allowed = {{ transfer_number = ["+1 555 0100"] }}
"""
GATE = '\n[tools.end_call]\nnot_before_turn = 2\nallowed = { why = ["bye"] }\n'
END_CALL = {"type": "object", "properties": {"reason": {"type": "string"}}, "required": ["reason"]}
TRANSFER = {"type": "object", "properties": {"transfer_number": {"type": "string"}}, "required": ["transfer_number"]}
TOOLS = [
    {"type": "function", "function": {"name": "end_call", "parameters": END_CALL}},
    {"type": "function", "function": {"name": "transfer_to_number", "parameters": TRANSFER}},
]


def call(name: str, **arguments: Any) -> str:
    """A whole answer that is one call."""
    return call_of(name, json.dumps(arguments))


def call_of(name: str, arguments: str) -> str:
    """The same, with its arguments as the model writes them."""
    function = {"name": name, "arguments": arguments}
    told = {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]}
    return chunk(told) + chunk(finish="tool_calls") + DONE


class Answers:
    """One answer for each request, the last one over and over."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)

    async def __call__(self, exchange: Exchange) -> None:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        await exchange.begin()
        await exchange.send(answer)
        await exchange.end()


class Turn:
    """What the platform got: words, calls, how it ended; and the turn's record."""

    def __init__(self, body: str, record: TurnRecord) -> None:
        events = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: ")]
        self.is_whole = events[-1] == "[DONE]"
        choices = [choice for event in events[:-1] for choice in json.loads(event)["choices"]]
        self.text = "".join(choice["delta"].get("content") or "" for choice in choices)
        self.calls = [
            (one["function"]["name"], json.loads(one["function"]["arguments"]))
            for choice in choices
            for one in choice["delta"].get("tool_calls", ())
        ]
        self.finish_reason = choices[-1]["finish_reason"]
        self.record = record


class Desk:
    """A platform, a line and a model that makes calls."""

    def __init__(self, line: RealLine, model: FakeUpstream, file: Path) -> None:
        self.line = line
        self.model = model
        self.file = file

    async def turn(
        self,
        *answers: str,
        profile: str = "elevenlabs",
        call_id: str = "conv-1",
        tools: Sequence[Mapping[str, Any]] = TOOLS,
    ) -> Turn:
        """One turn, in which the model answers so."""
        self.model.answer = Answers(*answers)
        self.model.seen.clear()
        body = {"model": "desk", "stream": True, "messages": [user("hello")], "tools": tools}
        url = f"{self.line.edges[0].url}/p/{profile}/c/{call_id}/v1/chat/completions"
        async with aiohttp.ClientSession() as session, session.post(url, json=body) as answer:
            text = await answer.text()
            assert answer.status == 200, text
            trace_id = answer.headers["x-trace-id"]
        records = await until(self.line.records, lambda found: trace_id in found, SETTLE_S)
        return Turn(text, records[trace_id])

    async def metric(self, name: str) -> float:
        """Of the worker, over all its labels."""
        lines = (await self.line.workers[0].metrics()).splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}_total"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    directory = tmp_path_factory.mktemp("desk")
    file = directory / "trunkline.toml"
    async with upstream(Answers(says("hi"))) as model:
        file.write_text(CONFIG.format(url=model.url))
        async with real_line(directory, env={"TRUNKLINE_CONFIG": str(file)}) as line:
            line.add("edge")
            line.add("worker")
            await line.ready()
            yield Desk(line, model, file)
            await line.idle()


async def test_a_call_without_a_required_argument_is_mended_before_anybody_acts_on_it(desk: Desk) -> None:
    turn = await desk.turn(call("end_call"), call("end_call", reason="the caller said goodbye"))

    assert turn.calls == [("end_call", {"reason": "the caller said goodbye"})]
    assert (turn.finish_reason, turn.is_whole) == ("tool_calls", True)
    first, again = (exchange.json for exchange in desk.model.seen)
    assert again["messages"][: len(first["messages"])] == first["messages"]
    assert "required property" in again["messages"][-1]["content"]
    assert again["tools"] == first["tools"]
    assert [one.reason for one in turn.record.attempts] == ["", "tool_repair"]
    assert turn.record.withheld == ()


@pytest.mark.parametrize("arguments", ['{"reason":', "17", '"bye"', '["bye"]'])
async def test_arguments_that_are_no_object_are_mended_or_the_call_is_withheld(desk: Desk, arguments: str) -> None:
    turn = await desk.turn(call_of("end_call", arguments), call("end_call", reason="the caller said goodbye"))

    assert turn.calls == [("end_call", {"reason": "the caller said goodbye"})]
    called, result = desk.model.seen[1].json["messages"][-2:]
    assert called["tool_calls"][0]["function"] == {"name": "end_call", "arguments": "{}"}
    assert "its arguments were no JSON object" in result["content"]
    assert [one.reason for one in turn.record.attempts] == ["", "tool_repair"]

    turn = await desk.turn(call_of("end_call", arguments))

    assert (turn.calls, turn.finish_reason, turn.is_whole) == ([], "stop", True)
    assert turn.text.strip()
    assert turn.record.withheld == (Withheld("end_call", "invalid"),)
    assert len(desk.model.seen) == 2


async def test_a_call_that_leaks_into_the_text_is_checked_like_any_other(desk: Desk) -> None:
    leaked = says('<tool_call>{"name": "end_call", ', '"arguments": {}}</tool_call>')

    turn = await desk.turn(leaked, call("end_call", reason="the caller said goodbye"))

    assert (turn.text, turn.calls) == ("", [("end_call", {"reason": "the caller said goodbye"})])
    assert len(desk.model.seen) == 2
    assert turn.record.leaked == 1


async def test_a_number_that_is_not_allowed_is_never_called_and_the_caller_hears_something(desk: Desk) -> None:
    before = await desk.metric("trunkline_tool_objections")

    turn = await desk.turn(call("transfer_to_number", transfer_number="+1 900 555 0199"))

    assert (turn.calls, turn.is_whole) == ([], True)
    assert turn.text.strip()
    assert turn.finish_reason == "stop"
    assert turn.record.withheld == (Withheld("transfer_to_number", "not_allowed"),)
    assert len(desk.model.seen) == 2
    assert await desk.metric("trunkline_tool_objections") == before + 2
    assert "900 555 0199" not in desk.line.logs()


async def test_a_number_may_be_written_in_another_way(desk: Desk) -> None:
    turn = await desk.turn(call("transfer_to_number", transfer_number="+1 (555) 01-00"))

    assert turn.calls == [("transfer_to_number", {"transfer_number": "+1 (555) 01-00"})]
    assert len(desk.model.seen) == 1


async def test_the_plain_profile_passes_on_whatever_a_model_calls_where_no_gate_is(desk: Desk) -> None:
    turn = await desk.turn(call("end_call"), profile="openai", tools=TOOLS[:1])

    assert turn.calls == [("end_call", {})]


async def test_a_gate_stood_open_where_no_profile_was_named_or_recognised(desk: Desk) -> None:
    wrong = call("transfer_to_number", transfer_number="+1 900 555 0199")

    mended = await desk.turn(wrong, call("transfer_to_number", transfer_number="+1 555 0100"), profile="openai")
    withheld = await desk.turn(wrong, profile="openai", call_id="conv-plain")

    assert mended.calls == [("transfer_to_number", {"transfer_number": "+1 555 0100"})]
    assert (withheld.calls, withheld.text, withheld.finish_reason) == ([], "", "stop")
    assert withheld.record.withheld == (Withheld("transfer_to_number", "not_allowed"),)


async def test_a_gate_that_is_new_holds_for_new_turns(desk: Desk) -> None:
    assert (await desk.turn(call("end_call", reason="bye"))).calls
    with desk.file.open("a") as file:
        file.write(GATE)
    before = await desk.metric("trunkline_config_reloads")

    desk.line.workers[0].process.send(signal.SIGHUP)

    assert await until(lambda: desk.metric("trunkline_config_reloads"), lambda count: count > before, SETTLE_S) > before
    turn = await desk.turn(call("end_call", reason="bye"), says("What can I do for you?"))
    assert (turn.calls, turn.text) == ([], "What can I do for you?")
    assert "too early" in desk.model.seen[1].json["messages"][-1]["content"]
    assert desk.line.logs().count("tools.end_call.allowed: the tool has no argument 'why'") == 1
