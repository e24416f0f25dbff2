"""Waiting for something that another process does and nobody announces."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def until(
    ask: Callable[[], Awaitable[T]], good: Callable[[T], bool], timeout_s: float, every_s: float = 0.02
) -> T:
    """The first good answer, or the last one when time is up: the caller judges it."""
    deadline = time.monotonic() + timeout_s
    answer = await ask()
    while not good(answer) and time.monotonic() < deadline:
        await asyncio.sleep(every_s)
        answer = await ask()
    return answer
