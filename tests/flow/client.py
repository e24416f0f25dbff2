"""A client of one edge, over a connection in memory: aiohttp's own server on the other side of it."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from protocol import sse
from tests.virtual_time import VirtualLoop

READ_BYTES = 1 << 20
TERMINAL = {"response.completed", "response.incomplete", "response.failed"}
NO_HEADERS: Mapping[str, str] = {}


class Connection(asyncio.Transport):
    """What the server writes, the client has read; unless it is slow."""

    def __init__(self, protocol: asyncio.BaseProtocol, loop: VirtualLoop) -> None:
        super().__init__()
        self.received = bytearray()
        self.reads = True
        self._protocol: Any = protocol
        self._loop = loop
        self._closing = self._paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing:
            self.received += data
            if not self.reads and not self._paused:
                self._paused = True
                self._protocol.pause_writing()

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    abort = close

    def get_write_buffer_size(self) -> int:
        return int(self._paused)

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


class Client:
    """One request, and what has come of its answer."""

    def __init__(
        self,
        loop: VirtualLoop,
        new_protocol: Callable[[], Any],
        body: dict[str, Any],
        *,
        path: str = "/v1/chat/completions",
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        self._loop = loop
        protocol = new_protocol()
        self.connection = Connection(protocol, loop)
        self.left = False
        data = json.dumps(body).encode()
        lines = [
            f"POST {path} HTTP/1.1",
            "Host: edge",
            *(f"{name}: {value}" for name, value in headers.items()),
            "Content-Type: application/json",
            f"Content-Length: {len(data)}",
        ]
        request = "\r\n".join([*lines, "", ""]).encode() + data
        loop.call_soon(protocol.connection_made, self.connection)
        loop.call_soon(protocol.data_received, request)

    def hang_up(self) -> None:
        """Go away, as a caller does who interrupts."""
        self.left = True
        self._loop.call_soon(self.connection.close)

    def stop_reading(self) -> None:
        """Take nothing any more, and stay."""
        self.connection.reads = False

    # --- the answer ----------------------------------------------------------------------------------

    @property
    def head(self) -> str:
        """Status line and headers; empty until they have come."""
        head, separator, _ = bytes(self.connection.received).partition(b"\r\n\r\n")
        return head.decode() if separator else ""

    @property
    def status(self) -> int | None:
        """None: nothing has come yet."""
        return int(self.head.split(" ")[1]) if self.head else None

    @property
    def headers(self) -> dict[str, str]:
        """Names in lower case."""
        pairs = [line.split(": ", 1) for line in self.head.split("\r\n")[1:]]
        return {name.lower(): value for name, value in pairs}

    @property
    def body(self) -> bytes:
        """What has come of it, without the chunks that it came in."""
        _, _, rest = bytes(self.connection.received).partition(b"\r\n\r\n")
        return _unchunked(rest)[0] if "chunked" in self.headers.get("transfer-encoding", "") else rest

    @property
    def is_stream(self) -> bool:
        """Whether events are coming."""
        return "text/event-stream" in self.headers.get("content-type", "")

    @property
    def events(self) -> list[bytes]:
        """The data of every event so far."""
        return list(sse.EventReader(limit_bytes=READ_BYTES).feed(self.body)) if self.is_stream else []

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """Every event that is JSON."""
        return [json.loads(event) for event in self.events if event != b"[DONE]"]

    @property
    def json(self) -> Any:
        """The body of an answer that is no stream."""
        return json.loads(self.body)

    def _deltas(self) -> list[dict[str, Any]]:
        return [choice["delta"] for chunk in self.chunks for choice in chunk.get("choices", ())]

    @property
    def text(self) -> str:
        """What the caller has heard."""
        if not self.is_stream:
            is_answer = self.status == 200 and self.ended
            return self.json["choices"][0]["message"]["content"] or "" if is_answer else ""
        return "".join(delta.get("content") or "" for delta in self._deltas())

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Tool calls, in order."""
        return [call for delta in self._deltas() for call in delta.get("tool_calls", ())]

    @property
    def finish_reason(self) -> str | None:
        """As its own chunk says."""
        reasons = [choice["finish_reason"] for chunk in self.chunks for choice in chunk.get("choices", ())]
        return next((reason for reason in reasons if reason), None)

    @property
    def error(self) -> dict[str, Any] | None:
        """The error object: of the response, or the event."""
        if not self.head:
            return None
        found = [chunk["error"] for chunk in self.chunks if "error" in chunk]
        if not self.is_stream and self.ended:
            found = [self.json["error"]] if "error" in self.json else []
        return found[0] if found else None

    @property
    def ended(self) -> bool:
        """Whether the response is complete, as HTTP has it."""
        if not self.head:
            return False
        _, _, rest = bytes(self.connection.received).partition(b"\r\n\r\n")
        length = self.headers.get("content-length")
        return len(rest) >= int(length) if length is not None else _unchunked(rest)[1]

    @property
    def ended_well(self) -> bool:
        """With a finish chunk and the end mark, or one whole body."""
        if not self.is_stream:
            return self.status == 200 and self.ended
        return self.finish_reason is not None and self.events[-1] == b"[DONE]" and self.error is None

    @property
    def ended_explicitly(self) -> bool:
        """Well, or with an error that says so, and nothing after it."""
        if not self.ended:
            return False
        if self.is_stream and self.error is not None:
            return b'"error"' in self.events[-1] and b"[DONE]" not in self.events and self.finish_reason is None
        return self.ended_well or self.error is not None


class ResponseClient(Client):
    """The same, who asks for a response."""

    @property
    def response(self) -> dict[str, Any] | None:
        """As its end says, or the whole body."""
        if not self.is_stream:
            return self.json if self.status == 200 and self.ended else None
        ends = [chunk["response"] for chunk in self.chunks if chunk["type"] in TERMINAL]
        assert len(ends) <= 1, "it has ended twice"
        return ends[0] if ends else None

    @property
    def output_text(self) -> str:
        """What its end says that it said."""
        items = self.response["output"] if self.response else []
        return "".join(part["text"] for item in items for part in item.get("content", ()))

    @property
    def text(self) -> str:
        if not self.is_stream:
            return self.output_text
        return "".join(chunk["delta"] for chunk in self.chunks if chunk["type"] == "response.output_text.delta")

    @property
    def calls(self) -> list[dict[str, Any]]:
        added = [chunk["item"] for chunk in self.chunks if chunk["type"] == "response.output_item.done"]
        return [item for item in added if item["type"] == "function_call"]

    @property
    def finish_reason(self) -> str | None:
        return self.response["status"] if self.response else None

    @property
    def ended_well(self) -> bool:
        is_whole = self.response is not None and self.response["status"] == "completed" and self.ended
        return is_whole and (not self.is_stream or self.events[-1] == b"[DONE]")

    @property
    def ended_explicitly(self) -> bool:
        if not self.ended:
            return False
        if self.is_stream:
            numbers = [chunk["sequence_number"] for chunk in self.chunks]
            in_order = numbers == list(range(len(numbers)))
            is_last = len(self.events) > 1 and json.loads(self.events[-2])["type"] in TERMINAL
            return in_order and is_last and self.events[-1] == b"[DONE]"
        return self.ended_well or self.error is not None


def _unchunked(data: bytes) -> tuple[bytes, bool]:
    """The body inside the chunks, and whether the last one has come."""
    body = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return body, True
        body, data = body + rest[:length], rest[length + 2 :]
    return body, False
