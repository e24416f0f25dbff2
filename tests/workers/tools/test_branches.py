"""Which schemas speak of one value, and which of them null fits."""

from typing import Any

import jsonschema_rs
import pytest

from workers.tools.branches import branches, takes_null

NULLS: list[Any] = [
    *(True, False, {}, {"description": "x"}),
    *({"type": "null"}, {"type": ["string", "null"]}, {"type": "string"}, {"type": ["string"]}),
    *({"enum": ["a", None]}, {"enum": ["a"]}, {"const": None}, {"const": 1}),
    *({"not": {"type": "null"}}, {"not": {"type": "string"}}),
    *({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"anyOf": [{"type": "string"}]}),
    *({"oneOf": [{"type": "null"}]}, {"allOf": [{}, {"type": "string"}]}, {"allOf": [{}, {"type": "null"}]}),
    *({"$ref": "#/$defs/n"}, {"$ref": "#/$defs/s"}, {"$ref": "#/$defs/n", "type": "string"}),
]
DEFS = {"n": {"type": "null"}, "s": {"type": "string"}}


@pytest.mark.parametrize("schema", NULLS, ids=range(len(NULLS)))
def test_null_fits_where_json_schema_says_so(schema: Any) -> None:
    root = {**schema, "$defs": DEFS} if isinstance(schema, dict) else schema

    assert takes_null(schema, root) == jsonschema_rs.validator_for(root).is_valid(None)


def test_a_schema_is_looked_at_once_however_often_it_is_referred_to() -> None:
    twice = {"allOf": [{"$ref": "#/$defs/n"}, {"anyOf": [{"$ref": "#/$defs/n"}]}], "$defs": DEFS, "if": 7}

    assert [part for part in branches(twice, twice, set()) if part == DEFS["n"]] == [DEFS["n"]]
