"""Which call is it, and how long does its caller wait?"""

import pytest

from edge.identity import budget_s_of, call_id_of

CONFIGURED = ("x-conversation-id", "x-call-id")

# headers, the body's, the path's, call id
CASES: dict[str, tuple[dict[str, str], str | None, str | None, str | None]] = {
    "nobody says": ({}, None, None, None),
    "a configured header": ({"x-call-id": "c1"}, None, None, "c1"),
    "the first configured header": ({"x-call-id": "c2", "x-conversation-id": "c1"}, None, None, "c1"),
    "a field of the body": ({}, "c3", None, "c3"),
    "a header before the body": ({"x-call-id": "c1"}, "c3", None, "c1"),
    "the platform's own header": ({"x-livekit-room-id": "r1"}, None, None, "r1"),
    "the body before the platform's own": ({"x-livekit-room-id": "r1"}, "c3", None, "c3"),
    "a template that nobody filled in is none": ({"x-call-id": "{{system__conversation_id}}"}, None, "p4", "p4"),
    "an empty header is none": ({"x-call-id": ""}, "c3", None, "c3"),
    "a header of odd characters is none": ({"x-call-id": "a b"}, "c3", None, "c3"),
    "control characters": ({"x-call-id": "a\nb"}, None, None, None),
    "other letters than ASCII": ({}, "hé", None, None),
    "200 characters": ({"x-call-id": "x" * 200}, None, None, "x" * 200),
    "201 characters": ({"x-call-id": "x" * 201}, None, None, None),
    "the path": ({}, None, "p4", "p4"),
    "the platform's own header before the path": ({"x-livekit-job-id": "j1"}, None, "p4", "j1"),
    "the body before the path": ({}, "c3", "p4", "c3"),
    "a configured header before the path": ({"x-call-id": "c1"}, None, "p4", "c1"),
    "a path of odd characters is none": ({}, None, "a b", None),
    "the path where all others are odd": ({"x-call-id": " ", "x-livekit-job-id": "é"}, "a b", "p4", "p4"),
}


@pytest.mark.parametrize(("headers", "from_body", "from_path", "call_id"), CASES.values(), ids=CASES)
def test_a_call_id_is_explicit_or_there_is_none(
    headers: dict[str, str], from_body: str | None, from_path: str | None, call_id: str | None
) -> None:
    assert call_id_of(headers, CONFIGURED, from_body, from_path) == call_id


@pytest.mark.parametrize(
    ("from_path", "query", "call_id"),
    [
        (None, {"call_id": "q5"}, "q5"),
        (None, {"session_id": "q6", "conversation_id": "q7"}, "q7"),
        ("p4", {"call_id": "q5"}, "p4"),
        (None, {"call_id": "a b"}, None),
        (None, {"id": "q5"}, None),
    ],
)
def test_the_query_is_asked_last(from_path: str | None, query: dict[str, str], call_id: str | None) -> None:
    assert call_id_of({}, CONFIGURED, None, from_path, query) == call_id


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
