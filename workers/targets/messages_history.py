"""A history -> `system` and `messages` of Anthropic's API, where user and assistant take turns. Pure.

What that API refuses is said in another way, so that nothing of a turn is lost:

- System and developer messages at the beginning become `system`. Later ones stand where they stood, as text of the
  user's turn in `<system>` tags: only the newest models know a system role there, and elsewhere an instruction in a
  user's turn works.
- Neighbours of one side are one message. The first is the user's; where the model spoke first, or nobody yet, and where
  the user's turn is blank, it says that there is silence.
- The model's own last words are gone on with only by a target with `prefill`; trailing white space is refused there.
  Others are told of the silence that follows them.
- Results come first in the message behind their calls, all of them in that one.
- Ids of calls have the characters that the API takes, and are used once.
- Arguments that are no JSON object, which some model wrote once, are `{"arguments": …}`, as they are.
- A participant's name has no place, and is left out.

Source: Anthropic's API documentation, "Messages", "Mid-conversation system messages" and "Handling tool results", read
on 2026-11-21; the API's own refusals: "text content blocks must contain non-whitespace text", "final assistant content
cannot end with trailing whitespace", "`tool_use` ids must be unique".
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct

from protocol.codec import DecodeError
from protocol.messages import Message, PastCall
from workers.targets.messages_parts import Block, blocks_of, text_block
from workers.targets.tool_names import UNFIT, fitted

SILENCE = "(The user says nothing.)"
ID = re.compile(r"[a-zA-Z0-9_-]+")
MAX_USER = 256  # of a user's id

_object = msgspec.json.Decoder(dict[str, Raw])


class Conversation(NamedTuple):
    """A history as the API takes it. `called`: the names of the tools that were called in it."""

    system: str
    messages: list[dict[str, Any]]
    called: tuple[str, ...]


class _Turn(Struct):
    """What one side says until the other does."""

    role: str
    blocks: list[Block]


def conversation(messages: Iterable[Message], *, prefill: bool = False) -> Conversation:
    """The history, repaired by the edge, in Anthropic's form. `prefill`: the model's own last words may end it.

    Raises:
        UnsupportedValue: a message has a part that cannot be said there; `param` names it.
    """
    history = _History()
    for at, message in enumerate(messages):
        history.add(message, f"messages[{at}]")
    return Conversation("\n\n".join(history.system), history.ended(prefill=prefill), tuple(history.called))


class _History:
    """Messages in their order, neighbours of one side together."""

    def __init__(self) -> None:
        self.system: list[str] = []
        self.called: dict[str, None] = {}
        self._turns: list[_Turn] = []
        self._ids = _Ids()

    def add(self, message: Message, path: str) -> None:
        """The next message."""
        match message.role:
            case "system" | "developer":
                self._instruct("\n\n".join(block["text"] for block in blocks_of(message, path)))
            case "user":
                self._turn("user").blocks += blocks_of(message, path)
            case "tool":
                self._turn("user").blocks.append(self._result(message, path))
            case "assistant":
                self._answer([*blocks_of(message, path), *map(self._call, message.tool_calls)])

    def ended(self, *, prefill: bool) -> list[dict[str, Any]]:
        """All of them, from the user's first to the user's last, or to what is to be gone on with."""
        turns = self._turns
        if not turns or turns[0].role == "assistant":
            turns.insert(0, _Turn("user", []))
        if turns[-1].role == "assistant" and prefill:
            _trim(turns[-1].blocks)
        elif turns[-1].role == "assistant":
            turns.append(_Turn("user", []))
        return [{"role": turn.role, "content": _content(turn.blocks)} for turn in turns]

    def _turn(self, role: str) -> _Turn:
        if not self._turns or self._turns[-1].role != role:
            self._turns.append(_Turn(role, []))
        return self._turns[-1]

    def _instruct(self, text: str) -> None:
        if not text:
            return
        if self._turns:
            self._turn("user").blocks.append(text_block(f"<system>\n{text}\n</system>"))
        else:
            self.system.append(text)

    def _answer(self, blocks: list[Block]) -> None:
        """A blank answer is none: the user's turns around it are one."""
        if blocks:
            self._turn("assistant").blocks += blocks

    def _call(self, call: PastCall) -> Block:
        name = fitted(call.name)
        self.called[name] = None
        return {"type": "tool_use", "id": self._ids.of_call(call.id), "name": name, "input": _input(call.arguments)}

    def _result(self, message: Message, path: str) -> Block:
        result: Block = {"type": "tool_result", "tool_use_id": self._ids.of_result(message.tool_call_id or "")}
        if blocks := blocks_of(message, path):
            result["content"] = _content(blocks)
        return result


class _Ids:
    """Ids as the API takes them: of a call that has one which was used before, and of its result, another."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._waiting: dict[str, list[str]] = {}
        self._latest: dict[str, str] = {}

    def of_call(self, id_: str) -> str:
        """A new one."""
        plain = id_ if ID.fullmatch(id_) else f"{UNFIT.sub('_', id_)[:32]}_{_digest(id_)}"
        unique, number = plain, 1
        while unique in self._taken:
            number += 1
            unique = f"{plain}_{number}"
        self._taken.add(unique)
        self._waiting.setdefault(id_, []).append(unique)
        self._latest[id_] = unique
        return unique

    def of_result(self, id_: str) -> str:
        """That of the call which waits for it."""
        waiting = self._waiting.get(id_)
        return waiting.pop(0) if waiting else self._latest.get(id_) or self.of_call(id_)


def opaque(user: str) -> str:
    """An id that says nothing of whom it names: the same one for the same user, and itself where it is one."""
    plain = ID.fullmatch(user) and len(user) <= MAX_USER and re.search("[a-zA-Z]", user)
    return user if plain else _digest(user)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=6).hexdigest()


def _content(blocks: list[Block]) -> str | list[Block]:
    """A single text is said as a string: so nearly every turn is."""
    if not blocks:
        return SILENCE
    return blocks[0]["text"] if len(blocks) == 1 and blocks[0]["type"] == "text" else blocks


def _trim(blocks: list[Block]) -> None:
    """Cut the white space at the end: no text here is nothing else."""
    if blocks[-1]["type"] == "text":
        blocks[-1] = text_block(blocks[-1]["text"].rstrip())


def _input(arguments: str) -> Any:
    """What a call was made with, byte for byte."""
    try:
        _object.decode(arguments)
    except DecodeError:
        return {"arguments": arguments} if arguments.strip() else {}
    return Raw(arguments.encode())
