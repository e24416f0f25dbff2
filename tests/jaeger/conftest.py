"""One Jaeger and one line for all tests here: two edges and two workers."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bench.line import Upstream
from tests.broker.line_fixture import RealLine, real_line
from tests.jaeger.server import Jaeger, NoJaeger, jaeger_for_tests

CONFIG = """
[models.lonely]
pool = "empty" # which nobody serves
targets = ["nowhere"]
[targets.nowhere]
base_url = "http://127.0.0.1:1/v1"
model = "nowhere-1"
"""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def jaeger(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Jaeger]:
    """Where every process of the line sends its spans."""
    try:
        async with jaeger_for_tests(tmp_path_factory.mktemp("jaeger")) as jaeger:
            yield jaeger
    except NoJaeger as none:
        pytest.exit(str(none), returncode=2)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def upstream(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Upstream]:
    """The fake upstream: it knows what has begun."""
    upstream = Upstream(tmp_path_factory.mktemp("upstream"))
    await upstream.start()
    yield upstream
    assert await upstream.stop() == []


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def line(tmp_path_factory: pytest.TempPathFactory, jaeger: Jaeger, upstream: Upstream) -> AsyncIterator[RealLine]:
    """Edges and workers. Whoever kills a worker starts another."""
    directory = tmp_path_factory.mktemp("line")
    (directory / "trunkline.toml").write_text(CONFIG)
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "TRUNKLINE_CONFIG": str(directory / "trunkline.toml"),
        "TRUNKLINE_UPSTREAM__URL": upstream.url,
        "TRUNKLINE_UPSTREAM__MODEL": "fake",
    }
    async with real_line(directory, env=env) as line:
        for kind in ("edge", "worker"):
            line.add(kind)
            line.add(kind)
        await line.ready()
        yield line
