"""What an upstream has sealed of its thoughts, marked as that upstream's own. Pure.

Nobody but the upstream that has sealed a thought can read it: any other answers it with a 400, and so does the same one
under another key or for another of its models. A marked seal is `trunkline1.<whose>.<id>.<sealed>`; the id is the one
that the upstream gave to the thought, because it may be bound to it, and callers know the thought by another.

Source: OpenAI's API reference, "Create a response", `include` and reasoning items, and refusals that users of it and of
Azure have reported (`invalid_encrypted_content`; "Encrypted content is not supported" by vLLM), read on 2026-11-22.
"""

import hashlib
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from msgspec.structs import replace

from protocol.messages import Job, Thought
from protocol.settings import Target

MARK = "trunkline1"
ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
MAX_CHARS = 128 << 10  # of a seal: an answer is worth more than what was thought before it


class Sealed(NamedTuple):
    """A thought as its upstream knows it."""

    id: str | None
    content: str


class Seals(NamedTuple):
    """One upstream's. `takes_unmarked`: also those that no worker has marked, which somebody brings along."""

    whose: str
    takes_unmarked: bool = False

    def marked(self, content: str, id_: str) -> str | None:
        """What this upstream has sealed, as callers get it. None: it is too long to be carried."""
        known = id_ if ID.fullmatch(id_) else ""
        return f"{MARK}.{self.whose}.{known}.{content}" if len(content) <= MAX_CHARS else None

    def opened(self, thought: Thought) -> Sealed | None:
        """What the upstream is to be shown of a thought. None: nothing, for it could not read it."""
        seal = thought.encrypted or ""
        if not seal.startswith(f"{MARK}."):
            return Sealed(thought.id, seal) if seal and self.takes_unmarked else None
        _, whose, rest = (*seal.split(".", 2), "", "")[:3]
        id_, _, content = rest.partition(".")
        return Sealed(id_ or None, content) if content and whose == self.whose else None


def seals_of(told: Target) -> Seals:
    """A target's. Two that ask the same upstream for the same model with the same key read each other's.

    Unmarked seals come from callers who have talked to OpenAI before: no other upstream is shown them.
    """
    asked = "\n".join((told.base_url.rstrip("/"), told.model, told.api_key_env or ""))
    return Seals(digest_of(asked), takes_unmarked=_is_openai(told))


def without_seals(job: Job) -> Job:
    """The job with no word of what was thought, or is to be sealed."""
    messages = tuple(replace(message, thoughts=()) if message.thoughts else message for message in job.messages)
    return replace(job, messages=messages, sampling=replace(job.sampling, encrypted_reasoning=False))


def digest_of(words: str) -> str:
    """Whose a seal is, for a mark."""
    return hashlib.blake2b(words.encode(errors="replace"), digest_size=6).hexdigest()


def _is_openai(told: Target) -> bool:
    host = urlsplit(told.base_url).hostname or ""
    return told.preset == "openai" or host == "openai.com" or host.endswith(".openai.com")
