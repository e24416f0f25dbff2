"""A line for the tests of `trunkline talk`, one for all tests of a module."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.processes import OURS, ROOT
from tests.cli.pseudo_terminal import PseudoTerminal

STOP_S = 40.0
QUICK = {"TRUNKLINE_EDGE__LAME_S": "0", "TRUNKLINE_EDGE__DRAIN_S": "1", "OTEL_BSP_SCHEDULE_DELAY": "100"}


def clean(**environ: str) -> dict[str, str]:
    """An environment without what could change a command's behaviour."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith((*OURS, "NO_COLOR", "FORCE_", "COLUMNS", "LINES"))
    }
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "LANG": "C.UTF-8", **environ}


@contextmanager
def started(command: str, directory: Path, **environ: str) -> Iterator[dict[str, Any]]:
    """What `trunkline <command> --json` says when it is ready; gone afterwards."""
    argv = [sys.executable, "-m", "trunkline", *command.split(), "--json"]
    with (directory / "log").open("ab") as log:
        env = clean(**QUICK, **environ)
        process = subprocess.Popen(argv, env=env, cwd=directory, stdout=subprocess.PIPE, stderr=log)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=STOP_S)


class TalkLine:
    """A line that runs, and ways to talk with it."""

    def __init__(self, said: Mapping[str, Any], directory: Path) -> None:
        self.said = said
        self.directory = directory
        self.environ = {"TRUNKLINE_DATA_DIR": str(said["data_dir"])}

    def talk(self, *argv: str, **environ: str) -> PseudoTerminal:
        """`trunkline talk` on a terminal."""
        env = clean(**{**self.environ, **environ})
        return PseudoTerminal([sys.executable, "-m", "trunkline", "talk", *argv], env=env, cwd=self.directory)

    def once(self, *argv: str, stdin: str | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
        """`trunkline talk` without a terminal, to its end."""
        env = clean(**{**self.environ, **environ})
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        return subprocess.run(
            [sys.executable, "-m", "trunkline", "talk", *argv],
            env=env, cwd=self.directory, capture_output=True, text=True, errors="replace",
            timeout=60, check=False, **given,
        )  # fmt: skip
