"""Names of tools as every upstream takes them. Pure.

Source: OpenAI's API refuses others with "Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'" and has 64
characters as its bound, as Anthropic's has (read 2026-11).
"""

import re

UNFIT = re.compile(r"[^a-zA-Z0-9_-]")
MAX_NAME = 64  # characters
NO_NAME = "unknown_function"


def fitted(name: str) -> str:
    """The name with what it may not have replaced."""
    return UNFIT.sub("_", name)[:MAX_NAME] or NO_NAME
