"""How the three APIs say things, in bytes: what a fault upstream is made of. Pure.

Sources, read on 2026-11-21: OpenAI's API reference (chat completion chunk object; Responses streaming events; error
codes), Azure OpenAI's content filtering, Anthropic's API documentation (streaming messages; errors; versioning).
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Protocol

import orjson

WORDS = ("one", " two", " three", " four")
PROMPT_TOKENS = 10
"""What every answer says that its question cost."""

Reason = Literal["stop", "length", "content_filter", "tool_calls"]


class Voice(Protocol):
    """One API. Every method gives whole server-sent events, or the bodies of refusals."""

    name: str
    path: str
    opening: bytes  # before the first word
    alive: bytes  # what it sends while it has nothing to say
    last: bytes  # after everything

    def word(self, text: str) -> bytes: ...

    def thought(self, text: str) -> bytes: ...

    def call(self, arguments: str, *, index: int = 0) -> bytes:
        """A whole tool call."""
        ...

    def finish(self, words: Sequence[str], reason: Reason = "stop", *, tokens: int | None = None) -> bytes:
        """Why it ends, and what it cost: `tokens`, or one for each word. Without `last`."""
        ...

    def error(self) -> bytes:
        """A failure inside an answer that began as a success."""
        ...

    def refusal(self, status: int, kind: str) -> dict[str, Any]:
        """The body of an answer that is no success. `kind` tells refusals of the same status apart."""
        ...


def event(data: object, name: str = "") -> bytes:
    """One event, its data in JSON."""
    head = b"event: %b\n" % name.encode() if name else b""
    return b"%bdata: %b\n\n" % (head, orjson.dumps(data))


class Chat:
    """`POST /v1/chat/completions`."""

    name = "chat-completions"
    path = "/chat/completions"
    alive = b": keep-alive\n\n"
    last = b"data: [DONE]\n\n"

    def __init__(self) -> None:
        self.opening = self._choice({"role": "assistant", "content": "", "refusal": None})

    def word(self, text: str) -> bytes:
        return self._choice({"content": text})

    def thought(self, text: str) -> bytes:
        """As DeepSeek's API has it: OpenAI's own tells no thoughts here."""
        return self._choice({"content": None, "reasoning_content": text})

    def call(self, arguments: str, *, index: int = 0) -> bytes:
        function = {"name": "note", "arguments": ""}
        begun = {"index": index, "id": "call_DdmO9pD3xa9XTPNJ32zg2hcA", "type": "function", "function": function}
        more = {"index": index, "function": {"arguments": arguments}}
        return b"".join(self._choice({"tool_calls": [one]}) for one in (begun, more))

    def finish(self, words: Sequence[str], reason: Reason = "stop", *, tokens: int | None = None) -> bytes:
        said = len(words) if tokens is None else tokens
        usage = {
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": said,
            "total_tokens": PROMPT_TOKENS + said,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        }
        return self._choice({}, reason) + event({**self._head, "choices": [], "usage": usage})

    def error(self) -> bytes:
        return event(self.refusal(500, ""))

    def refusal(self, status: int, kind: str) -> dict[str, Any]:
        return openai_refusal(status, kind)

    _head: ClassVar[dict[str, Any]] = {
        "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
        "object": "chat.completion.chunk",
        "created": 1_741_570_283,
        "model": "gpt-4o-2024-08-06",
        "service_tier": "default",
        "system_fingerprint": "fp_fc9f1d7035",
    }

    def _choice(self, delta: dict[str, Any], reason: Reason | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return event({**self._head, "choices": [choice], "usage": None})


class Responses:
    """`POST /v1/responses`. There is nothing after `response.completed`."""

    name = "responses"
    path = "/responses"
    alive = b": keep-alive\n\n"
    last = b""

    def __init__(self) -> None:
        part = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
        self.opening = (
            self._told("response.created", response=self._response("in_progress"))
            + self._told("response.in_progress", response=self._response("in_progress"))
            + self._told("response.output_item.added", output_index=0, item=self._message([], "in_progress"))
            + self._told("response.content_part.added", **self._at, part=part)
        )

    def word(self, text: str) -> bytes:
        return self._told("response.output_text.delta", **self._at, delta=text, logprobs=[], obfuscation="Wq")

    def thought(self, text: str) -> bytes:
        at = {"item_id": "rs_67ccd2c0", "output_index": 0, "summary_index": 0}
        return self._told("response.reasoning_summary_text.delta", **at, delta=text)

    def call(self, arguments: str, *, index: int = 0) -> bytes:
        call = {
            "id": "fc_67ccd2c1",
            "type": "function_call",
            "call_id": "call_DdmO9pD3xa9XTPNJ32zg2hcA",
            "name": "note",
        }
        begun, whole = ({**call, "arguments": told, "status": "in_progress"} for told in ("", arguments))
        at = {"item_id": call["id"], "output_index": index}
        return (
            self._told("response.output_item.added", output_index=index, item=begun)
            + self._told("response.function_call_arguments.delta", **at, delta=arguments)
            + self._told("response.function_call_arguments.done", **at, arguments=arguments)
            + self._told("response.output_item.done", output_index=index, item={**whole, "status": "completed"})
        )

    def finish(self, words: Sequence[str], reason: Reason = "stop", *, tokens: int | None = None) -> bytes:
        said = len(words) if tokens is None else tokens
        text = "".join(words)
        part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
        item = self._message([part], "completed")
        done = (
            self._told("response.output_text.done", **self._at, text=text, logprobs=[])
            + self._told("response.content_part.done", **self._at, part=part)
            + self._told("response.output_item.done", output_index=0, item=item)
        )
        usage = {
            "input_tokens": PROMPT_TOKENS,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": said,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": PROMPT_TOKENS + said,
        }
        why = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(reason)
        status = "incomplete" if why else "completed"
        more = {"usage": usage, "output": [item], "incomplete_details": {"reason": why} if why else None}
        ended = self._told(f"response.{status}", response={**self._response(status), **more})
        return (done if words else b"") + ended

    def error(self) -> bytes:
        """The error event comes first, then the response as it has failed."""
        error = {"code": "server_error", "message": "told so"}
        failed = {**self._response("failed"), "error": error}
        return self._told("error", **error, param=None) + self._told("response.failed", response=failed)

    def refusal(self, status: int, kind: str) -> dict[str, Any]:
        return openai_refusal(status, kind)

    _at: ClassVar[dict[str, Any]] = {"item_id": "msg_67c9fdcf37fc8190", "output_index": 0, "content_index": 0}

    def _told(self, kind: str, **data: Any) -> bytes:
        return event({"type": kind, "sequence_number": 0, **data}, kind)

    def _message(self, content: list[dict[str, Any]], status: str) -> dict[str, Any]:
        return {"id": self._at["item_id"], "type": "message", "status": status, "content": content, "role": "assistant"}

    def _response(self, status: str) -> dict[str, Any]:
        return {
            "id": "resp_67c9fdcecf488190bdd9a0409de3a1ec07b8b0ad4e5eb654",
            "object": "response",
            "created_at": 1_741_290_958,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": "gpt-4.1-2025-04-14",
            "output": [],
            "usage": None,
        }


class Messages:
    """`POST /v1/messages`."""

    name = "messages"
    path = "/messages"
    alive = event({"type": "ping"}, "ping")
    last = event({"type": "message_stop"}, "message_stop")

    def __init__(self) -> None:
        usage = {"input_tokens": PROMPT_TOKENS, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
        message: dict[str, Any] = {
            "id": "msg_1nZdL29xx5MUA1yADyHTEsnR8uuvGzszyY",
            "type": "message",
            "role": "assistant",
            "content": [],
            "model": "claude-opus-4-20250514",
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {**usage, "output_tokens": 1},
        }
        block = {"type": "text", "text": ""}
        self.opening = (
            self._told("message_start", message=message)
            + self._told("content_block_start", index=0, content_block=block)
            + self.alive
        )

    def word(self, text: str) -> bytes:
        return self._told("content_block_delta", index=0, delta={"type": "text_delta", "text": text})

    def thought(self, text: str) -> bytes:
        return self._told("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": text})

    def call(self, arguments: str, *, index: int = 0) -> bytes:
        """In a block of its own, after the one for text that `opening` has begun."""
        at = index + 1 if index >= 0 else index
        block = {"type": "tool_use", "id": "toolu_01T1x1fJ34qAmk2tNTrN7Up6", "name": "note", "input": {}}
        delta = {"type": "input_json_delta", "partial_json": arguments}
        return (
            self._told("content_block_stop", index=0)
            + self._told("content_block_start", index=at, content_block=block)
            + self._told("content_block_delta", index=at, delta=delta)
            + self._told("content_block_stop", index=at)
        )

    def finish(self, words: Sequence[str], reason: Reason = "stop", *, tokens: int | None = None) -> bytes:
        said = len(words) if tokens is None else tokens
        reasons = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal", "tool_calls": "tool_use"}
        delta = {"stop_reason": reasons[reason], "stop_sequence": None}
        stop = b"" if reason == "tool_calls" else self._told("content_block_stop", index=0)
        return stop + self._told("message_delta", delta=delta, usage={"output_tokens": said})

    def error(self) -> bytes:
        return event(self.refusal(529, ""), "error")

    def refusal(self, status: int, kind: str) -> dict[str, Any]:
        types = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error"}
        types |= {404: "not_found_error", 429: "rate_limit_error", 503: "api_error", 529: "overloaded_error"}
        said = {
            "context": "prompt is too long: told so: 210000 tokens > 200000 maximum",
            "filter": "told so: Output blocked by content filtering policy",
        }
        error = {"type": types.get(status, "api_error"), "message": said.get(kind, "told so")}
        return {"type": "error", "error": error, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"}

    def _told(self, kind: str, **data: Any) -> bytes:
        return event({"type": kind, **data}, kind)


def openai_refusal(status: int, kind: str) -> dict[str, Any]:
    """OpenAI's error object; of what its content filter refuses, Azure's."""
    told: dict[int, tuple[str, str | None]] = {
        400: ("invalid_request_error", None),
        401: ("invalid_request_error", "invalid_api_key"),
        403: ("request_forbidden", "unsupported_country_region_territory"),
        404: ("invalid_request_error", "model_not_found"),
        429: ("requests", "rate_limit_exceeded"),
    }
    type_, code = told.get(status, ("server_error", None))
    error: dict[str, Any] = {"message": "told so", "type": type_, "param": None, "code": code}
    if kind == "context":
        message = "This model's maximum context length is 8192 tokens (told so). Please reduce the length."
        error |= {"message": message, "param": "messages", "code": "context_length_exceeded"}
    if kind == "filter":
        inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"violence": {"filtered": True}}}
        error |= {"type": None, "param": "prompt", "code": "content_filter", "status": 400, "innererror": inner}
    return {"error": error}


VOICES: tuple[Voice, ...] = (Chat(), Responses(), Messages())
