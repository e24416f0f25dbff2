"""A collector that is away is told of once."""

import asyncio
import logging
from collections.abc import Iterator

import pytest
from aiohttp import web
from opentelemetry.context import Context
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanKind

from bench.processes import free_ports
from protocol.collector import Collector
from protocol.spans import Encoded, Spans


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """Where nobody listens yet."""
    [port] = free_ports(1)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://secret:word@127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1.5")
    return port


@pytest.fixture
def collector(port: int) -> Iterator[Collector]:
    collector = Collector({})
    yield collector
    collector.shutdown()


@pytest.fixture
def span() -> Encoded:
    ended: list[Encoded] = []
    Spans(ended.append).start("one", Context(), kind=SpanKind.SERVER).end()
    return ended[0]


async def taken(_: web.Request) -> web.Response:
    return web.Response(content_type="application/x-protobuf")


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Who has said how much so far: `logger level`, oldest first."""
    lines = [f"{record.name} {record.levelname}" for record in caplog.records]
    caplog.clear()
    return lines


async def test_a_collector_that_is_away_is_told_of_once_and_again_when_it_is_back(
    collector: Collector, port: int, span: Encoded, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, by the kind of failure; then silence until a batch has come through."""
    caplog.set_level(logging.DEBUG, "opentelemetry")
    caplog.set_level(logging.INFO, "traces")

    async def export() -> SpanExportResult:
        return await asyncio.to_thread(collector.export, [span])

    assert await export() is SpanExportResult.FAILURE
    assert "secret" not in caplog.text
    assert str(port) not in caplog.text
    assert told(caplog) == ["traces WARNING"]
    assert await export() is SpanExportResult.FAILURE
    assert told(caplog) == []

    app = web.Application()
    app.add_routes([web.post("/v1/traces", taken)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    assert await export() is SpanExportResult.SUCCESS
    assert await export() is SpanExportResult.SUCCESS
    assert told(caplog) == ["traces INFO"]

    await runner.cleanup()
    assert await export() is SpanExportResult.FAILURE
    assert told(caplog) == ["traces WARNING"]
