"""What one answer says and what it thinks, as frames. Pure; shared by the parsers of all dialects.

Thoughts come in a field of their own or, in tags, among the words; log probabilities go with the text that is said.
"""

from collections.abc import Iterator

from protocol.messages import Frame, Reasoning, Refusal, Text, TokenLogprob
from workers.targets.logprobs import of_the_end
from workers.targets.thinking import Thinking


class Spoken:
    """Texts go in as an upstream sends them, frames come out. `thinks_first`: it begins in the middle of a thought.
    `is_data`: JSON was asked for.
    """

    def __init__(self, *, thinks_first: bool = False, is_data: bool = False) -> None:
        self._thinking = Thinking(inside=thinks_first, is_data=is_data)
        self._logprobs: tuple[TokenLogprob, ...] = ()  # of tokens whose text is still to come
        self._mixed = False  # some of them may be of a thought, a tag or a call
        self.audible = False  # content, a refusal or a call has come
        self.said_chars = 0  # of every kind of frame, for an estimate
        self.thought_chars = 0  # of reasoning, which is among them

    @property
    def stray_end(self) -> bool:
        """A thought ended that never began, as far as the upstream's content goes: it was spoken."""
        return self._thinking.stray_end

    def plain(self, text: str) -> bool:
        """Whether it is said as it is, and need not come by `content`: nearly all of an answer, after its first word.

        Whoever says it calls `heard`.
        """
        return not self._logprobs and self._thinking.plain(text)

    def heard(self, text: str) -> None:
        """Text has been said."""
        self.audible = True
        self.said_chars += len(text)

    def likely(self, logprobs: tuple[TokenLogprob, ...]) -> None:
        """Log probabilities of what comes next."""
        self._logprobs += logprobs

    def content(self, text: str) -> Iterator[Frame]:
        """What is said, thoughts in tags apart from it."""
        thinking = self._thinking
        held = thinking.holding
        thought, said = thinking.push(text)
        self._mixed |= held or thinking.holding or said != text
        if not (said or thinking.holding):
            self._logprobs = ()
        yield from self._apart(thought, said)

    def thought(self, text: str, *, id_: str | None = None, before: str | None = None) -> Iterator[Frame]:
        """What is thought, from a field of its own. `before`: content of the same event, whose log probabilities are
        among those told.
        """
        self._thinking.told_apart()
        self._mixed = True
        self._logprobs = self._logprobs if before else ()
        yield from self._apart(text, "", id_)

    def refusal(self, text: str) -> Iterator[Frame]:
        """The model declines."""
        yield from self.release()
        self.heard(text)
        yield Refusal(text)

    def call_begins(self) -> None:
        """A piece of a tool call comes with text: log probabilities may be of either."""
        self._mixed = True

    def call_ends(self) -> None:
        """The piece is over: what was told until now is not of the text that follows."""
        self._logprobs = ()

    def release(self) -> Iterator[Frame]:
        """What was held back, because it might have become a tag."""
        yield from self._apart(*self._thinking.flush())

    def _apart(self, thought: str, text: str, id_: str | None = None) -> Iterator[Frame]:
        if thought:
            self.said_chars += len(thought)
            self.thought_chars += len(thought)
            yield Reasoning(thought, id_)
        if text:
            logprobs, self._logprobs = self._logprobs, ()
            if self._mixed:
                logprobs = of_the_end(text, logprobs) if self._thinking.at_end else ()
                self._mixed = self._thinking.holding
            self.heard(text)
            yield Text(text, logprobs or None)
