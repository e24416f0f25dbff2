"""An upstream's refusal, as a status or as an `error` object -> `ServiceError`. Pure.

Upstreams word errors in many ways; what a caller may hear is the upstream's own sentence, bounded and free of the key.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from protocol.codec import DecodeError
from protocol.errors import (
    ContextTooLong,
    NotReady,
    QuotaGone,
    RateLimited,
    ServiceError,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)

MAX_MESSAGE_CHARS = 500
MAX_RETRY_AFTER_S = 86_400

BY_STATUS: dict[int, type[ServiceError]] = {
    400: UpstreamRefused,
    408: UpstreamTimeout,
    413: UpstreamRefused,
    422: UpstreamRefused,
    429: RateLimited,
    504: UpstreamTimeout,
}
"""Everything else is an `UpstreamError`."""

KEY_REFUSED = (401, 403)  # the operator's fault, and the upstream's words may hold a part of the key

BY_CODE: dict[str, type[ServiceError]] = {
    "context_length_exceeded": ContextTooLong,
    "exceed_context_size_error": ContextTooLong,  # llama.cpp, as `type`
    "rate_limit_exceeded": RateLimited,
    "rate_limit_error": RateLimited,
    "rate_limited": RateLimited,
    "insufficient_quota": QuotaGone,
}
TOO_LONG_PHRASE = "maximum context length"  # vLLM's code is just 400
UNAVAILABLE = 503
LOADING = re.compile(r"\bloading model\b|\bmodel\b.*\bis (currently )?loading\b", re.IGNORECASE)
"""llama.cpp: "Loading model"; Hugging Face: "Model … is currently loading"."""


def from_status(
    status: int, body: bytes, headers: Mapping[str, str], *, target: str, key: str | None, now: datetime
) -> ServiceError:
    """What to raise for an HTTP answer that is no success. `body` may be cut short; `now` is aware."""
    error = _error_object(body)
    if status in KEY_REFUSED:
        return UpstreamError(f"target {target!r} refused its key ({status}): see its api_key_env")
    if status == UNAVAILABLE and LOADING.search(_said(error)):
        return _made(NotReady, f"target {target!r} loads its model; try again in a moment", _wait_s(headers, now=now))
    kind = _by_words(error) or BY_STATUS.get(status, UpstreamError)
    reason = _reason(error, key) or _plain(status)
    return _made(kind, f"target {target!r} answered {status}: {reason}", _wait_s(headers, now=now))


def from_object(error: object, *, target: str, key: str | None) -> ServiceError:
    """What to raise for an `error` inside an answer that began as a success."""
    kind = _by_words(error) or _by_number(error) or UpstreamError
    return _made(kind, f"target {target!r} failed: {_reason(error, key) or 'it did not say why'}", None)


def _made(kind: type[ServiceError], message: str, wait_s: int | None) -> ServiceError:
    param = "messages" if kind is ContextTooLong else None
    return kind(message, param=param, retry_after_s=wait_s)


def _error_object(body: bytes) -> object:
    """The `error` of a JSON body, else the body: some upstreams have the message at the top."""
    try:
        value = msgspec.json.decode(body)
    except DecodeError:
        return None
    return value.get("error", value) if isinstance(value, dict) else None


def _by_words(error: object) -> type[ServiceError] | None:
    if not isinstance(error, dict):
        return None
    for field in (error.get("code"), error.get("type")):
        if isinstance(field, str) and field in BY_CODE:
            return BY_CODE[field]
    return ContextTooLong if TOO_LONG_PHRASE in _said(error) else None


def _by_number(error: object) -> type[ServiceError] | None:
    code = error.get("code") if isinstance(error, dict) else None
    return BY_STATUS.get(code) if isinstance(code, int) else None


def _said(error: Any) -> str:
    if isinstance(error, dict):
        error = error.get("message", error.get("detail"))
    return error if isinstance(error, str) else ""


def _reason(error: object, key: str | None) -> str:
    said = _said(error).strip()
    if key:
        said = said.replace(key, "[key]")
    return said if len(said) <= MAX_MESSAGE_CHARS else said[: MAX_MESSAGE_CHARS - 1] + "…"


def _plain(status: int) -> str:
    if 300 <= status < 400:
        return "a redirect, which is not followed; correct its base_url"
    return "no such URL or model; see its base_url and model" if status == 404 else "it did not say why"


def _wait_s(headers: Mapping[str, str], *, now: datetime) -> int | None:
    value = headers.get("Retry-After")
    try:
        return None if value is None else math.ceil(min(retry_after_s(value, now=now), MAX_RETRY_AFTER_S))
    except ValueError:
        return None


def retry_after_s(value: str, *, now: datetime) -> float:
    """Seconds to wait, from an upstream's `Retry-After` header.

    Takes both forms: a count of seconds, or an HTTP date measured from `now` (aware). A past date is 0.

    Raises:
        ValueError: `value` is neither form.

    Source: RFC 9110, section 10.2.3. Fractions of a second are no RFC, but some upstreams send them.
    """
    if value.strip().replace(".", "", 1).isdecimal():
        return float(value)
    then = parsedate_to_datetime(value)
    then = then if then.tzinfo else then.replace(tzinfo=UTC)  # "-0000", or none: RFC 9110 has only GMT
    return max(0.0, (then - now).total_seconds())
