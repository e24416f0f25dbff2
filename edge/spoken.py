"""What the edge has said by itself, taken out of a history that a platform sends back. Pure.

It is no part of the model's words: a model that reads "One moment..." at the head of its own answers begins to say so
itself. Nothing is remembered for it: what a profile may say is known from the settings, so an assistant message that
begins with a filler, or ends in a sentence, has it from the edge. Platforms trim white space, write "…" for "...",
leave out marks that are no words, and cut what was not heard; the beginning of a filler that is the whole of a message
counts from two words and eight characters on, for less may be the model's own.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from msgspec.structs import replace

from edge.guard import FLUSH, bare
from protocol.messages import Message, Part, TextPart, text_of
from protocol.settings_profiles import Profile

SPOKEN_REMOVED = "spoken_by_edge_removed"  # beside the names of `edge.history`
LEAST_WORDS, LEAST_CHARS = 2, 8  # of a filler that was cut
CUT = re.compile(r"\s*(\.{1,3}|…)?\s*\Z")  # platforms mark where they cut
MARKS = ".!?…。！？؟"  # a sentence may lose them
MARKS_AND_SPACE = MARKS + " \t\r\n\u00a0\u202f"
NEVER = re.compile(r"(?!)")

Content = str | tuple[Part, ...] | None


class Cleaned(NamedTuple):
    """A history without what the edge has said, and the name of what was done, where something was."""

    messages: tuple[Message, ...]
    repairs: tuple[str, ...] = ()


class Spoken:
    """What a profile may have had the edge say, in every language, ready to be looked for. Made once per profile.

    `finish_text` is spoken where the profile has no sentence of its own.
    """

    def __init__(self, profile: Profile, finish_text: str = "") -> None:
        fillers = {" ".join(bare(filler).split()) for known in profile.fillers.values() for filler in known} - {""}
        said = profile.sentences.values() or (finish_text,)
        sentences = {" ".join(sentence.split()).rstrip(MARKS_AND_SPACE) for sentence in said} - {""}
        self._head = _head(fillers)
        self._tail = _tail(sentences)
        self._forms = tuple(f"{filler}...{FLUSH}" for filler in fillers)
        self._longest_form = max(map(len, self._forms), default=0)
        self._longest_tail = 2 * max(map(len, sentences), default=0) + 16  # white space may have grown
        self._ends = tuple(sentence.split()[-1] for sentence in sentences)

    def find(self, text: str) -> tuple[int, int]:
        """From where to where in an assistant's text the model speaks."""
        begin = self._begin(text)
        if self._is_cut_filler(text[begin:] if len(text) - begin <= 2 * self._longest_form else ""):
            return 0, 0
        end = self._end(text)
        return (begin, end) if begin < end else (0, 0)

    def _begin(self, text: str) -> int:
        match = self._head.match(text)
        head = match[0] if match else ""
        is_models = head.isspace() and head not in (" ", text)  # the edge says one space
        return 0 if is_models else len(head)

    def _is_cut_filler(self, text: str) -> bool:
        whole = " ".join(text.replace("…", "...").split())
        cut = CUT.sub("", whole)
        if len(cut) < LEAST_CHARS or len(cut.split()) < LEAST_WORDS:
            return False
        return any(form.startswith((whole, cut)) for form in self._forms)

    def _end(self, text: str) -> int:
        if not self._ends or not text.rstrip(MARKS_AND_SPACE).endswith(self._ends):
            return len(text)
        begin = max(0, len(text) - self._longest_tail)
        match = self._tail.search(text, begin)
        return match.start() if match else len(text)


def without_spoken(messages: tuple[Message, ...], spoken: Spoken) -> Cleaned:
    """The history as the model knows it; the very same where the edge said nothing in it. Messages that nothing is left
    of are for `edge.history.repair` to drop.
    """
    cleaned = tuple(_cleaned(message, spoken) if message.role == "assistant" else message for message in messages)
    if all(new is old for new, old in zip(cleaned, messages, strict=True)):
        return Cleaned(messages)
    return Cleaned(cleaned, (SPOKEN_REMOVED,))


def _cleaned(message: Message, spoken: Spoken) -> Message:
    content = message.content
    text = text_of(message)
    if not text:
        return message
    begin, end = spoken.find(text)
    if end - begin == len(text):
        return message
    return replace(message, content=_between(content, begin, end) or None)


def _between(content: Content, begin: int, end: int) -> Content:
    """Its text from `begin` to `end`; parts stay parts, and those that are left empty go."""
    if content is None or isinstance(content, str):
        return (content or "")[begin:end]
    kept: list[Part] = []
    at = 0
    for part in content:
        if not isinstance(part, TextPart):
            kept.append(part)
            continue
        if left := part.text[max(0, begin - at) : max(0, end - at)]:
            kept.append(replace(part, text=left))
        at += len(part.text)
    return tuple(kept)


def _head(fillers: Iterable[str]) -> re.Pattern[str]:
    """White space, and fillers one after the other. Their ellipsis tells them from words that begin alike."""
    known = "|".join(map(_words, sorted(fillers, key=len, reverse=True)))
    ours = rf"(?:(?:{known})\s*(?:\.{{3,}}|…)(?:\s*<flush\s*/>)?(?:\s+|\Z))*" if known else ""
    return re.compile(rf"\s*{ours}")


def _tail(sentences: Iterable[str]) -> re.Pattern[str]:
    """A sentence at the end, with the white space before it."""
    known = "|".join(map(_words, sentences))
    return re.compile(rf"(?:\s+|\A)(?:{known})[\s{re.escape(MARKS)}]*\Z") if known else NEVER


def _words(text: str) -> str:
    """A pattern of these words, however they are spaced and their ellipses written."""
    words = [re.sub(r"(?:\\\.){3}|…", r"(?:\\.{3}|…)", re.escape(word)) for word in text.split()]
    return r"\s+".join(words)
