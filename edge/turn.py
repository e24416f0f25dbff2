"""One turn's state, and what to do next when something happens to it. Pure."""

from collections.abc import Iterable

from msgspec import Struct

from edge.dialect import Delta
from edge.endings import PLAIN, Ending
from edge.errors import is_own_fault, is_tried_again
from edge.inbox import Lost
from protocol.errors import Cancelled, EmptyAnswer, NoWorker, ServiceError, WorkerLost, from_failed
from protocol.last_tools import ONCE_A_CALL
from protocol.messages import (
    REPEATED,
    Attempt,
    Failed,
    Finished,
    OnLost,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
    Withheld,
)

MAX_OFFERS = 3
CHARS_PER_TOKEN = 4  # for what a lost claim cost: nobody is left to say


class Offer(Struct, frozen=True):
    """Offer the turn (again): a new line. `said`: go on from there."""

    said: str = ""


class End(Struct, frozen=True):
    """The answer came to its end. `text`, `call`: ours, for what was to follow and could not go out."""

    last: Finished
    text: str = ""
    call: ToolCall | None = None


class Close(Struct, frozen=True):
    """It did not, but it ends in a way a caller can bear: with a sentence or a call of ours, as if it were whole."""

    text: str
    error: ServiceError
    call: ToolCall | None = None


class Fail(Struct, frozen=True):
    """It did not, and the client is told so."""

    error: ServiceError


Next = Offer | End | Close | Fail


class Turn:
    """What was offered and what the caller has heard. Without `stream` that is nothing before the whole answer.

    What the edge itself spoke is kept apart: it is not audible, so the turn may be offered again; it is none of the
    model's words and costs no usage.
    """

    def __init__(self, *, on_lost: OnLost, finish_text: str, stream: bool, ending: Ending = PLAIN) -> None:
        self.ending = ending
        self._on_lost = on_lost
        self._finish_text = finish_text
        self._stream = stream
        self._said: list[str] = []
        self._billed_chars = 0  # of what was said: by claims that were lost
        self.heard: list[Delta] = []  # of a turn that does not stream
        self.offers = 0
        self.audible = False
        self.worded = False  # more than thoughts and white space has come
        self.called = False
        self._refused = False
        self.headers_sent = False
        self.spoken_by_edge: list[str] = []
        self.fillers: list[str] = []  # among that
        self.called_by_edge: list[str] = []  # functions
        self.spent = Usage()  # by claims that came to no end
        self._tried: tuple[Attempt, ...] = ()  # by the same
        self._lasts: list[Finished | Failed] = []

    def offered(self) -> None:
        """One more line."""
        self.offers += 1

    def taken(self, frame: Delta) -> Delta | None:
        """A frame as it is to go out. None: there is nothing in it for a client. What is sealed of a thought is for
        those whose dialect can show it.
        """
        if isinstance(frame, Refusal) and self.ending.speaks_refusals:
            return Text(frame.text)
        return None if isinstance(frame, Reasoning) and not (frame.text or frame.encrypted) else frame

    def hear(self, frame: Delta) -> None:
        """A frame of the answer is on its way to the client."""
        if not self.worded:
            self.worded = _has_words(frame)
        if not self._stream:
            self.heard.append(frame)
            return
        if isinstance(frame, Text):
            self.audible = True
            self._said.append(frame.text)
        elif not isinstance(frame, Reasoning):  # which opens the stream, but is not audible
            self.audible = True
            self.called |= isinstance(frame, ToolCall)
            self._refused |= isinstance(frame, Refusal)

    def spoke(self, text: str) -> None:
        """Words of ours are on their way to the client."""
        self.spoken_by_edge.append(text)

    @property
    def reads_on(self) -> bool:
        """Whether the model's first word is to follow what the edge spoke."""
        return bool(self.spoken_by_edge) and not self.worded

    def joined(self, frames: list[Delta]) -> list[Delta]:
        """Frames without the white space before that word: ours ends in a space."""
        before: list[Delta] = []
        for at, frame in enumerate(frames):
            if not isinstance(frame, Text):
                before.append(frame)
            elif text := frame.text.lstrip():
                return [*before, Text(text, frame.logprobs), *frames[at + 1 :]]
        return before

    @property
    def said(self) -> str:
        """Every word that was accepted, in order."""
        return "".join(self._said)

    def told(self, last: Finished | Failed) -> None:
        """A claim's last frame, which may come twice: while the answer ends, and when its client has left meanwhile."""
        if not any(known is last for known in self._lasts):
            self._lasts.append(last)

    @property
    def withheld(self) -> tuple[Withheld, ...]:
        """Calls that the model made and nobody got, in any of its claims."""
        return tuple(withheld for last in self._lasts for withheld in last.withheld)

    @property
    def leaked(self) -> int:
        """Marks that were taken out of its text."""
        return sum(last.leaked for last in self._lasts)

    def finished(self, last: Finished) -> Next:
        """The last frame of an answer."""
        self.told(last)
        missed = any(withheld.reason != REPEATED for withheld in last.withheld)  # nobody misses what was made before
        if self.ending.empty != "as it came" and self._is_empty:
            if last.withheld and all(map(_is_over, last.withheld)):
                return End(last, *self._silence())
            if last.withheld and self.ending.empty == "say":  # the model has answered; what it wanted is in the record
                return End(last, self._sentence())
            self._bill(last)
            return self._unanswered(EmptyAnswer("the model came to its end without an answer"))
        return End(last, self._sentence() if missed and self.ending.late == "say" else "")

    def failed(self, last: Failed) -> Next:
        """The last frame of a claim that came to no end. Another *worker* may succeed; never another try upstream."""
        self.told(last)
        self._bill(last)
        error = from_failed(last)
        if last.retryable:
            return self._again(error)
        return self._unanswered(error) if isinstance(error, EmptyAnswer) and self._is_empty else self.give_up(error)

    def _bill(self, last: Finished | Failed) -> None:
        self.spent = add(self.spent, last.usage)
        self._tried += last.attempts

    @property
    def _is_empty(self) -> bool:
        """Nothing has come but thoughts and white space."""
        return not any(map(_has_words, self.heard)) if self.heard else not self.worded

    def _unanswered(self, error: EmptyAnswer) -> Next:
        """Two answers with nothing in them; platforms take that for a failure, and some hang up."""
        if self.ending.empty == "say":
            return Close(self._sentence(), error)
        if self.ending.empty == "silence":
            text, call = self._silence()
            return Close(text, error, call)
        return self.give_up(error)

    def _silence(self) -> tuple[str, ToolCall | None]:
        """What says that nothing is meant to be said: the call that the platform has for that, else a space."""
        skip = self.ending.skip
        return ("" if skip or self.spoken_by_edge or self._said or not self._stream else " "), skip

    def lost(self, event: Lost) -> Next:
        """The claim is gone with its worker, or the edge itself is cut off."""
        unbilled, self._billed_chars = len(self.said) - self._billed_chars, len(self.said)
        self.spent = add(self.spent, Usage(completion=unbilled // CHARS_PER_TOKEN, estimated=True))
        if event.cut_off:
            if not (self.audible or self.headers_sent):
                return self.give_up(NoWorker("the edge has lost its bus; try again in a moment", retry_after_s=1))
            return self.give_up(WorkerLost("the edge has lost its bus"))
        return self._again(WorkerLost("the worker that answered is gone"))

    def give_up(self, error: ServiceError) -> Next:
        """No way on: the ending that the profile asks for, else the settings.

        Where nothing is to be spoken before the headers, every failure is a clean status; the request's own fault is
        one always, for its sender has to change it. Who has cancelled the answer wants no sentence.
        """
        if isinstance(error, Cancelled):
            return Fail(error)
        if self._is_spoken(error):
            return Close(self._sentence(), error)
        if self._stream and self.headers_sent and (self._on_lost == "finish" or (self.called and self._may_go_on)):
            return Close(self._joined(self._finish_text) if self._on_lost == "finish" else "", error)
        return Fail(error)

    def _is_spoken(self, error: ServiceError) -> bool:
        if self.headers_sent:
            return self.ending.late == "say"
        if is_own_fault(error):
            return False
        goes_silent = self.ending.retried and self.ending.late == "say" and not is_tried_again(error)
        return self.ending.early == "say" or goes_silent

    def _sentence(self) -> str:
        """The profile's. Once a tool call is out nothing more is spoken."""
        return "" if self.called else self._joined(self.ending.sentence)

    def _joined(self, sentence: str) -> str:
        """It follows what was said: a space keeps them apart."""
        spoken = (self._said or self.spoken_by_edge)[-1:]
        return f" {sentence}" if spoken and not spoken[0][-1:].isspace() else sentence

    @property
    def _may_go_on(self) -> bool:
        return self._on_lost == "continue"

    def _again(self, error: ServiceError) -> Next:
        if self.offers >= MAX_OFFERS:
            return self.give_up(error)
        if not self.audible:
            self.heard.clear()
            self.worded = False
            return Offer()
        if self._may_go_on and not (self.called or self._refused):
            return Offer(self.said)
        return self.give_up(error)

    def usage(self, last: Usage) -> Usage:
        """What the whole turn cost: the last claim and those before it."""
        return add(self.spent, last)

    def attempts(self, last: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
        """Every target that was tried, or passed over, for any of its offers."""
        return self._tried + last


def _is_over(withheld: Withheld) -> bool:
    """A call that was made before, and after which nothing is to follow: whatever is said would be said to nobody."""
    return withheld.reason == REPEATED and withheld.tool in ONCE_A_CALL


def _has_words(frame: Delta) -> bool:
    """Whether there is something in it that ends the caller's waiting."""
    return not frame.text.isspace() if isinstance(frame, Text) else not isinstance(frame, Reasoning)


def cost_of(attempts: Iterable[Attempt]) -> float | None:
    """All that have a price together; None: none has."""
    costs = [attempt.cost for attempt in attempts if attempt.cost is not None]
    return round(sum(costs), 9) if costs else None


def add(a: Usage, b: Usage) -> Usage:
    """Both together; estimated where either is."""
    if a == Usage():
        return b
    return Usage(
        prompt=a.prompt + b.prompt,
        completion=a.completion + b.completion,
        cached=a.cached + b.cached,
        reasoning=a.reasoning + b.reasoning,
        estimated=a.estimated or b.estimated,
    )
