"""What speaks against a tool call of one turn. Pure."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec

from protocol.codec import DecodeError
from protocol.last_tools import ONCE_A_CALL
from protocol.messages import Job, Tool, ToolCall
from protocol.settings_profiles import Gate
from workers.targets.asking import offered
from workers.tools import schemas
from workers.tools.bounds import MAX_ARGUMENTS_CHARS, TooMuch, parts_of
from workers.tools.gates import MAX_LISTED, too_soon, wrong_value
from workers.tools.objections import INVALID, Objection, objection
from workers.tools.once import repeats
from workers.tools.past import Past

AGAIN = "Call the tool again with arguments that fit, or go on without it."
UNKNOWN = "unknown"  # in records and traces: a name that a model makes up may hold what a caller said
NO_OBJECT = "its arguments were no JSON object, and are left out here"
PLAIN = Gate()

_object = msgspec.json.Decoder(dict[str, Any])


class Rules:
    """Of one job. `unreadable` hears of each call whose schema checks nothing."""

    def __init__(self, job: Job, gates: Mapping[str, Gate], unreadable: Callable[[], None]) -> None:
        self._job = job
        self._gates = gates
        self._unreadable = unreadable

    @cached_property
    def _past(self) -> Past:
        return Past(self._job.messages)

    @cached_property
    def _tools(self) -> dict[str, Tool]:
        return {tool.name: tool for tool in self._job.tools}

    @cached_property
    def _callable(self) -> list[str]:
        return [tool.name for tool in offered(self._job)]

    def meant(self, name: str) -> str:
        """The tool that a name stands for: some models write the module before it."""
        short = name.rpartition(".")[2]
        return short if name not in self._tools and short in self._tools else name

    def recorded(self, name: str) -> str:
        """A tool's name where others read it."""
        return name if name in self._tools or name in self._gates or name in ONCE_A_CALL else UNKNOWN

    def against(self, call: ToolCall, out: Sequence[ToolCall]) -> Objection | None:
        """The first thing that is to be said against a call; None: it may go out. `out`: those of this turn that are.

        At most once holds where the conversation is known by its id; else two of them may look alike.
        """
        if self._job.tool_choice is not None and self._job.tool_choice.mode == "none":
            return objection(INVALID, "no tool may be called in this answer", "Answer in words.")
        if self._tools and call.name not in self._callable:
            known = ", ".join(self._callable[:MAX_LISTED])
            return objection(INVALID, "there is no tool of that name", f"There are: {known or 'none'}.")
        if len(call.arguments) > MAX_ARGUMENTS_CHARS:
            return objection(INVALID, "its arguments are far too long", AGAIN)
        gate = self._gate(call.name)
        if self._job.call_id is not None and (repeated := repeats(call, self._past, out, gate)):
            return repeated
        if gate is not None and (soon := too_soon(gate, call.name, self._past)):
            return soon
        try:
            arguments = _object.decode(call.arguments)
            parts_of(arguments)
        except DecodeError:
            return objection(INVALID, NO_OBJECT, AGAIN)
        except TooMuch:
            return objection(INVALID, "its arguments lie too deep in each other", AGAIN)
        return self._by_schema(call.name, arguments) or self._by_gate(call.name, gate, arguments)

    def _gate(self, name: str) -> Gate | None:
        """What acts at once has one in any case."""
        return self._gates.get(name, PLAIN if name in ONCE_A_CALL else None)

    def _by_schema(self, name: str, arguments: dict[str, Any]) -> Objection | None:
        tool = self._tools.get(name)
        if tool is None or tool.parameters is None:
            return None
        try:
            wrong = schemas.fault(tool.parameters, arguments)
        except schemas.Unreadable:
            self._unreadable()
            return None
        return objection(INVALID, f"its arguments do not fit: {wrong}", AGAIN) if wrong else None

    def _by_gate(self, name: str, gate: Gate | None, arguments: dict[str, Any]) -> Objection | None:
        if gate is None:
            return None
        tool = self._tools.get(name)
        named = schemas.values_of(tool.parameters) if tool is not None and tool.parameters is not None else ()
        return wrong_value(gate, arguments, named)
