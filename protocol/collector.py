"""Where spans are sent: an OTLP collector, which may be away and costs nobody anything then, a full log included."""

import logging
from collections.abc import Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from protocol import otlp

log = logging.getLogger("traces")
_sdk_log = logging.getLogger("opentelemetry.exporter")


class Collector(SpanExporter):
    """The collector that the environment names (OTEL_EXPORTER_OTLP_…).

    The SDK says of every batch why it failed, and to which address, which may hold a password or a token. Here only the
    first failure is told until a batch has come through again, and by its kind alone.
    """

    encode = staticmethod(otlp.to_protobuf)

    def __init__(self, resource: otlp.Attributes) -> None:
        self._resource = resource
        self._exporter: Any = OTLPSpanExporter()
        self._away = False
        _sdk_log.setLevel(logging.CRITICAL + 1)

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        """Send a batch of `Encoded` spans; blocks, and tries again for up to OTEL_EXPORTER_OTLP_TIMEOUT (10 s)."""
        request = otlp.protobuf_request(self._resource, otlp.SCOPE, [span.data for span in spans])
        result = self._exporter._client.export(request)
        away = not result.success
        if away and not self._away:
            log.warning(
                "no collector takes our spans (%s): turns go on, traces are lost; see OTEL_EXPORTER_OTLP_ENDPOINT",
                result.status_code or type(result.error).__name__,
            )
        elif self._away and not away:
            log.info("the collector takes our spans again")
        self._away = away
        return SpanExportResult.FAILURE if away else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Give up what is under way."""
        self._exporter.shutdown()
