"""The local model, joined once for all tests here, a terminal to start lines with it, and a line without it."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.broker.line_fixture import RealLine, real_line
from tests.clients.local_line import LocalTerminal
from trunkline.local_model import FOLDER, join_parts


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory with the joined model in it; a quarter of a gigabyte, which nobody keeps."""
    data = tmp_path_factory.mktemp("data")
    join_parts(data / FOLDER)
    yield data
    shutil.rmtree(data)


@pytest.fixture
async def terminal(tmp_path: Path, data_dir: Path) -> AsyncIterator[LocalTerminal]:
    """A terminal whose processes do not outlive the test."""
    made = LocalTerminal(tmp_path, data_dir)
    yield made
    assert await made.close() == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_terminal(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> AsyncIterator[LocalTerminal]:
    """One for a module."""
    made = LocalTerminal(tmp_path_factory.mktemp("terminal"), data_dir)
    yield made
    assert await made.close() == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def echo_line(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealLine]:
    """One edge and one worker with the built-in models; whatever a test did, nothing runs on at the end."""
    async with real_line(tmp_path_factory.mktemp("line")) as line:
        line.add("edge")
        line.add("worker")
        await line.ready()
        yield line
        await line.idle()
