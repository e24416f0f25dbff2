"""What a conversation sends with every turn: the history as a voice platform keeps it. Pure."""

from collections.abc import Mapping

import msgspec
from msgspec import Raw, Struct

from trunkline.talk.chunks import Call


class Message(Struct, frozen=True, omit_defaults=True):
    """One entry, as it goes over the wire."""

    role: str
    content: str | None = None
    tool_calls: tuple[Call, ...] = ()
    tool_call_id: str | None = None
    refusal: str | None = None


class _Usage(Struct, frozen=True):
    include_usage: bool = True


class _Body(Struct, frozen=True, omit_defaults=True):
    model: str
    messages: list[Message]
    stream: bool
    stream_options: _Usage
    tools: tuple[Raw, ...] = ()
    metadata: Mapping[str, str] = {}


def as_text(typed: str) -> str:
    """What was typed, with a mark in the place of bytes that are no UTF-8: nobody could be sent those."""
    return typed.encode(errors="replace").decode()


class History:
    """Everything said so far. `system` comes first, whenever it was set."""

    def __init__(self, system: str | None = None) -> None:
        self.system = system
        self.messages: list[Message] = []

    def said(self, text: str) -> None:
        """The caller speaks."""
        self.messages.append(Message("user", as_text(text)))

    def heard(self, text: str, refusal: str = "") -> None:
        """The answer, as far as it was heard. Of one that was never heard nothing is kept."""
        if text or refusal:
            self.messages.append(Message("assistant", text or None, refusal=refusal or None))

    def called(self, text: str, calls: tuple[Call, ...], results: list[str]) -> None:
        """Tool calls, each with its result: a history with a call that has none is refused everywhere."""
        self.messages.append(Message("assistant", text or None, tool_calls=calls))
        for call, result in zip(calls, results, strict=True):
            self.messages.append(Message("tool", as_text(result), tool_call_id=call.id))

    def take_back(self) -> bool:
        """Forget everything after the caller's last words; False: there are none yet."""
        for at in range(len(self.messages) - 1, -1, -1):
            if self.messages[at].role == "user":
                del self.messages[at + 1 :]
                return True
        return False

    def body(self, model: str, *, tools: tuple[Raw, ...] = (), metadata: Mapping[str, str] | None = None) -> bytes:
        """The request for the next answer."""
        system = [Message("system", as_text(self.system))] if self.system else []
        messages = [*system, *self.messages]
        body = _Body(
            as_text(model), messages, stream=True, stream_options=_Usage(), tools=tools, metadata=metadata or {}
        )
        return msgspec.json.encode(body)
