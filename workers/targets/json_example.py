"""JSON Schema -> a small value that satisfies it, always the same one. Pure.

Made for what tools and structured output use: types with their bounds, enum, const, default, required, nested objects
and arrays, anyOf, oneOf, allOf, local references. `pattern`, `not` and conditions are not read.

Source: JSON Schema 2020-12.
"""

import math
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

MAX_NODES = 10_000  # of one value: a schema of a few lines can ask for millions
MAX_DEPTH = 64
MAX_CHARS = 10_000
WORD = "text"

FORMATS = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "email": "a@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
}

HINTS = {
    "properties": "object",
    "required": "object",
    "minProperties": "object",
    "items": "array",
    "prefixItems": "array",
    "minItems": "array",
    "minimum": "number",
    "exclusiveMinimum": "number",
    "maximum": "number",
    "multipleOf": "number",
}
"""A keyword -> the type that it speaks of, for schemas that leave `type` out."""


class NoExample(Exception):
    """The schema asks for more than is made here, or for what cannot be."""


def example(schema: object) -> Any:
    """A value for `schema`, which is decoded JSON.

    Raises:
        NoExample: there is none, or none of a bearable size.
    """
    return _Maker(schema).make(schema, depth=0, variant=0, refs=frozenset())


class _Maker:
    """One value in the making. `variant` numbers the entries of an array whose items must differ."""

    def __init__(self, root: object) -> None:
        self._root = root
        self._nodes = 0

    def make(self, schema: Any, *, depth: int, variant: int, refs: frozenset[str]) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            raise NoExample("it asks for too much")
        if schema is False:
            raise NoExample("it allows nothing")
        if not isinstance(schema, dict):
            schema = {}
        if "$ref" in schema:
            reference = str(schema["$ref"])
            if reference in refs:
                raise NoExample(f"{reference} needs itself")
            merged = _merge(self._resolve(reference), _without(schema, "$ref"))
            return self.make(merged, depth=depth + 1, variant=variant, refs=refs | {reference})
        if "const" in schema:
            return schema["const"]
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            return schema["enum"][variant % len(schema["enum"])]
        if "default" in schema and variant == 0:
            return schema["default"]
        if isinstance(schema.get("allOf"), list):
            return self.make(self._all_of(schema), depth=depth + 1, variant=variant, refs=refs)
        for keyword in ("anyOf", "oneOf"):
            if isinstance(schema.get(keyword), list):
                return self._first_of(schema, keyword, depth=depth, variant=variant, refs=refs)
        return self._typed(schema, depth=depth, variant=variant, refs=refs)

    def _all_of(self, schema: dict[str, Any]) -> Any:
        merged: Any = _without(schema, "allOf")
        for part in schema["allOf"]:
            while isinstance(part, dict) and "$ref" in part:
                self._nodes += 1
                if self._nodes > MAX_NODES:
                    raise NoExample("its references go round")
                part = _merge(self._resolve(str(part["$ref"])), _without(part, "$ref"))
            merged = _merge(merged, part)
        return merged

    def _first_of(self, schema: dict[str, Any], keyword: str, *, depth: int, variant: int, refs: frozenset[str]) -> Any:
        """The first option that can be made."""
        base = _without(schema, keyword)
        for option in schema[keyword]:
            try:
                return self.make(_merge(base, option), depth=depth + 1, variant=variant, refs=refs)
            except NoExample:
                if self._nodes > MAX_NODES:
                    raise
        raise NoExample(f"none of its {keyword} can be made")

    def _typed(self, schema: dict[str, Any], *, depth: int, variant: int, refs: frozenset[str]) -> Any:
        def inner(part: object, number: int) -> Any:
            return self.make(part, depth=depth + 1, variant=number, refs=refs)

        match _type(schema):
            case "object":
                return _object(schema, inner)
            case "array":
                return _array(schema, inner)
            case "integer":
                return _number(schema, variant, whole=True)
            case "number":
                return _number(schema, variant, whole=False)
            case "boolean":
                return variant % 2 == 1
            case "null":
                return None
        return _string(schema, variant)

    def _resolve(self, reference: str) -> Any:
        """What a local reference points at (RFC 6901 in a URI fragment)."""
        if not reference.startswith("#"):
            raise NoExample(f"{reference} is not in the schema itself")
        at: Any = self._root
        for part in unquote(reference[1:]).split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(at, dict) and name in at:
                at = at[name]
            elif isinstance(at, list) and name.isdecimal() and int(name) < len(at):
                at = at[int(name)]
            else:
                raise NoExample(f"{reference} points nowhere")
        return at


def _without(schema: dict[str, Any], keyword: str) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != keyword}


def _merge(one: Any, other: Any) -> Any:
    """Both schemas at once, as far as a plain union goes."""
    if one is False or other is False:
        return False
    if not isinstance(one, dict) or not isinstance(other, dict):
        return other if isinstance(other, dict) else one
    merged = one | other
    if isinstance(one.get("properties"), dict) and isinstance(other.get("properties"), dict):
        merged["properties"] = one["properties"] | other["properties"]
    if isinstance(one.get("required"), list) and isinstance(other.get("required"), list):
        merged["required"] = [*one["required"], *other["required"]]
    return merged


def _type(schema: dict[str, Any]) -> str:
    told = schema.get("type")
    if isinstance(told, list):
        told = next((name for name in told if name != "null"), "null")
    if isinstance(told, str):
        return told
    return next((kind for keyword, kind in HINTS.items() if keyword in schema), "string")


def _whole(schema: dict[str, Any], keyword: str, limit: int) -> int:
    """A size that the schema asks for; 0 where it asks for none."""
    value = schema.get(keyword)
    if not isinstance(value, int | float) or value <= 0:
        return 0
    if value > limit:
        raise NoExample(f"its {keyword} is over {limit}")
    return math.ceil(value)


def _object(schema: dict[str, Any], inner: Callable[[object, int], Any]) -> dict[str, Any]:
    """What is required, and as much more as `minProperties` wants."""
    properties = schema["properties"] if isinstance(schema.get("properties"), dict) else {}
    required = schema["required"] if isinstance(schema.get("required"), list) else []
    names = list(dict.fromkeys(name for name in required if isinstance(name, str)))
    least = _whole(schema, "minProperties", MAX_NODES)
    spare = [name for name in properties if name not in names]
    spare += [f"key{number}" for number in range(least)]
    names += spare[: max(0, least - len(names))]
    other = schema.get("additionalProperties", {})
    return {name: inner(properties.get(name, other), 0) for name in names}


def _array(schema: dict[str, Any], inner: Callable[[object, int], Any]) -> list[Any]:
    least = _whole(schema, "minItems", MAX_NODES)
    first = schema["prefixItems"] if isinstance(schema.get("prefixItems"), list) else []
    schemas = [*first, *[schema.get("items", {})] * max(0, least - len(first))][:least]
    differ = schema.get("uniqueItems") is True
    return [inner(item, number if differ else 0) for number, item in enumerate(schemas)]


def _string(schema: dict[str, Any], variant: int) -> str:
    known = FORMATS.get(str(schema.get("format")))
    if known is not None and variant == 0:
        return known
    least, most = _whole(schema, "minLength", MAX_CHARS), _bound(schema, "maxLength")
    text = f"{variant or ''}{WORD}"
    text += WORD * -(-max(0, least - len(text)) // len(WORD))
    length = max(least, len(WORD) + len(text) - len(text.lstrip("0123456789")))
    return text[: length if most is None else max(least, min(length, int(most)))]


def _number(schema: dict[str, Any], variant: int, *, whole: bool) -> int | float:
    """The number nearest to 0, `variant` steps further up. `step` 0: any number will do."""
    step = _bound(schema, "multipleOf") or (1 if whole else 0)
    low, high = _lowest(schema, step), _highest(schema, step)
    value: float = 0
    if low is not None and low > 0:
        value = low
    elif high is not None and high < 0:
        value = high
    value += variant * (step or 1)
    if (low is not None and value < low) or (high is not None and value > high):
        raise NoExample("no number is within its bounds")
    return int(value) if whole or float(value).is_integer() else value


def _lowest(schema: dict[str, Any], step: float) -> float | None:
    """The least number that is allowed, as far as `step` can tell."""
    low, above = _bound(schema, "minimum"), _bound(schema, "exclusiveMinimum")
    if above is not None and (low is None or above >= low):
        return (above // step + 1) * step if step else above + _half_gap(above, schema)
    return -(-low // step) * step if low is not None and step else low


def _highest(schema: dict[str, Any], step: float) -> float | None:
    """The greatest number that is allowed, as far as `step` can tell."""
    high, below = _bound(schema, "maximum"), _bound(schema, "exclusiveMaximum")
    if below is not None and (high is None or below <= high):
        return (-(-below // step) - 1) * step if step else below - _half_gap(below, schema)
    return high // step * step if high is not None and step else high


def _half_gap(bound: float, schema: dict[str, Any]) -> float:
    """Half the way from an excluded number to the nearest other bound, at most 1."""
    keywords = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
    others = [other for keyword in keywords if (other := _bound(schema, keyword)) is not None and other != bound]
    return min([1, *(abs(other - bound) / 2 for other in others)])


def _bound(schema: dict[str, Any], keyword: str) -> float | None:
    value = schema.get(keyword)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if is_number else None
