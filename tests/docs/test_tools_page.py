"""`docs/tools.md` says what workers hold against a tool call."""

import re

from protocol.settings_profiles import Gate
from tests.docs.pages import ROOT
from workers.tools.gates import is_placeholder
from workers.tools.objections import REASONS

PAGE = (ROOT / "docs" / "tools.md").read_text()


def rows_under(heading: str) -> list[list[str]]:
    """The cells of the table below a heading."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return rows[2:]


def test_every_reason_is_explained_and_no_other() -> None:
    told = [word for row in rows_under("What is held against a call") for word in re.findall(r"`(\w+)`", row[0])]

    assert sorted(told) == sorted(REASONS)


def test_the_words_that_the_page_calls_placeholders_are_some() -> None:
    [told] = [row[1] for row in rows_under("What is held against a call") if row[0] == "`placeholder`"]
    words = re.findall(r"`([^`]+)`", told)

    assert len(words) > 3
    assert [word for word in words if not is_placeholder(word)] == []


def test_every_key_of_a_gate_is_explained_and_no_other() -> None:
    assert [row[0].strip("`") for row in rows_under("Gates")] == list(Gate.__struct_fields__)
