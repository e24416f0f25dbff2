"""Where spans are sent: an OTLP collector, which may be away and costs nobody anything then, a full log included."""

import logging
from collections.abc import Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from protocol import otlp

log = logging.getLogger("traces")
_sdk_log = logging.getLogger(OTLPSpanExporter.__module__)


class Collector(SpanExporter):
    """The collector that the environment names (OTEL_EXPORTER_OTLP_…).

    The SDK's exporter says of every batch why it failed. Here only the first one's reason is heard until a batch has
    come through again; the log never has the address, which may hold a password.
    """

    encode = staticmethod(otlp.to_protobuf)

    def __init__(self, resource: otlp.Attributes) -> None:
        self._resource = resource
        self._exporter: Any = OTLPSpanExporter()
        self._away = False
        _sdk_log.addFilter(self._new)

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        """Send a batch of `Encoded` spans; blocks, and tries again for up to OTEL_EXPORTER_OTLP_TIMEOUT (10 s)."""
        request = otlp.protobuf_request(self._resource, otlp.SCOPE, [span.data for span in spans])
        away = not self._exporter._client.export(request).success
        if away and not self._away:
            log.warning(
                "no collector takes our spans: turns go on, their traces are lost; see OTEL_EXPORTER_OTLP_ENDPOINT"
            )
        elif self._away and not away:
            log.info("the collector takes our spans again")
        self._away = away
        return SpanExportResult.FAILURE if away else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Give up what is under way."""
        self._exporter.shutdown()
        _sdk_log.removeFilter(self._new)

    def _new(self, record: logging.LogRecord) -> bool:
        return not self._away
