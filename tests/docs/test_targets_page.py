"""docs/targets.md shows the presets as `protocol.presets` has them."""

import pytest

from protocol.presets import PRESETS, Preset
from protocol.settings_types import Target
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "targets.md").read_text()
TABLE = PAGE.split("## Upstreams that are known by name")[1].split("\n## ")[0]
ROWS = [line for line in TABLE.splitlines() if line.startswith("| [")]
USAGE = {"stream_options": "asked for", "always": "unasked", "none": "none"}


def shown(preset: Preset) -> str:
    """A row as the page writes it."""
    bare = ", bare" if preset.key_header == "Authorization" and not preset.key_prefix else ""
    cells = [
        f"[`{preset.name}`](examples/{preset.name}.toml)",
        f"`{preset.base_url}`",
        f"`{preset.dialect}`",
        f"`{preset.key_header}`{bare}: `{preset.api_key_env}`" if preset.api_key_env else "–",
        f"`{preset.max_tokens_field}`",
        ", ".join(f"`{name}`" for name in preset.refuses) or "–",
        USAGE[preset.stream_usage],
        "yes" if preset.prefill else "no",
        "" if preset.verified else "unverified",
    ]
    return "".join(f"| {cell} " if cell else "| " for cell in cells) + "|"


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_the_page_has_each_row(preset: Preset) -> None:
    assert shown(preset) in ROWS


def test_the_page_has_no_other_row() -> None:
    assert len(ROWS) == len(PRESETS)


def test_the_timers_that_the_page_explains_are_keys_of_a_target() -> None:
    section = PAGE.split("## How long each one has")[1].split("\n## ")[0]
    named = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]

    assert named == [key for key in Target.__struct_fields__ if key in named]
