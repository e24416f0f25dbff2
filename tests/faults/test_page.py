"""`docs/faults.md` says what the tests hold, and how to have it written anew."""

import subprocess

from bench.processes import ROOT
from tests.docs.pages import read
from tests.faults.__main__ import PAGE
from tests.faults.doc import expected_rows, rows_of


def test_the_page_says_of_every_fault_what_is_held_here() -> None:
    """Figures aside: those are of the run that wrote it."""
    assert rows_of(PAGE.read_text(encoding="utf-8")) == expected_rows()


def test_the_command_on_the_page_is_the_one_that_writes_it() -> None:
    [command] = [command.text for command in read(PAGE).commands if command.run_by == "tests/faults"]
    argv = ["make", "-n", "--no-print-directory", *command.split()[1:]]
    typed = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)

    assert command.split()[0] == "make"
    assert typed.stdout.splitlines()[-1].endswith("python -m tests.faults")
