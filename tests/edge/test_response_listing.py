"""What led to a response, page by page."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from openai.types.responses import ResponseItem
from pydantic import TypeAdapter

from edge.errors import to_openai
from edge.response_listing import full, listed
from protocol.errors import ServiceError


def items(count: int) -> tuple[Raw, ...]:
    return tuple(Raw(b'{"role":"user","content":"%d","id":"msg_%d"}' % (at, at)) for at in range(count))


def page(count: int, **query: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(listed(items(count), query))
    return said


def numbers(said: dict[str, Any]) -> list[int]:
    return [int(item["id"].removeprefix("msg_")) for item in said["data"]]


def test_the_newest_twenty_come_first() -> None:
    said = page(30)

    assert numbers(said) == list(range(29, 9, -1))
    assert {key: value for key, value in said.items() if key != "data"} == {
        "object": "list",
        "first_id": "msg_29",
        "last_id": "msg_10",
        "has_more": True,
    }


@pytest.mark.parametrize(
    ("query", "wanted", "more"),
    [
        ({"order": "asc"}, [0, 1, 2, 3, 4, 5], False),
        ({"order": "desc"}, [5, 4, 3, 2, 1, 0], False),
        ({"limit": "2"}, [5, 4], True),
        ({"limit": "6"}, [5, 4, 3, 2, 1, 0], False),
        ({"limit": ""}, [5, 4, 3, 2, 1, 0], False),
        ({"after": "msg_4"}, [3, 2, 1, 0], False),
        ({"after": "msg_4", "limit": "2"}, [3, 2], True),
        ({"after": "msg_4", "order": "asc"}, [5], False),
        ({"after": "msg_0"}, [], False),
        ({"before": "msg_4"}, [5], False),
        ({"before": "msg_1", "limit": "2"}, [3, 2], True),
        ({"after": "msg_5", "before": "msg_1"}, [4, 3, 2], False),
        ({"include": "reasoning.encrypted_content"}, [5, 4, 3, 2, 1, 0], False),
    ],
)
def test_a_page_is_what_its_query_asks_for(query: dict[str, str], wanted: list[int], more: bool) -> None:
    said = page(6, **query)

    assert (numbers(said), said["has_more"]) == (wanted, more)


def test_of_nothing_there_is_an_empty_page() -> None:
    assert page(0) == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@settings(max_examples=30)
@given(count=st.integers(0, 130), limit=st.integers(1, 100), order=st.sampled_from(["asc", "desc"]))
def test_page_after_page_shows_each_once_in_order(count: int, limit: int, order: str) -> None:
    seen: list[int] = []
    said = page(count, limit=str(limit), order=order)
    while said["has_more"]:
        assert len(said["data"]) == limit
        seen += numbers(said)
        said = page(count, limit=str(limit), order=order, after=said["last_id"])

    assert [*seen, *numbers(said)] == sorted(range(count), reverse=order == "desc")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"limit": "0"}, "integer_below_min_value"),
        ({"limit": "-1"}, "integer_below_min_value"),
        ({"limit": "101"}, "integer_above_max_value"),
        ({"limit": "9" * 5000}, "invalid_type"),
        ({"limit": "ten"}, "invalid_type"),
        ({"limit": "1.5"}, "invalid_type"),
        ({"limit": "²"}, "invalid_type"),
        ({"order": "newest"}, "invalid_value"),
        ({"after": "msg_9"}, "invalid_value"),
        ({"before": "msg_9"}, "invalid_value"),
    ],
)
def test_a_value_that_is_none_names_its_field(query: dict[str, str], code: str) -> None:
    with pytest.raises(ServiceError) as raised:
        page(6, **query)

    status, body = to_openai(raised.value)
    assert (status, body["error"]["code"], body["error"]["param"]) == (400, code, *query)


@pytest.mark.parametrize(
    ("kept", "shown"),
    [
        (
            {"role": "user", "content": "Hi", "id": "msg_1"},
            {
                "id": "msg_1",
                "type": "message",
                "status": "completed",
                "role": "user",
                "content": [{"type": "input_text", "text": "Hi"}],
            },
        ),
        (
            {"type": "message", "role": "assistant", "content": "Hi", "id": "msg_1", "status": "incomplete"},
            {
                "id": "msg_1",
                "type": "message",
                "status": "incomplete",
                "role": "assistant",
                "content": [{"annotations": [], "logprobs": [], "type": "output_text", "text": "Hi"}],
            },
        ),
        (
            {"role": "user", "content": [{"type": "input_image", "image_url": "https://a/b"}], "id": "m", "type": None},
            {
                "id": "m",
                "type": "message",
                "status": "completed",
                "role": "user",
                "content": [{"type": "input_image", "detail": "auto", "image_url": "https://a/b"}],
            },
        ),
        (
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}], "id": "m"},
            {
                "id": "m",
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "refusal", "refusal": "No."}],
            },
        ),
        (
            {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}", "id": "fc_1"},
            {
                "id": "fc_1",
                "type": "function_call",
                "status": "completed",
                "call_id": "call_1",
                "name": "f",
                "arguments": "{}",
            },
        ),
        (
            {"type": "function_call_output", "call_id": "call_1", "output": "12", "id": "fco_1", "status": None},
            {"id": "fco_1", "type": "function_call_output", "status": "completed", "call_id": "call_1", "output": "12"},
        ),
        (
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
        ),
    ],
)
def test_an_item_has_all_that_openai_s_own_has(kept: dict[str, Any], shown: dict[str, Any]) -> None:
    assert full(kept) == shown
    TypeAdapter[Any](ResponseItem).validate_python(shown, strict=True)
