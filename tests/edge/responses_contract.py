"""A response and its events as data: which keys are there, which are null and which are absent, kind by kind.

Written from the API's documents, never from our own output; `faults` holds a value against a shape, as in `contract`.

Source: OpenAI's API reference, responses and their streaming events; Open Responses; openai-python 3.52.
"""

from typing import Any

from tests.edge.contract import SOME, Either

ID, CREATED, ENDED, MODEL = "resp_9f01", 1795228265, 1795228266, "my-model"

ECHOED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}
"""What a response repeats of a request that says nothing but its model and its input."""

# --- items -----------------------------------------------------------------------------------------

TOKEN = {"token": str, "logprob": float, "bytes": [int]}
LOGPROBS = [{**TOKEN, "top_logprobs": [TOKEN]}]
TEXT_PART = {"type": "output_text", "text": str, "annotations": (), "logprobs": LOGPROBS}
REFUSAL_PART = {"type": "refusal", "refusal": str}
SUMMARY_PART = {"type": "summary_text", "text": str}
NEW_PART = Either(
    {"type": "output_text", "text": "", "annotations": (), "logprobs": ()}, {"type": "refusal", "refusal": ""}
)
PART = Either(TEXT_PART, REFUSAL_PART)

CALL = {"type": "function_call", "id": SOME, "call_id": SOME, "name": SOME}
MESSAGE = {"type": "message", "id": SOME, "role": "assistant"}
THOUGHT = {"type": "reasoning", "id": SOME}
NEW_ITEM = Either(
    {**MESSAGE, "status": "in_progress", "content": ()},
    Either({**CALL, "status": "in_progress", "arguments": ""}, {**THOUGHT, "summary": ()}),
)
ITEM = Either(
    {**MESSAGE, "status": Either("completed", "incomplete"), "content": [PART]},
    Either(
        {**CALL, "status": "completed", "arguments": SOME},
        {**THOUGHT, "summary": [SUMMARY_PART], "encrypted_content?": SOME},
    ),
)

# --- the response ----------------------------------------------------------------------------------

USAGE = {
    "input_tokens": int,
    "input_tokens_details": {"cached_tokens": int, "cache_write_tokens": 0},
    "output_tokens": int,
    "output_tokens_details": {"reasoning_tokens": int},
    "total_tokens": int,
}
CODES = Either("server_error", Either("rate_limit_exceeded", "invalid_prompt"))


def _response(
    status: str, *, completed_at: Any = None, error: Any = None, incomplete: Any = None, usage: Any = None
) -> dict[str, Any]:
    return {
        **{key: value if value not in ([], {}) else type(value)() for key, value in ECHOED.items()},
        "id": ID,
        "object": "response",
        "created_at": CREATED,
        "completed_at": completed_at,
        "status": status,
        "background": False,
        "error": error,
        "incomplete_details": incomplete,
        "model": MODEL,
        "output": () if status == "in_progress" else [ITEM],
        "store": bool,
        "usage": usage,
    }


RESPONSES: dict[str, Any] = {
    "in_progress": _response("in_progress"),
    "completed": _response("completed", completed_at=ENDED, usage=USAGE),
    "incomplete": _response(
        "incomplete", incomplete={"reason": Either("max_output_tokens", "content_filter")}, usage=USAGE
    ),
    "failed": _response("failed", error={"code": CODES, "message": SOME}),
    "cancelled": _response("cancelled"),
}

# --- events ----------------------------------------------------------------------------------------

_IN_MESSAGE = {"item_id": SOME, "output_index": int, "content_index": int}
_IN_CALL = {"item_id": SOME, "output_index": int}
_IN_THOUGHT = {"item_id": SOME, "output_index": int, "summary_index": 0}
_FIELDS: dict[str, Any] = {
    "response.created": {"response": RESPONSES["in_progress"]},
    "response.in_progress": {"response": RESPONSES["in_progress"]},
    "response.output_item.added": {"output_index": int, "item": NEW_ITEM},
    "response.output_item.done": {"output_index": int, "item": ITEM},
    "response.content_part.added": {**_IN_MESSAGE, "part": NEW_PART},
    "response.content_part.done": {**_IN_MESSAGE, "part": PART},
    "response.output_text.delta": {**_IN_MESSAGE, "delta": SOME, "logprobs": LOGPROBS},
    "response.output_text.done": {**_IN_MESSAGE, "text": SOME, "logprobs": LOGPROBS},
    "response.refusal.delta": {**_IN_MESSAGE, "delta": SOME},
    "response.refusal.done": {**_IN_MESSAGE, "refusal": SOME},
    "response.function_call_arguments.delta": {**_IN_CALL, "delta": SOME},
    "response.function_call_arguments.done": {**_IN_CALL, "name": SOME, "arguments": SOME},
    "response.reasoning_summary_part.added": {**_IN_THOUGHT, "part": {"type": "summary_text", "text": ""}},
    "response.reasoning_summary_part.done": {**_IN_THOUGHT, "part": SUMMARY_PART},
    "response.reasoning_summary_text.delta": {**_IN_THOUGHT, "delta": SOME},
    "response.reasoning_summary_text.done": {**_IN_THOUGHT, "text": SOME},
    "error": {
        "code": Either(str, None),
        "message": SOME,
        "param": Either(str, None),
        "error": {"message": SOME, "type": SOME, "param": Either(str, None), "code": Either(str, None)},
    },
    "response.completed": {"response": RESPONSES["completed"]},
    "response.incomplete": {"response": RESPONSES["incomplete"]},
    "response.failed": {"response": Either(RESPONSES["failed"], RESPONSES["cancelled"])},
}
EVENTS: dict[str, Any] = {kind: {"type": kind, "sequence_number": int, **fields} for kind, fields in _FIELDS.items()}
TERMINAL = ("response.completed", "response.incomplete", "response.failed")
