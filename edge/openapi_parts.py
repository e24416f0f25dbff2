"""What the operations of the OpenAPI document are made of: schemas from Structs, headers, errors by status. Pure."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, get_args

import msgspec

from edge import answer_forms, chat_form, parameters, response_forms, responses_form, responses_parameters
from edge.chat_form import ChatBody
from edge.dialect import EVENTS_TYPE, JSON_TYPE
from edge.errors import OPENAI
from edge.profile_choice import HEADER as PROFILE
from edge.responses_form import ResponsesBody

Json = dict[str, Any]

NOT_OF_TURNS = {405, 499}  # it was no operation; nobody is left to read it
PLACE = "#/components/schemas/"
COMPONENT = f"{PLACE}{{name}}"
ITEMS: tuple[type, ...] = get_args(responses_form.Item)
TYPED = [item for item in ITEMS if item is not responses_form.MessageItem]  # a message has a role instead
EVENTS: tuple[type, ...] = get_args(response_forms.ResponseStreamEvent)
FORMS = (
    ChatBody,
    ResponsesBody,
    *ITEMS,
    answer_forms.ChatCompletion,
    answer_forms.ChatCompletionChunk,
    response_forms.ResponseObject,
    response_forms.DeletedResponse,
    response_forms.InputItemList,
    *EVENTS,
    answer_forms.ErrorBody,
    answer_forms.ModelList,
    answer_forms.Model,
    answer_forms.Health,
    answer_forms.Readiness,
)
NAMESAKES = {chat_form: "", answer_forms: "", responses_form: "Responses", response_forms: "Response"}
"""Structs of several modules may have one name: each module's are then told apart by a word in front."""

FATES = {
    "ChatBody": {**parameters.OPENAI, **parameters.PLATFORMS},
    "ResponsesBody": {**responses_parameters.OPENAI, **responses_parameters.OPEN_RESPONSES, **parameters.PLATFORMS},
}
OF_TURNS = ("x-request-id", "x-trace-id", "x-trunkline-call-id")
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
    short = {name: _short(name) for name in found}
    plain: Json = {short[name]: {**_plain(schema, short), "title": short[name]} for name, schema in found.items()}
    for form, fates in FATES.items():
        for name, schema in plain[form]["properties"].items():
            schema["description"] = _fate(fates[name])
    plain["ResponsesBody"]["properties"]["input"] |= _input()
    for item in TYPED:
        _say_its_type(plain[item.__name__])
    plain["ResponseStreamEvent"] = _any_of(event.__name__ for event in EVENTS)
    return plain


def _short(name: str) -> str:
    """What a Struct is called here. Those that have a namesake come with their module."""
    module, _, own = name.rpartition(".")
    return next((word for of, word in NAMESAKES.items() if of.__name__ == module), "") + own


def _input() -> Json:
    """What is read item by item, each by its type."""
    items = {"type": "array", "items": _any_of(item.__name__ for item in ITEMS)}
    return {"anyOf": [{"type": "string"}, items, {"type": "null"}]}


def _say_its_type(item: Json) -> None:
    """Its form can do without the type, because it is chosen by it; a request cannot."""
    item["properties"]["type"] = item["properties"]["type"]["anyOf"][0]
    item["required"] = [*item["required"], "type"]


def _any_of(names: Iterable[str]) -> Json:
    return {"anyOf": [ref(name) for name in names]}


def _plain(node: Any, short: Mapping[str, str]) -> Any:
    """A schema as generators of clients like it: enums have a type, no default says what absence says, and every
    reference leads to a plain name.
    """
    if isinstance(node, list):
        return [_plain(entry, short) for entry in node]
    if isinstance(node, str) and node.startswith(PLACE):
        return PLACE + short[node.removeprefix(PLACE)]
    if not isinstance(node, dict):
        return node
    plain = {key: _plain(value, short) for key, value in node.items() if (key, value) != ("default", None)}
    match plain.get("enum"):
        case [bool() as only]:
            return {**{key: value for key, value in plain.items() if key != "enum"}, "type": "boolean", "const": only}
        case [*_]:
            return {"type": "string", **plain}
    return plain


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


def in_query(name: str, about: str, schema: Json | None = None) -> Json:
    """A part of a query."""
    return {"name": name, "in": "query", **string(about), **({"schema": schema} if schema else {})}


def parameters_of_turns(call_id_headers: Iterable[str]) -> list[Json]:
    """The headers that a request for a turn may have."""
    return [
        *(in_header(name, "The id of the call that the turn belongs to.") for name in call_id_headers),
        in_header(PROFILE, "What its platform expects: a profile, built in or configured."),
        in_header("traceparent", "The trace that the turn becomes a part of (W3C Trace Context)."),
    ]


def headers_of_turns() -> Json:
    """The headers of a turn's answer."""
    return headers(*OF_TURNS)


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


def turn(call_id_headers: Iterable[str], *, body: Json, answer: Json, events: Json) -> Json:
    """What operations that answer a turn have in common: the request, and the answer as one body or as a stream."""
    either = {JSON_TYPE: {"schema": answer}, EVENTS_TYPE: {"schema": events}}
    return {
        "parameters": parameters_of_turns(call_id_headers),
        "requestBody": {"required": True, "content": {JSON_TYPE: body}},
        "responses": {
            "200": {"description": "The answer.", "headers": headers_of_turns(), "content": either},
            **errors(*statuses()),
        },
    }


def stream_of(event: Json, about: str) -> Json:
    """A stream whose events have this schema."""
    return {"type": "string", "description": about, "contentMediaType": EVENTS_TYPE, "contentSchema": event}
