"""A raw client of the Responses API: `bench.client.Call`, whose answer ends as a response."""

import time
from typing import Any

from bench.client import Answer, Call

TERMINAL = {"response.completed", "response.incomplete", "response.failed"}


class ResponseCall(Call):
    """One request to make a response. `response` is what its end says, None until then."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.response: dict[str, Any] | None = None
        self.response_at: float | None = None
        self.ends = 0  # terminal events; a body counts as one
        self.out_of_order = 0  # events whose number is not the next
        self._next = 0

    @property
    def id(self) -> str:
        """That of the response; empty: there is none."""
        return str(self.response["id"]) if self.response else ""

    @property
    def completed(self) -> bool:
        """Whether it says so itself."""
        return self.response is not None and self.response.get("status") == "completed"

    @property
    def kept(self) -> bool:
        """Whether it says that it has completed and can be gone on from."""
        return self.completed and self.response is not None and self.response.get("store") is True

    @property
    def input_tokens(self) -> int | None:
        """What the model was given, as the end says."""
        usage = (self.response or {}).get("usage") or {}
        tokens: int | None = usage.get("input_tokens")
        return tokens

    @property
    def output_text(self) -> str:
        """The text in the response's own output."""
        items = (self.response or {}).get("output") or ()
        return "".join(part.get("text", "") for item in items for part in item.get("content") or ())

    def _object(self, said: dict[str, Any]) -> None:
        """One event, one whole response, or an error."""
        kind = said.get("type")
        if kind is not None and "sequence_number" in said:
            self.out_of_order += said["sequence_number"] != self._next
            self._next = said["sequence_number"] + 1
        if kind == "response.output_text.delta":
            self.answer.words.append(said["delta"])
            self.answer.chunk_at.append(time.monotonic())
            self._wake(len(self.answer.chunk_at))
        elif kind in TERMINAL:
            self._has_ended(said["response"])
        elif said.get("object") == "response":
            self._has_ended(said)
            self.answer.words.append(self.output_text)
        elif error := said.get("error"):
            self.answer.error = error

    def _has_ended(self, response: dict[str, Any]) -> None:
        self.ends += 1
        self.response, self.response_at = response, time.monotonic()
        if response.get("usage"):
            self.answer.usages.append(response["usage"])
