"""What a page shows, as a pattern for what a program says: figures and ids differ, `…` stands for anything."""

import re

PIECES = re.compile(
    r"(?P<anything>…)|(?P<space>\s+)|(?P<bar>█+)|(?P<id>\b(?=[a-z]*\d)(?=\d*[a-z])[0-9a-z]{8,}\b)|(?P<number>\d[\d.,]*)"
)
PATTERNS = {"anything": ".*?", "space": r"\s*", "bar": "█+", "id": "[0-9a-z]+", "number": r"[\d.,]+"}


def shape(sample: str) -> re.Pattern[str]:
    """Lines may be broken elsewhere: a page is narrower than a terminal."""
    pattern, at = "", 0
    for piece in PIECES.finditer(sample := sample.strip()):
        pattern += re.escape(sample[at : piece.start()]) + PATTERNS[piece.lastgroup or ""]
        at = piece.end()
    return re.compile(pattern + re.escape(sample[at:]), re.DOTALL)


def is_shown(sample: str, said: str) -> bool:
    """Whether what was said is what the page shows, all of it."""
    return shape(sample).fullmatch(said.strip()) is not None


def is_among(sample: str, said: str) -> bool:
    """Whether what the page shows is somewhere in what was said."""
    return shape(sample).search(said) is not None
