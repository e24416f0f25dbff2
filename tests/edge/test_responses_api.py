"""What a turn goes on from is read once, and only where a turn needs it."""

import json
from typing import Any, cast

import msgspec
import pytest
from msgspec import Raw

from edge.response_store import StoredResponse
from edge.responses_api import ResponsesApi, response_id_of_item
from protocol.errors import InvalidValue, PreviousResponseNotFound, StoreAway


def item(name: str, role: str = "user", text: str = "") -> Raw:
    return Raw(msgspec.json.encode({"role": role, "content": text or name, "id": name}))


class Shelf:
    """A store in memory that counts what is read; without records it is away."""

    def __init__(self, records: dict[str, StoredResponse] | None) -> None:
        self._records = records
        self.reads: list[tuple[str, str]] = []

    async def read(self, tenant: str, response_id: str) -> StoredResponse | None:
        self.reads.append((tenant, response_id))
        if self._records is None:
            raise StoreAway("away")
        return self._records.get(response_id)

    async def write(self, tenant: str, response_id: str, record: StoredResponse) -> bool:
        raise NotImplementedError

    async def delete(self, tenant: str, response_id: str) -> bool:
        raise NotImplementedError


def conversation(turns: int) -> dict[str, StoredResponse]:
    """The records of one that went on for so many turns."""
    records: dict[str, StoredResponse] = {}
    items: tuple[Raw, ...] = ()
    for at in range(turns):
        items = (*items, item(f"in_{at}"))
        output = item(f"msg_{at}a_0", "assistant")
        records[f"resp_{at}a"] = StoredResponse(Raw(b'{"output":[%b]}' % bytes(output)), items)
        items = (*items, output)
    return records


def body(*input_: dict[str, Any] | str, **more: Any) -> bytes:
    items = [{"role": "user", "content": one} if isinstance(one, str) else one for one in input_]
    return json.dumps({"model": "m", "input": items, **more}).encode()


def reference(name: str) -> dict[str, str]:
    return {"type": "item_reference", "id": name}


async def heard(shelf: Shelf, asked: bytes) -> list[str]:
    """What the model is told, message by message."""
    request = await ResponsesApi(cast(Any, None), cast(Any, None), shelf).asked(asked, "desk")
    return [str(message.content) for message in request.messages]


async def test_what_goes_on_from_nothing_reads_nothing() -> None:
    shelf = Shelf(None)

    assert await heard(shelf, body("hi", store=True)) == ["hi"]

    assert shelf.reads == []


async def test_one_read_is_enough_to_go_on_from_a_response() -> None:
    shelf = Shelf(conversation(3))

    said = await heard(shelf, body("hi", previous_response_id="resp_2a"))

    assert said == ["in_0", "msg_0a_0", "in_1", "msg_1a_0", "in_2", "msg_2a_0", "hi"]
    assert shelf.reads == [("desk", "resp_2a")]


async def test_the_last_of_the_items_that_are_named_has_all_before_it() -> None:
    shelf = Shelf(conversation(4))
    named = [f"msg_{at}a_0" for at in range(3)]

    assert await heard(shelf, body(*map(reference, named), "hi")) == [*named, "hi"]

    assert shelf.reads == [("desk", "resp_2a")]


async def test_an_item_of_the_response_that_is_gone_on_from_costs_no_second_read() -> None:
    shelf = Shelf(conversation(2))

    await heard(shelf, body(reference("msg_0a_0"), "hi", previous_response_id="resp_1a"))

    assert shelf.reads == [("desk", "resp_1a")]


async def test_items_of_two_conversations_are_found_in_both() -> None:
    other = StoredResponse(Raw(b'{"output":[%b]}' % bytes(item("msg_ff_0", "assistant"))), (item("in_ff"),))
    shelf = Shelf({**conversation(2), "resp_ff": other})
    named = ["msg_ff_0", "msg_0a_0", "msg_1a_0"]

    assert await heard(shelf, body(*map(reference, named), "hi")) == [*named, "hi"]

    assert shelf.reads == [("desk", "resp_1a"), ("desk", "resp_ff")]


async def test_a_request_that_names_what_nobody_stores_does_not_read_without_end() -> None:
    shelf = Shelf(conversation(1))
    names = [f"msg_{at:x}_0" for at in range(1000)]

    with pytest.raises(InvalidValue, match="not stored here"):
        await heard(shelf, body(*map(reference, names), "hi"))

    assert len(shelf.reads) <= 32


@pytest.mark.parametrize("name", ["msg_mine", "call_1", "", "msg__0", "msg_0A_0", "resp_0a"])
async def test_an_id_that_is_no_item_s_of_ours_is_not_looked_for(name: str) -> None:
    shelf = Shelf(None)

    assert response_id_of_item(name) is None
    if name:
        with pytest.raises(InvalidValue):
            await heard(shelf, body(reference(name), "hi"))

    assert shelf.reads == []


async def test_whoever_needs_the_store_is_told_that_it_is_away() -> None:
    with pytest.raises(StoreAway):
        await heard(Shelf(None), body("hi", previous_response_id="resp_0a"))
    with pytest.raises(StoreAway):
        await heard(Shelf(None), body(reference("msg_0a_0"), "hi"))


@pytest.mark.parametrize("id_", ["resp_0b", "sk-a-key-in-the-wrong-place"])
async def test_an_unknown_response_is_never_passed_over(id_: str) -> None:
    with pytest.raises(PreviousResponseNotFound) as raised:
        await heard(Shelf({}), body("my secret", previous_response_id=id_))

    assert raised.value.param == "previous_response_id"
    assert ("resp_0b" in str(raised.value)) == (id_ == "resp_0b")
    assert "secret" not in str(raised.value)
    assert "sk-" not in str(raised.value)


@pytest.mark.parametrize(
    "record",
    [
        StoredResponse(Raw(b"5"), (item("in"),)),
        StoredResponse(Raw(b'{"output":7}'), (item("in"),)),
        StoredResponse(Raw(b'{"output":[5]}'), (item("in"),)),
        StoredResponse(Raw(b'{"output":[]}'), (Raw(b'{"type":"of_tomorrow","id":"x_1"}'),)),
    ],
)
async def test_a_record_that_cannot_be_read_counts_as_not_there(record: StoredResponse) -> None:
    shelf = Shelf({"resp_0a": record})

    with pytest.raises(PreviousResponseNotFound, match="'resp_0a' is stored"):
        await heard(shelf, body("and?", previous_response_id="resp_0a"))
    with pytest.raises(InvalidValue, match="not stored here"):
        await heard(shelf, body(reference("msg_0a_0"), "and?"))


async def test_what_is_wrong_in_the_request_itself_is_said_of_the_request() -> None:
    shelf = Shelf(conversation(1))

    with pytest.raises(InvalidValue, match="not stored here") as refused:
        await heard(shelf, body(reference("msg_0b_0"), previous_response_id="resp_0a"))
    assert refused.value.param == "input[0].id"
