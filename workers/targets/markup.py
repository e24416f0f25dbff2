"""What models leak into their text: tool calls, control tokens, the name of who speaks. Pure.

A call that can be read becomes a call; whatever else is no speech vanishes, and what stands around it is joined. Text
is held back only while it may still become a mark, or the beginning of a call behind one, at most 32 characters beside
the white space before that; between the tags of a call it is collected (`opened`). Which marks there are is in `marks`,
how calls are written in `leaked_calls`.

A mark that is quoted is an example: it is said, for the words around it are about it, and begins nothing. Only control
tokens vanish there too.
"""

from collections.abc import Iterable, Iterator

import msgspec
from msgspec.structs import replace

from protocol.messages import Finished, FinishReason, Frame, Job, Reasoning, Refusal, Text, ToolCall
from workers.targets.asking import is_json, offered
from workers.targets.leaked_calls import Call, calls_in
from workers.targets.marks import (
    BEGINNINGS,
    CALL_END,
    CHANNEL,
    CONTROL_MARK,
    MARK,
    MAX_HELD,
    OURS,
    RECIPIENT,
    ROLE_MARKS,
    ROLES,
    SILENT,
    TURNS,
    UNMARKED,
    certain,
    may_become,
    opening,
)
from workers.targets.opened import Opened
from workers.targets.quoting import Code, is_behind_quote
from workers.targets.tool_calls import MAX_CALLS, is_object, made_up_id
from workers.targets.upstream_errors import from_nothing


def needs_cleaning(job: Job) -> bool:
    """Whether marks are looked for. JSON output is never touched: there they are a part of some string."""
    return job.clean_markup and not is_json(job)


class Markup:
    """Feed it frames, or text, and take what is left of them. `leaked`: how much was taken out.

    A turn that the model begins for somebody else is not said. Log probabilities stay only with text that is whole.
    """

    def __init__(self, job: Job, *, target: str = "") -> None:
        self.leaked = 0
        self._target = target
        self._job_id = job.id
        self._may_be_empty = bool(job.said)
        self._tools = {tool.name: tool for tool in offered(job)}
        self._limit = 1 if job.parallel_tool_calls is False else MAX_CALLS
        self._may_call = job.tool_choice is None or job.tool_choice.mode != "none"
        self._are_checked = job.check_tools
        self._has_dropped = False  # a call of the upstream's own
        self._held = ""
        self._names: tuple[str, ...] = () if job.said else BEGINNINGS  # one may stand here
        self._open: Opened | None = None
        self._made: list[Call] = []  # of leaked calls
        self._sent = 0  # calls
        self._said = False  # anything
        self._last = job.said[-2:]  # what was said last, its last two characters at least
        self._code = Code()
        self._code.feed(job.said)
        self._trims = False  # a mark has gone: what follows is not spaced twice
        self._is_foreign = False  # the model speaks for somebody else
        self._is_idle = False  # nothing but a mark changes what is said

    def plain(self, text: str) -> bool:
        """Whether it is said as it is, and need not come by `push`: nearly all of an answer, after its first word."""
        if not self._is_idle or "<" in text or "`" in text or "[" in text:
            return False
        self._last = self._last[-1:] + text
        return True

    def push(self, text: str) -> tuple[str, list[ToolCall]]:
        """What of the text so far can be said, and the calls after it."""
        self._held += text
        said: list[str] = []
        calls: list[ToolCall] = []
        while self._step(said, calls):
            pass
        self._is_idle = self._said and not (
            self._held
            or self._open
            or self._names
            or self._trims
            or self._is_foreign
            or self._sent
            or self._code.is_near
        )
        return "".join(said), calls

    def flush(self) -> tuple[str, list[ToolCall]]:
        """What is left when the text ends: a call without its end tag is one, where it is whole."""
        self._names = ()
        said: list[str] = []
        calls: list[ToolCall] = []
        opened = self._cut_off(calls)
        if opened is not None and not calls:
            self._held = self._not_opened(opened, opened.cut_off())
            while self._step(said, calls):
                pass
            self._cut_off(calls)  # behind it one may have begun once more
        said.append(self._say(self._held))
        self._held = ""
        return "".join(said), calls

    def _cut_off(self, calls: list[ToolCall]) -> Opened | None:
        opened, self._open = self._open, None
        if opened is not None and opened.is_call:
            calls += self._read(opened, "")
        return opened

    def frames(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Frames as they can be passed on now. Raises EmptyAnswer, LimitTooLow: nothing is left of the answer."""
        for frame in frames:
            if isinstance(frame, Text):
                yield from self._spoken(frame)
            elif isinstance(frame, Reasoning):
                if not self._sent:
                    yield frame
            else:
                text, calls = self.flush()
                if text:
                    yield Text(text)
                yield from calls
                yield from self._other(frame)

    def _spoken(self, frame: Text) -> Iterator[Frame]:
        text, calls = self.push(frame.text)
        if text:
            yield frame if text == frame.text else Text(text)
        yield from calls

    def _other(self, frame: Frame) -> Iterator[Frame]:
        match frame:
            case ToolCall():
                if self._passes(frame):
                    yield replace(frame, index=self._sent)
                    self._sent += 1
            case Refusal():
                if not self._sent:
                    self._said = True
                    yield frame
            case Finished():
                yield self._ended(frame)
            case _:
                yield frame

    def _ended(self, last: Finished) -> Finished:
        if not (self.leaked or self._has_dropped):
            return last
        if not (self._said or self._sent or self._may_be_empty):
            words = (
                "nothing but marks that a model leaks into its text" if self.leaked else "calls where none may be made"
            )
            raise from_nothing(last.reason, words, target=self._target, has_thought=False, has_called=True)
        return replace(last, reason=self._reason(last.reason), leaked=self.leaked)

    def _reason(self, told: FinishReason) -> FinishReason:
        if self._sent:
            return "tool_calls"
        return "stop" if self._has_dropped and told == "tool_calls" else told

    def _passes(self, call: ToolCall) -> bool:
        """Whether a call of the upstream's own goes on. One that may not be made is for whoever checks calls to object
        to; where nobody does, it ends here.
        """
        if not (self._may_call or self._are_checked):
            self._has_dropped = True
            return False
        return self._sent < self._limit and not self._is_made(call)

    def _is_made(self, call: ToolCall) -> bool:
        """Whether the upstream tells once more of a call that has leaked."""
        return is_object(call.arguments) and any(
            call.name == name and msgspec.json.decode(call.arguments) == msgspec.json.decode(arguments)
            for name, arguments in self._made
        )

    # --- what stands in the text ---------------------------------------------------------------------

    def _step(self, said: list[str], calls: list[ToolCall]) -> bool:
        """Go on to the next mark; False: there is none yet."""
        if self._open is not None:
            return self._collect(self._open, calls)
        if self._names and not self._past_name():
            return False
        if self._open is not None:
            return True
        held, mark = self._held, MARK.search(self._held)
        at = mark.start() if mark else certain(held)
        said.append(self._say(held[:at]))
        self._held = held[mark.end() if mark else at :]
        if mark and (self._code.is_open() or is_behind_quote(self._last)):
            said.append(self._quoted(mark[0]))
        elif mark:
            self._take(mark[0])
        return mark is not None

    def _quoted(self, mark: str) -> str:
        """What is said of a mark that is an example."""
        self._names = ()
        if not CONTROL_MARK.fullmatch(mark):
            return self._say(mark)
        self.leaked += 1
        self._trims = self._is_spaced
        return ""

    def _past_name(self) -> bool:
        """Drop the name of who speaks, if it comes next, and white space before a mark. False: it is not known yet."""
        held = self._held[:MAX_HELD]
        begun = held.lstrip()
        if name := next((name for name in self._names if begun.startswith(name)), ""):
            self._held = self._held[len(held) - len(begun) + len(name) :]
            self._take(name)
        elif MARK.match(begun):
            self._held = self._held[len(held) - len(begun) :]
        elif len(held) < MAX_HELD and (any(name.startswith(begun) for name in self._names) or may_become(begun)):
            return False
        else:
            self._names = ()
        return True

    def _take(self, mark: str) -> None:
        """A mark has gone; what it begins."""
        is_turn = self._names is ROLES and mark in ROLES
        self.leaked += not is_turn  # it belongs to the mark before it
        self._trims = self._is_spaced
        self._names = ROLES if mark in TURNS else ()
        if is_turn or mark in ROLE_MARKS:
            self._is_foreign = ROLE_MARKS.get(mark, mark) not in OURS
        if (begins := opening(mark)) is not None:
            self._open = Opened(mark, *begins, tools=self._tools)

    def _collect(self, opened: Opened, calls: list[ToolCall]) -> bool:
        """Go on to the end of a call; False: it is not there."""
        looked_at = len(opened.body)
        opened.body, self._held = opened.body + self._held, ""
        if opened.is_none():
            self._open, self._held = None, self._not_opened(opened, opened.behind_mark())
            return True
        behind = opened.end(looked_at) if opened.look is None else None
        if behind is None:
            return False
        self._open, self._held = None, behind
        calls += self._read(opened, opened.end_tag)
        if opened.mark == CHANNEL or opened.mark in UNMARKED:
            self._enter(opened.told(""))
        return True

    def _not_opened(self, opened: Opened, text: str) -> str:
        """The text behind a mark that has begun no call."""
        self.leaked -= opened.look is not None and opened.is_words
        return text

    def _enter(self, channel: str) -> None:
        """What follows is for a tool, a thought, or for the caller."""
        recipient = RECIPIENT.search(channel)
        self._is_foreign = channel.lstrip().startswith("analysis")
        if recipient is not None:
            self._open = Opened(CALL_END, CALL_END, body=recipient[1])

    def _read(self, opened: Opened, end_tag: str) -> list[ToolCall]:
        if opened.is_lost or self._is_foreign or opened.mark in SILENT or not self._may_call:
            return []
        made = calls_in(opened.told(end_tag), self._tools, self._limit - self._sent)
        calls = [
            ToolCall(index, made_up_id(self._job_id, index), *call) for index, call in enumerate(made, start=self._sent)
        ]
        self._made += made
        self._sent += len(calls)
        return calls

    def _say(self, text: str) -> str:
        """What of a text is said: nothing after a call, nothing for somebody else, no space twice."""
        if self._sent or self._is_foreign:
            return ""
        if self._trims:
            text = text.lstrip()
        if text:
            self._said, self._trims = True, False
            self._last = self._last[-1:] + text
            self._code.feed(text)
        return text

    @property
    def _is_spaced(self) -> bool:
        """Whether white space was said last, or nothing."""
        return not self._last or self._last[-1].isspace()
