"""A reader who types what a page says, from top to bottom, in a copy of the project of his own.

The copy uses the environment that runs the tests; nothing is installed. Ports that a page names become free ones. What
runs until it is stopped stays up for the commands below it, and is stopped by Ctrl-C when the page starts another line.
"""

import asyncio
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench.processes import Family, Process, free_ports
from tests.cli.pseudo_terminal import CTRL_D, ENTER, PseudoTerminal
from tests.cli.talk_line import clean
from tests.docs.pages import Command
from tests.docs.programs import Call, call_of
from tests.docs.shapes import is_among, is_shown
from trunkline import run_file
from trunkline.__main__ import cli

ROOT = Path(__file__).parents[2]
COLUMNS = 200
OWN = ("trunkline.toml", "worker.env", "build", "dist")  # of whoever works on the project
PORT = re.compile(r"((?:localhost|127\.0\.0\.1):|--(?:upstream-)?port )(\d+)")
FRESH = "unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES ARGS LOCAL PYTHON UV;"  # of a make that runs the tests
ANY_FILE = re.compile(r"/path/to/[\w.]+")
API, NATS, EDGE_ADMIN, WORKER_ADMIN = "8080", "4222", "9090", "9190"
READY = re.compile("Trunkline is up|edge ready|worker ready")
READY_S, STOP_S, SHORT_S = 120.0, 60.0, 180.0
SMALL = "--runs 1 --seconds 0.5 --streams 2 --turns 20 --tokens 3"  # a bench that shows no more than that it works
LEAVE = {"talk": ("you>", CTRL_D), "top": ("WORKERS", "q")}  # when it is there, and the key that ends it


class Session:
    """One page's terminal. Close it.

    `ports` are those that stand for ports of the page; `file` stands for a file that it only calls /path/to/….
    """

    def __init__(self, directory: Path, ports: dict[str, int] | None = None, file: Path | None = None) -> None:
        self._directory = directory
        self._ports = dict(ports or {})
        self._file = file
        self._family = Family(directory)
        self._running: list[Process] = []
        working_copy(directory)
        self._environ = {
            "PATH": f"{directory / '.venv' / 'bin'}:{clean()['PATH']}",
            "TRUNKLINE_EDGE__PORT": str(self._port(API)),
            "TRUNKLINE_EDGE__LAME_S": "0",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    async def run(self, command: Command) -> str:
        """Type it; what it said. Raises AssertionError: it is not what the page promises."""
        call = call_of(command.words)
        if call and call.group is cli and call.name == "up":
            await self._stop()  # a reader has one line at a time
        text = PORT.sub(lambda found: found[1] + str(self._port(found[2])), command.text)
        text = ANY_FILE.sub(str(self._file), text)
        if call and call.stays:
            said, code = await self._start(text), command.exit_code
        elif call and call.group is cli and is_interactive(call, text):
            said, code = self._converse(call, text, command.sample)
        elif call and call.group is not cli:
            said, code = self._bench(text)
        elif call and "--json" not in call.args:
            said, code = self._on_a_terminal(text)
        else:
            said, code = self._in_a_pipe(text)
        assert code == command.exit_code, f"{command}\nended with {code}:\n{said}"
        shows = is_among if call and (call.stays or call.name in LEAVE) else is_shown
        assert not command.sample or shows(command.sample, said), f"{command}\nsaid:\n{said}"
        return said

    async def close(self) -> None:
        """Ctrl-C for what still runs. Raises AssertionError: something ended badly, or is left."""
        try:
            await self._stop()
        finally:
            left = await self._family.stop()
        assert not left

    async def _stop(self) -> None:
        for process in reversed(self._running):
            process.send_group(signal.SIGINT)
            await process.exited(STOP_S)
            assert "Traceback" not in process.log.read_text(errors="replace")
        self._running.clear()

    async def _start(self, text: str) -> str:
        environ = clean(**self._environ)
        process = self._family.start(
            f"terminal-{time.monotonic_ns()}", ["/bin/sh", "-c", f"{FRESH} exec env {text}"], environ
        )
        self._running.append(process)
        deadline = time.monotonic() + READY_S
        while not READY.search(said := process.out.read_text(errors="replace")):
            process.check(deadline)
            await asyncio.sleep(0.05)
        return said

    def _converse(self, call: Call, text: str, sample: str) -> tuple[str, int]:
        """Type the lines that the page shows after `you> `, and find what it shows between them."""
        there, key = LEAVE[call.name]
        with self._terminal(text) as terminal:
            terminal.until(there)
            for typed, answer, so_far in turns_of(sample):
                terminal.type(typed + ENTER)
                if re.search(r"^ *interrupted", answer, re.MULTILINE):
                    said = answer.splitlines()[0]
                    terminal.until(lambda said=said: is_among(said, terminal.text))  # type: ignore[misc]
                    terminal.type(ENTER)
                terminal.until(lambda so_far=so_far: is_among(so_far, terminal.text))  # type: ignore[misc]
                terminal.until(lambda: terminal.lines[-1] == there)
            if sample and call.name != "talk":
                terminal.until(lambda: is_among(sample, terminal.text))
            terminal.type(key)
            return terminal.text, terminal.exit_code()

    def _on_a_terminal(self, text: str) -> tuple[str, int]:
        with self._terminal(text) as terminal:
            code = terminal.exit_code()
            return terminal.text, code

    def _terminal(self, text: str) -> PseudoTerminal:
        argv = ["/bin/sh", "-c", f"{FRESH} {text}"]
        return PseudoTerminal(argv, env=clean(**self._environ), cwd=self._directory, columns=COLUMNS, rows=100)

    def _in_a_pipe(self, text: str) -> tuple[str, int]:
        argv = ["/bin/sh", "-c", f"{FRESH} {text}"]
        ran = subprocess.run(
            argv, env=clean(**self._environ), cwd=self._directory, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=SHORT_S, check=False,
        )  # fmt: skip
        return ran.stdout + (ran.stderr if ran.returncode else ""), ran.returncode

    def _bench(self, text: str) -> tuple[str, int]:
        """Too short for its targets, so that a missed one is no failure."""
        said, code = self._in_a_pipe(f"{text} {SMALL}")
        measured = re.search(r"lost, failed or wrong.*passed", said)
        return said, 0 if measured and code == 1 else code

    def _port(self, named: str) -> int:
        """The port that stands for the one that a page names."""
        said = run_file.read(self._directory / ".trunkline")
        if said and named in (NATS, EDGE_ADMIN, WORKER_ADMIN):
            admin = said["admin"]
            urls = {NATS: said["nats"], EDGE_ADMIN: admin["edges"][0], WORKER_ADMIN: admin["workers"][0]}
            return int(urls[named].rpartition(":")[2])
        if named not in self._ports:
            self._ports[named] = free_ports(1)[0]
        return self._ports[named]


def is_interactive(call: Call, text: str) -> bool:
    """Whether it would hold a conversation."""
    asked = call.parsed().params
    if call.name == "talk":
        return not asked["message"] and "|" not in text
    return call.name == "top" and not asked["once"] and not asked["as_json"]


def turns_of(sample: str) -> list[tuple[str, str, str]]:
    """(what is typed, what is shown below it, everything up to there) of a conversation that a page shows."""
    found = []
    parts = re.split(r"^ *you> ", sample, flags=re.MULTILINE)
    for number, part in enumerate(parts[1:], start=2):
        typed, _, answer = part.partition("\n")
        found.append((typed, answer.strip("\n"), "you> ".join(parts[:number])))
    return found


def working_copy(directory: Path) -> None:
    """The project in `directory`, and an environment that make takes for finished, whatever happens to the original."""
    for source in ROOT.iterdir():
        if source.name.startswith(".") or source.name in OWN:
            continue
        if source.is_file():
            shutil.copyfile(source, directory / source.name)
        elif source.name == "requirements":
            shutil.copytree(source, directory / source.name)
        else:
            (directory / source.name).symlink_to(source)
    environment = directory / ".venv"
    environment.mkdir()
    for source in Path(sys.prefix).iterdir():
        if not source.name.startswith("."):
            (environment / source.name).symlink_to(source)
    for stamp in (".locked", ".ready", ".model"):
        (environment / stamp).touch()
