"""Which call is it, and how long does its caller wait?"""

import pytest

from edge.identity import budget_s_of, call_id_of

CONFIGURED = ("x-conversation-id", "x-call-id")

CASES: dict[str, tuple[dict[str, str], str | None, str | None]] = {
    "nobody says": ({}, None, None),
    "a configured header": ({"x-call-id": "c1"}, None, "c1"),
    "the first configured header": ({"x-call-id": "c2", "x-conversation-id": "c1"}, None, "c1"),
    "a field of the body": ({}, "c3", "c3"),
    "a header before the body": ({"x-call-id": "c1"}, "c3", "c1"),
    "the platform's own header": ({"x-livekit-room-id": "r1"}, None, "r1"),
    "the body before the platform's own": ({"x-livekit-room-id": "r1"}, "c3", "c3"),
    "an empty header is none": ({"x-call-id": ""}, "c3", "c3"),
    "a header of odd characters is none": ({"x-call-id": "a b"}, "c3", "c3"),
    "control characters": ({"x-call-id": "a\nb"}, None, None),
    "other letters than ASCII": ({}, "hé", None),
    "200 characters": ({"x-call-id": "x" * 200}, None, "x" * 200),
    "201 characters": ({"x-call-id": "x" * 201}, None, None),
}


@pytest.mark.parametrize(("headers", "from_body", "call_id"), CASES.values(), ids=CASES)
def test_a_call_id_is_explicit_or_there_is_none(
    headers: dict[str, str], from_body: str | None, call_id: str | None
) -> None:
    assert call_id_of(headers, CONFIGURED, from_body) == call_id


@pytest.mark.parametrize(
    ("patience", "budget_s"),
    [
        ("", 8.0),
        ("600", 8.0),
        ("8.5", 8.0),
        ("4", 3.5),
        ("0.6", 0.5),
        ("0.1", 0.5),
        ("0", 8.0),
        ("-3", 8.0),
        ("nan", 8.0),
        ("inf", 8.0),
        ("soon", 8.0),
    ],
)
def test_a_client_that_waits_less_is_answered_sooner(patience: str, budget_s: float) -> None:
    assert budget_s_of({"x-stainless-read-timeout": patience}, 8.0) == budget_s


def test_a_budget_never_grows() -> None:
    assert budget_s_of({"x-stainless-read-timeout": "0.2"}, 0.25) == 0.25
