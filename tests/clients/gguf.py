"""GGUF files made from the one that there is.

Source: the GGUF specification, version 3: magic, version, number of tensors, number of metadata pairs, then the pairs;
tensor data begins at the next multiple of 32.
"""

import shutil
import struct
from pathlib import Path

HEADER = struct.Struct("<4sIQQ")
STRING = 8  # a value's type
ALIGNMENT = 32
KEY = b"tokenizer.chat_template"


def with_chat_template(source: Path, target: Path, template: str) -> None:
    """A copy that brings a chat template: one more pair, long enough to leave the tensors aligned."""
    fixed = 8 + len(KEY) + 4 + 8
    value = template.encode()
    value += b"{#" + b" " * (-(fixed + len(value) + 4) % ALIGNMENT) + b"#}"
    with source.open("rb") as old, target.open("wb") as new:
        magic, version, tensors, pairs = HEADER.unpack(old.read(HEADER.size))
        new.write(HEADER.pack(magic, version, tensors, pairs + 1))
        new.write(struct.pack("<Q", len(KEY)) + KEY + struct.pack("<IQ", STRING, len(value)) + value)
        shutil.copyfileobj(old, new, 1 << 20)


def cut_short(source: Path, target: Path, size: int) -> None:
    """Its first bytes, as after a download that broke off."""
    with source.open("rb") as old, target.open("wb") as new:
        new.write(old.read(size))
