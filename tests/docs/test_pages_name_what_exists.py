"""No page names a file, a make target, an option, a setting, a metric or a heading that does not exist."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from bench.__main__ import main as bench
from protocol import telemetry
from protocol.settings import TABLES, VARIABLES, parse
from tests.docs.pages import PAGES, ROOT, Block, Page, read
from trunkline.__main__ import cli

PAGES_AND_NEWS = [read(path) for path in [*PAGES, ROOT / "CHANGELOG.md"]]
BLOCKS = [block for page in PAGES_AND_NEWS for block in page.blocks]
NAMES = {value for value in vars(telemetry).values() if isinstance(value, str)}
OURS = re.compile(r"^(?:\.venv/bin/)?(?:trunkline (?P<tool>[a-z]+)|python -m bench (?P<bench>[a-z]+))\b")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
FOREIGN = {"--build", "--cap-add", "--profile", "--scale"}  # compose and docker
TARGET = re.compile(r"^([\w./-]+):(?!=)", re.MULTILINE)
FILE = re.compile(r"[\w.-]+(/[\w.-]+)*/?")
ENDINGS = {".conf", ".env", ".json", ".jsonl", ".lock", ".md", ".py", ".svg", ".toml", ".txt", ".yaml", ".yml"}
MADE = {".trunkline", ".venv", ".jaeger"}  # what running makes
THEIRS = {"trunkline.toml", ".env", "worker.env", "run.json", "logs/model.log", "docker/config/trunkline.toml"}
THEIRS |= {"deploy/proxy/certificates/", "prometheus.yml", "alerts.yml"}  # of users, or named with their folder before


def spans() -> Iterator[tuple[Page, int, str]]:
    """What pages write as code in the middle of a sentence."""
    for page in PAGES_AND_NEWS:
        for line, span in page.spans:
            yield page, line, span


def where(page: Page, line: int, what: str) -> str:
    return f"{page.path.relative_to(ROOT)}:{line}: {what}"


def blocks_in(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


def test_links_lead_to_files_and_headings_that_there_are() -> None:
    lost = []
    for page in PAGES_AND_NEWS:
        for line, link in page.links:
            name, _, anchor = link.partition("#")
            target = (page.path.parent / name).resolve() if name else page.path
            if re.match(r"\w+:", link):
                continue
            if not target.exists() or (anchor and anchor not in read(target).anchors):
                lost.append(where(page, line, link))
    assert lost == []


def test_every_page_can_be_found_from_the_readme() -> None:
    """Those of a folder from the page that is called like the folder."""
    linked = linked_from(ROOT / "README.md")
    for folder in {path.parent for path in PAGES} - {ROOT / "docs"}:
        page = folder.with_suffix(".md")
        linked |= linked_from(page) if page in linked else set()

    assert {path.name for path in PAGES if path not in linked} <= {"README.md"}


def linked_from(page: Path) -> set[Path]:
    return {(page.parent / link.partition("#")[0]).resolve() for _, link in read(page).links}


def test_files_that_are_named_are_there() -> None:
    lost = []
    for page, line, span in spans():
        path = Path(span)
        is_file = FILE.fullmatch(span) and (path.suffix in ENDINGS or (ROOT / path.parts[0]).is_dir())
        if not is_file or path.parts[0] in MADE or span.removeprefix("./") in THEIRS:
            continue
        folders = (ROOT, page.path.parent)
        if not any((folder / path).exists() or list(folder.glob(f"*/{path}")) for folder in folders):
            lost.append(where(page, line, span))
    assert lost == []


def test_make_targets_that_are_named_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text().replace("$(JAEGER)", ".jaeger/jaeger")
    targets = set(TARGET.findall(makefile))
    named = [(page, line, match[1]) for page, line, span in spans() if (match := re.match(r"make ([\w./-]+)", span))]
    typed = [(page, c.line, c.words[-1]) for page in PAGES_AND_NEWS for c in page.commands if c.words[0] == "make"]

    assert [where(page, line, target) for page, line, target in named if target not in targets] == []
    assert [where(page, line, word) for page, line, word in typed if "=" not in word and word not in targets] == []


def test_options_that_are_named_are_there() -> None:
    commands: dict[str, click.Command] = {**cli.commands, **bench.commands}
    options = {name: set(options_of(one)) for name, one in commands.items()}
    everything = {"--help", *FOREIGN, *(option for some in options.values() for option in some)}
    lost = []
    for page, line, span in spans():
        ours = OURS.match(span)
        known = options.get(ours["tool"] or ours["bench"], set()) | {"--help"} if ours else everything
        if ours and (ours["tool"] or ours["bench"]) not in commands:
            lost.append(where(page, line, span))
        lost += [where(page, line, f"{option} in {span}") for option in OPTION.findall(span) if option not in known]
    assert lost == []


def options_of(command: click.Command) -> Iterator[str]:
    """Its own, and of a group those of its commands."""
    yield from (option for param in command.params for option in param.opts)
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        yield from options_of(inner)


def test_settings_and_variables_that_are_named_are_there() -> None:
    keys = {f"{table}.{key}" for table, kind in TABLES.items() for key in kind.__struct_fields__}
    lost = []
    for page, line, span in spans():
        variables = [name for name in re.findall(r"TRUNKLINE_\w+", span) if not name.endswith("_")]
        lost += [where(page, line, name) for name in variables if name not in VARIABLES and name not in MADE_UP]
        key = re.fullmatch(r"([a-z]+)\.([a-z_]+)( = .*)?", span)
        if key and key[1] in TABLES and Path(span).suffix not in ENDINGS and f"{key[1]}.{key[2]}" not in keys:
            lost.append(where(page, line, span))
    assert lost == []


MADE_UP = {"TRUNKLINE_EDGE_PORT"}  # what Kubernetes would define: no setting, which is the point


def test_metrics_and_attributes_that_are_named_are_there() -> None:
    lost = []
    for page, line, span in spans():
        metric = re.fullmatch(r"(trunkline_\w+?|gen_ai_\w+?)(_total|_bucket|_count|_sum)?(\{.*\})?", span)
        attribute = re.fullmatch(r"((?:trunkline|gen_ai|http|error)\.[a-z_.]+)(=.*)?", span)
        name = metric[1] if metric else attribute[1] if attribute else None
        if name and name not in NAMES and name != "trunkline.toml":
            lost.append(where(page, line, span))
    assert lost == []


@pytest.mark.parametrize("block", blocks_in("toml"), ids=str)
def test_a_configuration_that_users_paste_is_one(block: Block) -> None:
    assert parse(block.text, {}, name=str(block)).models


@pytest.mark.parametrize("block", blocks_in("python"), ids=str)
def test_code_that_users_paste_is_python(block: Block) -> None:
    assert ast.parse(block.text, filename=str(block)).body


@pytest.mark.parametrize("block", blocks_in("json"), ids=str)
def test_what_users_fill_in_is_json(block: Block) -> None:
    assert json.loads(block.text)


def test_every_block_has_a_language_that_is_looked_at() -> None:
    """`nginx` is tried by the tests of what stands before an edge."""
    assert {block.language for block in BLOCKS} <= {"", "console", "json", "nginx", "python", "toml"}


def test_the_failures_in_the_readme_have_the_figures_of_the_drills() -> None:
    """Whoever measures again changes both."""
    section = (ROOT / "README.md").read_text().split("## When things fail")[1].split("\n## ")[0]
    measured = [row.split("|")[3] for row in section.splitlines() if row.startswith("| ") and "---" not in row]
    figures = {figure for cell in measured for figure in re.findall(r"[\d.,]+ (?:ms|%)", cell)}

    assert len(figures) > 5
    assert {figure for figure in figures if figure not in (ROOT / "docs" / "failures.md").read_text()} == set()
