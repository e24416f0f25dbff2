"""The API's answers as data: which keys are there, which are null and which are absent, kind by kind.

Written from the API's documentation and from the bytes that it sends, never from our own output. A shape is matched
by `faults`:

    "word", 0, None      this very value (a bool is no number)
    str, int, float      a value of that type; `SOME` is a string that is not empty
    {"key": shape}       an object with these keys and no other; a key that ends in `?` may be absent
    [shape]              a list of any length;  (a, b): a list of exactly these
    Either(a, b)         one of them

Source: OpenAI's API reference, chat completions; snapshots in the tests of openai-python 3.52.
"""

from typing import Any, NamedTuple

ID, CREATED, MODEL = "chatcmpl-1", 1795228265, "my-model"


class Some:
    """A string that is not empty."""


SOME = Some()


class Either(NamedTuple):
    """One of two shapes."""

    a: Any
    b: Any


def faults(value: Any, shape: Any, at: str = "$") -> list[str]:
    """Where `value` is not as `shape` has it; empty when it is."""
    match shape:
        case Either(a, b):
            found = faults(value, a, at)
            return found and faults(value, b, at) and found
        case dict():
            return _object_faults(value, shape, at)
        case list() | tuple():
            return _list_faults(value, shape, at)
        case Some():
            fits = isinstance(value, str) and value != ""
        case type():
            fits = type(value) is shape
        case _:
            fits = type(value) is type(shape) and value == shape
    return [] if fits else [f"{at}: {value!r} is not {shape!r}"]


def _object_faults(value: Any, shape: dict[str, Any], at: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{at}: {value!r} is no object"]
    known = {key.rstrip("?"): inner for key, inner in shape.items()}
    required = {key for key in shape if not key.endswith("?")}
    missing = [f"{at}.{key}: absent" for key in sorted(required - set(value))]
    unknown = [f"{at}.{key}: must be absent" for key in sorted(set(value) - set(known))]
    inside = [fault for key in set(value) & set(known) for fault in faults(value[key], known[key], f"{at}.{key}")]
    return missing + unknown + inside


def _list_faults(value: Any, shape: list[Any] | tuple[Any, ...], at: str) -> list[str]:
    if not isinstance(value, list):
        return [f"{at}: {value!r} is no list"]
    shapes = shape * len(value) if isinstance(shape, list) else shape
    if len(shapes) != len(value):
        return [f"{at}: {len(value)} entries instead of {len(shapes)}"]
    return [
        fault
        for n, (entry, inner) in enumerate(zip(value, shapes, strict=True))
        for fault in faults(entry, inner, f"{at}[{n}]")
    ]


# --- parts of answers ------------------------------------------------------------------------------

TOKEN = {"token": str, "logprob": float, "bytes": Either([int], None)}
LOGPROBS = {"content": [{**TOKEN, "top_logprobs": [TOKEN]}], "refusal": None}
CALL = {"id": SOME, "type": "function", "function": {"name": SOME, "arguments": SOME}}
FUNCTION_CALL = {"name": SOME, "arguments": SOME}
ERROR = {"message": SOME, "type": SOME, "param": Either(str, None), "code": Either(str, None)}
USAGE = {
    "prompt_tokens": int,
    "completion_tokens": int,
    "total_tokens": int,
    "prompt_tokens_details": {"cached_tokens": int, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": int,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}


# --- chunks, by kind -------------------------------------------------------------------------------


def _choice(delta: dict[str, Any], *, logprobs: Any = None, finish_reason: Any = None) -> tuple[Any]:
    return ({"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason},)


FIRST_CALL = {"role": "assistant", "content": None, "refusal": None}
REASONS = Either(Either("stop", "length"), Either("tool_calls", Either("content_filter", "function_call")))
CHOICES: dict[str, Any] = {
    "role": _choice({"role": "assistant", "content": "", "refusal": None}),
    "role before a refusal": _choice(FIRST_CALL),
    "content": _choice({"content": SOME}),
    "content with logprobs": _choice({"content": SOME}, logprobs=LOGPROBS),
    "reasoning": _choice({"reasoning_content": SOME}),
    "refusal": _choice({"refusal": SOME}),
    "role and tool call": _choice({**FIRST_CALL, "tool_calls": ({"index": 0, **CALL},)}),
    "tool call": _choice({"tool_calls": ({"index": int, **CALL},)}),
    "role and function call": _choice({**FIRST_CALL, "function_call": FUNCTION_CALL}),
    "function call": _choice({"function_call": FUNCTION_CALL}),
    "finish": _choice({}, finish_reason=REASONS),
    "usage": (),
}
FRAME = {"id": ID, "created": CREATED, "model": MODEL, "service_tier": "default", "system_fingerprint": SOME}


def chunk_shapes(*, include_usage: bool) -> dict[str, Any]:
    """Each kind of a stream's events. Where usage was asked for every chunk says null, and one more has it."""
    frame: dict[str, Any] = {**FRAME, "object": "chat.completion.chunk"}
    kinds = {kind: {**frame, "choices": choices} for kind, choices in CHOICES.items() if kind != "usage"}
    if include_usage:
        kinds = {kind: {**shape, "usage": None} for kind, shape in kinds.items()}
        kinds["usage"] = {**frame, "choices": CHOICES["usage"], "usage": USAGE}
    return {**kinds, "error": {"error": ERROR}}


SPOKEN = "(content|content with logprobs|reasoning|refusal), "
OPENED = f"(role, ({SPOKEN})*|role before a refusal, refusal, ({SPOKEN})*)"
CALLS = f"({OPENED}(tool call, )*|role and tool call, (tool call, )*)"
LEGACY = f"({OPENED}(function call, )?|role and function call, )"
ORDER = {False: CALLS, True: LEGACY}
"""What may follow what, by whether the request was legacy: a pattern over kinds, each with `, ` after it."""


# --- the body --------------------------------------------------------------------------------------

MESSAGE = {
    "role": "assistant",
    "content": Either(str, None),
    "refusal": Either(SOME, None),
    "annotations": (),
    "reasoning_content?": SOME,
    "tool_calls?": [CALL],
    "function_call?": FUNCTION_CALL,
}
BODY = {
    **FRAME,
    "object": "chat.completion",
    "choices": ({"index": 0, "message": MESSAGE, "logprobs": Either(LOGPROBS, None), "finish_reason": REASONS},),
    "usage": USAGE,
}
