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
    "previous_response_not_found": Row(400, REQUEST, "previous_response_not_found", param="previous_response_id"),
    "websocket_not_served": Row(400, REQUEST, "websocket_not_served"),
    "no_key": Row(401, REQUEST, None),
    "invalid_api_key": Row(401, REQUEST, "invalid_api_key"),
    "invalid_signature": Row(401, REQUEST, "invalid_signature"),
    "model_not_found": Row(404, REQUEST, "model_not_found", param="model"),
    "response_not_found": Row(404, REQUEST, None),
    "unknown_path": Row(404, REQUEST, None),
    "method_not_supported": Row(405, REQUEST, "method_not_supported"),
    "request_timeout": Row(408, REQUEST, "request_timeout"),
    "too_large": Row(413, REQUEST, None),
    "rate_limit_exceeded": Row(429, RATE, "rate_limit_exceeded"),
    "insufficient_quota": Row(429, "insufficient_quota", "insufficient_quota", retry=False),
    "interrupted": Row(499, REQUEST, "interrupted"),  # nobody is left to read it; for logs and records
    "cancelled": Row(499, REQUEST, "cancelled"),
    "slow_client": Row(499, REQUEST, "slow_client"),
    "internal": Row(500, SERVER, None),
    "upstream_error": Row(502, SERVER, "upstream_error"),
    "empty_answer": Row(502, SERVER, "upstream_error"),
    "key_refused": Row(502, SERVER, "upstream_error"),  # whose key it is does not concern the client
    "worker_lost": Row(502, SERVER, "worker_lost"),
    "unheard": Row(502, SERVER, "worker_lost"),  # for the client it is the same
    "no_worker": Row(503, SERVER, "no_worker", retry=True),
    "overloaded": Row(503, SERVER, "overloaded", retry=False),
    "draining": Row(503, SERVER, "overloaded", retry=True),  # another process may take it
    "no_slot": Row(503, SERVER, "overloaded", retry=True),
    "not_ready": Row(503, SERVER, "not_ready", retry=True),
    "not_kept": Row(503, SERVER, "not_kept", retry=True),
    "store_away": Row(503, SERVER, "store_away", retry=True),
    "upstream_timeout": Row(504, SERVER, "upstream_timeout"),
}


OWN_FAULT = frozenset({400, 401, 404, 405, 413})
FOUND_IN_CALL = frozenset({"content_filter", "context_length_exceeded", "too_large", "upstream_refused"})
"""What a target, or the bus, finds at fault with one of those statuses, in a call that lives."""
SOON_S = 0.1  # a caller listens to silence meanwhile
PATIENCE_S = 1.0  # and for longer than that a sentence is better than another try


def is_own_fault(error: ServiceError) -> bool:
    """Whether the request itself has to change, as its sender can. What is `FOUND_IN_CALL` no caller can mend; the
    operator sees it in the log and the record.
    """
    return OPENAI[error.code].status in OWN_FAULT and error.code not in FOUND_IN_CALL


def is_tried_again(error: ServiceError) -> bool:
    """Whether a platform that tries again by itself does so after this, and soon: its clients obey `Retry-After`, for
    up to a minute or two, and take any other 4xx for final.

    Source: openai-python 3.52, `_should_retry` and `_calculate_retry_timeout`; livekit-agents 1.7, `APIStatusError`.
    """
    row = _row(error, retried=True)
    is_soon = (error.retry_after_s or 0) <= PATIENCE_S
    return is_soon and row.retry is not False and (row.status >= 500 or row.status == 429)


def _row(error: ServiceError, *, retried: bool) -> Row:
    """`retried`: the platform sends the request again by itself. LiveKit and Pipecat do so for every status from 500
    on; 503 is the one that says what is meant: this server cannot, for now. 502 and 504 speak of a gateway's upstream,
    and proxies on the way put pages of their own in their place. They are told to even where this line is overloaded:
    what follows otherwise is silence.

    Source: livekit-agents 1.7, pipecat-ai 1.7 with openai-python 3.52: retries; RFC 9110, section 15.6.4.
    """
    row = OPENAI[error.code]
    return row._replace(status=503, retry=True) if retried and row.status >= 500 else row


def param_of(error: ServiceError) -> str | None:
    """The request's field that it names; where the error itself names none, that of its row."""
    return error.param or OPENAI[error.code].param


def to_openai(error: ServiceError, *, retried: bool = False) -> tuple[int, dict[str, Any]]:
    """The HTTP status and the error object, all four keys always present."""
    row = _row(error, retried=retried)
    message = str(error).encode(errors="replace").decode()  # a path may hold bytes that are no text
    body = {"message": message, "type": row.kind, "param": param_of(error), "code": row.code}
    return row.status, {"error": body}


def body_bytes(error: ServiceError) -> bytes:
    """The error object as one line of JSON: a response body, or the data of an event."""
    return msgspec.json.encode(to_openai(error)[1])


def headers_for(error: ServiceError, *, retried: bool = False) -> dict[str, str]:
    """The headers that an error's response needs beside its content type: when to retry, and whether to.

    `Retry-After` is in whole seconds, at least 1; `retry-after-ms`, which OpenAI's clients read first, is finer.

    Source: RFC 9110, sections 10.2.3 and 11.6.1.
    """
    row = _row(error, retried=retried)
    headers = {}
    if row.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if row.status in (429, 503):
        wait_s = error.retry_after_s or (SOON_S if retried else 1)
        headers["Retry-After"] = str(max(1, math.ceil(wait_s)))
        if wait_s != int(wait_s):
            headers["retry-after-ms"] = str(math.ceil(wait_s * 1000))
    if row.retry is not None:
        headers["x-should-retry"] = "true" if row.retry else "false"
    return headers
