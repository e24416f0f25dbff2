"""An upstream's refusal, as a status or as an `error` object -> `ServiceError`. Pure.

Upstreams word errors in many ways; what a caller may hear is the upstream's own sentence, bounded and free of the key.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from protocol.codec import DecodeError
from protocol.errors import (
    ContentFiltered,
    ContextTooLong,
    EmptyAnswer,
    KeyRefused,
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


class SealRefused(UpstreamRefused):
    """It cannot read, or does not know, the sealed thoughts that it was shown or asked for."""


BY_STATUS: dict[int, type[ServiceError]] = {
    400: UpstreamRefused,
    401: KeyRefused,
    402: QuotaGone,
    403: KeyRefused,
    408: UpstreamTimeout,
    413: UpstreamRefused,
    422: UpstreamRefused,
    429: RateLimited,
    504: UpstreamTimeout,
}
"""Everything else (404, 409, 425, any 5xx) is an `UpstreamError`. Only an `UpstreamRefused` is the request's own fault,
which the next target would find too.
"""

BY_CODE: dict[str, type[ServiceError]] = {
    "context_length_exceeded": ContextTooLong,
    "exceed_context_size_error": ContextTooLong,  # llama.cpp, as `type`
    "content_filter": ContentFiltered,  # Azure
    "content_policy_violation": ContentFiltered,
    "invalid_prompt": ContentFiltered,  # OpenAI's reasoning models: the prompt was flagged
    "rate_limit_exceeded": RateLimited,
    "rate_limit_error": RateLimited,
    "rate_limited": RateLimited,
    "insufficient_quota": QuotaGone,
    "billing_error": QuotaGone,  # Anthropic, as is what follows
    "authentication_error": KeyRefused,
    "permission_error": KeyRefused,
    "request_too_large": UpstreamRefused,
    "timeout_error": UpstreamTimeout,
    "invalid_api_key": KeyRefused,
    "invalid_encrypted_content": SealRefused,
}
"""By an error's `code`, else its `type`."""

BY_PHRASE: tuple[tuple[re.Pattern[str], type[ServiceError]], ...] = (
    (re.compile(r"maximum context length|prompt is too long", re.IGNORECASE), ContextTooLong),
    (re.compile(r"exceeds? (the |available |context )+(size|window|limit)", re.IGNORECASE), ContextTooLong),
    (re.compile(r"credit balance is too low", re.IGNORECASE), QuotaGone),
    (re.compile(r"blocked by content filtering policy", re.IGNORECASE), ContentFiltered),
    (re.compile(r"\bencrypted[ _]content\b|decode the compaction blob", re.IGNORECASE), SealRefused),
    (re.compile(r"of type 'reasoning' was provided without|\bitem\b.* id '?rs_", re.IGNORECASE), SealRefused),
)
"""vLLM's code is just 400; Anthropic's `invalid_request_error` is all of these, and "prompt is too long: 201 tokens >
200 maximum" is its. Encrypted content is not supported, cannot be verified, decrypted (xAI: decoded), or is not that
caller's; OpenAI misses what a reasoning item led to, knows none by its id, or finds one twice.
"""

BY_TYPE: dict[str, type[ServiceError]] = {"invalid_request_error": UpstreamRefused}
"""By an error's `type`, where nothing else tells; OpenAI has it on answers of several statuses."""

UNAVAILABLE = 503
LOADING = re.compile(r"\bloading model\b|\bmodel\b.*\bis (currently )?loading\b", re.IGNORECASE)
"""llama.cpp: "Loading model"; Hugging Face: "Model … is currently loading"."""


FAULTS = {
    "skipped": "events that nobody can read",
    "no_text": "bytes that are no UTF-8, or half a surrogate pair",
    "other_choice": "a choice that was not asked for, or a negative one",
    "second_finish": "a second finish reason",
    "after_its_end": "words after the end of the answer",
    "leaked": "tool calls, or marks of the model's template, among what is said; looked for where that is asked for",
    "line_too_long": "a line, an event or a body without events over 1 MB",
    "too_long": "an answer over 32 MB",
    "too_many_items": "more pieces of output than anybody makes",
    "tool_call": "a call without a name, or arguments that are no object, go on after their end or are too long",
    "cut": "the connection ended in the middle of the answer",
    "no_http": "no HTTP: status lines, headers and chunks that cannot be read",
    "redirect": "a redirect, which is never followed",
}
"""Kinds of what no upstream should send: `kind` of the metric. The first six an answer survives."""


class Fault(UpstreamError):
    """What no upstream should send: the answer ends here. `kind` names it in metrics; to a caller it is an
    `UpstreamError` as any other.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class LimitTooLow(UpstreamError):
    """The limit of tokens left no room for an answer: the request's fault, though the target is named. The next target
    would meet it too.
    """


def from_status(
    status: int, body: bytes, headers: Mapping[str, str], *, target: str, key: str | None, now: datetime
) -> ServiceError:
    """What to raise for an HTTP answer that is no success. `body` may be cut short; `now` is aware."""
    error, wait_s = _error_object(body), _wait_s(headers, now=now)
    if BY_STATUS.get(status) is KeyRefused:
        return _made(KeyRefused, f"target {target!r} {_key_words(status)}", wait_s)
    if status == UNAVAILABLE and LOADING.search(_said(error)):
        return _made(NotReady, f"target {target!r} loads its model; try again in a moment", wait_s)
    kind = _by_words(error) or BY_STATUS.get(status, UpstreamError)
    if kind is KeyRefused:
        return _made(kind, f"target {target!r} {_key_words(status)}", wait_s)
    reason = _reason(error, key) or _plain(status)
    return _made(kind, f"target {target!r} answered {status}: {reason}", wait_s)


def from_object(error: object, *, target: str, key: str | None) -> ServiceError:
    """What to raise for an `error` inside an answer that began as a success."""
    kind = _by_words(error) or _by_number(error) or _by_type(error) or UpstreamError
    if kind is KeyRefused:
        return _made(kind, f"target {target!r} {_key_words(None)}", None)
    return _made(kind, f"target {target!r} failed: {_reason(error, key) or 'it did not say why'}", None)


def from_nothing(reason: str | None, words: str, *, target: str, has_thought: bool, has_called: bool) -> ServiceError:
    """What to raise for an answer that has an end and says nothing. `reason` is our word for that end, `words` are the
    upstream's; `has_called`: a call had begun.
    """
    kind: type[ServiceError] = EmptyAnswer
    if reason == "content_filter":
        kind = ContentFiltered
    elif reason == "length":
        kind = LimitTooLow
        if has_called or has_thought:
            what = "tool call was cut off by" if has_called else "thought used up"
            words = f"its {what} the limit of tokens: ask for a higher one"
    return kind(f"empty answer from target {target!r} ({words})")


def _key_words(status: int | None) -> str:
    """Not the upstream's own, which may hold a part of the key; it is the operator's fault."""
    return f"refused its key{f' ({status})' if status else ''}: see its api_key_env"


def _made(kind: type[ServiceError], message: str, wait_s: float | None) -> ServiceError:
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
    """By a code of its own, else by what it says: xAI's `error` is just a sentence."""
    for field in (error.get("code"), error.get("type")) if isinstance(error, dict) else ():
        if isinstance(field, str) and field in BY_CODE:
            return BY_CODE[field]
    return next((kind for phrase, kind in BY_PHRASE if phrase.search(_said(error))), None)


def _by_number(error: object) -> type[ServiceError] | None:
    code = error.get("code") if isinstance(error, dict) else None
    return BY_STATUS.get(code) if isinstance(code, int) else None


def _by_type(error: object) -> type[ServiceError] | None:
    kind = error.get("type") if isinstance(error, dict) else None
    return BY_TYPE.get(kind) if isinstance(kind, str) else None


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


def _wait_s(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """From `retry-after-ms`, which OpenAI and Azure send beside the other and which is finer, or `Retry-After`."""
    fine, value = headers.get("retry-after-ms", ""), headers.get("Retry-After")
    if fine.strip().isdecimal():
        return min(float(fine) / 1000, MAX_RETRY_AFTER_S)
    try:
        return None if value is None else min(retry_after_s(value, now=now), MAX_RETRY_AFTER_S)
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
