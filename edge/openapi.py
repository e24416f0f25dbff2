"""The public API as an OpenAPI 3.1 document, made from the Structs that read its bodies. Pure.

Every route of the public application is in it, by its plain path; a test walks the application's routes and compares.

Source: the OpenAPI Specification 3.1.1.
"""

from collections.abc import Iterable
from functools import cache

import msgspec

from edge import openapi_responses, paths
from edge.answer_forms import HookTaken
from edge.dialect import JSON_TYPE
from edge.openapi_parts import (
    HEADERS,
    Json,
    answer,
    content,
    error_of,
    errors,
    in_header,
    in_path,
    name_of,
    ref,
    schemas,
    statuses,
    stream_of,
    string,
    turn,
)
from edge.signature import HEADER as SIGNATURE

VERSION = "1"  # the API's, as in its paths; not the program's

ABOUT = """\
Trunkline answers a voice platform's requests in the dialects of OpenAI: chat completions and responses. Any OpenAI \
client works: its base URL is this address with `/v1`.

A platform that can set no headers may say in the path what they would: `/t/KEY` for the API key, `/c/CALL` for the \
call's id, `/p/PROFILE` for the profile of its platform (the header `X-Trunkline-Profile` says the same), in front of \
`/v1`. `/v1` may be missing, and what a platform appends a second time does no harm.

Unknown fields of a body are ignored, and an explicit null is the same as an absent field. Every failure has one form, \
`ErrorBody`: its message says which field is at fault and what to do. An unknown path is a 404, a method that a path \
does not take a 405 with `Allow`.
"""
CHAT = """\
The next turn of a conversation. With `"stream": true` the answer comes as server-sent events, else as one body.

Beside each field stands what becomes of it: it is honoured here, passed to the model's API, ignored or refused.
"""
HOOK = """\
A post-call webhook: `post_call_transcription`, `post_call_audio`, `call_initiation_failure`, or any other type. The \
signature stands for a key. It is answered once the body is kept; the same body again is kept once.
"""
EVENTS = """\
With `"stream": true`: one `data:` line per event, each a `ChatCompletionChunk`, and `data: [DONE]` at the end. \
Comment lines (`: ping`) keep the connection alive. A stream that fails ends with an `ErrorBody` as its last event, \
without `[DONE]`. Until the first event every failure is an HTTP status.
"""


@cache
def document_bytes(key_headers: tuple[str, ...], call_id_headers: tuple[str, ...], *, hooks: bool = False) -> bytes:
    """The document as JSON; built once."""
    return msgspec.json.encode(document(key_headers, call_id_headers, hooks=hooks))


def document(key_headers: Iterable[str], call_id_headers: Iterable[str], *, hooks: bool = False) -> Json:
    """The document. Both kinds of headers are as configured: those that may hold a key as it is, or a call id. `hooks`:
    webhooks are taken.
    """
    schemes = _security_schemes(key_headers)
    return {
        "openapi": "3.1.1",
        "info": {"title": "Trunkline", "version": VERSION, "description": ABOUT},
        "servers": [{"url": ".", "description": "Where this document came from"}],
        "security": [{name: []} for name in schemes],
        "tags": [
            {"name": "chat", "description": "Turns of a conversation"},
            openapi_responses.TAG,
            {"name": "models", "description": "What can be asked for"},
            {"name": "service", "description": "The service itself; no key is needed"},
            *([{"name": "hooks", "description": "What platforms send after a call"}] if hooks else []),
        ],
        "paths": {
            paths.CHAT: {"post": _chat(call_id_headers)},
            **openapi_responses.operations(call_id_headers),
            paths.MODELS: {"get": _models()},
            paths.MODEL: {"get": _model()},
            "/health": {"get": _health()},
            "/ready": {"get": _ready()},
            "/openapi.json": {"get": _openapi()},
            "/docs": {"get": _docs()},
            "/docs/{file}": {"get": _docs_file()},
            **({paths.HOOK: {"post": _hook()}} if hooks else {}),
        },
        "components": {
            "schemas": schemas(*([HookTaken] if hooks else [])),
            "responses": {name_of(status): error_of(status) for status in statuses()},
            "headers": {name: string(about) for name, about in HEADERS.items()},
            "securitySchemes": schemes,
        },
    }


def _security_schemes(key_headers: Iterable[str]) -> Json:
    """Any one of them is enough; without configured keys none is asked for."""
    bearer = {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer KEY`"}
    plain = {name: {"type": "apiKey", "in": "header", "name": name, "description": "The key"} for name in key_headers}
    return {"bearer": bearer, **plain}


# --- the API ---------------------------------------------------------------------------------------


def _chat(call_id_headers: Iterable[str]) -> Json:
    told = {"operationId": "createChatCompletion", "tags": ["chat"], "summary": "Answer one turn", "description": CHAT}
    return told | turn(
        call_id_headers,
        body={"schema": ref("ChatBody"), "examples": _chat_examples()},
        answer=ref("ChatCompletion"),
        events=stream_of({"anyOf": [ref("ChatCompletionChunk"), ref("ErrorBody")]}, EVENTS),
    )


def _chat_examples() -> Json:
    said = {"model": "echo", "messages": [{"role": "user", "content": "Hello!"}]}
    weather = {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
    tools = [{"type": "function", "function": weather}]
    return {
        "body": {"summary": "One body", "value": said},
        "stream": {"summary": "A stream", "value": {**said, "stream": True}},
        "tools": {"summary": "A tool to call", "value": {**said, "model": "echo-tools", "tools": tools}},
    }


def _models() -> Json:
    return {
        "operationId": "listModels",
        "tags": ["models"],
        "summary": "List the models",
        "responses": {"200": answer("The models.", "ModelList"), **errors(401, 500)},
    }


def _model() -> Json:
    return {
        "operationId": "getModel",
        "tags": ["models"],
        "summary": "Describe one model",
        "parameters": [in_path("id", "The model's name; it may hold slashes.", "echo")],
        "responses": {"200": answer("The model.", "Model"), **errors(401, 404, 500)},
    }


# --- after the call --------------------------------------------------------------------------------


def _hook() -> Json:
    signature = in_header(SIGNATURE, "`t=SECONDS,v0=HEX`: the HMAC-SHA256 of `SECONDS.BODY` under the shared secret.")
    return {
        "operationId": "takeElevenLabsWebhook",
        "tags": ["hooks"],
        "summary": "Keep what ElevenLabs sends after a call",
        "description": HOOK,
        "security": [],
        "parameters": [{**signature, "required": True}],
        "requestBody": {"required": True, "content": {JSON_TYPE: {"schema": {"type": "object"}}}},
        "responses": {"200": answer("It was taken.", "HookTaken"), **errors(400, 401, 408, 413, 500, 503)},
    }


# --- the service -----------------------------------------------------------------------------------


def _health() -> Json:
    return _of_service("getHealth", "Tell that the process runs", {"200": answer("It runs.", "Health")})


def _ready() -> Json:
    both = {"200": answer("They can be.", "Readiness"), "503": answer("They cannot be.", "Readiness")}
    return _of_service("getReadiness", "Tell whether turns can be taken now", both)


def _openapi() -> Json:
    found = content("The document.", JSON_TYPE, {"type": "object"})
    return _of_service("getOpenApi", "This document", {"200": found})


def _docs() -> Json:
    found = content("The page.", "text/html", {"type": "string"})
    return _of_service("getDocs", "This document as a page", {"200": found})


def _docs_file() -> Json:
    found = content("The file.", "text/*", {"type": "string"})
    moved = {"description": "No file is named: the page is at `/docs`."}
    said = _of_service("getDocsFile", "What that page is made of", {"200": found, "308": moved, **errors(404)})
    return {**said, "parameters": [in_path("file", "The file's name.", "swagger-ui.css")]}


def _of_service(operation_id: str, summary: str, responses: Json) -> Json:
    named = {"operationId": operation_id, "tags": ["service"], "summary": summary}
    return {**named, "security": [], "responses": {**responses, **errors(500)}}
