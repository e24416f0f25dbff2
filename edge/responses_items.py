"""The items of a response's history: JSON -> form -> messages. Pure.

An assistant's turn comes back as a list of the items that it was told in. What belongs together there is one message
here: what it said, the calls right behind that, and what it thought before.

Source: the API contract, section 1.13.
"""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from edge import carried
from edge import responses_form as wire
from edge.body import Reader, missing, no_content, not_among, wrong_type
from edge.responses_parameters import unserved
from protocol.errors import ServiceError
from protocol.messages import ImagePart, Message, OpaquePart, Part, PastCall, RefusalPart, TextPart, Thought

PREFIXES: dict[type[wire.Item], str] = {
    wire.MessageItem: "msg",
    wire.CallItem: "fc",
    wire.ResultItem: "fco",
    wire.ReasoningItem: "rs",
}
"""Of the ids of items that came without one."""

_encode = msgspec.json.Encoder().encode
_fields = msgspec.json.Decoder(dict[str, Raw])


class _Head(Struct):
    """What tells an item's kind."""

    type: str | None = None
    role: Raw = msgspec.field(default_factory=Raw)
    id: Raw = msgspec.field(default_factory=Raw)


_head = Reader(_Head, needs="an item")
_reasoning = Reader(wire.ReasoningItem, needs="an item")
_readers: dict[
    str, Reader[wire.MessageItem] | Reader[wire.CallItem] | Reader[wire.ResultItem] | Reader[wire.ReferenceItem]
] = {
    "message": Reader(wire.MessageItem, needs="an item"),
    "function_call": Reader(wire.CallItem, needs="an item"),
    "function_call_output": Reader(wire.ResultItem, needs="an item"),
    "item_reference": Reader(wire.ReferenceItem, needs="an item"),
}
KINDS = ["message", "function_call", "function_call_output", "reasoning", "item_reference"]


def read(item: Raw, at: str) -> wire.Item:
    """One item. What is said of a thought in a form that is not known is no fault: it is sent back as it once came.

    Raises:
        ServiceError: it is none that is served here; `param` begins with `at`.
    """
    head = _head.read_part(item, at)
    kind = head.type or ("item_reference" if carried.absent(head.role) and not carried.absent(head.id) else "message")
    if kind == "reasoning":
        return _thought(item, at)
    if kind not in _readers:
        raise not_among(f"{at}.type", KINDS)
    return _readers[kind].read_part(item, at)


def _thought(item: Raw, at: str) -> wire.ReasoningItem:
    try:
        return _reasoning.read_part(item, at)
    except ServiceError:
        return wire.ReasoningItem()


def user_item(text: str) -> Raw:
    """The item that a string as `input` stands for."""
    return Raw(_encode({"type": "message", "role": "user", "content": text}))


def with_id(item: Raw, form: wire.Item, token: str) -> Raw:
    """The item as it came; where it has no id, one is put in. `token`: what makes the id unlike any other."""
    if form.id:
        return item
    id_ = _encode(f"{PREFIXES[type(form)]}_{token}")
    written = bytes(item)
    if b'"id"' in written or b"\\u" in written:  # null, or of something inside; or written in another way
        fields = {name: value for name, value in _fields.decode(item).items() if name != "id"}
        written = _encode(fields)
    return Raw(b'{"id":%b,%b' % (id_, written[1:]))


# --- items -> messages -----------------------------------------------------------------------------


def messages_of(forms: Iterable[tuple[str, wire.Item]]) -> tuple[Message, ...]:
    """The history that items tell, each with its path. A reference tells nothing.

    Raises:
        ServiceError: an item's content is none.
    """
    history = _History()
    for at, form in forms:
        history.add(form, at)
    return history.end()


class _History:
    """Messages in the items' order. An assistant's is open until something follows that is no call."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._open: Message | None = None
        self._calls: list[PastCall] = []  # of the open one
        self._thoughts: list[Thought] = []

    def add(self, form: wire.Item, at: str) -> None:
        match form:
            case wire.CallItem():
                if self._open is None:
                    self._say(Message("assistant"))
                self._calls.append(PastCall(form.call_id, form.name, form.arguments or "{}"))
            case wire.ReasoningItem():
                self._close()
                self._thoughts += _thoughts(form)
            case wire.MessageItem(role="assistant"):
                self._close()
                self._say(_said(form, at))
            case wire.MessageItem(role=role):
                self._told(Message(role, _content(form.content, f"{at}.content", text_only=role != "user")))
            case wire.ResultItem():
                self._told(Message("tool", _output(form, f"{at}.output"), tool_call_id=form.call_id))

    def end(self) -> tuple[Message, ...]:
        """All of them; to be asked for once."""
        self._close()
        return tuple(self._messages)

    def _say(self, message: Message) -> None:
        self._open = replace(message, thoughts=tuple(self._thoughts)) if self._thoughts else message
        self._thoughts = []

    def _told(self, message: Message) -> None:
        """The model did not say this; what it thought before led to nothing."""
        self._close()
        self._thoughts = []
        self._messages.append(message)

    def _close(self) -> None:
        if self._open is not None:
            self._messages.append(replace(self._open, tool_calls=tuple(self._calls)) if self._calls else self._open)
            self._open, self._calls = None, []


def _thoughts(form: wire.ReasoningItem) -> list[Thought]:
    summary = tuple(part.text for part in form.summary or () if part.text)
    thought = Thought(form.id or None, summary, form.encrypted_content or None)
    return [thought] if thought != Thought() else []


def _said(form: wire.MessageItem, at: str) -> Message:
    """An assistant's message; nothing, in whatever form, is an empty one."""
    content = _content(form.content, f"{at}.content") if form.content else ""
    match content:
        case (RefusalPart(refusal),):
            return Message("assistant", refusal=refusal)
    return Message("assistant", content)


def _output(form: wire.ResultItem, at: str) -> str | tuple[Part, ...]:
    return "" if form.output == [] else _content(form.output, at)


def _content(content: wire.Content, at: str, *, text_only: bool = False) -> str | tuple[Part, ...]:
    """A single text is a string: every target takes that, and not every one takes parts."""
    match content:
        case str(text) | [wire.InputText(text=text)]:
            return text
        case [_, *_]:
            return _parts(content, at, text_only=text_only)
    raise no_content(content, at)


def _parts(forms: Sequence[wire.Part], at: str, *, text_only: bool) -> tuple[Part, ...]:
    for index, form in enumerate(forms):
        if text_only and not isinstance(form, wire.InputText):
            raise not_among(f"{at}[{index}].type", ["input_text"])
    return tuple(_part(form, f"{at}[{index}]") for index, form in enumerate(forms))


def _part(form: wire.Part, at: str) -> Part:
    match form:
        case wire.RefusalPart():
            return RefusalPart(form.refusal)
        case wire.ImagePart():
            return _image(form, at)
        case wire.FilePart():
            return _file(form, at)
        case wire.AudioPart():
            return _audio(form, at)
        case wire.InputText():
            return TextPart(form.text)


def _image(form: wire.ImagePart, at: str) -> ImagePart:
    if form.image_url:
        return ImagePart(form.image_url, form.detail)
    if form.file_id:
        raise unserved("an image by its id", param=f"{at}.file_id")
    raise missing(f"{at}.image_url")


def _file(form: wire.FilePart, at: str) -> OpaquePart:
    """In the form of a chat completion's file, which is what targets read."""
    told = {name: value for name in wire.FilePart.__struct_fields__ if (value := getattr(form, name))}
    if not told.keys() - {"filename"}:
        raise missing(f"{at}.file_data")
    return OpaquePart("file", _encode(told))


def _audio(form: wire.AudioPart, at: str) -> OpaquePart:
    body = carried.json_object(form.input_audio, f"{at}.input_audio")
    if body is None:
        raise wrong_type(f"{at}.input_audio", "object")
    return OpaquePart("input_audio", body)
