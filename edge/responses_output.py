"""A response's output: frames -> items, and the events that tell of them. Pure.

An item is opened by the first frame that belongs to it and closed by the first one that does not: at most one is open.
Events are numbered in the order in which they are made.

Source: the API contract, section 1.12.
"""

from itertools import count
from typing import Literal

import msgspec
from msgspec import Raw

from edge.dialect import Delta
from edge.output_items import ItemStatus, Message, Part, PartKind, Thought, call_item, logprobs_of
from protocol import sse
from protocol.messages import Reasoning, Refusal, Text, ToolCall

TEXT_END = b',"logprobs":[]}\n\n'

_json = msgspec.json.Encoder().encode


class Output:
    """The items of one response, whose id is in theirs: it is found by any of them. `number` is the next event's."""

    def __init__(self, response_id: str, *, number: int) -> None:
        self._made_by = response_id.rpartition("_")[2]
        self._numbers = count(number)
        self.has_called = False
        self._whole: list[bytes] = []  # the items that are closed
        self._open: Message | Thought | None = None
        self._said: list[str] | None = None  # what the open part has, where it is text
        self._head = b""  # of a piece of that text, up to its number, and from there up to the text
        self._middle = b""

    def event(self, kind: str, **fields: object) -> bytes:
        """The next event."""
        return sse.encode(_json({"type": kind, "sequence_number": next(self._numbers), **fields}), event=kind)

    def delta(self, frame: Delta) -> bytes:
        """The events of one frame. The hot path: a piece of text in the middle of its part."""
        said = self._said
        if said is None or type(frame) is not Text or frame.logprobs is not None:
            return self._delta(frame)
        text = frame.text
        said.append(text)
        return b"".join((self._head, _json(next(self._numbers)), self._middle, _json(text), TEXT_END))

    def close(self, status: ItemStatus) -> bytes:
        """The events that close what is open."""
        match self._open:
            case Message() as message:
                closing = self._close_part(message)
                item = message.item(status)
            case Thought() as thought:
                closing = self._close_summary(thought)
                item = thought.item()
            case None:
                return b""
        self._open = None
        return closing + self._item_done(item)

    def items(self, status: ItemStatus) -> Raw:
        """All of them as a list. One that is open has this status there, and stays open."""
        match self._open:
            case Message() as message:
                rest = [_json(message.item(status))]
            case Thought() as thought:
                rest = [_json(thought.item())]
            case None:
                rest = []
        return Raw(b"[%b]" % b",".join([*self._whole, *rest]))

    def _delta(self, frame: Delta) -> bytes:
        match frame:
            case Text():
                opening, message, part = self._part("output_text")
                part.pieces.append(frame.text)
                logprobs = logprobs_of(frame.logprobs or ())
                part.logprobs += logprobs
                return opening + self._said_event("delta", message, delta=frame.text, logprobs=logprobs)
            case Refusal(text):
                opening, message, part = self._part("refusal")
                part.pieces.append(text)
                return opening + self._said_event("delta", message, delta=text)
            case Reasoning():
                return self._think(frame)
            case ToolCall():
                return self.close("completed") + self._call(frame)

    # --- items -----------------------------------------------------------------------------------------

    @property
    def _index(self) -> int:
        """Of the item that is open, or of the next one."""
        return len(self._whole)

    def _id(self, kind: Literal["msg", "fc", "rs"]) -> str:
        return f"{kind}_{self._made_by}_{self._index}"

    def _item_added(self, item: dict[str, object]) -> bytes:
        return self.event("response.output_item.added", output_index=self._index, item=item)

    def _item_done(self, item: dict[str, object]) -> bytes:
        data = _json(item)
        done = self.event("response.output_item.done", output_index=self._index, item=Raw(data))
        self._whole.append(data)
        return done

    def _call(self, frame: ToolCall) -> bytes:
        self.has_called = True
        id_ = self._id("fc")
        at = {"item_id": id_, "output_index": self._index}
        arguments, name = frame.arguments, frame.name
        added = self._item_added(call_item(id_, frame, whole=False))
        delta = self.event("response.function_call_arguments.delta", **at, delta=arguments)
        done = self.event("response.function_call_arguments.done", **at, name=name, arguments=arguments)
        return added + delta + done + self._item_done(call_item(id_, frame, whole=True))

    # --- messages --------------------------------------------------------------------------------------

    def _part(self, kind: PartKind) -> tuple[bytes, Message, Part]:
        """The open part, of this kind, and the events that open it."""
        opening = b""
        message = self._open
        if not isinstance(message, Message):
            opening = self.close("completed")
            message = self._open = Message(self._id("msg"))
            opening += self._item_added(message.item("in_progress"))
        elif message.parts[-1].kind == kind:
            return b"", message, message.parts[-1]
        else:
            opening = self._close_part(message)
        part = Part(kind)
        message.parts.append(part)
        opening += self._part_event("added", message)
        if kind == "output_text":
            self._said = part.pieces
            self._head, self._middle = self._around_text(message)
        return opening, message, part

    def _around_text(self, message: Message) -> tuple[bytes, bytes]:
        """What is the same in every piece of the open text."""
        kind = b"response.output_text.delta"
        at = _json({**self._place(message), "delta": ""})
        return b'event: %b\ndata: {"type":"%b","sequence_number":' % (kind, kind), b",%b" % at[1:].removesuffix(b'""}')

    def _close_part(self, message: Message) -> bytes:
        self._said = None
        return self._said_event("done", message, **message.parts[-1].said()) + self._part_event("done", message)

    def _place(self, message: Message) -> dict[str, object]:
        """Where the open part is."""
        return {"item_id": message.id, "output_index": self._index, "content_index": len(message.parts) - 1}

    def _part_event(self, what: str, message: Message) -> bytes:
        part = message.parts[-1].value()
        return self.event(f"response.content_part.{what}", **self._place(message), part=part)

    def _said_event(self, what: str, message: Message, **said: object) -> bytes:
        return self.event(f"response.{message.parts[-1].kind}.{what}", **self._place(message), **said)

    # --- thoughts --------------------------------------------------------------------------------------

    def _think(self, frame: Reasoning) -> bytes:
        """A thought without text and without a seal says nothing."""
        thought, opening = self._open, b""
        if not frame.text and frame.encrypted is None:
            return b""
        if not (isinstance(thought, Thought) and thought.goes_on_in(frame)):
            opening = self.close("completed")
            thought = self._open = Thought(self._id("rs"), frame.id)
            opening += self._item_added(thought.item())
        if frame.encrypted is not None:
            thought.sealed = frame.encrypted
        return opening + self._summary(thought, frame.text) if frame.text else opening

    def _summary(self, thought: Thought, text: str) -> bytes:
        opening = b"" if thought.pieces else self._summary_event("part.added", thought, part=thought.part())
        thought.pieces.append(text)
        return opening + self._summary_event("text.delta", thought, delta=text)

    def _close_summary(self, thought: Thought) -> bytes:
        if not thought.pieces:
            return b""
        part = thought.part()
        done = self._summary_event("text.done", thought, text=part["text"])
        return done + self._summary_event("part.done", thought, part=part)

    def _summary_event(self, what: str, thought: Thought, **fields: object) -> bytes:
        at = {"item_id": thought.id, "output_index": self._index, "summary_index": 0}
        return self.event(f"response.reasoning_summary_{what}", **at, **fields)
