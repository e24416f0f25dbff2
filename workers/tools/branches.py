"""Which parts of a schema speak of one and the same value. Pure."""

from collections.abc import Iterator
from typing import Any

from workers.tools.bounds import resolved

BESIDE = ("allOf", "anyOf", "oneOf")
INSTEAD = ("if", "then", "else")


def branches(node: Any, root: Any, seen: set[str]) -> Iterator[dict[str, Any]]:
    """The schema and those in it that speak of the same value. `seen`: references that were followed."""
    if not isinstance(node, dict):
        return
    yield node
    beside = [part for key in BESIDE if isinstance(node.get(key), list) for part in node[key]]
    for part in [*beside, *(node.get(key) for key in INSTEAD)]:
        yield from branches(part, root, seen)
    reference = node.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/") and reference not in seen:
        seen.add(reference)
        yield from branches(resolved(root, reference), root, seen)


def takes_null(node: Any, root: Any) -> bool:
    """Whether null fits a schema, none of whose references leads back to itself. What is not looked at lets it pass."""
    if not isinstance(node, dict):
        return node is not False
    kinds, reference = node.get("type", "null"), node.get("$ref")
    fits = [
        "null" in kinds if isinstance(kinds, list) else kinds == "null",
        None in node["enum"] if isinstance(node.get("enum"), list) else True,
        node.get("const") is None,
        "not" not in node or not takes_null(node["not"], root),
        not isinstance(reference, str) or takes_null(resolved(root, reference), root),
        all(takes_null(part, root) for part in _listed(node, "allOf")),
        *(any(takes_null(part, root) for part in _listed(node, key)) for key in ("anyOf", "oneOf") if key in node),
    ]
    return all(fits)


def _listed(node: dict[str, Any], key: str) -> list[Any]:
    parts = node.get(key)
    return parts if isinstance(parts, list) else []
