"""Which port a listener gets, and how it is reached."""

import errno
import os
import socket
from collections.abc import Callable
from typing import Any, Protocol

TRIES = 100
BACKLOG = 1024


def bind(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """A socket that is bound to `host` and listens; port 0: any free one. `reuse_port` shares it with other processes.

    Raises:
        OSError: the port is in use, or `host` is no address of this machine.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    try:
        return socket.create_server(address[:2], family=family, backlog=BACKLOG, reuse_port=reuse_port)
    except OSError as error:
        raise OSError(error.errno, f"{host}:{port}: {os.strerror(error.errno or 0).lower()}") from None


def bind_next(
    host: str, wanted: int | None, first: int, bind: Callable[[str, int], socket.socket] = bind
) -> socket.socket:
    """A socket on the port `wanted` and no other. None: on `first`, or the next free one after it. Raises OSError."""
    if wanted is not None:
        return bind(host, wanted)
    for port in range(first, first + TRIES):
        try:
            return bind(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    return bind(host, 0)


class Bound(Protocol):
    """A socket that knows where it is."""

    def getsockname(self) -> Any:
        """Host, port, and for IPv6 more."""


def url_of(bound: Bound) -> str:
    """Where to reach a listener of this machine: one on all addresses is on loopback too."""
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
