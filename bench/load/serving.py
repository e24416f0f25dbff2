"""How the small servers of a bench run: on loopback, until they are told to stop."""

import asyncio
import gc
import json
import signal
import socket
import sys
from collections.abc import Callable

import uvloop

Factory = Callable[[], asyncio.Protocol]


def run_server(port: int, make: Callable[[], Factory]) -> None:
    """Serve until SIGINT or SIGTERM; the first line on stdout says where. `make` is called on the running loop.

    Exit code 2, and a sentence on stderr: somebody else has the port.
    """
    try:
        listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    except OSError as error:
        sys.exit(f"port {port}: {error.strerror}")
    uvloop.run(_serve(listener, make))


async def _serve(listener: socket.socket, make: Callable[[], Factory]) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(make(), sock=listener)
    gc.freeze()  # what is here now stays: the collector need not look at it again
    announce(listener)
    await stop.wait()
    server.close()


def announce(listener: socket.socket) -> None:
    """The ready line: connections are taken from now on."""
    port = listener.getsockname()[1]
    sys.stdout.write(json.dumps({"event": "ready", "port": port, "url": f"http://127.0.0.1:{port}"}) + "\n")
    sys.stdout.flush()
