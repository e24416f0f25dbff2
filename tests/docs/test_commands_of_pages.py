"""Every command that a page tells its reader to type is typed here, in the page's order; or the page says why not."""

import contextlib
import re
import subprocess
from collections import Counter
from pathlib import Path

import click
import pytest
import yaml

from tests.docs.pages import HERE, PAGES, PROGRAM, PROMPT, ROOT, SHELLS, Command, Page, read
from tests.docs.programs import call_of
from tests.docs.session import FRESH, Session, working_copy

READ = [read(path) for path in PAGES]
COMMANDS = [command for page in READ for command in page.commands]
AT_MOST = {  # why a command is not typed, and how many may say so
    "needs a container engine": 12,
    "needs leave to look into other processes": 2,
    "needs a package index": 1,
    "takes minutes": 5,
}
ELSEWHERE = {"tests/clients", "tests/faults", "tests/jaeger"}  # each types what is tagged with its name
OPTIONS_OF_COMPOSE = {"--build", "--no-deps", "--no-recreate", "--profile", "--scale", "--wait", "-d", "-s"}


def name_of(value: Page | Command) -> str:
    """What a test is called."""
    return str(value.path.relative_to(ROOT)) if isinstance(value, Page) else str(value).partition(": ")[0]


def typed_here(page: Page) -> list[Command]:
    return [command for command in page.commands if not command.not_run and command.run_by == HERE]


@pytest.mark.parametrize("page", [page for page in READ if typed_here(page)], ids=name_of)
async def test_a_reader_who_types_a_page_from_top_to_bottom_sees_what_it_shows(page: Page, tmp_path: Path) -> None:
    session = Session(tmp_path)
    try:
        for command in typed_here(page):
            await session.run(command)
    finally:
        await session.close()


def test_few_commands_are_not_typed_and_each_says_why() -> None:
    reasons = Counter(command.not_run for command in COMMANDS if command.not_run)

    assert set(reasons) <= set(AT_MOST)
    assert {reason: count for reason, count in reasons.items() if count > AT_MOST[reason]} == {}
    assert {command.run_by for command in COMMANDS} <= {HERE, *ELSEWHERE}
    assert len([command for command in COMMANDS if not command.not_run]) > 2 * sum(reasons.values())


def test_a_command_in_a_block_begins_with_a_prompt() -> None:
    """Otherwise nothing here would see it."""
    blocks = [block for page in READ for block in page.blocks if block.language in SHELLS]
    lines = [(block, line) for block in blocks if PROMPT not in block.text for line in block.text.splitlines()]

    assert [f"{block}: {line}" for block, line in lines if PROGRAM.match(line.strip())] == []


@pytest.mark.parametrize("command", [c for c in COMMANDS if call_of(c.words)], ids=name_of)
def test_a_command_has_only_options_that_there_are(command: Command) -> None:
    call = call_of(command.words)
    assert call is not None
    with contextlib.suppress(click.BadParameter):  # a file that is not there, a port that is taken
        call.parsed()


def test_make_would_know_what_to_do(tmp_path: Path) -> None:
    """Also for what takes minutes."""
    working_copy(tmp_path)
    for command in (command for command in COMMANDS if command.words[0] == "make"):
        ran = subprocess.run(
            ["/bin/sh", "-c", f"{FRESH} exec make -n {command.text.removeprefix('make ')}"],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, f"{command}: {ran.stderr}"
        assert "pip install" not in ran.stdout or command.run_by != HERE, f"{command} would install in a copy"


@pytest.mark.parametrize("command", [c for c in COMMANDS if "compose" in c.words], ids=name_of)
def test_a_compose_command_names_services_and_profiles_that_there_are(command: Command) -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    profiles = {name for service in compose["services"].values() for name in service.get("profiles", ())}
    words = command.words[command.words.index("compose") + 1 :]

    assert {word for word in words if word.startswith("-")} <= OPTIONS_OF_COMPOSE
    assert set(re.findall(r"--profile (\S+)", " ".join(words))) <= profiles
    assert set(re.findall(r"--scale (\w+)=", " ".join(words))) <= set(compose["services"])
    assert "exec" not in words or words[words.index("exec") + 1] in compose["services"]
    assert set(words[words.index("up") + 1 :] if "up" in words else []) & profiles == set()
