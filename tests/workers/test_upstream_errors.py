"""An upstream's refusals, and what the caller hears of them."""

import json
from datetime import UTC, datetime

import pytest

from protocol.errors import (
    ContextTooLong,
    NotReady,
    RateLimited,
    ServiceError,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)
from workers.targets.upstream_errors import from_status, retry_after_s

NOW = datetime(2026, 11, 21, 8, 0, 0, tzinfo=UTC)
KEY = "sk-very-secret"


def error(status: int, body: str = "", **headers: str) -> ServiceError:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return from_status(status, body.encode(), told, target="gpt", key=KEY, now=NOW)


def says(message: object, **more: object) -> str:
    return json.dumps({"error": {"message": message, **more}})


TABLE: list[tuple[int, str, type[ServiceError], str]] = [
    (400, says("no such field"), UpstreamRefused, "target 'gpt' answered 400: no such field"),
    (422, says("no such field"), UpstreamRefused, "no such field"),
    (413, "", UpstreamRefused, "did not say why"),
    (400, says("too long", code="context_length_exceeded"), ContextTooLong, "too long"),
    (400, says("too long", type="exceed_context_size_error", code=400), ContextTooLong, "too long"),
    (400, '{"object": "error", "message": "maximum context length is 5", "code": 400}', ContextTooLong, "is 5"),
    (401, says(f"Incorrect key {KEY}"), UpstreamError, "refused its key (401): see its api_key_env"),
    (403, says("not your model"), UpstreamError, "refused its key (403)"),
    (404, says("no model x"), UpstreamError, "no model x"),
    (404, "<html>", UpstreamError, "see its base_url and model"),
    (408, "", UpstreamTimeout, "answered 408"),
    (409, "", UpstreamError, "answered 409"),
    (429, says("slow down"), RateLimited, "slow down"),
    (500, says("boom"), UpstreamError, "boom"),
    (503, "", UpstreamError, "answered 503"),
    (503, says("Loading model", type="unavailable_error", code=503), NotReady, "loads its model; try again in a mom"),
    (503, '{"error": "Model m is currently loading", "estimated_time": 20}', NotReady, "loads its model; try again"),
    (503, says("no room"), UpstreamError, "answered 503: no room"),
    (500, says("error loading model"), UpstreamError, "answered 500"),
    (503, says("the server is overloading, slow down"), UpstreamError, "slow down"),
    (503, says("error while downloading image"), UpstreamError, "downloading image"),
    (504, "", UpstreamTimeout, "answered 504"),
    (307, "", UpstreamError, "a redirect, which is not followed"),
    (400, '{"error": "plain"}', UpstreamRefused, "plain"),
    (422, '{"detail": "plain"}', UpstreamRefused, "plain"),
    (400, '{"detail": [{"loc": []}]}', UpstreamRefused, "did not say why"),
    (400, '{"error": {"mess', UpstreamRefused, "did not say why"),
    (400, "[1]", UpstreamRefused, "did not say why"),
    (400, "[" * 100_000, UpstreamRefused, "did not say why"),
    (400, says(f"got {KEY}?"), UpstreamRefused, "got [key]?"),
    (400, says(7, code=[]), UpstreamRefused, "did not say why"),
]


@pytest.mark.parametrize(("status", "body", "kind", "words"), TABLE)
def test_a_status_becomes_an_error(status: int, body: str, kind: type[ServiceError], words: str) -> None:
    told = error(status, body)
    assert type(told) is kind
    assert words in str(told)
    assert KEY not in str(told)
    assert told.param == ("messages" if kind is ContextTooLong else None)


def test_an_upstreams_sentence_is_bounded() -> None:
    assert len(str(error(400, says("x" * 10_000)))) < 600


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("2", 2), ("1.2", 2), ("Sat, 21 Nov 2026 08:00:30 GMT", 30), ("soon", None), ("9" * 400, 86_400)],
)
def test_how_long_to_wait_is_passed_on(value: str, seconds: int | None) -> None:
    assert error(429, Retry_After=value).retry_after_s == seconds
    assert error(503, Retry_After=value).retry_after_s == seconds


def test_both_forms_of_retry_after() -> None:
    assert retry_after_s("7", now=NOW) == 7
    assert retry_after_s("Sat, 21 Nov 2026 07:00:00 GMT", now=NOW) == 0
    assert retry_after_s("Sat, 21 Nov 2026 08:00:01 -0000", now=NOW) == 1
    for wrong in ("", "-1", "soon", "1.2.3", "99 Nov"):
        with pytest.raises(ValueError):
            retry_after_s(wrong, now=NOW)
