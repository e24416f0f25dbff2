"""The API that a platform speaks: chat completions, or responses, where its simulator's request is said in items."""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests.platforms.hearing import Hearing, ToolCall
from tests.platforms.platforms import Platform
from tests.platforms.requests import Message

RENAMED = {"max_tokens": "max_output_tokens"}
CHATS_OWN = ("messages", "tools", "stream_options")


class Api(NamedTuple):
    """One of the two. `chained`: a turn names the response before, and sends what is new alone, as LiveKit does."""

    path: str
    body: Callable[[dict[str, Any]], dict[str, Any]]
    hearing: Callable[[Platform], Hearing]
    chained: bool = False


class ResponseHearing(Hearing):
    """One streamed response, as platforms read it: words by their deltas, calls where their item is done."""

    def __init__(self, platform: Platform) -> None:
        super().__init__(platform)
        self.id = ""
        self.completed = False
        self._called: list[ToolCall] = []

    @property
    def calls(self) -> list[ToolCall]:
        return self._called

    def close(self) -> None:
        if not self.completed and not self.error:
            self.error = "the stream ended without response.completed"

    def _event(self, event: bytes) -> None:
        if event.startswith(b":"):
            self.comments += 1
            return
        data = event.partition(b"data: ")[2]
        if self.done or data.startswith(b"[DONE]"):
            self.done = True
            return
        told = json.loads(data)
        self.chunks.append(told)
        match told["type"]:
            case "response.created":
                self.id = told["response"]["id"]
            case "response.output_text.delta":
                self.pieces.append(told["delta"])
                self.has_begun = True
            case "response.output_item.added":
                self.has_begun |= told["item"]["type"] == "function_call"
            case "response.output_item.done" if told["item"]["type"] == "function_call":
                item = told["item"]
                self._called.append(ToolCall(item["call_id"], item["name"], item["arguments"]))
            case "response.completed":
                self.completed = True
            case "response.failed" | "response.incomplete" | "error":
                self.error = event.decode(errors="replace")


def responses_body(body: dict[str, Any]) -> dict[str, Any]:
    """A chat completion's body as that of a response: messages are items, tools are flat."""
    told = {RENAMED.get(name, name): value for name, value in body.items() if name not in CHATS_OWN}
    told["input"] = [item for message in body["messages"] for item in _items(message)]
    told["tools"] = [{"type": "function", **tool["function"]} for tool in body["tools"]]
    return told


def _items(message: Message) -> Iterator[dict[str, Any]]:
    if message["role"] == "tool":
        yield {"type": "function_call_output", "call_id": message["tool_call_id"], "output": message["content"]}
        return
    if message.get("content"):
        yield {"role": message["role"], "content": message["content"]}
    for call in message.get("tool_calls", ()):
        yield {"type": "function_call", "call_id": call["id"], **call["function"]}


CHAT = Api("/chat/completions", lambda body: body, Hearing)
RESPONSES = Api("/responses", responses_body, ResponseHearing)
UNSTORED = Api("/responses", lambda body: {**responses_body(body), "store": False}, ResponseHearing)
CHAINED = Api("/responses", responses_body, ResponseHearing, chained=True)
