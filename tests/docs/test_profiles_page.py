"""docs/profiles.md shows the profiles that are built in, as they are, and names every setting of one."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import fields

from edge.profile_choice import RECOGNISED
from protocol.profiles import BUILT_IN, FILLERS, SENTENCES, VOICE
from protocol.settings_profiles import Profile
from tests.docs.pages import ROOT

PAGE = (Path(ROOT) / "docs" / "profiles.md").read_text()
COLUMNS: dict[str, Callable[[Profile], str]] = {
    "`guard`": lambda profile: ", ".join(f"`{step}`" for step in profile.guard) + " and `<flush />`" * profile.flush,
    "`guard_s`": lambda profile: f"{profile.guard_s:g}" if profile.guard else "",
    "`again_s`": lambda profile: f"{profile.again_s:g}" if profile.guard else "",
    "`budget_s`": lambda profile: shown(profile.budget_s),
    "`headers_after_s`": lambda profile: shown(profile.headers_after_s),
    "`ping_s`": lambda profile: shown(profile.ping_s),
    "`early_failure`": lambda profile: f"`{profile.early_failure}`",
}
SAME = {field.name for field in fields(Profile)} - {name.strip("`") for name in COLUMNS} - {"flush"}


def shown(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def rows(first: str) -> list[list[str]]:
    """The cells of the table whose head begins with this cell, its head included."""
    lines = PAGE[PAGE.index(f"| {first} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("| ---")]


def test_the_table_has_every_built_in_profile_as_it_is() -> None:
    head, *told = rows("profile")

    assert head[1:] == list(COLUMNS)
    assert {cells[0].strip("`"): cells[1:] for cells in told} == {
        name: [column(profile) or "–" for column in COLUMNS.values()] for name, profile in BUILT_IN.items()
    }


@pytest.mark.parametrize("name", sorted(BUILT_IN.keys() - {"openai"}))
def test_what_has_no_column_is_the_same_for_all_that_speak(name: str) -> None:
    assert {key: getattr(BUILT_IN[name], key) for key in SAME} == {key: getattr(VOICE, key) for key in SAME}


def test_what_they_say_is_listed_by_language() -> None:
    told = {cells[0].strip("`"): cells[1:] for cells in rows("language")[1:]}

    assert told == {language: [" · ".join(FILLERS[language]), SENTENCES[language]] for language in FILLERS}


def test_every_setting_has_its_reason() -> None:
    assert [cells[0].strip("`") for cells in rows("key")[1:]] == [field.name for field in fields(Profile)]


def test_who_is_recognised_is_told() -> None:
    assert {cells[0].strip("`") for cells in rows("recognised as")[1:]} == RECOGNISED
