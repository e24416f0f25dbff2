"""Coroutines that never wait, run without a task."""

from collections.abc import Coroutine
from typing import Any


class Waits(Exception):
    """It waits after all; it was closed where it stood."""


def at_once(coroutine: Coroutine[Any, Any, object]) -> None:
    """Run a coroutine to its end, now.

    Raises:
        Waits: it does not come to its end without waiting.
        Exception: what it raises.
    """
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise Waits(f"{coroutine!r} waits")
