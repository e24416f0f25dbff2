"""Ports: whether one is taken, and how several processes come to share one."""

import contextlib
import errno
import os
import socket
from typing import Any

from protocol.settings import SettingsError


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
    """A port that nobody has right now."""
    probe, address = _socket(host, 0)
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


def _socket(host: str, port: int) -> tuple[socket.socket, Any]:
    """A socket, and the address to bind it to. Connections that are long over do not make a port taken."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made, address
