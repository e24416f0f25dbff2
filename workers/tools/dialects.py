"""Schemas as people and generators write them, read as JSON Schema. Pure.

OpenAPI 3.0 lets null pass by `nullable`; generators write null for what they do not know, and models for what they
leave out.
Source: OpenAPI specification 3.0.3, schema object and its clarification of `nullable` (read 2026-11).
"""

from collections.abc import Callable, Iterator
from typing import Any

from workers.tools.bounds import MAPS, VALUES, TooMuch
from workers.tools.branches import branches, takes_null

NULLS = ("const", "default")  # here null is a value


def as_json_schema(node: Any, may_stay: Callable[[str], bool]) -> Any:
    """The same without nulls that say nothing, and without the patterns that may not stay.

    Raises:
        TooMuch: names of properties are patterns that may not stay.
    """
    if isinstance(node, list):
        return [as_json_schema(part, may_stay) for part in node]
    if not isinstance(node, dict):
        return node
    parts = {key: _part(key, value, may_stay) for key, value in node.items() if value is not None or key in NULLS}
    if isinstance(parts.get("pattern"), str) and not may_stay(parts["pattern"]):
        del parts["pattern"]
    if not all(map(may_stay, _object(parts.get("patternProperties")))):
        raise TooMuch
    return _nullable(parts) if parts.get("nullable") is True else parts


def _part(key: str, value: Any, may_stay: Callable[[str], bool]) -> Any:
    if key in VALUES:
        return value
    if key in MAPS and isinstance(value, dict):
        return {name: as_json_schema(part, may_stay) for name, part in value.items()}
    return as_json_schema(value, may_stay)


def _nullable(parts: dict[str, Any]) -> dict[str, Any]:
    """It says something only where there is a type beside it."""
    if "type" not in parts:
        return parts
    kinds = parts["type"] if isinstance(parts["type"], list) else [parts["type"]]
    parts["type"] = kinds if "null" in kinds else [*kinds, "null"]
    if isinstance(parts.get("enum"), list) and None not in parts["enum"]:
        parts["enum"] = [*parts["enum"], None]
    return parts


def without_nulls(value: Any, schema: Any, root: Any) -> Any:
    """Arguments without what is null, fits no schema as such and need not be there: the same as left out."""
    return _without_nulls(value, [schema], root)


def _without_nulls(value: Any, schemas: list[Any], root: Any) -> Any:
    """`schemas`: all that speak of the value."""
    seen: set[str] = set()
    parts = [part for schema in schemas for part in branches(schema, root, seen)]
    if isinstance(value, list):
        items = [part["items"] for part in parts if "items" in part]
        return [_without_nulls(one, items, root) for one in value]
    if not isinstance(value, dict):
        return value
    required = {name for part in parts for name in _names(part.get("required"))}
    told = {key: [part["properties"][key] for part in parts if key in _object(part.get("properties"))] for key in value}
    return {
        key: _without_nulls(one, told[key], root)
        for key, one in value.items()
        if one is not None or key in required or all(takes_null(schema, root) for schema in told[key])
    }


def named_values(node: Any) -> Iterator[str]:
    """The texts that a schema names as values, wherever."""
    if isinstance(node, list):
        for part in node:
            yield from named_values(part)
    elif isinstance(node, dict):
        values = node.get("enum")
        listed = values if isinstance(values, list) else ()
        yield from (value for value in (*listed, node.get("const")) if isinstance(value, str))
        for part in node.values():
            yield from named_values(part)


def _names(required: Any) -> list[str]:
    return required if isinstance(required, list) else []


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
