"""Fixtures of the tests on a real server."""

import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.broker.halves import Halves
from tests.broker.nats_server import NatsServer


@pytest.fixture
async def halves(nats_server: NatsServer) -> AsyncIterator[Halves]:
    """Edges and workers on the server that all tests share."""
    async with Halves(nats_server.url) as halves:
        yield halves


@pytest.fixture
def no_bug_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Callbacks and tasks of the bus log their bugs and go on: no test may overlook one."""
    yield
    bugs = [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR and record.exc_info]
    assert [logging.Formatter().format(bug) for bug in bugs] == []
