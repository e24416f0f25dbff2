"""ServiceError -> OpenAI's error object: the API contract's table, read aloud."""

import json

import pytest

from edge.errors import OPENAI, body_bytes, headers_for, to_openai
from protocol import errors
from protocol.errors import BY_CODE, ServiceError

TABLE = [
    # wire code, status, type, code in the answer
    ("invalid_json", 400, "invalid_request_error", None),
    ("missing_required_parameter", 400, "invalid_request_error", "missing_required_parameter"),
    ("invalid_type", 400, "invalid_request_error", "invalid_type"),
    ("invalid_value", 400, "invalid_request_error", "invalid_value"),
    ("decimal_above_max_value", 400, "invalid_request_error", "decimal_above_max_value"),
    ("decimal_below_min_value", 400, "invalid_request_error", "decimal_below_min_value"),
    ("integer_above_max_value", 400, "invalid_request_error", "integer_above_max_value"),
    ("integer_below_min_value", 400, "invalid_request_error", "integer_below_min_value"),
    ("empty_array", 400, "invalid_request_error", "empty_array"),
    ("context_length_exceeded", 400, "invalid_request_error", "context_length_exceeded"),
    ("unsupported_parameter", 400, "invalid_request_error", "unsupported_parameter"),
    ("unsupported_value", 400, "invalid_request_error", "unsupported_value"),
    ("upstream_refused", 400, "invalid_request_error", None),
    ("no_key", 401, "invalid_request_error", None),
    ("invalid_api_key", 401, "invalid_request_error", "invalid_api_key"),
    ("model_not_found", 404, "invalid_request_error", "model_not_found"),
    ("unknown_path", 404, "invalid_request_error", None),
    ("method_not_supported", 405, "invalid_request_error", "method_not_supported"),
    ("request_timeout", 408, "invalid_request_error", "request_timeout"),
    ("too_large", 413, "invalid_request_error", None),
    ("rate_limit_exceeded", 429, "rate_limit_error", "rate_limit_exceeded"),
    ("insufficient_quota", 429, "insufficient_quota", "insufficient_quota"),
    ("interrupted", 499, "invalid_request_error", "interrupted"),
    ("slow_client", 499, "invalid_request_error", "slow_client"),
    ("internal", 500, "server_error", None),
    ("upstream_error", 502, "server_error", "upstream_error"),
    ("worker_lost", 502, "server_error", "worker_lost"),
    ("unheard", 502, "server_error", "worker_lost"),
    ("no_worker", 503, "server_error", "no_worker"),
    ("overloaded", 503, "server_error", "overloaded"),
    ("draining", 503, "server_error", "overloaded"),
    ("no_slot", 503, "server_error", "overloaded"),
    ("not_ready", 503, "server_error", "not_ready"),
    ("upstream_timeout", 504, "server_error", "upstream_timeout"),
]


def test_every_error_has_a_row_and_every_row_an_error() -> None:
    assert set(OPENAI) == set(BY_CODE) == {code for code, *_ in TABLE}


@pytest.mark.parametrize(("code", "status", "kind", "told"), TABLE)
def test_an_error_is_told_as_the_contract_says(code: str, status: int, kind: str, told: str | None) -> None:
    answered, body = to_openai(BY_CODE[code]("what happened, and the way out", param="field"))

    assert answered == status
    assert body == {
        "error": {"message": "what happened, and the way out", "type": kind, "param": "field", "code": told}
    }


@pytest.mark.parametrize("code", BY_CODE)
def test_all_four_keys_are_always_there_and_never_a_number(code: str) -> None:
    error = json.loads(body_bytes(BY_CODE[code]("m")))["error"]

    assert list(error) == ["message", "type", "param", "code"]
    assert all(value is None or isinstance(value, str) for value in error.values())


def test_an_unknown_model_is_the_fault_of_the_field_model() -> None:
    assert to_openai(errors.ModelNotFound("no model 'x'"))[1]["error"]["param"] == "model"


def test_an_error_is_one_line_whatever_its_message_holds() -> None:
    """A path from the request line may hold line breaks, and bytes that are no text."""
    body = body_bytes(errors.UnknownPath("no such path: /a\nb\udcff"))

    assert b"\n" not in body
    assert json.loads(body)["error"]["message"] == "no such path: /a\nb?"


@pytest.mark.parametrize("code", BY_CODE)
def test_only_429_and_503_carry_a_time_to_wait(code: str) -> None:
    error = BY_CODE[code]("m")

    assert ("Retry-After" in headers_for(error)) == (to_openai(error)[0] in (429, 503))


@pytest.mark.parametrize(
    ("wait_s", "headers"),
    [
        (None, {"Retry-After": "1"}),
        (0, {"Retry-After": "1"}),
        (1, {"Retry-After": "1"}),
        (7, {"Retry-After": "7"}),
        (0.25, {"Retry-After": "1", "retry-after-ms": "250"}),
        (1.5, {"Retry-After": "2", "retry-after-ms": "1500"}),
    ],
)
def test_the_wait_is_in_whole_seconds_and_finer_beside_it(wait_s: float | None, headers: dict[str, str]) -> None:
    error = errors.Overloaded("m", retry_after_s=wait_s)

    assert headers_for(error) == {**headers, "x-should-retry": "false"}


@pytest.mark.parametrize(
    ("error", "retry"),
    [
        (errors.Overloaded, "false"),
        (errors.QuotaGone, "false"),
        (errors.RateLimited, None),
        (errors.NoWorker, "true"),
        (errors.Draining, "true"),
        (errors.NoSlot, "true"),
        (errors.NotReady, "true"),
        (errors.InvalidType, None),
        (errors.Internal, None),
        (errors.UpstreamError, None),
        (errors.UpstreamTimeout, None),
    ],
)
def test_clients_are_told_to_retry_only_where_their_own_rules_would_be_wrong(
    error: type[ServiceError], retry: str | None
) -> None:
    assert headers_for(error("m")).get("x-should-retry") == retry


def test_a_refused_key_names_the_scheme() -> None:
    assert headers_for(errors.NoKey("m")) == headers_for(errors.InvalidKey("m")) == {"WWW-Authenticate": "Bearer"}
