"""docs/settings.md lists every setting, with the default that the code has."""

from pathlib import Path

from msgspec import Struct
from msgspec.structs import FieldInfo, fields

from protocol.settings import TABLES
from protocol.settings_profiles import Gate, Profile, Tenant
from protocol.settings_source import variable_of
from protocol.settings_types import Model, Prices, Target

PAGE = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()


def rows(heading: str) -> dict[str, list[str]]:
    """The cells of a section's table by its first cell."""
    section = PAGE.split(f"## `[{heading}]`")[1].split("\n## ")[0]
    lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return {cells[0].strip(" `"): [cell.strip(" `") for cell in cells[1:]] for cells in lines}


def shown(item: FieldInfo) -> str:
    """A default as the page writes it."""
    if item.default is None:
        return "unset"
    if isinstance(item.default, tuple):
        return ",".join(item.default) or "–"
    if item.default == "":
        return "–"
    if isinstance(item.default, bool):
        return str(item.default).lower()
    return str(item.default) if isinstance(item.default, str | int | float) else "–"


def test_every_setting_of_a_fixed_table_is_listed_with_its_variable_and_its_default() -> None:
    for table, kind in TABLES.items():
        expected = {item.name: [variable_of(table, item.name), shown(item)] for item in fields(kind)}
        assert {key: cells[:2] for key, cells in rows(table).items()} == expected


def test_every_key_of_a_table_with_a_name_of_its_own_is_listed_with_its_default() -> None:
    kinds: dict[str, type[Struct]] = {
        "models.<name>": Model,
        "targets.<name>": Target,
        "targets.<name>.prices": Prices,
        "profiles.<name>": Profile,
        "tenants.<name>": Tenant,
        "tools.<name>": Gate,
    }
    for heading, kind in kinds.items():
        expected = {item.name: shown(item) for item in fields(kind)}
        assert {key: cells[0] for key, cells in rows(heading).items()} == expected
