"""`trunkline check --json` in a terminal, and what it found."""

import json
from typing import Any, NamedTuple

from tests.cli.conftest import Terminal

Row = dict[str, str]


class Checked(NamedTuple):
    """What came of one run."""

    code: int
    said: dict[str, Any]
    text: str  # all that was written, to either stream

    def rows(self, section: str, name: str = "") -> list[Row]:
        """The findings of a section, or those about one thing in it."""
        found: list[Row] = self.said["findings"]
        return [row for row in found if row["section"] == section and name in ("", row["name"])]

    def row(self, section: str, name: str) -> Row:
        """The one finding about a thing."""
        (row,) = self.rows(section, name)
        return row

    def wrong(self) -> dict[tuple[str, str], str]:
        """The level of whatever is not ok."""
        found: list[Row] = self.said["findings"]
        return {(row["section"], row["name"]): row["level"] for row in found if row["level"] != "ok"}


async def check(terminal: Terminal, options: str = "", **environ: str) -> Checked:
    """Run it to its end, in the terminal's directory."""
    process = terminal.start(f"check --json {options}", **environ)
    code = await process.exited(60)
    out, err = process.out.read_text(), process.log.read_text()
    assert "Traceback" not in err
    assert out, err
    checked = Checked(code, json.loads(out), out + err)
    assert checked.said["exit_code"] == code
    return checked
