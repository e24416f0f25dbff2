"""What a platform says of a call, as one table."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from protocol.extras import MAX_BODY_BYTES, MAX_DEPTH, MAX_ITEMS, MAX_SHOWN, MAX_TEXT, object_of, shown, union


def bodies(**told: Any) -> dict[str, bytes]:
    return {name: json.dumps(body).encode() for name, body in told.items()}


def test_all_bodies_are_one_table_and_the_first_counts() -> None:
    extras = bodies(elevenlabs_extra_body={"a": 1, "b": 2}, context={"b": 3, "c": [4]}, call={"id": "x", "a": 5})

    assert union(extras) == {"a": 1, "b": 2, "c": [4]}


def test_variables_are_there_by_both_names_where_nothing_else_has_theirs() -> None:
    extras = bodies(extra_metadata={"name": "Ann", "dynamic_variables": {"name": "Bob", "plan": "gold"}})

    assert union(extras) == {"name": "Ann", "plan": "gold", "dynamic_variables": {"name": "Bob", "plan": "gold"}}


def test_what_cannot_be_read_says_nothing() -> None:
    assert union({"context": b"{", "elevenlabs_extra_body": b"[1]", "extra_metadata": b'{"a": 1}'}) == {"a": 1}
    assert object_of(b"") == object_of(b"null") == object_of(b'{"a": "\xff"}') == {}
    assert object_of(b'{"a": "' + b"x" * MAX_BODY_BYTES + b'"}') == {}


def test_values_have_bounds() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH + 2):
        deep = [deep]
    told = union(bodies(context={"t": "x" * 9000, "l": list(range(999)), "deep": deep}))

    assert len(told["t"]) == MAX_TEXT
    assert len(told["l"]) == MAX_ITEMS
    depth = 0
    while isinstance(told["deep"], list):
        told["deep"], depth = told["deep"][0], depth + 1
    assert (told["deep"], depth) == (None, MAX_DEPTH)


def test_what_is_shown_is_named_and_short() -> None:
    extras = bodies(context={"tenant": "t" * 999, "n": 7, "o": {"a": 1}, "secret": "s"})

    assert shown(extras, ("tenant", "n", "o", "missing")) == {"tenant": "t" * MAX_SHOWN, "n": 7}
    assert shown({}, ("tenant",)) == {}


@given(st.binary(max_size=40), st.sampled_from([b"", b'{"a":', b'{"a": "']))
def test_whatever_a_body_holds_it_is_read_or_says_nothing(body: bytes, begun: bytes) -> None:
    assert isinstance(union({"context": begun + body}), dict)
