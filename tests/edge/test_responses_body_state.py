"""What is kept of a request for a response, and what one goes on from."""

import json
from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from edge.responses_body import continued, parse
from protocol.errors import EmptyArray, InvalidValue
from protocol.messages import Message, PastCall
from tests.edge.responses_bodies import CALL, RESULT, USER, body, ids, read, told


def test_a_response_is_stored_unless_it_is_not_to_be() -> None:
    assert [parse(body(store=store)).store for store in (None, True, False)] == [True, True, False]


def test_an_item_is_kept_as_it_came_but_for_an_id_where_it_has_none() -> None:
    with_id = b'{ "id":"msg_own", "role":"user",  "content":"\\u0068ello", "n":1.0e2 }'
    without = b'{ "role":"user",  "id":null, "content":"\\u0068ello", "n":1.0e2 }'

    request = read(b'{"model":"m","input":[%b,%b]}' % (with_id, without))

    assert [bytes(item) for item in request.items] == [
        with_id,
        b'{"id":"msg_new0001","role":"user","content":"\\u0068ello","n":1.0e2}',
    ]
    assert request.own == 2


def test_an_id_says_what_it_is_of_and_no_other_item_has_it() -> None:
    thought = {"type": "reasoning", "summary": []}
    data = told(USER, USER, thought, CALL, RESULT)

    assert [id_.partition("_")[0] for id_ in ids(parse(data))] == ["msg", "msg", "rs", "fc", "fco"]
    assert len({*ids(parse(data)), *ids(parse(data))}) == 10
    assert all(len(bytes(item)) < 200 for item in parse(data).items)


def test_a_string_is_kept_as_a_message() -> None:
    assert [json.loads(bytes(item)) for item in read(body(input="hi")).items] == [
        {"id": "msg_new0000", "type": "message", "role": "user", "content": "hi"}
    ]


@pytest.mark.parametrize("fields", [{"input": None}, {"input": []}])
def test_what_goes_on_from_a_response_may_say_nothing_new(fields: dict[str, Any]) -> None:
    request = parse(body(**fields, previous_response_id="resp_1"))

    assert (request.messages, request.own, request.previous_response_id) == ((), 0, "resp_1")
    assert continued(request, [Raw(json.dumps(USER).encode())], {}).messages == (Message("user", "hello"),)


def test_an_empty_id_goes_on_from_nothing() -> None:
    request = parse(body(input="hello", previous_response_id=""))

    assert (request.previous_response_id, request.echoed["previous_response_id"]) == (None, None)
    with pytest.raises(EmptyArray):
        parse(body(input=[], previous_response_id=""))


def test_a_continued_request_has_the_past_between_its_instructions_and_its_input() -> None:
    past = read(
        told({"role": "system", "content": "of old"}, {"role": "user", "content": "one"}, CALL, instructions="x")
    )
    request = parse(told(RESULT, {"role": "user", "content": "two"}, instructions="be brief", previous_response_id="r"))

    whole = continued(request, past.items, {})

    assert whole.messages == (
        Message("system", "be brief"),
        Message("system", "of old"),
        Message("user", "one"),
        Message("assistant", tool_calls=(PastCall("call_1", "get_weather", '{"city":"Oslo"}'),)),
        Message("tool", "21", tool_call_id="call_1"),
        Message("user", "two"),
    )
    assert whole.items == (*past.items, *request.items)
    assert whole.own == 2
    assert replace(whole, messages=request.messages, items=request.items) == request, "nothing else changes"


def test_references_are_named_until_they_are_found() -> None:
    """The AI SDK sends them for what a stored response has said."""
    said = {"type": "message", "id": "msg_a_0", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}
    call = {**CALL, "id": "fc_a_1"}
    request = read(told(USER, {"type": "item_reference", "id": "msg_a_0"}, {"id": "fc_a_1"}, RESULT))
    found = {str(item["id"]): Raw(json.dumps(item).encode()) for item in (said, call)}

    assert request.references == ("msg_a_0", "fc_a_1")
    whole = continued(request, (), found)

    assert whole.messages == (
        Message("user", "hello"),
        Message("assistant", "hi", tool_calls=(PastCall("call_1", "get_weather", '{"city":"Oslo"}'),)),
        Message("tool", "21", tool_call_id="call_1"),
    )
    assert ids(whole) == ["msg_new0000", "msg_a_0", "fc_a_1", "fco_new0003"], "as if the items had been sent"
    assert (whole.own, whole.references) == (4, ())


def test_a_reference_that_is_not_found_is_the_requests_fault() -> None:
    request = parse(told(USER, {"type": "item_reference", "id": "msg_a_0"}))

    with pytest.raises(InvalidValue, match="names an item that is not stored here: send the item itself") as caught:
        continued(request, [Raw(json.dumps(USER).encode())], {})
    assert caught.value.param == "input[1].id"
    assert "msg_a_0" not in str(caught.value)


@pytest.mark.parametrize("name", [b'"id"', b'"\\u0069d"', b'"i\\u0064"'])
def test_a_null_for_an_id_is_none_however_it_is_written(name: bytes) -> None:
    request = read(b'{"model":"m","input":[{"role":"user","content":"hi",%b:null}]}' % name)

    assert [bytes(item) for item in request.items] == [b'{"id":"msg_new0000","role":"user","content":"hi"}']


def test_a_reference_to_a_thought_alone_says_nothing() -> None:
    request = parse(told({"type": "item_reference", "id": "rs_a_0"}))
    found = {"rs_a_0": Raw(b'{"type":"reasoning","id":"rs_a_0","summary":[]}')}

    with pytest.raises(InvalidValue, match="'input' says nothing"):
        continued(request, (), found)
