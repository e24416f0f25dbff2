"""docs/examples: one configuration for every preset that works as it stands, and one with two targets."""

from pathlib import Path

import pytest

from protocol.presets import PRESETS
from protocol.settings import missing_keys, parse
from tests.docs.pages import ROOT

FOLDER = ROOT / "docs" / "examples"
EXAMPLES = sorted(FOLDER.glob("*.toml"))


def test_every_preset_has_one() -> None:
    assert {path.stem for path in EXAMPLES} == {*PRESETS, "cascade"}


@pytest.mark.parametrize("name", PRESETS)
def test_an_example_shows_its_preset_and_nothing_is_missing_but_the_key(name: str) -> None:
    settings = parse((FOLDER / f"{name}.toml").read_text(), {})

    (target,) = settings.targets.values()
    assert target.preset == name
    assert target.base_url.startswith(PRESETS[name].base_url.partition("{")[0])
    variables = [str(error).split(" ")[5].rstrip(",") for error in missing_keys(settings, {})]
    assert variables == ([PRESETS[name].api_key_env] if PRESETS[name].api_key_env else [])


def test_the_cascade_shows_what_a_cascade_has() -> None:
    settings = parse((FOLDER / "cascade.toml").read_text(), {})

    (model,) = (model for model in settings.models.values() if model.targets)
    first, last = (settings.targets[name] for name in model.targets)
    assert first.hedge_after_s is not None
    assert None not in (first.prices, last.prices)
    assert "[breaker]" in (FOLDER / "cascade.toml").read_text()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_line_that_says_something_is_explained(path: Path) -> None:
    """By a comment on it, or on the table that it stands in."""
    bare = []
    explained = False
    for line in path.read_text().splitlines():
        if line.startswith("["):
            explained = "#" in line
        elif "=" in line and not line.startswith("#") and "#" not in line and not explained:
            bare.append(line)
    assert bare == []
