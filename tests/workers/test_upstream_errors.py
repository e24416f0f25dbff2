"""An upstream's refusals, and what the caller hears of them."""

import json
from datetime import UTC, datetime

import pytest

from protocol.errors import (
    ContentFiltered,
    ContextTooLong,
    KeyRefused,
    NotReady,
    QuotaGone,
    RateLimited,
    ServiceError,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)
from workers.targets.upstream_errors import SealRefused, from_object, from_status, retry_after_s

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
    (400, says("Your credit balance is too low", type="invalid_request_error"), QuotaGone, "balance is too low"),
    (400, says("Output blocked by content filtering policy"), ContentFiltered, "blocked by"),
    (
        400,
        says("input length and `max_tokens` exceed context limit: 9 + 2 > 10"),
        ContextTooLong,
        "exceed context limit",
    ),
    (529, says("Overloaded", type="overloaded_error"), UpstreamError, "answered 529: Overloaded"),
    (401, says(f"Incorrect key {KEY}"), KeyRefused, "refused its key (401): see its api_key_env"),
    (403, says("not your model"), KeyRefused, "refused its key (403)"),
    (400, says(f"key {KEY}?", type="authentication_error"), KeyRefused, "refused its key (400)"),
    (400, says("filtered", code="content_filter", innererror={}), ContentFiltered, "answered 400: filtered"),
    (400, says("flagged", code="invalid_prompt"), ContentFiltered, "flagged"),
    (400, says("prompt is too long: 3 tokens > 2 maximum", type="invalid_request_error"), ContextTooLong, "3 tokens"),
    (400, says("the request exceeds the available context size"), ContextTooLong, "available"),
    (400, says("Your input exceeds the context window of this model."), ContextTooLong, "window"),
    (402, says("Insufficient Balance"), QuotaGone, "Insufficient Balance"),
    (425, "", UpstreamError, "answered 425"),
    (529, says("Overloaded", type="overloaded_error"), UpstreamError, "Overloaded"),
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
    (400, '{"error": "prompt is too long"}', ContextTooLong, "too long"),
    (400, says("The encrypted content gA.. could not be verified. Reason: not ours."), SealRefused, "could not be"),
    (400, says("x", type="invalid_request_error", code="invalid_encrypted_content"), SealRefused, "x"),
    (400, says("Encrypted content is not supported with this model."), SealRefused, "not supported"),
    (
        400,
        '{"code": "invalid-argument", "error": "Could not decrypt the provided encrypted_content."}',
        SealRefused,
        "Could not decrypt",
    ),
    (400, '{"error": "Could not decode the compaction blob. Ensure it is unmodified."}', SealRefused, "blob"),
    (
        400,
        says("Item 'rs_1' of type 'reasoning' was provided without its required following item."),
        SealRefused,
        "following item",
    ),
    (404, says("Item with id 'rs_1' not found. Items are not persisted when `store` is false."), SealRefused, "rs_1"),
    (400, says("Duplicate item found with id rs_1. Remove duplicate items from your input."), SealRefused, "rs_1"),
    (400, says("Item 'msg_1' was provided twice"), UpstreamRefused, "twice"),
    (400, says("reasoning `encrypted_content` was not issued to this caller"), SealRefused, "not issued"),
    (400, says("Invalid value: 'reasoning.encrypted_content'. Supported values are: 'a'."), SealRefused, "Supported"),
    (400, says("encrypted PDFs are not supported"), UpstreamRefused, "PDFs"),
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
    [("2", 2), ("1.2", 1.2), ("Sat, 21 Nov 2026 08:00:30 GMT", 30), ("soon", None), ("9" * 400, 86_400)],
)
def test_how_long_to_wait_is_passed_on(value: str, seconds: float | None) -> None:
    assert error(429, Retry_After=value).retry_after_s == seconds
    assert error(503, Retry_After=value).retry_after_s == seconds


def test_milliseconds_are_finer_where_they_are_told() -> None:
    assert error(429, retry_after_ms="250", Retry_After="1").retry_after_s == 0.25
    assert error(429, retry_after_ms="soon", Retry_After="1").retry_after_s == 1


IN_A_STREAM: list[tuple[object, type[ServiceError]]] = [
    ({"message": "x", "code": 429}, RateLimited),
    ({"message": "x", "code": 400}, UpstreamRefused),
    ({"message": "x", "code": 401}, KeyRefused),
    ({"message": f"bad key {KEY}", "type": "authentication_error"}, KeyRefused),
    ({"message": "x", "code": "content_filter"}, ContentFiltered),
    ({"message": "x", "type": "overloaded_error"}, UpstreamError),
    ({"message": "x", "type": "server_error"}, UpstreamError),
    ("x", UpstreamError),
]


@pytest.mark.parametrize(("told", "kind"), IN_A_STREAM)
def test_an_error_inside_a_success_has_the_same_classes(told: object, kind: type[ServiceError]) -> None:
    failure = from_object(told, target="gpt", key=KEY)
    assert type(failure) is kind
    assert KEY not in str(failure)


def test_both_forms_of_retry_after() -> None:
    assert retry_after_s("7", now=NOW) == 7
    assert retry_after_s("Sat, 21 Nov 2026 07:00:00 GMT", now=NOW) == 0
    assert retry_after_s("Sat, 21 Nov 2026 08:00:01 -0000", now=NOW) == 1
    for wrong in ("", "-1", "soon", "1.2.3", "99 Nov"):
        with pytest.raises(ValueError):
            retry_after_s(wrong, now=NOW)
