"""A history as platforms send it -> one that the Chat Completions API takes. Pure.

Repaired is what OpenAI itself refuses, and nothing else: a call without its result, a result without its call, a second
result, a result that does not stand right behind its call, an assistant message with nothing in it. Each repair has a
name, for the trace. Nothing that was said is lost: what has no place gets one.

Passed on: no user message at all, an assistant message at the end, system messages anywhere, a caller's empty message
(a turn taken in silence), results such as Pipecat's `IN_PROGRESS`. OpenAI takes them; where another provider does not,
its dialect in `workers/targets` says them in that provider's way.

Source: OpenAI API reference, chat messages: a tool message follows the assistant message whose call it answers.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from protocol.messages import Message, Part, PastCall, TextPart

EMPTY_MESSAGE_DROPPED = "empty_message_dropped"  # an assistant message without text, call or refusal
MISSING_RESULT = "missing_result"  # made up: it says that nothing is known
ORPHAN_RESULT = "orphan_result"  # its call was made up: the history was cut between them
DUPLICATE_RESULT = "duplicate_result"  # joined with the first; equal ones are one
RESULT_MOVED = "result_moved"  # to right behind its call

NO_RESULT = "No result: it is not known whether this call was carried out."
NO_NAME = "unknown_function"
UNDER_WAY = ("IN_PROGRESS", '"IN_PROGRESS"')  # Pipecat's placeholder: says nothing once there is a result
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # of a function, as OpenAI has it


class Repaired(NamedTuple):
    """A history that fits, and the names of what was done to it, each once; none for nearly every turn."""

    messages: tuple[Message, ...]
    repairs: tuple[str, ...] = ()


def repair(messages: tuple[Message, ...]) -> Repaired:
    """The history as targets take it; the very same where it fits already."""
    if _fits(messages):
        return Repaired(messages)
    history = _History()
    kept = [message for message in messages if not _is_empty(message)] or messages[-1:]
    if len(kept) < len(messages):
        history.note(EMPTY_MESSAGE_DROPPED)
    for message in kept:
        history.add(message)
    repaired = tuple(history.messages())
    return Repaired(repaired, tuple(history.repairs)) if history.repairs else Repaired(messages)


def _fits(messages: Iterable[Message]) -> bool:
    """Whether each call is answered once, right behind it, nothing else is answered, and nothing is empty."""
    waiting: set[str | None] = set()
    for message in messages:
        if message.role == "tool":
            if message.tool_call_id not in waiting:
                return False
            waiting.remove(message.tool_call_id)
        elif waiting or _is_empty(message):
            return False
        elif message.tool_calls:
            waiting = {call.id for call in message.tool_calls}
            if len(waiting) < len(message.tool_calls):
                return False  # perhaps: results have to be counted
    return not waiting


def _is_empty(message: Message) -> bool:
    if message.role != "assistant" or message.tool_calls or message.refusal:
        return False
    content = message.content
    if not content or isinstance(content, str):
        return not content
    return all(isinstance(part, TextPart) and not part.text for part in content)


class _Call:
    """A call, where it stands, and what came as its result."""

    def __init__(self, call: PastCall, entry: "_Entry") -> None:
        self.call = call
        self.entry = entry
        self.results: list[Message] = []


class _Entry:
    """A message that is no result, with its calls; None: there was none, its calls are made up for their results."""

    def __init__(self, message: Message | None) -> None:
        self.message = message
        self.calls = [_Call(call, self) for call in message.tool_calls] if message else []
        self.answered: list[_Call] = []  # in the order of their first results

    def messages(self) -> Iterator[Message]:
        """The message and one result for each call."""
        if self.message is None:
            yield from self._made_up()
            return
        yield self.message
        for call in self.answered:
            yield _joined(call.results)
        for call in self.calls:
            if not call.results:
                yield Message("tool", NO_RESULT, tool_call_id=call.call.id)

    def _made_up(self) -> Iterator[Message]:
        """Only calls whose results are still here: nothing where all of them went to calls that came later."""
        if calls := [call for call in self.calls if call.results]:
            yield Message("assistant", tool_calls=tuple(call.call for call in calls))
            yield from (_joined(call.results) for call in calls)


class _History:
    """Messages in their order, results with their calls. A call's id may come again in a later message."""

    def __init__(self) -> None:
        self.repairs: dict[str, None] = {}
        self._entries: list[_Entry] = []
        self._waiting: dict[str, list[_Call]] = {}  # by id, the latest last
        self._latest: dict[str, _Call] = {}
        self._made_up: list[_Call] = []  # one for an id at most

    def note(self, name: str) -> None:
        """Something was repaired."""
        self.repairs[name] = None

    def add(self, message: Message) -> None:
        """The next message."""
        if message.role == "tool":
            self._add_result(message)
            return
        entry = _Entry(message)
        self._entries.append(entry)
        for call in entry.calls:
            self._await(call)

    def messages(self) -> Iterator[Message]:
        """All of them; to be asked for once, at the end."""
        for call in self._made_up:
            self._settle(call)
        if any(self._waiting.values()):
            self.note(MISSING_RESULT)
        for entry in self._entries:
            yield from entry.messages()

    def _await(self, call: _Call) -> None:
        self._waiting.setdefault(call.call.id, []).append(call)
        self._latest[call.call.id] = call

    def _add_result(self, result: Message) -> None:
        id_ = result.tool_call_id or ""
        if id_ not in self._latest:
            self._make_up(id_, result)
        if waiting := self._waiting[id_]:
            call = waiting.pop()
            call.entry.answered.append(call)
            if call.entry is not self._entries[-1]:
                self.note(RESULT_MOVED)
        else:
            call = self._latest[id_]
            self.note(DUPLICATE_RESULT)
        call.results.append(result)

    def _make_up(self, id_: str, result: Message) -> None:
        """A call for a result that has none so far; results side by side share one message."""
        if not self._entries or self._entries[-1].message is not None:
            self._entries.append(_Entry(None))
        entry = self._entries[-1]
        name = result.name if result.name and NAME.fullmatch(result.name) else NO_NAME
        call = _Call(PastCall(id_, name, "{}"), entry)
        entry.calls.append(call)
        self._made_up.append(call)
        self._await(call)

    def _settle(self, made_up: _Call) -> None:
        """Move results that stood before their call to it. One with a result of its own is another, of the same id."""
        waiting = self._waiting[made_up.call.id]
        if not waiting:
            self.note(ORPHAN_RESULT)
            return
        call = waiting.pop(0)
        call.entry.answered.append(call)
        call.results, made_up.results = made_up.results, []
        self.note(RESULT_MOVED)


def _joined(results: Sequence[Message]) -> Message:
    """One result of several: what is said twice is said once, a placeholder or nothing only where there is no more."""
    first = results[0]
    if len(results) == 1:
        return first
    told = list(dict.fromkeys(result.content for result in results))
    told = [content for content in told if content not in UNDER_WAY] or told[:1]
    told = [content for content in told if content] or told[:1]
    if len(told) == 1:
        content = told[0]
    elif all(isinstance(one, str) for one in told):
        content = "\n".join(str(one) for one in told)
    else:
        content = tuple(part for one in told for part in _parts(one))
    return Message("tool", content, first.name, tool_call_id=first.tool_call_id)


def _parts(content: str | tuple[Part, ...] | None) -> tuple[Part, ...]:
    return (TextPart(content),) if isinstance(content, str) else content or ()
