import socket
from pathlib import Path

import pytest

from bench.line import Line
from bench.processes import StartFailed


async def test_a_worker_that_ended_is_named_though_its_edge_is_what_is_not_ready(tmp_path: Path) -> None:
    line = Line(tmp_path, "http://127.0.0.1:9/v1", workers=1)
    port = int(line.workers[0].admin.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)), pytest.raises(StartFailed, match="worker-0 ended with") as failed:
        await line.start()

    assert str(port) in str(failed.value)
    assert await line.stop() == []
