"""docs/prompts.md: its example is run, and what it lists is what there is."""

import re

from edge import chat
from protocol import extras
from protocol.messages import Job
from protocol.settings import parse
from tests.docs.pages import ROOT, read
from workers import prompts, templates

PAGE = read(ROOT / "docs" / "prompts.md")
TEXT = (ROOT / "docs" / "prompts.md").read_text()


def block(language: str) -> str:
    """The first one in that language."""
    return next(block.text for block in PAGE.blocks if block.language == language)


def test_the_example_comes_out_as_the_page_shows_it() -> None:
    prompt = prompts.prompt_of(parse(block("toml"), {}), "front-desk")
    request = chat.parse(block("json").encode())
    job = Job(
        id="t",
        model=request.model,
        messages=request.messages,
        budget_ms=1,
        total_ms=1,
        extras=request.extras,
    )

    assert prompt is not None
    first, question = prompt.before(job).messages
    assert first.content == block("").strip()
    assert question.content == "Where is my order?"
    assert first.role == "system"


def test_the_page_names_every_filter_and_every_name() -> None:
    sentence = re.search(r"the filters (.*?)\.\n", TEXT, re.DOTALL)
    assert sentence
    silent = {"d", "e", "escape", "safe"}  # a short form, and those that change nothing
    assert set(re.findall(r"`(\w+)`", sentence[1])) == {*templates.ALLOWED} - silent

    names = set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE))
    assert names == set(prompts.known(job_of_nothing()))


def job_of_nothing() -> Job:
    return Job(id="t", model="m", messages=(), budget_ms=1, total_ms=1)


def test_the_page_has_the_bounds_of_the_code() -> None:
    for figure in (
        f"{extras.MAX_TEXT:,} characters",
        f"after {extras.MAX_ITEMS}\nentries",
        f"{extras.MAX_BODY_BYTES >> 10} KB",
        f"{templates.MAX_ROUNDS:,} rounds",
        f"{templates.MAX_CHARS >> 10} K characters",
        f"{extras.MAX_SHOWN} characters",
    ):
        assert figure in TEXT
