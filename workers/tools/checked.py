"""The tool calls of one turn: good ones go out, for the others their target is asked once more.

What a model calls goes through `listen` on its way to the edge; a call that the rules object to stays here. Where none
is out when the answer ends, `repair` makes the job that tells the model what was wrong. What comes of that is checked
by the same rules; there is no third time. What nobody gets in the end is `withheld`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from protocol.lifecycle import Claim
from protocol.messages import (
    LAST,
    Finished,
    Frame,
    Job,
    Message,
    PastCall,
    Refusal,
    Text,
    ToolCall,
    ToolChoice,
    Withheld,
)
from protocol.settings_profiles import Gate
from workers.attempts import Try
from workers.claims import Delivery
from workers.metrics import Metrics
from workers.targets.tool_calls import is_object, made_up_id
from workers.targets.tool_names import MAX_NAME, NO_NAME, fitted
from workers.tools import unmatched
from workers.tools.objections import CURABLE, MOOT, Objection
from workers.tools.rules import Rules

AFTER_WORDS_S = 2.0
"""What a repair may take where the caller has heard words: then no guard speaks any more, and who hears nothing for
about three seconds asks whether anybody is there.
"""


class Bad(NamedTuple):
    """A call that does not go out."""

    call: ToolCall
    objection: Objection


class Checked:
    """Of one turn. A request is listened to from its first frame on; the repair is the last of them."""

    def __init__(self, delivery: Delivery, gates: Mapping[str, Gate], metrics: Metrics) -> None:
        self._delivery = delivery
        self._rules = Rules(delivery.job, gates, metrics.schema_unreadable)
        self._metrics = metrics
        unmatched.warn(delivery.job.tools, gates)
        self._out: list[ToolCall] = []
        self._bad: list[Bad] = []  # of the request that is listened to
        self._called: list[str] = []  # names, of the same, whatever became of the calls
        self._first: Sequence[Bad] | None = None  # what is being repaired; nothing, once it is
        self._is_mute = False

    def listen(self, one: Try, take: Callable[[Frame], None]) -> Callable[[Frame], None]:
        """What to hear a request's frames with; those that may go out are passed to `take`."""
        self._bad, self._called = [], []

        def hear(frame: Frame) -> None:
            if type(frame) is Text and not self._called and not self._is_mute:  # by far the most
                take(frame)
            elif isinstance(frame, ToolCall):
                self._call(one, frame, take)
            elif isinstance(frame, LAST):
                take(self._ended(frame))
            elif self._called or (self._is_mute and isinstance(frame, Text | Refusal)):
                one.withhold(frame)
            else:
                take(frame)

        return hear

    def _call(self, one: Try, call: ToolCall, take: Callable[[Frame], None]) -> None:
        call = self._with_its_own_id(replace(call, name=self._rules.meant(call.name)))
        self._called.append(call.name)
        objection = self._rules.against(call, self._out)
        if objection is not None:
            self._bad.append(Bad(call, objection))
            self._metrics.objected(objection.reason)
            one.withhold(call, f"{self._name_of(call)}:{objection.reason}")
            return
        call = replace(call, index=len(self._out))
        take(call)
        self._out.append(call)

    def _with_its_own_id(self, call: ToolCall) -> ToolCall:
        """Two calls of one answer are told apart by their ids, by platforms and by a repair's history."""
        taken = {one.id for one in self._out} | {bad.call.id for bad in self._bad}
        if call.id not in taken:
            return call
        return replace(call, id=made_up_id(f"{self._delivery.job.id}/again", len(taken)))

    def _ended(self, last: Frame) -> Frame:
        is_lie = isinstance(last, Finished) and last.reason == "tool_calls" and not self._out
        return replace(last, reason="stop") if is_lie else last

    # --- the second try ------------------------------------------------------------------------------

    def repair(self) -> Job | None:
        """What to ask the target that was listened to last: the same, with its calls and what was wrong with them.
        None: there is nothing to repair, it is too late for that, or nobody would hear what comes of it.
        """
        if not self._bad or self._out or self._first is not None:
            return None
        said = self._said()
        if said.strip() and all(bad.objection.reason in MOOT for bad in self._bad):
            return None
        job = self._delivery.job
        history = (*job.messages, *_told(said, self._bad, {tool.name for tool in job.tools}))
        return replace(job, messages=history, said="", tool_choice=self._choice())

    def begin_repair(self) -> float | None:
        """The next request that is listened to is the repair. What the caller has heard is not said again. Returns how
        many seconds it may take; None: as many as the turn has.
        """
        self._is_mute = bool(self._said().strip())  # some models begin every call with a line break
        self._first, self._bad, self._called = self._bad, [], []
        self._metrics.repair_tried()
        return AFTER_WORDS_S if self._is_mute else None

    def _said(self) -> str:
        """In this turn."""
        job, delivery = self._delivery.job, self._delivery
        frames = delivery.since(0) if delivery.state is Claim.SPEAKING else ()
        return job.said + "".join(frame.text for frame in frames if isinstance(frame, Text | Refusal))

    def _choice(self) -> ToolChoice | None:
        """Nobody is made to call what may not be called."""
        wanted = self._delivery.job.tool_choice
        is_curable = all(bad.objection.reason in CURABLE for bad in self._bad)
        return wanted if wanted is None or is_curable else replace(wanted, mode="auto", names=(), required=False)

    # --- what came of it -----------------------------------------------------------------------------

    def repaired(self, *, is_heard: bool) -> None:
        """The repair has come to its end, or to none. Where the caller gets something of it, and no call in it was bad,
        it has mended the answer.
        """
        if is_heard and not self._bad:
            self._first = ()
            self._metrics.repair_succeeded()

    @property
    def withheld(self) -> tuple[Withheld, ...]:
        """The calls that nobody got, and that nothing else stands for."""
        first = [bad for bad in self._first or () if bad.call.name not in self._called]
        return tuple(Withheld(self._name_of(bad.call), bad.objection.reason) for bad in (*first, *self._bad))

    def _name_of(self, call: ToolCall) -> str:
        return self._rules.recorded(call.name)[:MAX_NAME]


def _told(said: str, bad: Sequence[Bad], offered: Collection[str]) -> list[Message]:
    calls = tuple(PastCall(one.call.id, _named(one.call.name, offered), _sendable(one.call.arguments)) for one in bad)
    results = [Message("tool", one.objection.words, tool_call_id=one.call.id) for one in bad]
    return [Message("assistant", said if said.strip() else None, tool_calls=calls), *results]


def _named(name: str, offered: Collection[str]) -> str:
    """A made-up name as upstreams take it, which must not make it one of those that there are."""
    if name in offered:
        return name
    return NO_NAME if fitted(name) in offered else fitted(name)


def _sendable(arguments: str) -> str:
    """As they were; upstreams refuse a history in which they are no JSON object."""
    return arguments if is_object(arguments) else "{}"
