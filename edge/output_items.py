"""Items of a response's output while they come, and when they are whole. Pure.

Source: the API contract, section 1.11.
"""

from collections.abc import Iterable
from typing import Any, Literal

from protocol.messages import Reasoning, TokenLogprob, ToolCall

ItemStatus = Literal["in_progress", "completed", "incomplete"]
PartKind = Literal["output_text", "refusal"]

Json = dict[str, Any]


class Part:
    """One part of a message."""

    def __init__(self, kind: PartKind) -> None:
        self.kind = kind
        self.pieces: list[str] = []
        self.logprobs: list[Json] = []

    def said(self) -> Json:
        """As the event has it that says all of it."""
        text = "".join(self.pieces)
        return {"refusal": text} if self.kind == "refusal" else {"text": text, "logprobs": self.logprobs}

    def value(self) -> Json:
        """As its item has it."""
        text = "".join(self.pieces)
        if self.kind == "refusal":
            return {"type": "refusal", "refusal": text}
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": self.logprobs}


class Message:
    """What is said; the last of its parts is open."""

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.parts: list[Part] = []

    def item(self, status: ItemStatus) -> Json:
        """As far as it has come."""
        content = [part.value() for part in self.parts]
        return {"id": self.id, "type": "message", "status": status, "role": "assistant", "content": content}


class Thought:
    """What is thought, in one part of a summary. One of which nothing can be read has none."""

    def __init__(self, id_: str, upstream_id: str | None) -> None:
        self.id = id_
        self.pieces: list[str] = []
        self.sealed: str | None = None
        self._upstream_id = upstream_id

    def goes_on_in(self, frame: Reasoning) -> bool:
        """Whether it is of this thought. A seal ends one that has no id."""
        return self.sealed is None if frame.id is None else frame.id == self._upstream_id

    def part(self) -> Json:
        """All that can be read of it."""
        return {"type": "summary_text", "text": "".join(self.pieces)}

    def item(self) -> Json:
        """As far as it has come. It has no status: OpenAI's have none."""
        item = {"id": self.id, "type": "reasoning", "summary": [self.part()] if self.pieces else []}
        return item if self.sealed is None else {**item, "encrypted_content": self.sealed}


def call_item(id_: str, call: ToolCall, *, whole: bool) -> Json:
    """A call, with its arguments or before them."""
    return {
        "id": id_,
        "type": "function_call",
        "status": "completed" if whole else "in_progress",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments if whole else "",
    }


def logprobs_of(tokens: Iterable[TokenLogprob]) -> list[Json]:
    """In the one form that is right in events and in parts, for OpenAI and Open Responses: bytes are always there."""
    return [{**_token(token), "top_logprobs": [_token(other) for other in token.top]} for token in tokens]


def _token(token: TokenLogprob) -> Json:
    as_bytes = token.token.encode() if token.bytes is None else token.bytes
    return {"token": token.token, "logprob": token.logprob, "bytes": list(as_bytes)}
