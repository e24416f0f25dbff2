"""Ports: whether one is taken, and how several processes come to share one."""

import contextlib
import errno
import os
import random
import socket
from pathlib import Path
from typing import Any

from protocol.settings import SettingsError

LOWEST = 10_000
EPHEMERAL = 32_768  # the first that Linux hands out by itself; IANA's range, and macOS, begin at 49,152
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_random = random.SystemRandom()  # nobody's seed has two processes choose alike


def is_taken(host: str, port: int) -> bool:
    """Whether somebody listens there; another who would share it counts too."""
    probe, address = _socket(host, port)
    with probe:
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise
    return False


def free_port(host: str) -> int:
    """A port that nobody has right now, and that the system gives nobody unasked.

    One of those that it does give, to listeners on port 0 and to every connection that goes out, could be another's
    before a process that is told of it has started.
    """
    for _ in range(100):
        if not is_taken(host, port := _random.randrange(LOWEST, _first_ephemeral())):
            return port
    probe, address = _socket(host, 0)  # the machine is full, or has a range of its own that leaves no room
    with probe:
        probe.bind(address)
        return int(probe.getsockname()[1])


def reserve(host: str, port: int) -> socket.socket:
    """Hold a port, 0 for any free one, for children that listen on it with `reuse_port`.

    The socket never listens, so no connection is ever dealt to it; keep it open for as long as children may start.

    Raises:
        SettingsError: the port is taken, or the address is not ours to use.
    """
    try:
        if port and is_taken(host, port):
            raise SettingsError(in_use(host, port))
        kept, address = _socket(host, port)
        with contextlib.ExitStack() as on_error:
            on_error.enter_context(kept)
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            kept.bind(address)
            on_error.pop_all()
        return kept
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise SettingsError(
            f"cannot listen on {host} port {port}: {reason}; choose others with TRUNKLINE_EDGE__HOST and --port"
        ) from None


def in_use(host: str, port: int) -> str:
    """The sentence about a port that somebody else has."""
    return f"port {port} on {host} is in use; stop what listens there, or choose another with --port (0: any free one)"


def _first_ephemeral() -> int:
    try:
        first = int(_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return EPHEMERAL
    return first if first > LOWEST else EPHEMERAL


def _socket(host: str, port: int) -> tuple[socket.socket, Any]:
    """A socket, and the address to bind it to. Connections that are long over do not make a port taken."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made, address
