"""Which port a listener gets."""

from collections.abc import Awaitable, Callable

TRIES = 100


async def listen(start: Callable[[int], Awaitable[int]], wanted: int | None, first: int) -> int:
    """The port that `start` came to listen on.

    `wanted`: that port and no other (0: any free one). None: `first`, or the next free one after it.

    Raises:
        OSError: the port is in use.
    """
    if wanted is not None:
        return await start(wanted)
    for port in range(first, first + TRIES):
        try:
            return await start(port)
        except OSError:
            continue
    return await start(0)
