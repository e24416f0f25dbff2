"""Which collector takes the traces: the variables that OpenTelemetry reads, and the option that sets them."""

from collections.abc import Mapping

import msgspec

from protocol.settings import SettingsError
from protocol.settings_values import HttpUrl
from trunkline.run_file import COLLECTORS

TRACES_PATH = "/v1/traces"  # exporters append it to the first of the two variables, not to the second


def variables(url: str | None) -> dict[str, str]:
    """What `--otlp URL` puts over the environment; nothing without it. Raises SettingsError: it is no such URL."""
    if url is None:
        return {}
    try:
        base = msgspec.convert(url, HttpUrl).rstrip("/").removesuffix(TRACES_PATH)
    except msgspec.ValidationError:  # not quoted: it may hold a password
        raise SettingsError(
            "--otlp is not the URL of a collector; name one that takes OTLP over HTTP, such as http://127.0.0.1:4318"
        ) from None
    return dict(zip(COLLECTORS, (base, base + TRACES_PATH), strict=True))


def is_set(environ: Mapping[str, str]) -> bool:
    """Whether spans go to a collector."""
    return any(environ.get(name) for name in COLLECTORS)
