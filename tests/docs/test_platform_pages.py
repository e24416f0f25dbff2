"""The pages of docs/platforms: their figures are the profiles', and what they paste is what the platform sends."""

import re
from pathlib import Path

import orjson
import pytest

from protocol.profiles import BUILT_IN, BYTE_CLOCK_S, CONTENT_CLOCK_S, PLAIN
from tests.docs.pages import ROOT, Command, read
from tests.docs.profile_rows import FOLDER, TABLE, written
from tests.platform_requests import REQUESTS

PAGES = sorted(FOLDER.glob("*.md"))
OTHERS = FOLDER / "others.md"
OURS = {"model", "messages", "stream"}
SECTIONS = ["What to expect", "A request", "What is not known"]


def profile_of(page: Path) -> str:
    return PLAIN if page == OTHERS else page.stem


def request_on(page: Path) -> Command:
    """The first: what comes after it shows what becomes of it."""
    return next(command for command in read(page).commands if command.words[0] == "curl")


def test_every_profile_has_a_page_and_every_page_a_profile() -> None:
    assert {profile_of(page) for page in PAGES} == set(BUILT_IN)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_what_the_profile_does(page: Path) -> None:
    text = page.read_text()

    assert TABLE.findall(text) == [profile_of(page)]
    assert text == written(text), "python -m tests.docs.profile_rows writes it"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_the_sections_that_all_have(page: Path) -> None:
    headings = re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE)

    assert [heading for heading in headings if heading in SECTIONS] == SECTIONS
    assert page == OTHERS or headings[0] == "What to enter"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_request_that_is_pasted_is_one_that_the_platform_sends(page: Path) -> None:
    """As far as the recorded facts go: every field of it is in one of `tests/fixtures`."""
    command = request_on(page)
    folder = "agora" if page == OTHERS else page.stem
    known = {key for name, sent in REQUESTS.items() if name.startswith(f"{folder}/") for key in sent.fields}
    body = orjson.loads(command.words[command.words.index("-d") + 1])

    assert OURS <= body.keys() <= known
    assert page == OTHERS or f"/p/{page.stem}/v1/chat/completions" in command.text


def test_the_clocks_on_the_page_of_all_are_those_that_the_profiles_are_made_for() -> None:
    rows = re.findall(
        r"^\| \[.+\]\(platforms/(\w+)\.md\).* \| (.+) \| .+ \|$", (ROOT / "docs/platforms.md").read_text(), re.MULTILINE
    )
    told = {name: float(found[1]) for name, said in rows if (found := re.search(r": (\d+) s\b", said))}

    assert {name for name, _ in rows} == {page.stem for page in PAGES}
    assert told == CONTENT_CLOCK_S | BYTE_CLOCK_S
