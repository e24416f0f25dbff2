"""One turn's state, and what to do next when something happens to it. Pure."""

from collections.abc import Iterable

from msgspec import Struct

from edge.dialect import Delta
from edge.inbox import Lost
from protocol.errors import NoWorker, ServiceError, WorkerLost, from_failed
from protocol.messages import Attempt, Failed, Finished, OnLost, Reasoning, Text, ToolCall, Usage

MAX_OFFERS = 3
CHARS_PER_TOKEN = 4  # for what a lost claim cost: nobody is left to say


class Offer(Struct, frozen=True):
    """Offer the turn (again): a new line. `said`: go on from there."""

    said: str = ""


class End(Struct, frozen=True):
    """The answer came to its end."""

    last: Finished


class Close(Struct, frozen=True):
    """It did not, but it ends in a way a caller can bear: a sentence, and an end that looks whole."""

    text: str
    error: ServiceError


class Fail(Struct, frozen=True):
    """It did not, and the client is told so."""

    error: ServiceError


Next = Offer | End | Close | Fail


class Turn:
    """What was offered and what the caller has heard. Without `stream` that is nothing before the whole answer."""

    def __init__(self, *, on_lost: OnLost, finish_text: str, stream: bool) -> None:
        self._on_lost = on_lost
        self._finish_text = finish_text
        self._stream = stream
        self._said: list[str] = []
        self._billed_chars = 0  # of what was said: by claims that were lost
        self.heard: list[Delta] = []  # of a turn that does not stream
        self.offers = 0
        self.audible = False
        self.called = False
        self.headers_sent = False
        self.spent = Usage()  # by claims that came to no end
        self._tried: tuple[Attempt, ...] = ()  # by the same

    def offered(self) -> None:
        """One more line."""
        self.offers += 1

    def hear(self, frame: Delta) -> None:
        """A frame of the answer is on its way to the client."""
        if not self._stream:
            self.heard.append(frame)
            return
        if isinstance(frame, Text):
            self.audible = True
            self._said.append(frame.text)
        elif not isinstance(frame, Reasoning):  # which opens the stream, but is not audible
            self.audible = True
            self.called |= isinstance(frame, ToolCall)

    @property
    def said(self) -> str:
        """Every word that was accepted, in order."""
        return "".join(self._said)

    def finished(self, last: Finished) -> End:
        """The last frame of an answer."""
        return End(last)

    def failed(self, last: Failed) -> Next:
        """The last frame of a claim that came to no end. Another *worker* may succeed; never another try upstream."""
        self.spent = add(self.spent, last.usage)
        self._tried += last.attempts
        if last.retryable:
            return self._again(from_failed(last))
        return self.give_up(from_failed(last))

    def lost(self, event: Lost) -> Next:
        """The claim is gone with its worker, or the edge itself is cut off."""
        unbilled, self._billed_chars = len(self.said) - self._billed_chars, len(self.said)
        self.spent = add(self.spent, Usage(completion=unbilled // CHARS_PER_TOKEN, estimated=True))
        if event.cut_off:
            if not (self.audible or self.headers_sent):
                return Fail(NoWorker("the edge has lost its bus; try again in a moment", retry_after_s=1))
            return self.give_up(WorkerLost("the edge has lost its bus"))
        return self._again(WorkerLost("the worker that answered is gone"))

    def give_up(self, error: ServiceError) -> Next:
        """No way on: the ending that the settings ask for. Before the headers every failure is a clean status."""
        if self._stream and self.headers_sent and (self._on_lost == "finish" or (self.called and self._may_go_on)):
            return Close(self._finish_text if self._on_lost == "finish" else "", error)
        return Fail(error)

    @property
    def _may_go_on(self) -> bool:
        return self._on_lost == "continue"

    def _again(self, error: ServiceError) -> Next:
        if self.offers >= MAX_OFFERS:
            return self.give_up(error)
        if not self.audible:
            self.heard.clear()
            return Offer()
        if self._may_go_on and not self.called:
            return Offer(self.said)
        return self.give_up(error)

    def usage(self, last: Usage) -> Usage:
        """What the whole turn cost: the last claim and those before it."""
        return add(self.spent, last)

    def attempts(self, last: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
        """Every target that was tried, or passed over, for any of its offers."""
        return self._tried + last


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
