"""`trunkline check` takes the examples of docs/ as they stand."""

from pathlib import Path

import pytest

from protocol.presets import PRESETS
from tests.cli.checking import check
from tests.cli.conftest import Terminal
from tests.docs.pages import ROOT
from trunkline.ports import free_port

EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.toml"))
LOCAL = [path for path in EXAMPLES if "https://" not in path.read_text() and "API_KEY=" not in path.read_text()]


@pytest.mark.parametrize("path", LOCAL, ids=lambda path: path.stem)
async def test_an_example_is_a_configuration(path: Path, terminal: Terminal) -> None:
    """Of those whose upstream is on this machine: a test asks nobody else's servers. Neither NATS nor the upstream
    need run here: nothing may be wrong with what is configured.
    """
    nowhere = f"nats://127.0.0.1:{free_port('127.0.0.1')}"

    checked = await check(terminal, f"--config {path}", TRUNKLINE_NATS__URL=nowhere)

    assert [row["level"] for row in checked.rows("configuration")] == ["ok"]
    told = [row["text"] for row in checked.rows("targets", path.stem.replace(".", "-"))]
    assert any(text.startswith("unverified: ") for text in told) == (not PRESETS[path.stem].verified)
