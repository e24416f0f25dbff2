"""ServiceError -> OpenAI's error object, in one table.

Source: the API contract, section 1.3; retry rules of openai-python and openai-node.
"""

import math
from typing import Any, NamedTuple

import msgspec

from protocol.errors import ServiceError

REQUEST = "invalid_request_error"
RATE = "rate_limit_error"
SERVER = "server_error"


class Row(NamedTuple):
    """How a failure is told. `retry`: what `x-should-retry` says, which overrules the clients' own rules."""

    status: int
    kind: str
    code: str | None
    param: str | None = None  # where the error itself names none
    retry: bool | None = None


OPENAI: dict[str, Row] = {
    "invalid_json": Row(400, REQUEST, None),
    "missing_required_parameter": Row(400, REQUEST, "missing_required_parameter"),
    "invalid_type": Row(400, REQUEST, "invalid_type"),
    "invalid_value": Row(400, REQUEST, "invalid_value"),
    "decimal_above_max_value": Row(400, REQUEST, "decimal_above_max_value"),
    "decimal_below_min_value": Row(400, REQUEST, "decimal_below_min_value"),
    "integer_above_max_value": Row(400, REQUEST, "integer_above_max_value"),
    "integer_below_min_value": Row(400, REQUEST, "integer_below_min_value"),
    "empty_array": Row(400, REQUEST, "empty_array"),
    "context_length_exceeded": Row(400, REQUEST, "context_length_exceeded", param="messages"),
    "content_filter": Row(400, REQUEST, "content_filter"),
    "unsupported_parameter": Row(400, REQUEST, "unsupported_parameter"),
    "unsupported_value": Row(400, REQUEST, "unsupported_value"),
    "upstream_refused": Row(400, REQUEST, None),
    "no_key": Row(401, REQUEST, None),
    "invalid_api_key": Row(401, REQUEST, "invalid_api_key"),
    "model_not_found": Row(404, REQUEST, "model_not_found", param="model"),
    "unknown_path": Row(404, REQUEST, None),
    "method_not_supported": Row(405, REQUEST, "method_not_supported"),
    "request_timeout": Row(408, REQUEST, "request_timeout"),
    "too_large": Row(413, REQUEST, None),
    "rate_limit_exceeded": Row(429, RATE, "rate_limit_exceeded"),
    "insufficient_quota": Row(429, "insufficient_quota", "insufficient_quota", retry=False),
    "interrupted": Row(499, REQUEST, "interrupted"),  # nobody is left to read it; for logs and records
    "slow_client": Row(499, REQUEST, "slow_client"),
    "internal": Row(500, SERVER, None),
    "upstream_error": Row(502, SERVER, "upstream_error"),
    "key_refused": Row(502, SERVER, "upstream_error"),  # whose key it is does not concern the client
    "worker_lost": Row(502, SERVER, "worker_lost"),
    "unheard": Row(502, SERVER, "worker_lost"),  # for the client it is the same
    "no_worker": Row(503, SERVER, "no_worker", retry=True),
    "overloaded": Row(503, SERVER, "overloaded", retry=False),
    "draining": Row(503, SERVER, "overloaded", retry=True),  # another process may take it
    "no_slot": Row(503, SERVER, "overloaded", retry=True),
    "not_ready": Row(503, SERVER, "not_ready", retry=True),
    "upstream_timeout": Row(504, SERVER, "upstream_timeout"),
}


def to_openai(error: ServiceError) -> tuple[int, dict[str, Any]]:
    """The HTTP status and the error object, all four keys always present."""
    row = OPENAI[error.code]
    message = str(error).encode(errors="replace").decode()  # a path may hold bytes that are no text
    body = {"message": message, "type": row.kind, "param": error.param or row.param, "code": row.code}
    return row.status, {"error": body}


def body_bytes(error: ServiceError) -> bytes:
    """The error object as one line of JSON: a response body, or the data of an event."""
    return msgspec.json.encode(to_openai(error)[1])


def headers_for(error: ServiceError) -> dict[str, str]:
    """The headers that an error's response needs beside its content type: when to retry, and whether to.

    `Retry-After` is in whole seconds, at least 1; `retry-after-ms`, which OpenAI's clients read first, is finer.

    Source: RFC 9110, sections 10.2.3 and 11.6.1.
    """
    row = OPENAI[error.code]
    headers = {}
    if row.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if row.status in (429, 503):
        wait_s = error.retry_after_s or 1
        headers["Retry-After"] = str(max(1, math.ceil(wait_s)))
        if wait_s != int(wait_s):
            headers["retry-after-ms"] = str(math.ceil(wait_s * 1000))
    if row.retry is not None:
        headers["x-should-retry"] = "true" if row.retry else "false"
    return headers
