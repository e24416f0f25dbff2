"""The searches of docs/tracing.md find what they say, and nothing else: each asks the real Jaeger."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bench.line import Upstream
from protocol import telemetry
from tests.broker.line_fixture import RealLine
from tests.broker.turn_trees import Turn
from tests.jaeger import turns
from tests.jaeger.server import SETTLE_S, Jaeger
from tests.jaeger.turns import body, new_call, turn

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = "POST /v1/chat/completions"
ENDED = {
    "quick": "completed",
    "slow to begin": "completed",
    "long": "completed",
    "barge-in": "interrupted",
    "failed": "upstream_error",
    "late": "deadline",
    "nobody's": "shed",
    "cut off": "worker_lost",
    "offered again": "completed",
}
"""One turn of each kind, and its outcome."""


class Day:
    """Turns of a day, found again by their kinds."""

    def __init__(self) -> None:
        self.call = new_call()
        self.killed = ""
        self._kinds: dict[str, str] = {}

    def took(self, kind: str, turned: Turn) -> None:
        """Keep its trace id."""
        self._kinds[turned.trace_id] = kind

    def kinds(self, found: set[str]) -> set[str]:
        """The kinds of the turns that were found; other traces are another day's."""
        return {kind for trace_id, kind in self._kinds.items() if trace_id in found}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def day(line: RealLine, upstream: Upstream, jaeger: Jaeger) -> AsyncIterator[Day]:
    """All of it is one call, and in Jaeger."""
    day = Day()
    day.took("quick", await turn(line, body(), day.call))
    day.took("slow to begin", await turn(line, body(first_ms=1500), day.call, edge=1))
    day.took("long", await turn(line, body(rate=20, tokens=40), day.call))
    day.took("barge-in", await turns.interrupted(line, day.call))
    day.took("failed", await turn(line, body(fail="before:503"), day.call))
    day.took("late", await turns.late(line, day.call))
    day.took("nobody's", await turn(line, body("lonely"), day.call))
    cut_off, day.killed = await turns.lost(line, day.call)
    day.took("cut off", cut_off)
    again, _ = await turns.reoffered(line, upstream, day.call)
    day.took("offered again", again)
    found = await jaeger.awaited({telemetry.CONVERSATION: day.call, telemetry.TENANT: "default"}, len(ENDED))
    assert day.kinds(found) == set(ENDED), f"after {SETTLE_S} s"
    yield day


async def test_by_call_id(day: Day, jaeger: Jaeger) -> None:
    assert day.kinds(await jaeger.search({telemetry.CONVERSATION: day.call})) == set(ENDED)
    assert await jaeger.search({telemetry.CONVERSATION: f"{day.call}-nobody"}) == set()


@pytest.mark.parametrize("outcome", sorted(set(ENDED.values())))
async def test_by_outcome(day: Day, jaeger: Jaeger, outcome: str) -> None:
    found = day.kinds(await jaeger.search({telemetry.OUTCOME: outcome}))
    assert found == {kind for kind, ended in ENDED.items() if ended == outcome}


async def test_by_call_id_and_outcome(day: Day, jaeger: Jaeger) -> None:
    found = await jaeger.search({telemetry.CONVERSATION: day.call, telemetry.OUTCOME: "interrupted"})
    assert day.kinds(found) == {"barge-in"}


async def test_by_duration(day: Day, jaeger: Jaeger) -> None:
    """Of the whole turn: by the operation, which is the root's name."""
    long = {"slow to begin", "long"}
    assert long <= day.kinds(await jaeger.search(operation=ROOT, longer_than="1400ms"))
    assert day.kinds(await jaeger.search(operation=ROOT, longer_than="60s")) == set()


async def test_by_how_long_the_caller_waited(day: Day, jaeger: Jaeger) -> None:
    """A long answer that began at once is none of them; it is not in doubt on a slow machine, for it takes 2 s."""
    found = day.kinds(await jaeger.search(operation=telemetry.SPAN_WAIT, longer_than="1400ms"))
    assert "slow to begin" in found
    assert "long" not in found


async def test_by_how_long_the_model_took(day: Day, jaeger: Jaeger) -> None:
    found = await jaeger.search(service="trunkline-worker", operation=telemetry.span_chat("echo"), longer_than="1400ms")
    assert {"slow to begin", "long"} <= day.kinds(found)


async def test_by_the_kind_of_an_error(day: Day, jaeger: Jaeger) -> None:
    assert day.kinds(await jaeger.search({telemetry.ERROR_TYPE: "upstream_timeout"})) == {"late"}


async def test_by_the_number_of_offers(day: Day, jaeger: Jaeger) -> None:
    assert day.kinds(await jaeger.search({telemetry.OFFERS: "2"})) == {"offered again"}


async def test_by_the_worker_that_is_gone(day: Day, jaeger: Jaeger) -> None:
    assert "cut off" in day.kinds(await jaeger.search({telemetry.WORKER: day.killed}))
