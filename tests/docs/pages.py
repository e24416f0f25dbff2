"""Pages as data: what they tell a reader to type, what they show below it, what they name. Pure.

A command is a line that begins with `$ ` in a block of code, or a table row that begins with nothing but a command.
Comments say what a test cannot see: before a block, or in the row,

    <!-- not run: needs a container engine -->
    <!-- run by tests/clients: needs large packages -->
    <!-- exit code: 1 -->
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "deploy" / "README.md"]
HERE = "tests/docs"

PROMPT = "$ "
PROGRAM = re.compile(r"(\w+=\S+ )*(\.?[\w/.-]*/)?(make|trunkline|python|pip|docker|curl|git|go|jaeger|sh|bash)( |$)")
TAG = re.compile(r"<!-- (?:(not run)|(exit code)|run by (\S+)): (.+?) -->")
SHELLS = ("", "console", "sh", "bash", "shell")


def name_of(page: Path) -> str:
    """A page as it is spoken of."""
    return str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name


@dataclass(frozen=True)
class Command:
    """Something to type. `sample` is what the page shows below it; `not_run` is why no test types it."""

    page: Path
    line: int
    text: str
    sample: str = ""
    not_run: str = ""
    run_by: str = HERE
    exit_code: int = 0

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}: $ {self.text}"

    @property
    def words(self) -> list[str]:
        """As a shell splits it, without the comment behind it."""
        return shlex.split(self.text, comments=True)


@dataclass(frozen=True)
class Block:
    """A block of code, with the tags that stand before it."""

    page: Path
    line: int
    language: str
    text: str
    tags: Sequence[str] = ()

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


@dataclass(frozen=True)
class Page:
    """One page, read."""

    path: Path
    blocks: list[Block] = field(default_factory=list)
    rows: list[Command] = field(default_factory=list)
    spans: list[tuple[int, str]] = field(default_factory=list)
    links: list[tuple[int, str]] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    @property
    def commands(self) -> list[Command]:
        """All of them, from top to bottom."""
        typed = [command for block in self.blocks for command in _commands_of(block)]
        return sorted([*typed, *self.rows], key=lambda command: command.line)


def read(path: Path) -> Page:
    """A page of Markdown."""
    page = Page(path)
    tokens = MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))
    tags: list[str] = []
    first_cell = False
    for before, token in zip([None, *tokens], tokens, strict=False):
        line = token.map[0] + 1 if token.map else 0
        if token.type in ("fence", "code_block"):
            fence = token.type == "fence"
            page.blocks.append(Block(path, line + fence, token.info.strip(), token.content, tuple(tags)))
        if token.type == "inline":
            _read_inline(page, token, line)
            if before and before.type == "heading_open":
                page.anchors.add(_anchor(token.content))
            if first_cell:
                page.rows.extend(_row(path, line, token))
        first_cell = token.type == "td_open" and before is not None and before.type == "tr_open"
        tags = [*tags, token.content] if token.type == "html_block" else []
    return page


def _read_inline(page: Page, token: Token, line: int) -> None:
    for child in token.children or ():
        if child.type == "softbreak":
            line += 1
        elif child.type == "code_inline":
            page.spans.append((line, child.content))
        elif child.type in ("link_open", "image"):
            page.links.append((line, str(child.attrs.get("href") or child.attrs.get("src"))))


def _row(path: Path, line: int, cell: Token) -> Iterator[Command]:
    """The command that a row is about, where its first cell is one and nothing else."""
    children = [child for child in cell.children or () if child.content.strip()]
    code = [child.content for child in children if child.type == "code_inline"]
    tags = [child.content for child in children if child.type == "html_inline"]
    if len(code) == 1 and len(code) + len(tags) == len(children) and PROGRAM.match(code[0]):
        yield tagged(Command(path, line, code[0]), tags)


def _commands_of(block: Block) -> Iterator[Command]:
    if block.language not in SHELLS:
        return
    lines = block.text.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith(PROMPT)]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=False):
        after = next(n for n in range(start + 1, end + 1) if n == end or _is_whole(lines[start:n]))
        text = "\n".join(lines[start:after]).removeprefix(PROMPT)
        sample = "\n".join(lines[after:end])
        yield tagged(Command(block.page, block.line + start, text, sample), block.tags)


def _is_whole(lines: list[str]) -> bool:
    """Whether a shell would run this, and not wait for more."""
    try:
        shlex.split("\n".join(lines), comments=True)
    except ValueError:
        return False
    return not lines[-1].endswith("\\")


def tagged(command: Command, comments: Sequence[str]) -> Command:
    """A command with what the comments say of it. Raises ValueError: one says nothing that is known."""
    said = {name: getattr(command, name) for name in command.__dataclass_fields__}
    for comment in comments:
        if not (tag := TAG.fullmatch(comment.strip())):
            raise ValueError(f"{command}: {comment.strip()} is no tag; see {__file__}")
        not_run, exit_code, folder, value = tag.groups()
        said |= {"not_run": value} if not_run else {"exit_code": int(value)} if exit_code else {"run_by": folder}
    return Command(**said)


def _anchor(heading: str) -> str:
    """What a link to a heading is called, as GitHub does it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
