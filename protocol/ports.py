"""Which port a listener gets."""

import errno
from collections.abc import Awaitable, Callable

TRIES = 100


async def listen(start: Callable[[int], Awaitable[int]], wanted: int | None, first: int) -> int:
    """The port that `start` came to listen on.

    `wanted`: that port and no other (0: any free one). None: `first`, or the next free one after it.

    Raises:
        OSError: the port is in use, or `start` cannot listen there at all.
    """
    if wanted is not None:
        return await start(wanted)
    for port in range(first, first + TRIES):
        try:
            return await start(port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    return await start(0)


def url_of(host: str, port: int) -> str:
    """Where to reach a listener: `host` may be an IPv6 address, or stand for all addresses."""
    if host in ("0.0.0.0", "::", ""):
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
