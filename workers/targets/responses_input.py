"""A message -> the input items that say the same to OpenAI's `POST /responses`. Pure.

Order stays: a system message in the middle is an item in the middle, calls and their results are items of their own.
Thoughts stand before what came of them. Only those go that the upstream has sealed: it keeps nothing (`store` is
false), so that it knows no thought by its id alone.

Source: OpenAI's API reference, "Create a response", `input`, read on 2026-11-21.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from protocol.codec import DecodeError
from protocol.errors import UnsupportedValue
from protocol.messages import ImagePart, Message, OpaquePart, Part, RefusalPart, TextPart, Thought, text_of
from workers.targets.seals import Seals

Item = dict[str, Any]


class _File(Struct, omit_defaults=True):
    """A chat completion's file, or one by URL, which only this API has. Its fields have the same names here."""

    file_id: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    filename: str | None = None


_file = msgspec.json.Decoder(_File)


def items_of(message: Message, at: int, seals: Seals | None = None) -> Iterator[Item]:
    """The items of the message number `at`; an assistant message with nothing in it has none. `seals`: the upstream's;
    None: it is shown no thoughts.

    Raises:
        UnsupportedValue: it has a part of a kind that no upstream of this dialect takes.
    """
    path = f"messages[{at}]"
    match message.role:
        case "tool":
            yield _result(message, path)
        case "assistant":
            content = _said(message, path)
            if seals is not None and (content or message.tool_calls):  # a thought that nothing follows is refused
                yield from _thoughts(message.thoughts, seals)
            if content:
                yield _message("assistant", content)
            for call in message.tool_calls:
                yield {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}
        case role:
            yield _message("system" if role == "developer" else role, _content(message, path))


def _thoughts(thoughts: Iterable[Thought], seals: Seals) -> Iterator[Item]:
    for thought in thoughts:
        if (sealed := seals.opened(thought)) is not None:
            summary = [{"type": "summary_text", "text": text} for text in thought.summary]
            known = {"id": sealed.id} if sealed.id else {}
            yield {"type": "reasoning", **known, "summary": summary, "encrypted_content": sealed.content}


def _message(role: str, content: Any) -> Item:
    """`developer` is said as `system`: OpenAI takes the two alike, others know only one."""
    return {"type": "message", "role": role, "content": content}


def _result(message: Message, path: str) -> Item:
    """What a tool answered: text alone goes as one string, which every upstream reads."""
    content = message.content
    only_text = isinstance(content, str | None) or all(isinstance(part, TextPart) for part in content)
    output = text_of(message) if only_text else _content(message, path)
    return {"type": "function_call_output", "call_id": message.tool_call_id or "", "output": output}


def _content(message: Message, path: str) -> str | list[Item]:
    if message.content is None or isinstance(message.content, str):
        return message.content or ""
    return [_part(part, f"{path}.content[{i}]") for i, part in enumerate(message.content)]


def _said(message: Message, path: str) -> str | list[Item]:
    """What the model said then; a refusal is a part of it."""
    refusal = [_refusal(message.refusal)] if message.refusal else []
    if isinstance(message.content, str | None):
        text = message.content or ""
        return [*([_output(text)] if text else []), *refusal] if refusal else text
    parts = [_said_part(part, f"{path}.content[{i}]") for i, part in enumerate(message.content)]
    return [*parts, *refusal]


def _said_part(part: Part, path: str) -> Item:
    match part:
        case TextPart(text):
            return _output(text)
        case RefusalPart(refusal):
            return _refusal(refusal)
    raise _unsupported(part, path)


def _part(part: Part, path: str) -> Item:
    match part:
        case TextPart(text):
            return {"type": "input_text", "text": text}
        case ImagePart(url, detail):
            return {"type": "input_image", "image_url": url, "detail": detail or "auto"}
        case OpaquePart("file", body):
            return {"type": "input_file", **_file_fields(body, path)}
    raise _unsupported(part, path)


def _output(text: str) -> Item:
    return {"type": "output_text", "text": text}


def _refusal(refusal: str) -> Item:
    return {"type": "refusal", "refusal": refusal}


def _file_fields(body: bytes, path: str) -> Item:
    try:
        fields: Item = msgspec.to_builtins(_file.decode(body))
    except DecodeError:
        fields = {}
    if not fields:
        raise UnsupportedValue("a file needs its 'file_id', its 'file_data' or its 'file_url'", param=f"{path}.file")
    return fields


def _unsupported(part: Part, path: str) -> UnsupportedValue:
    kind = part.kind if isinstance(part, OpaquePart) else part.__struct_config__.tag
    return UnsupportedValue(f"a part of type {kind!r} cannot be sent to this model here", param=f"{path}.type")
