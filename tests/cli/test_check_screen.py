"""What a person sees of `trunkline check`: on a terminal of 80 columns, and in a pipe."""

import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pexpect
import pyte
import pytest
from rich.console import Console

from bench.processes import OURS, ROOT
from tests.broker.nats_server import NatsServer
from trunkline.check.findings import Finding, fail, ok, unseen, warn
from trunkline.check.screen import show

COLUMNS, LINES = 80, 60
COMMAND = ["-m", "trunkline", "check"]
FINDINGS = [
    ok("nats", "version", "NATS 2.15.1"),
    warn("nats", "max_payload", "1 MiB: " + "too little " * 10, "set it to 12MB"),
    fail("targets", "a-target-with-a-name-that-is-long", "the name h is not known", "correct it"),
]


def environment(directory: Path, **environ: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith((*OURS, "COLUMNS", "NO_COLOR"))}
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "TRUNKLINE_EDGE__PORT": "0", **environ}


def screen_of(text: str, columns: int = COLUMNS) -> pyte.Screen:
    """What a terminal would show."""
    screen = pyte.Screen(columns, LINES)
    pyte.Stream(screen).feed(text)
    return screen


def drawn(findings: list[Finding]) -> str:
    out = StringIO()
    show(findings, Console(file=out, force_terminal=True, width=COLUMNS, highlight=False, color_system="standard"))
    return out.getvalue().replace("\n", "\r\n")


def test_a_terminal_shows_every_finding_with_its_cure_below_it(tmp_path: Path, nats_server: NatsServer) -> None:
    where = {"TRUNKLINE_NATS__URL": nats_server.url, "TRUNKLINE_NATS__PREFIX": "screen"}
    terminal = pexpect.spawn(
        sys.executable,
        COMMAND,
        cwd=tmp_path,
        env=environment(tmp_path, **where),
        dimensions=(LINES, COLUMNS),
        encoding="utf-8",
        timeout=60,
    )
    terminal.expect(pexpect.EOF)
    terminal.close()

    lines = [line.rstrip() for line in screen_of(terminal.before or "").display]

    assert terminal.exitstatus == 1
    at = lines.index("workers")
    assert lines[at + 1 : at + 5] == [
        "  fail  pool default  no worker takes its jobs, so nobody answers echo,",
        "                      echo-tools, echo-json, echo-reasoning",
        "                      → start one: `trunkline worker`",
        "edges",
    ]
    assert not any("looking" in line for line in lines)
    assert [line for line in lines if line][-1].startswith("1 failure, 4 warnings, ")


def test_levels_have_colours_and_long_texts_stay_in_their_column() -> None:
    screen = screen_of(drawn(FINDINGS))

    lines = [line.rstrip() for line in screen.display]
    row = {line.split()[0]: number for number, line in enumerate(lines) if line}
    colours = {level: screen.buffer[row[level]][lines[row[level]].index(level)].fg for level in ("ok", "warn", "fail")}
    assert colours == {"ok": "green", "warn": "brown", "fail": "red"}
    assert screen.buffer[row["nats"]][0].bold
    text = lines[row["warn"]].index("1 MiB")
    assert lines[row["warn"] + 1][:text].strip() == ""
    assert lines[row["warn"] + 1][text:].startswith(("too", "little"))
    assert any("→ set it to 12MB" in line for line in lines)
    assert any("a-target-with-a-name-tha" in line for line in lines)


def test_a_pipe_gets_one_plain_line_for_each_finding(tmp_path: Path, nats_server: NatsServer) -> None:
    where = {"TRUNKLINE_NATS__URL": nats_server.url, "TRUNKLINE_NATS__PREFIX": "pipe"}
    done = subprocess.run(
        [sys.executable, *COMMAND],
        cwd=tmp_path,
        env=environment(tmp_path, **where),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (1, "")
    assert "\x1b" not in done.stdout
    assert (
        "  fail  pool default: no worker takes its jobs, so nobody answers echo, echo-tools, echo-json, echo-reasoning"
        " → start one: `trunkline worker`\n"
    ) in done.stdout


@pytest.mark.parametrize(
    ("findings", "last"),
    [
        (FINDINGS, "1 failure, 1 warning, 1 ok"),
        (FINDINGS[:1] * 2, "0 failures, 0 warnings, 2 ok"),
        ([unseen("nats", "server", "t", "c")], "1 failure, 0 warnings, 0 ok; something could not be looked at"),
    ],
)
def test_the_last_line_counts(findings: list[Finding], last: str) -> None:
    assert drawn(findings).splitlines()[-1] == last
