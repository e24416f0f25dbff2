"""`trunkline up --otlp URL`, as a user starts it."""

import signal
import sys
from pathlib import Path

import pytest

from bench.processes import Family
from tests.broker.turn_trees import Turn, agrees, whole
from tests.jaeger.server import Jaeger
from tests.jaeger.turns import body

pytestmark = pytest.mark.asyncio(loop_scope="session")

UP = "trunkline up --json --ephemeral --port 0 --edges 2 --workers 2 --otlp"


async def test_all_of_its_processes_send_their_spans_to_the_named_collector(jaeger: Jaeger, tmp_path: Path) -> None:
    """What is not sent when it is told to stop, because it happened a moment ago, is sent then."""
    family = Family(tmp_path)
    up = family.start("up", [sys.executable, "-m", *UP.split(), jaeger.otlp])
    try:
        said = await up.first_line(60)
        taken = [await Turn.taken(f"{said['url']}/v1/chat/completions", body(rate=50)) for _ in range(8)]
        up.send(signal.SIGTERM)
        assert await up.exited(30) == 0
    finally:
        assert await family.stop() == []

    for turned in taken:
        tree = await jaeger.tree(turned.trace_id, len(whole("echo")))
        assert tree.shape == whole("echo")
        agrees(tree, turned)
        assert await jaeger.warnings(turned.trace_id) == []
