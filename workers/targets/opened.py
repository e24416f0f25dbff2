"""A call that has begun in a text, while it is collected. Pure."""

from collections.abc import Mapping

from msgspec import Struct

from protocol.messages import Tool
from workers.targets.leaked_calls import bare, known, words_behind
from workers.targets.marks import (
    ALONE,
    AS_CALL,
    BEGINNINGS,
    CALL_END,
    CHANNEL,
    FUNCTION,
    FUNCTION_NAME,
    MAX_BLANK,
    MAX_HELD,
    OPENERS,
    SILENT,
    WHOLE,
    Look,
)

MAX_CALL_CHARS = 64 << 10  # a longer one is none: it vanishes


class Opened(Struct):
    """What its mark may have begun. `look`: what has to follow that, while nobody knows. `tools`: those on offer."""

    mark: str
    end_tag: str
    look: Look | None = None
    body: str = ""
    tools: Mapping[str, Tool] = {}
    is_lost: bool = False  # it is too long

    def is_none(self) -> bool:
        """Whether it is known that no call begins here."""
        look, head = self.look, self.body[:MAX_BLANK]
        if look is None:
            return False
        room = min(len(head) - len(head.lstrip()) + MAX_HELD, MAX_BLANK)
        head = head[:room]
        if look.begun.fullmatch(head):
            if len(head) < room or head.isspace():
                return len(head) == room
        elif not look.whole.match(head) and not self._is_name(head):
            return True
        self.look = None  # it looks like one, or is longer than any word
        return False

    def _is_name(self, head: str) -> bool:
        """Whether nothing but a tool's name stands before an end tag."""
        name, _, tag = head.partition("<")
        return tag.startswith("/") and self._named(name) is not None

    def _named(self, text: str) -> str | None:
        """The tool of that name, where a name alone is a call."""
        if self.mark not in OPENERS or OPENERS[self.mark][1] is not AS_CALL:
            return None
        name = bare(text)
        return known(name, self.tools) if ALONE.fullmatch(name) else None

    @property
    def is_call(self) -> bool:
        """Whether it is read as one where the text ends before it does."""
        look = self.look
        return look is None or look.whole.match(self.body) is not None or self._named(self.body) is not None

    def end(self, looked_at: int) -> str | None:
        """Cut the body at its end tag; what stands behind that. None: it is not there yet."""
        at = self.body.find(self.end_tag, max(0, looked_at - len(self.end_tag))) if self.end_tag else -1
        self.is_lost |= (at if at >= 0 else len(self.body)) > MAX_CALL_CHARS
        if at < 0:
            if self.is_lost:
                self.body = self.body[-len(self.end_tag or " ") :]
            return None
        behind, self.body = self.body[at + len(self.end_tag) :], self.body[:at]
        return behind

    @property
    def is_words(self) -> bool:
        """Whether a mark that begins no call is words as any others."""
        return self.mark in BEGINNINGS

    def behind_mark(self) -> str:
        """The text where no call begins."""
        if self.is_words:
            return self.mark + self.body
        return FUNCTION_NAME.sub("", self.body, count=1) if self.mark == FUNCTION else self.body

    def cut_off(self) -> str:
        """What is words where the text ends before the call does, and it is none."""
        if self._named(self.body) is not None:
            return ""
        if self.look is not None:
            text = self.behind_mark()
            return "" if "<" in text or self.mark == CHANNEL else text  # half a tag of a call
        return "" if self.is_lost or self.mark in (*SILENT, *WHOLE, CALL_END) else words_behind(self.body)

    def told(self, end_tag: str) -> str:
        """What is read as a call."""
        if (name := self._named(self.body)) is not None:
            return f"{name}{{}}"
        return f"{self.mark}{self.body}{end_tag}" if self.mark in WHOLE else self.body
