"""ServiceError -> OpenAI's error object: the API contract's table, read aloud."""

import json
from typing import NamedTuple

import pytest

from edge.chat import ChatAnswer
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
    ("content_filter", 400, "invalid_request_error", "content_filter"),
    ("unsupported_parameter", 400, "invalid_request_error", "unsupported_parameter"),
    ("unsupported_value", 400, "invalid_request_error", "unsupported_value"),
    ("upstream_refused", 400, "invalid_request_error", None),
    ("previous_response_not_found", 400, "invalid_request_error", "previous_response_not_found"),
    ("websocket_not_served", 400, "invalid_request_error", "websocket_not_served"),
    ("no_key", 401, "invalid_request_error", None),
    ("invalid_api_key", 401, "invalid_request_error", "invalid_api_key"),
    ("invalid_signature", 401, "invalid_request_error", "invalid_signature"),
    ("model_not_found", 404, "invalid_request_error", "model_not_found"),
    ("response_not_found", 404, "invalid_request_error", None),
    ("unknown_path", 404, "invalid_request_error", None),
    ("method_not_supported", 405, "invalid_request_error", "method_not_supported"),
    ("request_timeout", 408, "invalid_request_error", "request_timeout"),
    ("too_large", 413, "invalid_request_error", None),
    ("rate_limit_exceeded", 429, "rate_limit_error", "rate_limit_exceeded"),
    ("insufficient_quota", 429, "insufficient_quota", "insufficient_quota"),
    ("interrupted", 499, "invalid_request_error", "interrupted"),
    ("cancelled", 499, "invalid_request_error", "cancelled"),
    ("slow_client", 499, "invalid_request_error", "slow_client"),
    ("internal", 500, "server_error", None),
    ("upstream_error", 502, "server_error", "upstream_error"),
    ("empty_answer", 502, "server_error", "upstream_error"),
    ("key_refused", 502, "server_error", "upstream_error"),
    ("worker_lost", 502, "server_error", "worker_lost"),
    ("unheard", 502, "server_error", "worker_lost"),
    ("no_worker", 503, "server_error", "no_worker"),
    ("overloaded", 503, "server_error", "overloaded"),
    ("draining", 503, "server_error", "overloaded"),
    ("no_slot", 503, "server_error", "overloaded"),
    ("not_ready", 503, "server_error", "not_ready"),
    ("not_kept", 503, "server_error", "not_kept"),
    ("store_away", 503, "server_error", "store_away"),
    ("upstream_timeout", 504, "server_error", "upstream_timeout"),
]


class Told(NamedTuple):
    """A row of the contract's normative table, and what it says of retries below it."""

    status: int
    type: str
    code: str | None
    param: str | None
    retry: bool  # OpenAI's clients ask again
    headers: tuple[str, ...] = ()


REQUEST, SERVER = "invalid_request_error", "server_error"
# class of failure as the contract words it, the error that is one, how it is told; nothing here is a 403 yet: every key
# may use every model, and an upstream's 401 or 403 is its operator's fault, a 502
CONTRACT: list[tuple[str, ServiceError, Told]] = [
    ("body is not JSON, not an object, empty", errors.InvalidJson("m"), Told(400, REQUEST, None, None, False)),
    (
        "missing required parameter",
        errors.MissingParameter("m", param="model"),
        Told(400, REQUEST, "missing_required_parameter", "model", False),
    ),
    (
        "wrong type",
        errors.InvalidType("m", param="messages[2].content"),
        Told(400, REQUEST, "invalid_type", "messages[2].content", False),
    ),
    (
        "wrong value",
        errors.InvalidValue("m", param="messages[0].role"),
        Told(400, REQUEST, "invalid_value", "messages[0].role", False),
    ),
    *(
        ("number out of range", kind("m", param="top_p"), Told(400, REQUEST, code, "top_p", False))
        for kind, code in [
            (errors.DecimalAboveMax, "decimal_above_max_value"),
            (errors.DecimalBelowMin, "decimal_below_min_value"),
            (errors.IntegerBelowMin, "integer_below_min_value"),
            (errors.IntegerAboveMax, "integer_above_max_value"),
        ]
    ),
    ("empty list", errors.EmptyArray("m", param="messages"), Told(400, REQUEST, "empty_array", "messages", False)),
    ("prompt too long", errors.ContextTooLong("m"), Told(400, REQUEST, "context_length_exceeded", "messages", False)),
    (
        "parameter known but not supported here",
        errors.UnsupportedParameter("m", param="web_search_options"),
        Told(400, REQUEST, "unsupported_parameter", "web_search_options", False),
    ),
    (
        "value known but not supported here",
        errors.UnsupportedValue("m", param="n"),
        Told(400, REQUEST, "unsupported_value", "n", False),
    ),
    (
        "previous_response_id unknown",
        errors.PreviousResponseNotFound("m"),
        Told(400, REQUEST, "previous_response_not_found", "previous_response_id", False),
    ),
    ("no key", errors.NoKey("m"), Told(401, REQUEST, None, None, False)),
    ("wrong key", errors.InvalidKey("m"), Told(401, REQUEST, "invalid_api_key", None, False)),
    ("unknown model", errors.ModelNotFound("m"), Told(404, REQUEST, "model_not_found", "model", False)),
    ("unknown URL", errors.UnknownPath("m"), Told(404, REQUEST, None, None, False)),
    ("unknown method", errors.MethodNotAllowed("m"), Told(405, REQUEST, "method_not_supported", None, False)),
    ("body too large", errors.TooLarge("m"), Told(413, REQUEST, None, None, False)),
    (
        "rate limit",
        errors.RateLimited("m"),
        Told(429, "rate_limit_error", "rate_limit_exceeded", None, True, ("Retry-After",)),
    ),
    (
        "quota gone",
        errors.QuotaGone("m"),
        Told(429, "insufficient_quota", "insufficient_quota", None, False, ("Retry-After", "x-should-retry")),
    ),
    ("server fault", errors.Internal("m"), Told(500, SERVER, None, None, True)),
    ("upstream failed, answered nonsense", errors.UpstreamError("m"), Told(502, SERVER, "upstream_error", None, True)),
    ("upstream said nothing", errors.EmptyAnswer("m"), Told(502, SERVER, "upstream_error", None, True)),
    ("no worker", errors.NoWorker("m"), Told(503, SERVER, "no_worker", None, True, ("Retry-After", "x-should-retry"))),
    (
        "overloaded",
        errors.Overloaded("m"),
        Told(503, SERVER, "overloaded", None, False, ("Retry-After", "x-should-retry")),
    ),
    (
        "stored responses cannot be read",
        errors.StoreAway("m"),
        Told(503, SERVER, "store_away", None, True, ("Retry-After", "x-should-retry")),
    ),
    ("upstream too slow", errors.UpstreamTimeout("m"), Told(504, SERVER, "upstream_timeout", None, True)),
]
contract = pytest.mark.parametrize(
    ("error", "told"), [row[1:] for row in CONTRACT], ids=[f"{row[0]}: {row[1].code}" for row in CONTRACT]
)


def is_retried(status: int, headers: dict[str, str]) -> bool:
    """The rules of openai-python and openai-node."""
    said = headers.get("x-should-retry")
    return said == "true" if said else status in (408, 409, 429) or status >= 500


@contract
def test_before_a_stream_a_failure_is_told_as_the_contracts_table_has_it(error: ServiceError, told: Told) -> None:
    status, body = to_openai(error)
    headers = headers_for(error)

    assert (status, body["error"]) == (
        told.status,
        {"message": "m", "type": told.type, "param": told.param, "code": told.code},
    )
    assert is_retried(status, headers) == told.retry
    assert {name for name in headers if name != "WWW-Authenticate"} == set(told.headers)
    assert ("WWW-Authenticate" in headers) == (status == 401)


@contract
def test_in_a_stream_it_is_the_same_object_in_one_event_and_no_end_mark(error: ServiceError, told: Told) -> None:
    answer = ChatAnswer(turn_id="t", model="m", created=1, include_usage=True)
    answer.opening()

    said = answer.error(error)

    assert said.startswith(b"data: ")
    assert said.endswith(b"}\n\n")
    assert said.count(b"\n") == 2
    assert json.loads(said[6:]) == {
        "error": {"message": "m", "type": told.type, "param": told.param, "code": told.code}
    }


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
