"""A request's path -> route, secret, call id, profile: a table of what platforms ask for, and of what nobody means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.paths import (
    BASE,
    CANCEL,
    CHAT,
    INPUT_ITEMS,
    MODEL,
    MODELS,
    RESPONSE,
    RESPONSES,
    WORDS,
    Place,
    read,
    shown,
    socket_route,
)

SECRET = "sk-line/1%"
PLACES: dict[str, Place] = {
    "/v1/chat/completions": Place(CHAT),
    "/chat/completions": Place(CHAT),
    "/v1/chat/completions/": Place(CHAT),
    "/chat/completions/": Place(CHAT),
    "//v1//chat/completions//": Place(CHAT),
    # the base URL ends in /v1 or in all of it, and the platform appends that again
    "/v1/v1/chat/completions": Place(CHAT),
    "/v1/chat/completions/chat/completions": Place(CHAT),
    "/chat/completions/chat/completions": Place(CHAT),
    "/v1/chat/completions/v1/chat/completions": Place(CHAT),
    "/v1/chat/completions/v1/chat/completions/": Place(CHAT),
    "/v1/models": Place(MODELS),
    "/models": Place(MODELS),
    "/v1/models/": Place(MODELS),
    "/v1/v1/models": Place(MODELS),
    "/v1/chat/completions/models": Place(MODELS),
    "/v1/models/echo": Place(MODEL, model="echo"),
    "/models/echo/": Place(MODEL, model="echo"),
    "/v1/models/openai/gpt-4.1-mini": Place(MODEL, model="openai/gpt-4.1-mini"),
    "/v1/models/openai%2Fgpt-4.1-mini": Place(MODEL, model="openai/gpt-4.1-mini"),
    "/v1/models/v1": Place(MODEL, model="v1"),
    "/v1/models/%20": Place(MODEL, model=" "),
    "/c/call-1/v1/chat/completions": Place(CHAT, call_id="call-1"),
    "/c/call-1/chat/completions": Place(CHAT, call_id="call-1"),
    "/c/call%2F1/v1/models": Place(MODELS, call_id="call/1"),
    "/c//v1/chat/completions": Place(CHAT),  # a platform whose variable is empty
    "/c/v1/chat/completions": Place(CHAT),
    "/c/models": Place(MODELS),
    "/t//c/call-1/v1/chat/completions": Place(CHAT, call_id="call-1"),
    "//t/s3cret//c/call-1//v1//models": Place(MODELS, "s3cret", "call-1"),
    "/c/t/v1/chat/completions": Place(CHAT, call_id="t"),
    "/t/s3cret/v1/chat/completions": Place(CHAT, "s3cret"),
    "/t/s3cret/chat/completions": Place(CHAT, "s3cret"),
    "/t/s3cret/v1/v1/chat/completions/chat/completions/": Place(CHAT, "s3cret"),
    "/t/sk-line%2F1%25/v1/models/echo": Place(MODEL, SECRET, model="echo"),
    "/t/v1/chat/completions": Place(CHAT),
    "/t/s3cret/c/call-1/v1/chat/completions": Place(CHAT, "s3cret", "call-1"),
    "/c/call-1/t/s3cret/v1/chat/completions": Place(CHAT, "s3cret", "call-1"),
    "/t/c/c/t/v1/chat/completions": Place(CHAT, "c", "t"),
    "/p/livekit/v1/chat/completions": Place(CHAT, profile="livekit"),
    "/p/livekit/models": Place(MODELS, profile="livekit"),
    "/t/s3cret/p/vapi/c/call-1/v1/chat/completions": Place(CHAT, "s3cret", "call-1", profile="vapi"),
    "/p/vapi/c/call-1/t/s3cret/chat/completions": Place(CHAT, "s3cret", "call-1", profile="vapi"),
    "/c/call-1/p/p/v1/chat/completions": Place(CHAT, call_id="call-1", profile="p"),
    "/p/v1/chat/completions": Place(CHAT),  # a platform whose variable is empty
    "/p//c/call-1/v1/chat/completions": Place(CHAT, call_id="call-1"),
    "/v1/responses": Place(RESPONSES),
    "/v1/responses/": Place(RESPONSES),
    "/responses": Place(RESPONSES),
    "/v1/v1/responses": Place(RESPONSES),
    "/v1/responses/responses": Place(RESPONSES),
    "/v1/responses/v1/responses": Place(RESPONSES),
    "/v1/responses/models": Place(MODELS),
    "/t/s3cret/p/livekit/c/call-1/v1/responses": Place(RESPONSES, "s3cret", "call-1", profile="livekit"),
    "/c/responses": Place(RESPONSES),  # a platform whose variable is empty
    "/v1/responses/resp_0a": Place(RESPONSE, response_id="resp_0a"),
    "/v1/responses/a%2Fb": Place(RESPONSE, response_id="a/b"),
    "/v1/responses/resp_0a/": Place(RESPONSE, response_id="resp_0a"),
    "/v1/responses/resp_0a/cancel": Place(CANCEL, response_id="resp_0a"),
    "/v1/responses/resp_0a/input_items": Place(INPUT_ITEMS, response_id="resp_0a"),
    "/t/s3cret/v1/responses/resp_0a": Place(RESPONSE, "s3cret", response_id="resp_0a"),
}
NOWHERE = [
    *("", "/", "/v1", "/v1/", "/v1/v1", "/health", "/docs", "/openapi.json", "/chat", "/v1/chat", "/completions"),
    *("/v2/chat/completions", "/V1/chat/completions", "/v1/Chat/completions", "/v1/completions", "/v1/Responses"),
    *("/api/v1/chat/completions", "/v1/chat/completions/x", "/v1/chat/x/completions", "/v1/chatcompletions"),
    *("/t/v1", "/t", "/t/", "/c", "/t/s3cret", "/t/s3cret/", "/t/s3cret/v1", "/t/s3cret/health", "/T/s3cret/v1/models"),
    *(
        "//c//call-1",
        "/c//call-1/v1/models",
        "/t/a/t/b/v1/models",
        "/c/a/c/b/v1/models",
        "/t/a/c/b/t/d/v1/models",
        "/v1/t/s3cret/models",
        "/v1/c/a/models",
        "/v1/p/vapi/models",
        "/p/vapi/p/fish/v1/models",
        "/p/vapi",
    ),
    *(
        "/v1/responses/compact",
        "/v1/responses/input_tokens",
        "/v1/resp_0a",
        "/v1/responses/resp_0a/output",
        "/v1/responses/resp_0a/cancel/x",
        "/v1/chat/completions/resp_0a",
    ),
]


@pytest.mark.parametrize(("path", "place"), PLACES.items(), ids=PLACES)
def test_a_path_is_read_for_what_it_means(path: str, place: Place) -> None:
    assert read(path) == place


@pytest.mark.parametrize("path", NOWHERE)
def test_a_path_that_means_nothing_of_ours_is_none(path: str) -> None:
    assert read(path) is None


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/responses", RESPONSES),
        ("/t/s3cret/c/call-1/p/livekit/v1/responses", RESPONSES),
        ("/v1/chat/completions", CHAT),
        ("/v1", BASE),
        ("/v1/", BASE),
        ("/", BASE),
        ("/t/s3cret/v1", BASE),
        ("/t/s3cret/p/livekit", BASE),
        ("/v1/models", None),
        ("/v1/responses/resp_0a", RESPONSE),
        ("/v1/responses/resp_0a/cancel", None),
        ("/v1/realtime", None),
        ("/docs", None),
    ],
)
def test_an_agent_that_dials_a_web_socket_is_known_by_where_it_dials(path: str, route: str | None) -> None:
    assert socket_route(path) == route


def test_a_place_does_not_show_its_secret() -> None:
    assert "s3cret" not in repr(read("/t/s3cret/v1/models"))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/", "/"),
        ("/v1/completions", "/v1/completions"),
        ("/v1/nowhere", "/v1/…"),
        ("/t/s3cret/v1/chat", "/t/…/v1/chat"),
        ("/c/call-1/t/s3cret", "/c/…/t/…"),
        ("/%74/s3cret/v1/chat", "/…/…/v1/chat"),
        ("/s3cret/v1/chat/completions", "/…/v1/chat/completions"),
        ("/v1/t/s3cret/with/a/slash/chat/completions", "/v1/t/…/…/…/…/chat/completions"),
        ("/p/s3cret/v1/chat", "/p/…/v1/chat"),
        ("/v1" * 4000, "/v1" * 11 + "/…"),
    ],
)
def test_a_path_in_a_message_has_only_words_of_ours(path: str, said: str) -> None:
    """Any other may be a secret, in its place or in a wrong one."""
    assert shown(path) == said


@given(path=st.text())
def test_nothing_that_a_caller_chose_is_shown(path: str) -> None:
    assert set(shown(path).split("/")) <= WORDS | {"…"}


@given(path=st.text())
def test_any_text_is_read_or_is_none(path: str) -> None:
    place = read(path)

    assert place is None or place.route in (CHAT, MODELS, MODEL)
