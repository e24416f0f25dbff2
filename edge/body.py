"""A request body, bytes -> Struct, or the error that names the field, the reason and the cure.

The Structs decode it on the fast path. Only a body that they refuse is looked at again, with the JSON Schema made
from those very Structs. No message quotes what the caller sent: errors end up in logs, and a prompt must not.
"""

import re
from collections.abc import Iterable
from decimal import Decimal
from functools import cached_property
from typing import Any, Generic, TypeVar

import jsonschema_rs
import msgspec
from jsonschema_rs import ValidationErrorKind as Kind

from protocol import errors
from protocol.codec import DecodeError, without_halves
from protocol.errors import ServiceError

T = TypeVar("T", bound=msgspec.Struct)

MAX_COMMAS = 100_000
"""Entries, roughly, up to which a bad body is looked at twice: a validator's error copies what is at fault, in about
0.2 microseconds an entry, and every other turn of the process waits for that. Long texts are no matter."""

MAX_TOKENS = 2**31 - 1  # the largest that every known upstream can read
MAX_DIGITS = 40  # of a number that may be a whole one
MENDED_BYTES = 1 << 20
"""Of a body that is looked through for half an emoji: what some platforms leave of one where they cut a text."""

_KINDS = {
    "string": "a string",
    "array": "a list",
    "object": "an object",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}
_FLOAT = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,2})?")
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_MSGSPEC = re.compile(r"(?P<reason>.*?)(?: - at `\$\.?(?P<path>.*)`)?", re.DOTALL)


class Reader(Generic[T]):
    """Reads the bodies of one endpoint. `needs` is the cure for a body that is none: what to send instead."""

    def __init__(self, form: type[T], *, needs: str) -> None:
        self._needs = needs
        self._form = form
        self._decoder = msgspec.json.Decoder(form)

    @cached_property
    def _schema(self) -> dict[str, Any]:
        return schema_of(self._form)  # a process that meets no bad body, as most do, starts sooner without it

    @cached_property
    def _validator(self) -> Any:
        return jsonschema_rs.validator_for(self._schema, mask="…")  # else it writes out what was sent

    def read(self, body: bytes) -> T:
        """The body as the endpoint's Struct.

        Raises:
            ServiceError: it is no JSON object, or a field is missing, of a wrong type or out of range.
        """
        try:
            body.decode()  # what is skipped or carried as it came is not checked by the decoder
            return self._decoder.decode(body)
        except msgspec.ValidationError as refused:
            return self._read_again(body, str(refused))
        except DecodeError as error:
            if len(body) <= MENDED_BYTES and (mended := without_halves(body)) != body:
                return self.read(mended)
            raise self._not_json(body, error) from None

    def read_part(self, value: msgspec.Raw, at: str) -> T:
        """A value inside a body that was read as JSON; `at` is its path there.

        Raises:
            ServiceError: as `read`; `param` begins with `at`.
        """
        try:
            return self._decoder.decode(value)
        except DecodeError as refused:
            raise _within(at, self._diagnose(bytes(value), str(refused))) from None

    def _read_again(self, body: bytes, refused: str) -> T:
        """The body with its whole numbers written as such: JSON has one kind of number, and some clients write 1.0."""
        try:
            return self._decoder.decode(_with_whole_numbers(body))
        except DecodeError:
            raise self._diagnose(body, refused) from None

    def _diagnose(self, body: bytes, refused: str) -> ServiceError:
        """Why a body was refused: in the schema's words or, where those fail, in the decoder's own (`refused`)."""
        if body.count(b",") > MAX_COMMAS:
            return _from_msgspec(refused)
        try:
            value = msgspec.json.decode(body)
        except msgspec.ValidationError:
            return _from_msgspec(refused)  # a number that no float can hold
        except DecodeError as error:
            return self._not_json(body, error)
        if not isinstance(value, dict):
            return errors.InvalidJson(f"the body is JSON, but not an object: send {self._needs}")
        try:
            self._validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            return self._from_schema(error)
        except Exception:  # the answer to a bad body shall not hang on a second library's limits
            pass
        return _from_msgspec(refused)

    def _not_json(self, body: bytes, error: Exception) -> ServiceError:
        if not body.strip():
            return errors.InvalidJson(f"the body is empty: send {self._needs}")
        match error:
            case RecursionError():
                reason = "it is nested too deep"
            case UnicodeDecodeError():
                reason = f"it is not UTF-8 (byte {error.start})"
            case _:
                reason = str(error)
        return errors.InvalidJson(f"the body could not be read as JSON: {reason}; send {self._needs}")

    def _from_schema(self, error: jsonschema_rs.ValidationError) -> ServiceError:
        path = dotted(error.instance_path)
        match error.kind:
            case Kind.Required(property=name):
                return missing(dotted([*error.instance_path, name]))
            case Kind.Type(types=types):
                return wrong_type(path, *types)
            case Kind.Enum(options=options):
                return _not_among(path, options, error.instance)
            case Kind.Minimum(limit=limit):
                return out_of_range(path, low=limit, whole=self._is_whole(error.schema_path))
            case Kind.Maximum(limit=limit):
                return out_of_range(path, high=limit, whole=self._is_whole(error.schema_path))
            case Kind.MinItems():
                return empty(path)
            case Kind.MaxItems(limit=limit):
                return errors.InvalidValue(f"'{path}' has too many entries: at most {limit} are possible", param=path)
            case Kind.MinLength():
                return errors.InvalidValue(f"'{path}' is an empty string: it needs at least one character", param=path)
        return errors.InvalidValue(f"'{path}' holds a value that it may not hold", param=path)

    def _is_whole(self, schema_path: list[str | int]) -> bool:
        """Whether the keyword at `schema_path` limits an integer."""
        node: Any = self._schema
        for step in schema_path[:-1]:
            node = node[step]
        return bool(node.get("type") == "integer")


def _within(at: str, error: ServiceError) -> ServiceError:
    """The error of a value, as one of the body that has it at this path."""
    if error.param is None:
        return wrong_type(at, "object")
    path = dotted([at, error.param])
    return type(error)(str(error).replace(f"'{error.param}'", f"'{path}'", 1), param=path)


def _with_whole_numbers(body: bytes) -> bytes:
    """The same object with `1.0` as `1` in its own fields, where the API's whole numbers are; the rest as it came."""
    return msgspec.json.encode({name: _whole(value) for name, value in _fields.decode(body).items()})


def _whole(value: msgspec.Raw) -> msgspec.Raw | int:
    written = bytes(value)
    if len(written) > MAX_DIGITS or not _FLOAT.fullmatch(written):
        return value
    number = Decimal(written.decode())
    return int(number) if abs(number) < 2**63 and number == number.to_integral_value() else value


def schema_of(form: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON Schema of a Struct, with its unions written as one case per type."""
    schema: dict[str, Any] = _by_case(msgspec.json.schema(form))
    return schema


def _by_case(node: Any) -> Any:
    """`anyOf` as a type and one `if` per alternative, so that the first error found is the one to report.

    An `anyOf` says only that nothing fits, and gathers why, for every entry of a list, in quadratic time.
    """
    if isinstance(node, list):
        return [_by_case(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    if "discriminator" in node:
        return _by_tag(**node["discriminator"])
    node = {key: _by_case(value) for key, value in node.items()}
    alternatives = {_type_of(choice): choice for choice in node.pop("anyOf", ())}
    if alternatives:
        node["type"] = list(alternatives)
        node["allOf"] = [{"if": {"type": kind}, "then": choice} for kind, choice in alternatives.items()]
    return node


def _by_tag(propertyName: str, mapping: dict[str, str]) -> dict[str, Any]:  # noqa: N803 (JSON Schema's own name)
    tag = propertyName
    cases = [
        {"if": {"required": [tag], "properties": {tag: {"const": value}}}, "then": {"$ref": form}}
        for value, form in mapping.items()
    ]
    return {"type": "object", "required": [tag], "properties": {tag: {"enum": list(mapping)}}, "allOf": cases}


def _type_of(choice: dict[str, Any]) -> str:
    """The JSON type that an alternative is about: a reference is to a Struct, a bare enum lists strings."""
    if "enum" in choice:
        return "string"
    return str(choice.get("type", "object"))


def _from_msgspec(refused: str) -> ServiceError:
    """The error behind a decoder's message. Of its reasons only `Expected ...` never quotes the body."""
    found = _MSGSPEC.fullmatch(refused)
    reason, path = (found["reason"], found["path"]) if found else ("", None)
    if not path:
        return errors.InvalidJson("the body is no JSON object: send one")
    if reason.startswith("Integer value out of range"):
        return errors.IntegerAboveMax(f"'{path}' is a number that is out of range: send a smaller one", param=path)
    if reason.startswith("Number out of range"):
        return errors.DecimalAboveMax(f"'{path}' is a number that is out of range: send a smaller one", param=path)
    cure = reason.replace("Expected", "it must be", 1) if reason.startswith("Expected") else "see the API's reference"
    return errors.InvalidType(f"'{path}' holds a value of the wrong type: {cure}", param=path)


def _not_among(path: str, options: Iterable[Any], value: Any) -> ServiceError:
    if not isinstance(value, str):
        return wrong_type(path, "string")
    return not_among(path, options)


# --- sentences that a dialect's own checks share ---------------------------------------------------


def dotted(path: Iterable[str | int]) -> str:
    """A path as the API writes it: `messages[2].content`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def missing(path: str, *, where: str = "") -> errors.MissingParameter:
    """A required field is absent. `where` it is to stand."""
    place = f" {where}" if where else ""
    return errors.MissingParameter(f"'{path}' is missing: it is required{place}", param=path)


def empty(path: str) -> errors.EmptyArray:
    """A list that needs an entry has none."""
    return errors.EmptyArray(f"'{path}' is empty: it needs at least one entry", param=path)


def no_content(content: object, path: str) -> ServiceError:
    """A message's content is neither text nor parts: absent, null, or a list of none."""
    if content is msgspec.UNSET:
        return missing(path)
    return wrong_type(path, "string", "array") if content is None else empty(path)


def wrong_type(path: str, *types: str) -> errors.InvalidType:
    """A field is of none of the JSON types that it may have."""
    wanted = " or ".join(_KINDS[kind] for kind in types if kind in _KINDS)
    return errors.InvalidType(f"'{path}' holds a value of the wrong type: it must be {wanted}", param=path)


def not_among(path: str, options: Iterable[str]) -> errors.InvalidValue:
    """A field holds none of its possible words."""
    wanted = ", ".join(f"'{option}'" for option in options)
    return errors.InvalidValue(f"'{path}' holds a value that is not known here: it must be one of {wanted}", param=path)


def out_of_range(path: str, *, low: Any = None, high: Any = None, whole: bool) -> ServiceError:
    """A number under `low` or over `high`; which of both is given says which."""
    if high is None:
        below = errors.IntegerBelowMin if whole else errors.DecimalBelowMin
        return below(f"'{path}' is too small: it must be at least {low}", param=path)
    above = errors.IntegerAboveMax if whole else errors.DecimalAboveMax
    return above(f"'{path}' is too large: it must be at most {high}", param=path)


def tokens(limit: float | None, path: str) -> int | None:
    """A limit in tokens; null, 0 and -1 are platforms' ways to say that there is none. Raises ServiceError."""
    if limit is None or limit <= 0:
        return None
    if limit != int(limit):
        raise wrong_type(path, "integer")
    if limit > MAX_TOKENS:
        raise errors.IntegerAboveMax(f"'{path}' is too large: it must be at most {MAX_TOKENS}", param=path)
    return int(limit)
