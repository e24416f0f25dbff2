"""Every target that was tried, hedged or passed over is one span in a real Jaeger, and can be searched for."""

from pathlib import Path

import pytest

from protocol import telemetry
from tests.broker.line_fixture import real_line
from tests.faults import traced
from tests.faults.faults import ACTS
from tests.faults.upstream import fault_upstream
from tests.jaeger.server import Jaeger

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_every_target_of_a_turn_is_a_span(jaeger: Jaeger, tmp_path: Path) -> None:
    async with fault_upstream(ACTS) as upstream:
        traced.write_config(upstream, tmp_path / "trunkline.toml")
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "TRUNKLINE_CONFIG": str(tmp_path / "trunkline.toml"),
        }
        async with real_line(tmp_path, env=env) as line:
            line.add("edge")
            line.add("worker")
            await line.ready()
            taken = await traced.turns(f"{line.edges[0].url}/v1/chat/completions")

    for turn, model, targets in taken:
        tree = await jaeger.tree(turn.trace_id, len(traced.shape(model, targets)))
        assert tree.shape == traced.shape(model, targets)
        assert traced.shown(tree) == list(targets)
        assert await jaeger.warnings(turn.trace_id) == []
    for outcome, number in (("outrun", -1), ("skipped", -2)):
        tags = {telemetry.ATTEMPT_OUTCOME: outcome}
        found = await jaeger.search(tags, service="trunkline-worker")
        assert taken[number][0].trace_id in found
