"""What the person sees. Answers go to stdout, everything about them there too, or to stderr where stdout is a file."""

import re
from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.text import Text

from trunkline.talk.chunks import Call, Declined, Piece, Said, Thought
from trunkline.talk.client import Opened

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # a model's escape codes are not for this terminal
INDENT = "  "


def printable(text: str) -> str:
    """Text without what would steer the terminal; line breaks and tabs stay."""
    return CONTROL.sub("", text)


class Show:
    """Writes to the terminal, or plain lines where there is none."""

    def __init__(self, *, plain: bool) -> None:
        self._answers = _console(plain=plain)
        self._about = _console(plain=plain, stderr=True) if plain else self._answers
        self._open = False  # an answer's line has not ended yet
        self._style = ""

    @property
    def width(self) -> int:
        """Columns."""
        return self._about.width

    @property
    def ascii_only(self) -> bool:
        """Whether the terminal cannot draw lines and blocks."""
        return not self._about.encoding.startswith("utf")

    def begin(self, model: str) -> None:
        """An answer is waited for."""
        self._about.print(Text(f"{printable(model)}> ", "bold green"), end="", soft_wrap=True)
        self._open, self._style = True, ""

    def hear(self, piece: Opened | Piece) -> None:
        """One piece of the answer."""
        match piece:
            case Said(text):
                self._say(text, "")
            case Thought(text):
                self._say(text, "dim italic")
            case Declined(text):
                self._say(text, "yellow")

    def end(self, calls: tuple[Call, ...] = ()) -> None:
        """The answer is over."""
        if self._open:
            self._answers.print()
            self._open = False
        for call in calls:
            said = f"calls {call.function.name}({call.function.arguments})"
            self._about.print(Text(INDENT + printable(said), "magenta"), soft_wrap=True)

    def note(self, *lines: str) -> None:
        """About the talk itself."""
        for line in lines:
            self._about.print(Text(INDENT + printable(line), "dim"), soft_wrap=True)

    def trouble(self, sentence: str) -> None:
        """What went wrong."""
        self._about.print(Text(INDENT + printable(sentence), "red"), soft_wrap=True)

    def rows(self, rows: Iterable[tuple[str, str]]) -> None:
        """Names and what they mean."""
        pairs = list(rows)
        width = max(len(name) for name, _ in pairs)
        for name, meaning in pairs:
            text = Text.assemble(f"{INDENT}{name:<{width}}  ", (meaning, "dim"))
            self._about.print(text, soft_wrap=True)

    def drawing(self, drawing: RenderableType) -> None:
        """A picture."""
        self._about.print(drawing)

    def _say(self, text: str, style: str) -> None:
        if self._style and style != self._style:
            self._answers.print()  # thoughts are over
        self._style = style
        self._answers.print(Text(printable(text), style), end="", soft_wrap=True)


def _console(*, plain: bool, stderr: bool = False) -> Console:
    """`plain`: no escape code, whatever the environment says."""
    if plain:
        return Console(stderr=stderr, highlight=False, force_terminal=False, color_system=None)
    return Console(highlight=False)
