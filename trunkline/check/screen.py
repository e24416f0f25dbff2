"""The findings for people. On a terminal as wide as it is, in colour; elsewhere plain, one line each."""

import json
from collections.abc import Callable, Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from protocol.version import own_version
from trunkline.check.findings import Finding, counts, document, exit_code
from trunkline.check.sizes import number

STYLES = {"ok": "green", "warn": "bold yellow", "fail": "bold red"}
MOST_NAME = 24  # columns: the text matters more


def report(check: Callable[[], list[Finding]], *, as_json: bool) -> int:
    """Run the check and print what it found; the exit code."""
    if as_json:
        findings = check()
        print(json.dumps(document(findings, own_version()), ensure_ascii=False), flush=True)
    else:
        with Console(stderr=True).status("looking"):
            findings = check()
        show(findings, Console(highlight=False))
    return exit_code(findings)


def show(findings: Sequence[Finding], console: Console) -> None:
    """Section by section, then how many there are of each."""
    for section, group in groupby(findings, key=lambda finding: finding.section):
        rows = list(group)
        console.print(Text(section, "bold"))
        if console.is_terminal:
            console.print(_table(rows))
        else:
            for row in rows:
                console.print(Text(f"  {row.level:4}  {row.name}: {_sentence(row)}"), soft_wrap=True)
    console.print(Text(summary(findings)))


def summary(findings: Sequence[Finding]) -> str:
    """`1 failure, 2 warnings, 14 ok`."""
    counted = counts(findings)
    said = f"{number(counted['fail'], 'failure')}, {number(counted['warn'], 'warning')}, {counted['ok']} ok"
    blind = not all(finding.seen for finding in findings)
    return f"{said}; something could not be looked at" if blind else said


def _table(rows: Sequence[Finding]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=6)
    table.add_column(max_width=MOST_NAME, overflow="fold")
    table.add_column(ratio=1, overflow="fold")
    for row in rows:
        table.add_row(Text(f"  {row.level}", STYLES[row.level]), row.name, row.text)
        if row.cure:
            table.add_row("", "", Text(f"→ {row.cure}", "cyan"))
    return table


def _sentence(row: Finding) -> str:
    return f"{row.text} → {row.cure}" if row.cure else row.text
