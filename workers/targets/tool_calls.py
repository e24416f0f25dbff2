"""Fragments of tool calls -> whole calls. Pure; shared by whatever streams arguments in pieces."""

import hashlib
from typing import Any

import msgspec
from msgspec import Struct

from protocol.codec import DecodeError
from protocol.messages import ToolCall
from workers.targets.upstream_errors import Fault

MAX_BYTES = 1024 * 1024  # of ids, names and arguments of one answer: it has to pass the bus, whose bound is far above
MAX_CALLS = 128  # OpenAI's bound on tools, and more than anybody runs in one turn
KIND = "tool_call"  # of fault

_object = msgspec.json.Decoder(dict[str, Any])


def made_up_id(job_id: str, index: int) -> str:
    """An id for a call that came without one; the same for every worker that runs the job."""
    return "call_" + hashlib.blake2b(f"{job_id}:{index}".encode(), digest_size=12).hexdigest()


class Fragment(Struct, frozen=True):
    """A piece of a call. None: not told."""

    index: int | None = None
    id: str | None = None
    name: str | None = None
    arguments: str = ""


class _Open(Struct):
    """A call that is being told."""

    index: int | None
    id: str
    name: str
    arguments: list[str]
    sent: bool = False

    def joined(self) -> str:
        return "".join(self.arguments)


class CallCollector:
    """Collects fragments by the upstream's index; hands out each call once, whole, with an index of our own.

    A call is handed out when the next one starts and its arguments are whole by then, else at the end. `limit`: how
    many calls the caller takes; what the upstream makes beyond it is dropped. `are_checked`: somebody looks at each
    call before it goes out, so that one whose arguments are no JSON object is handed out at the end, as it came.
    """

    def __init__(self, *, job_id: str, limit: int | None = None, are_checked: bool = False) -> None:
        self._job_id = job_id
        self._are_checked = are_checked
        self._limit = MAX_CALLS if limit is None else limit
        self._open: list[_Open] = []
        self._ids: set[str] = set()
        self._bytes = 0
        self.argument_chars = 0  # told so far
        self.sent = 0  # calls handed out
        self.broken = 0  # of these, such that nobody can make

    @property
    def begun(self) -> int:
        """Calls that the upstream has started."""
        return len(self._open)

    def add(self, fragment: Fragment) -> list[ToolCall]:
        """The calls that are whole now, because this fragment starts another.

        Raises:
            Fault: too many calls, too much text, or a fragment of a call that is handed out.
        """
        self._bound(fragment)
        call = self._belongs_to(fragment)
        if call is None:
            return self._start(fragment)
        if call.sent and fragment.arguments.strip():
            raise Fault(KIND, "tool arguments went on after their end")
        call.id = call.id or fragment.id or ""
        call.name = call.name or fragment.name or ""
        call.arguments.append(fragment.arguments)
        return []

    def again(self, fragment: Fragment) -> list[ToolCall]:
        """As `add`, for what tells all of a call once more: its arguments count where no piece of them came.

        Raises:
            UpstreamError: as `add`.
        """
        call = self._same(fragment)
        if call is None:
            return self.add(fragment)
        if not call.joined():
            self._bound(fragment)
            call.arguments.append(fragment.arguments)
        call.id, call.name = call.id or fragment.id or "", call.name or fragment.name or ""
        return []

    def whole(self, fragment: Fragment) -> list[ToolCall]:
        """The calls that are whole now: the upstream says so of this one, and tells it once more. Where its arguments
        are no object, only the end tells whether a limit cut them off.

        Raises:
            UpstreamError: as `add` and `end`.
        """
        before = self.again(fragment)
        call = self._same(fragment) or self._open[-1]
        return before if self._are_checked and _is_broken(call.joined()) else [*before, *self._close(call)]

    def end(self, *, cut: bool = False) -> list[ToolCall]:
        """The calls that are left. `cut`: a limit ended the answer, and with it the last call, where its arguments are
        no object by then: it is dropped.

        Raises:
            Fault: one has no name, or arguments that are no JSON object and that nobody checks.
        """
        is_cut = cut and bool(self._open) and not is_object(self._open[-1].joined())
        return [ready for call in (self._open[:-1] if is_cut else self._open) for ready in self._close(call)]

    def _close(self, call: _Open) -> list[ToolCall]:
        return [self._send(call, self._arguments(call))] if self._is_due(call) else []

    def _arguments(self, call: _Open) -> str:
        """None are an empty object. Raises Fault."""
        arguments = call.joined()
        if not _is_broken(arguments):
            return arguments if arguments.strip() else "{}"
        if not self._are_checked:
            raise Fault(KIND, "tool arguments are no object")
        self.broken += 1
        return arguments

    def _bound(self, fragment: Fragment) -> None:
        self.argument_chars += len(fragment.arguments)
        self._bytes += len(fragment.id or "") + len(fragment.name or "") + len(fragment.arguments)
        if self._bytes > MAX_BYTES:
            raise Fault(KIND, f"tool calls over {MAX_BYTES} bytes")

    def _same(self, fragment: Fragment) -> _Open | None:
        """The call of that index; where none is told, the one of that id."""
        if fragment.index is None:
            return next((call for call in self._open if call.id and call.id == fragment.id), None)
        return next((call for call in self._open if call.index == fragment.index), None)

    def _belongs_to(self, fragment: Fragment) -> _Open | None:
        """The call that a fragment goes on with; None: it starts one.

        An index that is used again with another id *and* a name is another call (Gemini); another id alone is not
        (early vLLM draws one per fragment).
        """
        if fragment.index is None:
            call = self._open[-1] if self._open else None
        else:
            call = next((call for call in reversed(self._open) if call.index == fragment.index), None)
        if call is None or not fragment.name:
            return call
        if fragment.id:
            return call if call.id in ("", fragment.id) else None
        return None if fragment.index is None and call.name else call

    def _start(self, fragment: Fragment) -> list[ToolCall]:
        if len(self._open) == MAX_CALLS:
            raise Fault(KIND, f"more than {MAX_CALLS} tool calls")
        whole = self._whole_so_far()
        self._open.append(_Open(fragment.index, fragment.id or "", fragment.name or "", [fragment.arguments]))
        return whole

    def _whole_so_far(self) -> list[ToolCall]:
        """From the first on, those whose arguments are an object already: empty ones may still come."""
        calls: list[ToolCall] = []
        for call in self._open:
            if not self._is_due(call):
                continue
            arguments = call.joined()
            if not (call.name and is_object(arguments)):
                break
            calls.append(self._send(call, arguments))
        return calls

    def _is_due(self, call: _Open) -> bool:
        return not call.sent and self.sent < self._limit

    def _send(self, call: _Open, arguments: str) -> ToolCall:
        if not call.name:
            raise Fault(KIND, "a tool call without a name")
        index, call.sent = self.sent, True
        self.sent += 1
        unique = call.id if call.id and call.id not in self._ids else made_up_id(self._job_id, index)
        self._ids.add(unique)
        return ToolCall(index, unique, call.name, arguments)


def _is_broken(arguments: str) -> bool:
    """Whether there are some, and nobody can use them."""
    return bool(arguments.strip()) and not is_object(arguments)


def is_object(arguments: str) -> bool:
    """Whether they are what a call has to be made with."""
    try:
        _object.decode(arguments)
    except DecodeError:
        return False
    return True
