"""JSON Schema -> a value that satisfies it."""

import contextlib
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.targets.json_example import NoExample, example

CASES: dict[str, tuple[Any, Any]] = {
    "nothing said": ({}, "text"),
    "true": (True, "text"),
    "string": ({"type": "string"}, "text"),
    "minLength": ({"type": "string", "minLength": 6}, "textte"),
    "maxLength": ({"type": "string", "maxLength": 2}, "te"),
    "format": ({"type": "string", "format": "date"}, "2026-01-01"),
    "integer": ({"type": "integer"}, 0),
    "minimum": ({"type": "integer", "minimum": 1.5}, 2),
    "maximum": ({"type": "integer", "maximum": -3}, -3),
    "exclusive bounds": ({"type": "integer", "exclusiveMinimum": 4, "exclusiveMaximum": 6}, 5),
    "a number between": ({"type": "number", "exclusiveMinimum": 4, "exclusiveMaximum": 4.5}, 4.25),
    "multipleOf": ({"type": "integer", "minimum": 8, "multipleOf": 5}, 10),
    "a large minimum": ({"type": "integer", "minimum": 2**60 + 1}, 2**60 + 1),
    "boolean": ({"type": "boolean"}, False),
    "null": ({"type": "null"}, None),
    "types": ({"type": ["null", "integer"]}, 0),
    "enum": ({"type": "string", "enum": ["b", "a"]}, "b"),
    "const": ({"const": {"x": 1}}, {"x": 1}),
    "default": ({"type": "integer", "default": 7}, 7),
    "an object": ({"type": "object", "properties": {"a": {"type": "integer"}}}, {}),
    "required": (
        {"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"]},
        {"a": 0},
    ),
    "required, never described": ({"required": ["a"]}, {"a": "text"}),
    "minProperties": ({"type": "object", "properties": {"a": {}}, "minProperties": 2}, {"a": "text", "key0": "text"}),
    "an array": ({"type": "array", "items": {"type": "integer"}}, []),
    "minItems": ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [0, 0]),
    "uniqueItems": ({"type": "array", "items": {"type": "integer"}, "minItems": 2, "uniqueItems": True}, [0, 1]),
    "uniqueItems of strings": ({"minItems": 2, "uniqueItems": True}, ["text", "1text"]),
    "prefixItems": ({"prefixItems": [{"const": 1}, {"const": 2}], "items": {"const": 3}, "minItems": 3}, [1, 2, 3]),
    "nested": (
        {"properties": {"a": {"required": ["b"], "properties": {"b": {"type": "null"}}}}, "required": ["a"]},
        {"a": {"b": None}},
    ),
    "anyOf": ({"anyOf": [{"type": "integer", "minimum": 3}, {"type": "null"}]}, 3),
    "anyOf, the first impossible": ({"anyOf": [False, {"minimum": 2, "maximum": 1}, {"const": 1}]}, 1),
    "anyOf with a base": ({"required": ["a"], "anyOf": [{"required": ["b"]}]}, {"a": "text", "b": "text"}),
    "oneOf": ({"oneOf": [{"const": 1}, {"const": 2}]}, 1),
    "allOf": (
        {"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"$ref": "#/$defs/b"}],
         "$defs": {"b": {"properties": {"b": {"const": 2}}, "required": ["b"]}}},
        {"a": 1, "b": 2},
    ),
    "a reference": (
        {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "integer"}}},
        0,
    ),
    "a list that may end": (
        {"$ref": "#/$defs/node", "$defs": {"node": {
            "type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
            "required": ["next"]}}},
        {"next": None},
    ),
    "a tree": (
        {"properties": {"children": {"type": "array", "items": {"$ref": "#"}}}, "required": ["children"]},
        {"children": []},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("schema", "expected"), CASES.values(), ids=CASES)
def test_a_schema_has_an_example(schema: Any, expected: Any) -> None:
    assert example(schema) == expected
    jsonschema_rs.validator_for(schema).validate(expected)


IMPOSSIBLE: dict[str, Any] = {
    "false": False,
    "bounds that cross": {"minimum": 3, "maximum": 2},
    "a list without an end": {"required": ["a"], "properties": {"a": {"$ref": "#"}}},
    "allOf in a circle": {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$ref": "#/$defs/a"}}},
    "a reference elsewhere": {"$ref": "https://example.com/schema"},
    "a reference to nowhere": {"$ref": "#/$defs/a"},
    "too long": {"minLength": 10**12},
    "too many": {"minItems": 10**12},
    "too many altogether": {"minItems": 200, "items": {"minItems": 200}},
    "no option": {"anyOf": []},
}


@pytest.mark.parametrize("schema", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_asks_for_too_much_is_refused(schema: Any) -> None:
    with pytest.raises(NoExample):
        example(schema)


def test_options_that_fail_many_times_over_end_soon() -> None:
    deep: Any = {"minimum": 2, "maximum": 1}
    for _ in range(40):
        deep = {"anyOf": [deep, deep]}
    with pytest.raises(NoExample):
        example(deep)


KEYWORDS = st.sampled_from(
    (
        *("type", "properties", "required", "items", "enum", "const", "anyOf", "allOf", "$ref", "minimum", "maximum"),
        *("minItems", "minLength", "maxLength", "multipleOf", "uniqueItems", "exclusiveMinimum", "prefixItems"),
        *("minProperties", "a"),
    )
)
VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-3, 40)
    | st.floats(-3, 3)
    | st.sampled_from(["object", "array", "string", "integer", "#", "#/properties/a", "a"])
)
SCHEMAS = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS, inner, max_size=4), max_leaves=15
)


@given(SCHEMAS)
def test_no_schema_is_too_odd(schema: Any) -> None:
    with contextlib.suppress(NoExample):
        example(schema)
