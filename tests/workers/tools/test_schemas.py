"""Arguments against the schema that came with the request."""

import contextlib
import json
import socket
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.targets.json_example import NoExample, example
from workers.tools import schemas
from workers.tools.bounds import MAX_SCHEMA_BYTES
from workers.tools.schemas import SOMETHING, Unreadable, fault, values_of

END_CALL = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "message": {"type": "string"}},
    "required": ["reason"],
}
NUMBERS = {
    "type": "object",
    "properties": {
        "count": {"type": "integer", "maximum": 5},
        "kind": {"enum": ["a", "b"]},
        "code": {"type": "string", "pattern": "^[0-9]{4}$"},
        "day": {"type": "string", "format": "date"},
        "lines": {"type": "array", "items": {"type": "object", "required": ["text"]}},
    },
    "additionalProperties": False,
}


def written(schema: Any) -> bytes:
    return json.dumps(schema).encode()


def test_arguments_that_fit_have_no_fault() -> None:
    assert fault(written(END_CALL), {"reason": "goodbye"}) is None
    assert fault(b"{}", {"whatever": [1, None]}) is None
    assert fault(b"true", {"whatever": 1}) is None
    assert fault(written(NUMBERS), {"count": 5.0, "lines": [{"text": ""}]}) is None


FAULTS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "a field is missing": (END_CALL, {}, '"reason" is a required property (required)'),
    "of another type": (END_CALL, {"reason": 7}, "'reason': its value is not of type \"string\" (type)"),
    "too large": (NUMBERS, {"count": 6}, "'count': its value is greater than the maximum of 5 (maximum)"),
    "none of a list": (NUMBERS, {"kind": "c"}, '\'kind\': its value is not one of "a" or "b" (enum)'),
    "of another form": (NUMBERS, {"code": "12"}, "'code': its value does not match \"^[0-9]{4}$\" (pattern)"),
    "inside a list": (NUMBERS, {"lines": [{}]}, "'lines/0': \"text\" is a required property (required)"),
    "unknown": (NUMBERS, {"x": 1}, "Additional properties are not allowed ('x' was unexpected) (additionalProperties)"),
}


@pytest.mark.parametrize(("schema", "arguments", "told"), FAULTS.values(), ids=FAULTS)
def test_a_fault_names_path_and_keyword(schema: Any, arguments: dict[str, Any], told: str) -> None:
    assert fault(written(schema), arguments) == told


@pytest.mark.parametrize("schema", [{"type": "integer"}, {"const": 1}, {"anyOf": [{"type": "null"}]}])
def test_no_fault_says_what_the_arguments_hold(schema: Any) -> None:
    told = fault(written({"properties": {"a": schema}}), {"a": "my card is 4111"})

    assert told is not None
    assert told.startswith("'a': ")
    assert "4111" not in told


def test_only_the_first_fault_is_told_and_not_at_length() -> None:
    schema = {"properties": {f"p{at}": {"enum": ["long " * 100]} for at in range(9)}}

    told = fault(written(schema), {f"p{at}": 1 for at in range(9)})

    assert told is not None
    assert told.startswith("'p0': ")
    assert len(told) == 200


def test_a_format_is_a_remark_as_json_schema_has_it() -> None:
    assert fault(written(NUMBERS), {"day": "tomorrow"}) is None


UNREADABLE: dict[str, bytes] = {
    "no JSON": b"{",
    "no text": b"\xff",
    "a list": b"[]",
    "null": b"null",
    "a type that is none": b'{"type": "intger"}',
    "properties that are none": b'{"properties": []}',
    "a reference into nothing": b'{"$ref": "#/definitions/x"}',
    "a dialect that nobody knows": b'{"$schema": "https://example.com/mine"}',
    "too large": b'{"description": "' + b"x" * MAX_SCHEMA_BYTES + b'"}',
    "too deep": b'{"items":' * 5000 + b"{}" + b"}" * 5000,
    "a reference to itself": b'{"properties": {"next": {"$ref": "#"}}}',
    "references in a ring": b'{"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/b"}}, '
    b'"b": {"anyOf": [{"$ref": "#/$defs/a"}]}}}',
    "references that only the validator can follow": b'{"items": {"$dynamicRef": "#x"}, "$defs": {"x": {}}}',
    "a base of its own": b'{"items": {"$id": "urn:x", "properties": {"a": {"$ref": "#/properties/b"}}}}',
    "branches in branches": b'{"anyOf": [' * 5 + b"{}" + b"]}" * 5,
    "names that are large patterns": b'{"patternProperties": {"' + b"a" * 101 + b'": {}}}',
}


@pytest.mark.parametrize("schema", UNREADABLE.values(), ids=UNREADABLE)
def test_a_schema_that_cannot_be_read_says_so_each_time(schema: bytes) -> None:
    for _ in range(2):
        with pytest.raises(Unreadable):
            fault(schema, {})


@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef", "$schema"])
def test_nothing_that_a_schema_names_is_fetched(keyword: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        listener.setblocking(False)

        for where in (f"http://127.0.0.1:{port}/x.json", f"//127.0.0.1:{port}/x", "file:///etc/hostname"):
            with pytest.raises(Unreadable):
                fault(written({"properties": {"a": {keyword: where}}, keyword: where}), {"a": 1})

        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_reference_under_an_id_of_its_own_is_not_fetched_either() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        schema = {"$id": f"http://127.0.0.1:{listener.getsockname()[1]}/a/", "properties": {"a": {"$ref": "b.json"}}}

        with pytest.raises(Unreadable):
            fault(written(schema), {"a": 1})

        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_pattern_is_held_against_a_text_without_backtracking() -> None:
    """With it this one takes longer than anybody lives."""
    schema = written({"properties": {"a": {"pattern": "^(a+)+$"}}})

    assert fault(schema, {"a": "a" * 10_000 + "!"}) is not None


PATTERNS = (r"^(?!\.)a", r"(a)\1", "(?:(?:a{1,1000}){1,1000}){1,1000}", r"(\w{99}|\pL{9}){9}", "a" * 101, "[")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_where_a_pattern_cannot_be_bounded_the_rest_is_checked(pattern: str) -> None:
    parts = {"a": {"pattern": pattern}, "b": {"pattern": "^b$"}, "pattern": {"const": {"pattern": pattern}}}
    schema = written({"properties": parts, "required": ["a"]})

    assert fault(schema, {"a": "b", "b": "b", "pattern": {"pattern": pattern}}) is None
    assert fault(schema, {"b": "b"}) is not None
    assert fault(schema, {"a": "b", "b": "c"}) is not None
    assert fault(schema, {"a": "b", "pattern": {}}) is not None


USUAL = (
    *(
        r"^[0-9]{4}$",
        r"^\+[1-9]\d{1,14}$",
        r"^[^\s@]+@[^\s@]+\.[^\s@]+$",
        r"^\d{4}-\d{2}-\d{2}$",
        r"^[A-Za-z0-9]{1,64}$",
    ),
    "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
)


@pytest.mark.parametrize("pattern", USUAL)
def test_the_patterns_that_people_write_are_checked(pattern: str) -> None:
    assert fault(written({"properties": {"a": {"pattern": pattern}}}), {"a": "!"}) is not None


def test_of_many_patterns_only_the_first_ones_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Any] = []

    def counted(schema: Any, **options: Any) -> Any:
        compiled.append(schema)
        return jsonschema_rs.validator_for(schema, **options)

    monkeypatch.setattr(schemas, "validator_for", counted)

    assert (
        fault(written({"properties": {f"p{at}": {"pattern": f"^many{at}$"} for at in range(90)}}), {"p89": "x"}) is None
    )
    assert len(compiled) == 16 + 1


COSTLY: dict[str, tuple[Any, Any]] = {
    "a long list under a long schema": ({"items": {"allOf": [{"type": "integer"}] * 100}}, [1] * 1000),
    "a long text and a pattern": ({"items": {"pattern": "a*b"}}, ["a" * 16_000] * 2),
    "values deep in each other": ({}, json.loads("[" * 40 + "]" * 40)),
}


@pytest.mark.parametrize(("schema", "value"), COSTLY.values(), ids=COSTLY)
def test_what_would_take_long_is_not_begun(schema: Any, value: Any) -> None:
    with pytest.raises(Unreadable):
        fault(written({"properties": {"a": schema}}), {"a": value})


@pytest.mark.parametrize("branch", [{"items": {"type": "integer"}}, False], ids=["branches", "branches that are false"])
def test_where_it_would_take_long_to_say_what_is_wrong_nobody_looks_for_it(branch: Any) -> None:
    schema = {"properties": {"a": {"anyOf": [branch] * 100}}}

    assert fault(written(schema), {"a": ["x"] * 200}) == SOMETHING


def test_references_that_multiply_are_counted_and_not_followed() -> None:
    doubled = {f"a{at}": {"allOf": [{"$ref": f"#/$defs/a{at + 1}"}] * 2} for at in range(60)}

    with pytest.raises(Unreadable):
        fault(written({"$ref": "#/$defs/a0", "$defs": {**doubled, "a60": {"type": "object"}}}), {})


def test_references_into_the_schema_are_followed() -> None:
    schema = {
        "properties": {"from": {"$ref": "#/$defs/a~1b%20c"}, "to": {"$ref": "#/$defs/a~1b%20c"}},
        "$defs": {"a/b c": {"properties": {"n": {"type": "integer"}}}},
    }

    assert fault(written(schema), {"from": {"n": 1}, "to": {"n": 2}}) is None
    assert fault(written(schema), {"from": {"n": 1}, "to": {"n": "x"}}) is not None


BOOKING = {
    "type": "object",
    "description": None,
    "properties": {
        "day": {"type": "string", "description": None, "minLength": None},
        "note": {"type": "string"},
        "who": {"type": "string", "nullable": True},
        "size": {"type": "string", "enum": ["s", "m"], "nullable": True},
        "at": {"$ref": "#/$defs/place"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/place"}},
        "from": {"anyOf": [{"$ref": "#/$defs/place"}, {"type": "null"}]},
        "to": {"allOf": [{"$ref": "#/$defs/place"}, {"required": ["floor"]}]},
        "stops": {"anyOf": [{"type": "array", "items": {"oneOf": [{"$ref": "#/$defs/place"}]}}, {"type": "null"}]},
        "by": {"properties": {"air": {"type": ["string", "null"]}, "sea": {"type": "string"}}, "minProperties": 1},
    },
    "required": ["day", "who", "size"],
    "$defs": {
        "place": {"properties": {"street": {"type": "string"}, "floor": {"type": "integer"}}, "required": ["street"]}
    },
}
FULL = {"day": "Mon", "who": "Ann", "size": "s"}
NULLS: dict[str, tuple[dict[str, Any], bool]] = {
    "none": ({}, True),
    "for a property that is nullable": ({"who": None}, True),
    "for a nullable one with listed values": ({"size": None}, True),
    "for one that need not be there": ({"note": None}, True),
    "for one that need not be there, deeper": ({"at": {"street": "High", "floor": None}}, True),
    "for one that need not be there, in a list": ({"lines": [{"street": "High", "floor": None}]}, True),
    "for one that has to be there": ({"day": None}, False),
    "for one that has to be there, deeper": ({"at": {"street": None}}, False),
    "for one that need not be there, in one of several": ({"from": {"street": "High", "floor": None}}, True),
    "for one of several that may be null": ({"from": None}, True),
    "for one that has to be there, in one of several": ({"from": {"street": None}}, False),
    "for one that another part demands": ({"to": {"street": "High", "floor": None}}, False),
    "for one that need not be there, far below": ({"stops": [{"street": "High", "floor": None}]}, True),
    "for one that it fits": ({"by": {"air": None, "sea": None}}, True),
    "beside something that is wrong": ({"note": None, "who": 7}, False),
}


@pytest.mark.parametrize(("changed", "fits"), NULLS.values(), ids=NULLS)
def test_null_passes_where_it_stands_for_nothing(changed: dict[str, Any], fits: bool) -> None:
    assert (fault(written(BOOKING), {**FULL, **changed}) is None) == fits


def test_a_null_that_is_a_value_stays_one() -> None:
    schema = written({"properties": {"a": {"const": None}}, "required": ["a"]})

    assert fault(schema, {"a": None}) is None
    assert fault(schema, {"a": 1}) is not None


def test_the_values_that_a_schema_names_are_known() -> None:
    nested = {"properties": {"a": {"enum": ["N/A", 1]}, "b": {"items": {"const": "TODO"}}, "enum": {"type": "string"}}}

    assert values_of(written(nested)) == {"N/A", "TODO"}
    assert values_of(b"{") == frozenset()


KEYWORDS = st.sampled_from([{"type": "string"}, {"type": "integer"}, {"enum": ["x", 1]}, {"type": ["null", "string"]}])
SCHEMAS = st.dictionaries(st.text(max_size=5), KEYWORDS, max_size=4).map(
    lambda properties: {"type": "object", "properties": properties, "required": list(properties)}
)


@given(SCHEMAS)
def test_what_is_made_from_a_schema_fits_it(schema: dict[str, Any]) -> None:
    try:
        value = example(schema)
    except NoExample:
        return
    assert fault(written(schema), value) is None


@given(st.binary(max_size=50) | st.recursive(st.none() | st.booleans() | st.text(max_size=3), st.lists).map(written))
def test_whatever_is_sent_as_a_schema_raises_nothing_else(schema: bytes) -> None:
    with contextlib.suppress(Unreadable):
        fault(schema, {"a": 1})
