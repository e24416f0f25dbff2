"""A collector that counts: takes OTLP over HTTP, so that a line is measured with its tracing on, and keeps nothing.

POST /v1/traces   an export
GET  /stats       exports, spans and bytes so far
"""

import asyncio
from typing import cast

import click
import msgspec
from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench.http1 import Request, take_request
from bench.load.serving import Factory, run_server
from bench.speech import failed, plain

TAKEN = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"


class Stats(Struct):
    """What was taken so far."""

    exports: int = 0
    spans: int = 0
    bytes: int = 0


class Connection(asyncio.Protocol):
    """One exporter."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._buffer = bytearray()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (request := take_request(self._buffer)) is not None:
            self._transport.write(self._answer(request))

    def _answer(self, request: Request) -> bytes:
        if request.method == "POST" and request.target == "/v1/traces":
            self._take(request.body)
            return TAKEN
        if request.method == "GET" and request.target == "/stats":
            return plain(200, msgspec.to_builtins(self._stats))
        return failed(404, f"no {request.method} {request.target} here")

    def _take(self, data: bytes) -> None:
        self._stats.exports += 1
        self._stats.bytes += len(data)
        told = ExportTraceServiceRequest.FromString(data)
        self._stats.spans += sum(len(scope.spans) for one in told.resource_spans for scope in one.scope_spans)


@click.command()
@click.option("--port", default=0, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
def main(port: int) -> None:
    """An OTLP collector that counts spans and drops them."""
    run_server(port, connections)


def connections() -> Factory:
    """What makes them; they share one count."""
    stats = Stats()
    return lambda: Connection(stats)


if __name__ == "__main__":
    main()
