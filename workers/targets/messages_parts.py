"""A message's content -> blocks of Anthropic's API. Pure.

Blank text is none: the API refuses it. The `detail` of an image has no place, and is left out. A PDF goes as a
document; other files, and those that lie at OpenAI, cannot be sent.

Source: Anthropic's API documentation, "Vision" and "PDF support", read on 2026-11-21.
"""

import base64
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Struct

from protocol.codec import DecodeError
from protocol.errors import UnsupportedValue
from protocol.messages import ImagePart, Message, OpaquePart, Part, RefusalPart, TextPart

DATA_URL = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),(.*)", re.DOTALL)
IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
PDF = "application/pdf"

Block = dict[str, Any]


class _File(Struct):
    filename: str | None = None
    file_data: str | None = None
    file_url: str | None = None


_file = msgspec.json.Decoder(_File)


def text_block(text: str) -> Block:
    """A run of text."""
    return {"type": "text", "text": text}


def blocks_of(message: Message, path: str) -> list[Block]:
    """What a message says; text that is blank is nothing."""
    return [*_said(message, path), *_texts(message.refusal)]


def _said(message: Message, path: str) -> Iterator[Block]:
    if message.content is None or isinstance(message.content, str):
        yield from _texts(message.content)
        return
    for at, part in enumerate(message.content):
        yield from _part(part, message.role, f"{path}.content[{at}]")


def _texts(text: str | None) -> Iterator[Block]:
    if text and not text.isspace():
        yield text_block(text)


def _part(part: Part, role: str, path: str) -> Iterator[Block]:
    match part:
        case TextPart(text) | RefusalPart(text):
            yield from _texts(text)
        case ImagePart(url) if role != "assistant":
            yield {"type": "image", "source": _image(url, f"{path}.image_url.url")}
        case OpaquePart("file", body) if role != "assistant":
            yield _document(body, f"{path}.file")
        case ImagePart():
            raise UnsupportedValue("this model takes no images in its own messages", param=f"{path}.type")
        case OpaquePart(kind, _):
            raise UnsupportedValue(f"a part of type {kind!r} cannot be sent to this model", param=f"{path}.type")


def _image(url: str, path: str) -> Block:
    if url.startswith(("http://", "https://")):
        return {"type": "url", "url": url}
    return _inline(url, IMAGE_TYPES, "an image", path)


def _document(body: bytes, path: str) -> Block:
    """A PDF that came with the request, or lies in the open; files that lie at OpenAI are out of reach."""
    try:
        file = _file.decode(body)
    except DecodeError:
        file = _File()
    if file.file_url and not file.file_data:
        source: Block = {"type": "url", "url": file.file_url}
    else:
        source = _inline(file.file_data or "", (PDF,), "a file", f"{path}.file_data")
    title = {"title": file.filename} if file.filename else {}
    return {"type": "document", "source": source, **title}


def _inline(url: str, types: tuple[str, ...], what: str, path: str) -> Block:
    """The content of a data URL."""
    found = DATA_URL.fullmatch(url)
    media_type = found[1].lower().replace("image/jpg", "image/jpeg") if found else ""
    if found is None or media_type not in types:
        raise UnsupportedValue(f"{what} for this model must be a data URL of {' or '.join(types)}", param=path)
    data = found[3] if found[2].endswith(";base64") else base64.b64encode(unquote_to_bytes(found[3])).decode()
    return {"type": "base64", "media_type": media_type, "data": data}
