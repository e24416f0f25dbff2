"""Takes the turns of the scenarios over the line, and tells what became of each."""

import asyncio
import itertools
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from bench.client import Answer, Call, End
from bench.polling import until
from protocol.messages import Attempt, TurnRecord
from tests.broker.line_fixture import RealLine, user
from tests.faults.faults import Heard, Kind
from tests.faults.scenarios import Outcome, Scenario
from tests.faults.upstream import FaultUpstream, Seen

AT_ONCE: dict[Kind, int] = {"silent": 1000, "quick": 8, "heavy": 1}
BRISKLY: Sequence[Sequence[Kind]] = (("silent", "quick"), ("heavy",))
QUIETLY: Sequence[Sequence[Kind]] = (("silent",), ("quick",), ("heavy",))
"""Which kinds of turns are taken beside each other; quietly, for figures, the quick ones are taken one by one."""

PATIENCE_S = 30.0
SETTLE_S = 10.0
TOOL = {"type": "function", "function": {"name": "note", "parameters": {"type": "object", "properties": {}}}}


class Result(Struct):
    """One turn. `seen` are the requests of each target, in order."""

    scenario: Scenario
    answer: Answer
    seen: list[list[Seen]]
    record: TurnRecord | None

    @property
    def outcome(self) -> Outcome:
        return Outcome(heard(self.answer), tuple(len(requests) for requests in self.seen))

    @property
    def silence_ms(self) -> float:
        """The longest time in which the caller heard nothing."""
        answer = self.answer
        moments = [answer.started, *answer.chunk_at, answer.ended_at or answer.started]
        return max(later - earlier for earlier, later in itertools.pairwise(moments)) * 1000

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        return self.record.attempts if self.record else ()


def heard(answer: Answer) -> Heard:
    """What a caller got."""
    error = answer.error or {}
    calls = tuple(call["arguments"] for call in answer.tool_calls)
    return Heard(
        answer.text,
        answer.finish_reason,
        answer.status or 0,
        error.get("code"),
        answer.headers.get("retry-after"),
        calls,
    )


def ends_well(answer: Answer) -> bool:
    """Explicitly: an answer and its mark, or one error; never both, and nothing that cannot be read."""
    if answer.end is not End.COMPLETE or answer.malformed:
        return False
    return answer.done is not bool(answer.error) and answer.done is bool(answer.finish_reason)


async def take(
    line: RealLine, upstream: FaultUpstream, scenarios: Iterable[Scenario], rounds: Sequence[Sequence[Kind]] = BRISKLY
) -> dict[str, Result]:
    """Their turns, by name. What waits for a timer waits together; what is heavy comes last, one by one."""
    chosen = list(scenarios)
    answers: dict[str, Answer] = {}

    async def ask(scenario: Scenario, slots: asyncio.Semaphore) -> None:
        async with slots:
            answers[scenario.name] = await _asked(line, scenario)

    for kinds in rounds:
        async with asyncio.TaskGroup() as turns:
            for kind in kinds:
                slots = asyncio.Semaphore(AT_ONCE[kind] if rounds is BRISKLY or kind == "silent" else 1)
                for scenario in (one for one in chosen if one.told.kind == kind):
                    turns.create_task(ask(scenario, slots))
    records = await _records(line, len(answers))
    return {scenario.name: _result(scenario, answers[scenario.name], upstream, records) for scenario in chosen}


def _result(scenario: Scenario, answer: Answer, upstream: FaultUpstream, records: dict[str, TurnRecord]) -> Result:
    seen = [upstream.of(scenario.name, fault) for fault, _ in scenario.targets]
    return Result(scenario, answer, seen, records.get(answer.headers.get("x-trace-id", "")))


async def _asked(line: RealLine, scenario: Scenario) -> Answer:
    edge = line.edges[scenario.way == "goes on"]
    told: dict[str, Any] = {"model": scenario.name, "stream": True, "messages": [user("Count to four.")]}
    if scenario.told.tools:
        told["tools"] = [TOOL]
    headers = {"traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"}
    call = await Call.place(f"{edge.url}/v1/chat/completions", told, headers=headers)
    return await call.ended(PATIENCE_S)


async def _records(line: RealLine, count: int) -> dict[str, TurnRecord]:
    """The turns' records, once they are all there, or after a while."""
    return await until(line.records, lambda found: len(found) >= count, SETTLE_S, every_s=0.3)
