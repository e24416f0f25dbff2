"""A call that has begun in a text, while it is collected. Pure."""

from msgspec import Struct

from workers.targets.leaked_calls import words_behind
from workers.targets.marks import (
    BEGINNINGS,
    CALL_END,
    CHANNEL,
    FUNCTION,
    FUNCTION_NAME,
    MAX_HELD,
    SILENT,
    WHOLE,
    Look,
)

MAX_CALL_CHARS = 64 << 10  # a longer one is none: it vanishes


class Opened(Struct):
    """What its mark may have begun. `look`: what has to follow that, while nobody knows."""

    mark: str
    end_tag: str
    look: Look | None = None
    body: str = ""
    is_lost: bool = False  # it is too long

    def is_none(self) -> bool:
        """Whether it is known that no call begins here."""
        look, head = self.look, self.body[:MAX_HELD]
        if look is None:
            return False
        if look.begun.fullmatch(head):
            if len(head) < MAX_HELD or head.isspace():
                return len(head) == MAX_HELD
        elif not look.whole.match(head):
            return True
        self.look = None  # it looks like one, or is longer than any word
        return False

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
        if self.look is not None:
            text = self.behind_mark()
            return "" if "<" in text or self.mark == CHANNEL else text  # half a tag of a call
        return "" if self.is_lost or self.mark in (*SILENT, *WHOLE, CALL_END) else words_behind(self.body)

    def told(self, end_tag: str) -> str:
        """What is read as a call."""
        return f"{self.mark}{self.body}{end_tag}" if self.mark in WHOLE else self.body
