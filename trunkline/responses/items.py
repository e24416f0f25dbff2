"""The items of a response as lines that people read. Pure.

Source: the API contract, section 1.13: the items that come in are those that go out, and a few more.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw, Struct

from trunkline.check.sizes import size
from trunkline.top.tables import plain

LABEL = 14
"""Room for who speaks, before what is said."""


class Item(Struct):
    """What is shown of one. Of another form than we know, it is shown as it is."""

    type: str = "message"
    role: str = "assistant"
    content: str | list[Any] | None = None
    status: str | None = None
    name: str = ""
    arguments: str = ""
    call_id: str = ""
    output: str | list[Any] = ""
    summary: list[Any] = []
    encrypted_content: str | None = None
    id: str | None = None


_item = msgspec.json.Decoder(Item)


def item_lines(items: Iterable[Raw]) -> list[str]:
    """A line for each, or as many as it has itself."""
    return [line for item in items for line in _lines(*_told(item))]


def labelled(label: str, text: str) -> list[str]:
    """Text behind its label; every line of it is indented alike."""
    return _lines(label, text)


def _lines(label: str, text: str) -> list[str]:
    first, *more = text.split("\n")
    return [
        f"{plain(label):<{LABEL}}{plain(first)}".rstrip(),
        *(f"{'':<{LABEL}}{plain(line)}".rstrip() for line in more),
    ]


def _told(raw: Raw) -> tuple[str, str]:
    """Who, or what, and its text."""
    try:
        item = _item.decode(raw)
    except msgspec.DecodeError:
        return "item", bytes(raw).decode(errors="replace")
    match item.type:
        case "message":
            return item.role, _text(item.content)
        case "function_call":
            return "call", f"{item.name} {item.arguments}  ({item.call_id})"
        case "function_call_output":
            return "result", f"{_text(item.output)}  ({item.call_id})"
        case "reasoning":
            return "thoughts", _thoughts(item)
        case "item_reference":
            return "reference", item.id or ""
    return item.type, bytes(raw).decode(errors="replace")


def _thoughts(item: Item) -> str:
    """Its summary, or what it has itself said; what is encrypted is for the model alone."""
    said = [_text(item.summary), _text(item.content)]
    if item.encrypted_content:
        said.append(f"[encrypted, {size(len(item.encrypted_content))}]")
    return "\n".join(filter(None, said))


def _text(content: str | list[Any] | None) -> str:
    """Of a text or of parts; what is no text is named."""
    if not isinstance(content, list):
        return content or ""
    return "\n".join(_part(part) if isinstance(part, dict) else str(part) for part in content)


def _part(part: dict[str, Any]) -> str:
    kind = str(part.get("type", "part"))
    if kind == "refusal":
        return f"[refusal] {part.get('refusal', '')}"
    if "text" in part:
        return str(part["text"])
    where = str(part.get("image_url") or part.get("file_url") or part.get("filename") or part.get("file_id") or "")
    if where.startswith("data:"):
        where = f"{where.partition(',')[0]}, {size(len(where))}"
    return f"[{kind.removeprefix('input_')}{' ' if where else ''}{where}]"
