"""What the operations of the OpenAPI document are made of: schemas from Structs, headers, errors by status. Pure."""

from http import HTTPStatus
from typing import Any

import msgspec

from edge import answer_forms, parameters
from edge.chat_form import ChatBody
from edge.dialect import JSON_TYPE
from edge.errors import OPENAI

Json = dict[str, Any]

NOT_OF_TURNS = {405, 499}  # it was no operation; nobody is left to read it
COMPONENT = "#/components/schemas/{name}"
FORMS = (
    ChatBody,
    answer_forms.ChatCompletion,
    answer_forms.ChatCompletionChunk,
    answer_forms.ErrorBody,
    answer_forms.ModelList,
    answer_forms.Model,
    answer_forms.Health,
    answer_forms.Readiness,
)
HEADERS = {
    "x-request-id": "The id of this request; of a turn, the logs have it too.",
    "x-trace-id": "The id of the turn's trace.",
    "x-trunkline-call-id": "The id of the call, where the request has named one.",
    "Retry-After": "Whole seconds to wait before a retry.",
    "retry-after-ms": "The same, finer, in milliseconds.",
    "x-should-retry": "`true` or `false`: whether a retry can help. It overrules a client's own rules.",
    "WWW-Authenticate": "`Bearer`.",
}
OF_ERRORS: dict[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After", "retry-after-ms", "x-should-retry"),
    503: ("Retry-After", "retry-after-ms", "x-should-retry"),
}
"""Headers that an error has beside its id."""


def schemas(*more: type) -> Json:
    """Every form, and those that only some lines have, by its Struct's name."""
    _, found = msgspec.json.schema_components((*FORMS, *more), ref_template=COMPONENT)
    plain: Json = {name: _plain(schema) for name, schema in found.items()}
    for name, schema in plain["ChatBody"]["properties"].items():
        schema["description"] = _fate({**parameters.OPENAI, **parameters.PLATFORMS}[name])
    return plain


def _plain(node: Any) -> Any:
    """A schema as generators of clients like it: enums have a type, and no default says what absence says."""
    if isinstance(node, list):
        return [_plain(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    plain = {key: _plain(value) for key, value in node.items() if (key, value) != ("default", None)}
    return {"type": "string", **plain} if isinstance(plain.get("enum"), list) else plain


def _fate(parameter: parameters.Parameter) -> str:
    note = f" {parameter.note[:1].upper()}{parameter.note[1:]}." if parameter.note else ""
    return f"{parameter.fate.capitalize()}: {parameter.values}.{note}"


def ref(form: str) -> Json:
    """A Struct's schema."""
    return {"$ref": COMPONENT.format(name=form)}


def string(about: str) -> Json:
    """A string as a header or parameter."""
    return {"description": about, "schema": {"type": "string"}}


def in_header(name: str, about: str) -> Json:
    """A header that a request may have."""
    return {"name": name, "in": "header", **string(about)}


def in_path(name: str, about: str, example: str) -> Json:
    """A part of a path."""
    return {"name": name, "in": "path", "required": True, "example": example, **string(about)}


def headers(*names: str) -> Json:
    """Headers of an answer."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def content(about: str, kind: str, schema: Json) -> Json:
    """An answer of a media type."""
    return {"description": about, "headers": headers("x-request-id"), "content": {kind: {"schema": schema}}}


def answer(about: str, form: str) -> Json:
    """An answer in JSON, of a Struct's form."""
    return content(about, JSON_TYPE, ref(form))


def statuses() -> list[int]:
    """What a turn can fail with."""
    return sorted({row.status for row in OPENAI.values()} - NOT_OF_TURNS)


def errors(*failures: int) -> Json:
    """Failures of an operation, by status."""
    return {str(status): {"$ref": f"#/components/responses/{name_of(status)}"} for status in failures}


def name_of(status: int) -> str:
    """What a failure's response is called among the components."""
    return f"Error{status}"


def error_of(status: int) -> Json:
    """A failure's response."""
    codes = sorted({row.code or "null" for row in OPENAI.values() if row.status == status})
    told = ", ".join(f"`{code}`" for code in codes)
    about = f"{HTTPStatus(status).phrase}. The error's `code`: {told}."
    found = answer(about, "ErrorBody")
    return {**found, "headers": headers("x-request-id", *OF_ERRORS.get(status, ()))}
