"""Where spans are sent: an OTLP collector, which may be away and costs nobody anything then, a full log included."""

import logging
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

log = logging.getLogger("traces")
_sdk_log = logging.getLogger(OTLPSpanExporter.__module__)


class Collector(SpanExporter):
    """The collector that the environment names (OTEL_EXPORTER_OTLP_…).

    The SDK's exporter says of every batch why it failed. Here only the first one's reason is heard until a batch has
    come through again; the log never has the address, which may hold a password.
    """

    def __init__(self) -> None:
        self._exporter = OTLPSpanExporter()
        self._away = False
        _sdk_log.addFilter(self._new)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; blocks, and tries again for up to OTEL_EXPORTER_OTLP_TIMEOUT (10 s)."""
        result = self._exporter.export(spans)
        away = result is not SpanExportResult.SUCCESS
        if away and not self._away:
            log.warning(
                "no collector takes our spans: turns go on, their traces are lost; see OTEL_EXPORTER_OTLP_ENDPOINT"
            )
        elif self._away and not away:
            log.info("the collector takes our spans again")
        self._away = away
        return result

    def shutdown(self) -> None:
        """Give up what is under way."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]
        _sdk_log.removeFilter(self._new)

    def _new(self, record: logging.LogRecord) -> bool:
        return not self._away
