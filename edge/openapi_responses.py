"""The operations of /v1/responses in the OpenAPI document. Pure."""

from collections.abc import Iterable

from edge import paths, response_listing
from edge.openapi_parts import (
    Json,
    answer,
    errors,
    in_path,
    in_query,
    ref,
    stream_of,
    turn,
)

TAG = {"name": "responses", "description": "Turns of a conversation that can be gone on from"}
CREATE = """\
The next turn of a conversation, as OpenAI's Responses API has it. With `"stream": true` the answer comes as \
server-sent events, else as one body.

It is kept, unless `store` is false, and a later request goes on from it with its id as `previous_response_id`: with \
the same API key, on any edge, until it expires. `store` at the end of the answer says whether it is kept.

Beside each field stands what becomes of it: it is honoured here, passed to the model's API, ignored or refused.
"""
EVENTS = """\
With `"stream": true`: an `event:` line with the event's type and one `data:` line per event, numbered by \
`sequence_number`, and `data: [DONE]` at the end. The last event before that is `response.completed`, \
`response.incomplete` or `response.failed`. Comment lines (`: ping`) keep the connection alive. Until the first event \
every failure is an HTTP status.
"""
ID = "resp_000000000000000000000000"
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
BOOKING = {
    "type": "json_schema",
    "name": "booking",
    "schema": {"type": "object", "properties": {"name": {"type": "string"}, "guests": {"type": "integer"}}},
}


def operations(call_id_headers: Iterable[str]) -> Json:
    """By path and method."""
    return {
        paths.RESPONSES: {"post": _create(call_id_headers)},
        paths.RESPONSE: {"get": _retrieve(), "delete": _delete()},
        paths.CANCEL: {"post": _cancel()},
        paths.INPUT_ITEMS: {"get": _input_items()},
    }


def _create(call_id_headers: Iterable[str]) -> Json:
    told = {"operationId": "createResponse", "tags": ["responses"], "summary": "Make a response", "description": CREATE}
    return told | turn(
        call_id_headers,
        body={"schema": ref("ResponsesBody"), "examples": examples()},
        answer=ref("ResponseObject"),
        events=stream_of(ref("ResponseStreamEvent"), EVENTS),
    )


def examples() -> Json:
    """Bodies that can be sent as they are; the one that goes on from another needs that one's id."""
    said = {"model": "echo", "input": "Hello!"}
    return {
        "body": {"summary": "One body", "value": said},
        "stream": {"summary": "A stream", "value": {**said, "stream": True}},
        "next": {"summary": "What follows a response: put in its id", "value": {**said, "previous_response_id": ID}},
        "tools": {"summary": "A tool to call", "value": {**said, "model": "echo-tools", "tools": [WEATHER]}},
        "form": {
            "summary": "An answer in a form",
            "value": {**said, "model": "echo-json", "text": {"format": BOOKING}},
        },
        "thoughts": {
            "summary": "A model that thinks",
            "value": {**said, "model": "echo-reasoning", "reasoning": {"summary": "auto"}},
        },
    }


def _retrieve() -> Json:
    return {
        **_of_one("getResponse", "Show a response that is kept"),
        "responses": {"200": answer("The response.", "ResponseObject"), **errors(400, 401, 404, 500, 503)},
    }


def _delete() -> Json:
    return {
        **_of_one("deleteResponse", "Forget a response"),
        "responses": {"200": answer("It is forgotten.", "DeletedResponse"), **errors(401, 404, 500, 503)},
    }


def _cancel() -> Json:
    return {
        **_of_one("cancelResponse", "End a response that is being made"),
        "description": "On whichever edge it is made. One that has ended stays as it is, and is shown.",
        "responses": {"200": answer("The response as it has ended.", "ResponseObject"), **errors(401, 404, 500, 503)},
    }


def _input_items() -> Json:
    most = response_listing.MAX_LIMIT
    said = _of_one("listInputItems", "List what led to a response that is kept")
    return {
        **said,
        "description": "All of it, page by page: what it went on from, and what came with its own request.",
        "parameters": [
            *said["parameters"],
            in_query("order", "Newest first, unless it is `asc`.", {"enum": list(response_listing.ORDERS)}),
            in_query(
                "limit",
                f"How many; {response_listing.LIMIT} where it is not said.",
                {"type": "integer", "minimum": 1, "maximum": most},
            ),
            in_query("after", "The id of the item that comes right before the page."),
            in_query("before", "The id of the item that comes right behind the page."),
        ],
        "responses": {"200": answer("A page.", "InputItemList"), **errors(400, 401, 404, 500, 503)},
    }


def _of_one(operation_id: str, summary: str) -> Json:
    return {
        "operationId": operation_id,
        "tags": ["responses"],
        "summary": summary,
        "parameters": [in_path("id", "The response's id.", ID)],
    }
