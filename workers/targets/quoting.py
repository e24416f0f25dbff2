"""Whether what comes next in a text is quoted: in code, or behind a quotation mark. Pure."""

import re

RUN = re.compile(r"`+|[^`]+")
FENCE = 3  # backticks: code of many lines; with fewer it ends with its line
QUOTE = re.compile(r"(?:^|[^\w.,;!?…)\]}])[\"'“”„«»‹›‘’「『]\Z")  # one that ends what it stands behind quotes nothing


class Code:
    """Follows the backticks of a text: as many as have opened a piece of code close it."""

    def __init__(self) -> None:
        self._ticks = 0  # that the text so far ends in
        self._opened_by = 0

    @property
    def is_near(self) -> bool:
        """Whether text without any backtick changes something."""
        return bool(self._ticks or self._opened_by)

    def feed(self, text: str) -> None:
        """Go on."""
        if not self.is_near and "`" not in text:
            return
        for run in RUN.findall(text):
            if run[0] == "`":
                self._ticks += len(run)
                continue
            self._end_run(run[0])
            if "\n" in run and self._opened_by < FENCE:
                self._opened_by = 0

    def is_open(self) -> bool:
        """Whether a mark that comes next stands in code."""
        self._end_run("")
        return self._opened_by > 0

    def _end_run(self, following: str) -> None:
        ticks, self._ticks = self._ticks, 0
        if ticks and not self._opened_by:
            self._opened_by = ticks
        elif ticks >= FENCE <= self._opened_by:
            self._opened_by = self._opened_by if following.isalnum() else 0  # with a language it opens, and closes none
        elif ticks == self._opened_by:
            self._opened_by = 0


def is_behind_quote(text: str) -> bool:
    """Whether a text ends in a quotation mark that opens. Its last two characters suffice."""
    return QUOTE.search(text[-2:]) is not None
