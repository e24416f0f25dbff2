"""What pages tell their reader to type about the local model."""

from pathlib import Path

import pytest

from tests.docs.pages import PAGES, Page, name_of, read
from tests.docs.session import Session
from trunkline.local_model import FOLDER

OURS = [page for page in map(read, PAGES) if any(command.run_by == "tests/clients" for command in page.commands)]


@pytest.mark.parametrize("page", OURS, ids=lambda page: name_of(page.path))
async def test_a_line_with_the_local_model_starts_as_the_page_says(page: Page, tmp_path: Path, data_dir: Path) -> None:
    (tmp_path / ".trunkline").mkdir()
    (tmp_path / ".trunkline" / FOLDER).symlink_to(data_dir / FOLDER)  # joined already
    session = Session(tmp_path, file=next((data_dir / FOLDER).glob("*.gguf")))
    try:
        for command in page.commands:
            if command.run_by == "tests/clients":
                await session.run(command)
    finally:
        await session.close()
