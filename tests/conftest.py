"""What several folders of tests share: a real NATS server."""

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings

from tests.broker.nats_server import NatsServer

settings.register_profile("unhurried", deadline=None)  # a machine may be busy: no test asserts speed
settings.load_profile("unhurried")

gc.disable()  # while thousands of tests are collected, which stay


def pytest_collection_finish() -> None:
    """The collector need not look at them again."""
    gc.freeze()
    gc.enable()


StartNats = Callable[..., NatsServer]


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One for all tests: each uses a prefix of its own and leaves the server as it was."""
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    yield server
    server.kill()


@pytest.fixture
def start_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartNats]:
    """Starts servers that a test may kill, stop, freeze and start again. Takes what `NatsServer` takes."""
    with ExitStack() as servers:

        def start(folder: Path | None = None, **how: object) -> NatsServer:
            server = NatsServer(folder or tmp_path_factory.mktemp("nats"), **how)  # type: ignore[arg-type]
            servers.callback(server.kill)
            return server

        yield start
