"""/v1/chat/completions: body -> what is asked for, frames -> SSE bytes or one JSON body.

Source: the API contract, sections 1.5 to 1.9.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec

from edge.chat_body import ChatRequest, parse
from edge.dialect import EVENTS_TYPE, Delta
from edge.errors import body_bytes
from protocol import sse
from protocol.errors import ServiceError
from protocol.messages import Finished, Reasoning, Refusal, Text, TokenLogprob, ToolCall, Usage

__all__ = ["ChatAnswer", "ChatRequest", "parse"]

FINGERPRINT = "fp_trunkline"
SERVICE_TIER = "default"

_json = msgspec.json.Encoder().encode


class ChatAnswer:
    """One turn's answer as chat completions: a `Dialect`.

    What is the same in every chunk is encoded once, here; per token only the text is.
    `created` is in whole seconds since 1970; `legacy` writes calls in the old `function_call` form.
    """

    content_type: ClassVar[str] = EVENTS_TYPE

    def __init__(
        self, *, turn_id: str, model: str, created: int, include_usage: bool = False, legacy: bool = False
    ) -> None:
        self._id = f"chatcmpl-{turn_id.rpartition('_')[2]}"
        self._model = model
        self._created = created
        self._include_usage = include_usage
        self._legacy = legacy
        self._begun = False  # the role is out
        self._called = False  # a tool call is out
        head = b'data: %b,"choices":' % _json(self._frame("chat.completion.chunk"))[:-1]
        usage = b',"usage":null' if include_usage else b""
        self._usage_head = head + b'[],"usage":'
        self._head = head + b'[{"index":0,"delta":'
        self._tail = b"}]%b}\n\n" % usage
        self._text_head = self._head + b'{"content":'
        self._text_tail = b'},"logprobs":null,"finish_reason":null' + self._tail

    def opening(self) -> bytes:
        """Nothing: the role travels with the first content, or clients would time the wrong thing."""
        return b""

    def delta(self, frame: Delta) -> bytes:
        """One chunk; with the first, the role."""
        if self._begun and type(frame) is Text and frame.logprobs is None:
            return self._text_head + _json(frame.text) + self._text_tail
        return self._first(frame) if not self._begun else self._next(frame)

    def finish(self, frame: Finished, *, usage: Usage) -> bytes:
        """The finish reason in a chunk of its own, the usage where it was asked for, and the end mark."""
        role = b"" if self._begun else self._role("")
        reason = _reason(frame, called=self._called, legacy=self._legacy)
        costs = self._usage_head + _json(_usage(usage)) + b"}\n\n" if self._include_usage else b""
        return role + self._chunk({}, finish_reason=reason) + costs + sse.DONE

    def worded(self, error: ServiceError) -> ServiceError:
        """The same: its fields are the ones that errors name."""
        return error

    def error(self, error: ServiceError) -> bytes:
        """The error object, and no end mark: nobody shall take a cut answer for a whole one."""
        return sse.encode(body_bytes(error))

    def body(self, frames: Iterable[Delta], last: Finished, *, usage: Usage) -> bytes:
        """One `chat.completion` object."""
        collected = list(frames)
        called = any(isinstance(frame, ToolCall) for frame in collected)
        choice = {
            "index": 0,
            "message": _message(collected, legacy=self._legacy),
            "logprobs": _logprobs([entry for frame in collected for entry in _tokens(frame)]),
            "finish_reason": _reason(last, called=called, legacy=self._legacy),
        }
        frame = self._frame("chat.completion")
        tail = {key: frame.pop(key) for key in ("service_tier", "system_fingerprint")}
        return _json({**frame, "choices": [choice], "usage": _usage(usage), **tail})

    def _frame(self, kind: str) -> dict[str, Any]:
        """What an answer says in every chunk, and once in a body."""
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._model,
            "service_tier": SERVICE_TIER,
            "system_fingerprint": FINGERPRINT,
        }

    def _first(self, frame: Delta) -> bytes:
        if isinstance(frame, ToolCall):
            self._begun = self._called = True
            return self._chunk({"role": "assistant", "content": None, **self._call(frame), "refusal": None})
        chunk = self._next(frame)
        if not chunk:
            return b""
        return self._role(None if isinstance(frame, Refusal) else "") + chunk

    def _role(self, content: str | None) -> bytes:
        self._begun = True
        return self._chunk({"role": "assistant", "content": content, "refusal": None})

    def _next(self, frame: Delta) -> bytes:
        match frame:
            case Text(text, logprobs):
                return self._chunk({"content": text}, logprobs=_logprobs(logprobs or ()))
            case Reasoning(text):
                return self._chunk({"reasoning_content": text}) if text else b""
            case Refusal(text):
                return self._chunk({"refusal": text})
            case ToolCall():
                first, self._called = not self._called, True
                return self._chunk(self._call(frame)) if first or not self._legacy else b""

    def _call(self, frame: ToolCall) -> dict[str, Any]:
        if self._legacy:
            return {"function_call": {"name": frame.name, "arguments": frame.arguments}}
        return {"tool_calls": [{"index": frame.index, **_call(frame)}]}

    def _chunk(self, delta: dict[str, Any], *, logprobs: Any = None, finish_reason: str | None = None) -> bytes:
        rest = _json({"logprobs": logprobs, "finish_reason": finish_reason})
        return b"%b%b,%b%b" % (self._head, _json(delta), rest[1:-1], self._tail)


def _message(frames: list[Delta], *, legacy: bool) -> dict[str, Any]:
    text = "".join(frame.text for frame in frames if isinstance(frame, Text))
    refusal = "".join(frame.text for frame in frames if isinstance(frame, Refusal))
    reasoning = "".join(frame.text for frame in frames if isinstance(frame, Reasoning))
    calls = [frame for frame in frames if isinstance(frame, ToolCall)]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": text if text or not (refusal or calls) else None,
        "refusal": refusal or None,
        "annotations": [],
    }
    if reasoning:
        message["reasoning_content"] = reasoning
    if calls and legacy:
        message["function_call"] = _call(calls[0])["function"]
    elif calls:
        message["tool_calls"] = [_call(call) for call in calls]
    return message


def _call(frame: ToolCall) -> dict[str, Any]:
    return {"id": frame.id, "type": "function", "function": {"name": frame.name, "arguments": frame.arguments}}


def _reason(last: Finished, *, called: bool, legacy: bool) -> str:
    """Calls that were made decide, whatever the target says: agent loops branch on this word."""
    if called:
        return "function_call" if legacy else "tool_calls"
    return "stop" if last.reason == "tool_calls" else last.reason


def _tokens(frame: Delta) -> tuple[TokenLogprob, ...]:
    return (frame.logprobs or ()) if isinstance(frame, Text) else ()


def _logprobs(entries: Iterable[TokenLogprob]) -> dict[str, Any] | None:
    content = [{**_token(entry), "top_logprobs": [_token(other) for other in entry.top]} for entry in entries]
    return {"content": content, "refusal": None} if content else None


def _token(entry: TokenLogprob) -> dict[str, Any]:
    return {"token": entry.token, "logprob": entry.logprob, "bytes": entry.bytes}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
