"""Every target that was tried, hedged or passed over is one span, with its reason, its tokens and its cost."""

from pathlib import Path

import pytest

from tests.broker.line_fixture import real_line
from tests.broker.otlp_sink import otlp_sink
from tests.broker.turn_trees import agrees
from tests.faults import traced
from tests.faults.faults import ACTS
from tests.faults.upstream import fault_upstream


async def test_every_target_of_a_turn_is_a_span(tmp_path: Path) -> None:
    async with otlp_sink() as sink, fault_upstream(ACTS) as upstream:
        traced.write_config(upstream, tmp_path / "trunkline.toml")
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "TRUNKLINE_CONFIG": str(tmp_path / "trunkline.toml"),
        }
        async with real_line(tmp_path, env=env) as line:
            line.add("edge")
            line.add("worker")
            await line.ready()
            taken = await traced.turns(f"{line.edges[0].url}/v1/chat/completions")
            trees = [await sink.tree(turn.trace_id, len(traced.shape(model, told))) for turn, model, told in taken]

    for (turn, model, targets), tree in zip(taken, trees, strict=True):
        assert tree.shape == traced.shape(model, targets)
        assert traced.shown(tree) == list(targets)
        assert not tree.one("POST").failed
        cost, spent = traced.cost_of_the_turn(tree)
        assert cost == pytest.approx(spent)
        assert (spent > traced.COST) is (targets is traced.HEDGED), "what was outrun costs, too"
        agrees(tree, turn)
    assert len(upstream.of("tried", "500")) == traced.OPENS_AFTER
