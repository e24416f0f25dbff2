"""Going on with an answer that was cut off: what the model is told, and the seam between the two halves. Pure."""

import re
from collections.abc import Iterable, Iterator

from protocol.messages import Frame, Job, Message, Reasoning, Text

NUDGE = (
    "Your last message was cut off in the middle. Go on exactly where it stops. Do not repeat any of it, do not "
    "comment on the interruption."
)
MIN_OVERLAP_CHARS = 8
WORD = re.compile(r"[\w'’]+")
MIN_OVERLAP_WORDS = 2  # different ones: in "five five five" nobody can tell a repetition from an overlap


def messages_for(job: Job, *, prefill: bool) -> tuple[Message, ...]:
    """The history as the target gets it: with its own half answer at the end, when this job continues one.

    With `prefill` the target goes on in a last assistant message by itself; without, it is asked to.
    """
    if not job.said:
        return job.messages
    half = Message(role="assistant", content=job.said)
    return (*job.messages, half) if prefill else (*job.messages, half, Message(role="user", content=NUDGE))


def needs_seam(job: Job, *, prefill: bool) -> bool:
    """Whether the answer may begin by repeating `said`. JSON output is never touched."""
    is_json = job.response_format is not None and job.response_format.kind != "text"
    return bool(job.said) and not prefill and not is_json


class Seam:
    """Drops, once, what the beginning of a continuation repeats of the end of `said`.

    An overlap starts at a word of `said`, reaches its end, and has at least two different words and 8 characters.
    The longest counts. Text is held back only while it may still become one.
    """

    def __init__(self, said: str) -> None:
        self._said = said
        self._starts = _overlap_starts(said)  # of the overlaps that the text may still be the beginning of
        self._overlap = 0  # characters of the longest one that is complete
        self._held = ""

    def push(self, text: str) -> str:
        """What of the text so far can be said; "" while it is held back."""
        if not self._starts:
            return text
        self._held += text
        begun, length = self._held.lstrip(), len(self._said)
        whole = [at for at in self._starts if length - at <= len(begun) and begun.startswith(self._said[at:])]
        self._starts = [at for at in self._starts if length - at > len(begun) and self._said.startswith(begun, at)]
        self._overlap = max([self._overlap, *(length - at for at in whole)])
        return "" if self._starts else self._let_go()

    def flush(self) -> str:
        """What is still held back when the text ends."""
        begun = self._held.rstrip()
        if any(self._said[at:].rstrip() == begun.lstrip() for at in self._starts):
            self._held = ""  # it repeated the end of `said`, save for white space
        self._starts = []
        return self._let_go()

    def frames(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Frames as they can be passed on now. Log probabilities stay only with text that is whole."""
        for frame in frames:
            if isinstance(frame, Text):
                said = self.push(frame.text)
                if said:
                    yield frame if said == frame.text else Text(said)
            else:
                if not isinstance(frame, Reasoning) and (held := self.flush()):
                    yield Text(held)
                yield frame

    def _let_go(self) -> str:
        held, self._held = self._held, ""
        return held.lstrip()[self._overlap :] if self._overlap else held


def _overlap_starts(said: str) -> list[int]:
    """Where an end of `said` begins that starts with a word and is long enough to be known again."""
    starts = [word.start() for word in re.finditer(r"\S+", said)]
    while starts and not _is_telling(said[starts[-1] :]):  # what holds for an end holds for every longer one
        starts.pop()
    return starts


def _is_telling(text: str) -> bool:
    return len(text.strip()) >= MIN_OVERLAP_CHARS and len(set(WORD.findall(text.casefold()))) >= MIN_OVERLAP_WORDS
