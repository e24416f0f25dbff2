"""A Dockerfile carried out without a container engine.

Each RUN goes to a shell as it is written, except that the folders which the image makes, `/opt` for one, lie below a
directory of ours. So what is tested is the file's own text; what is not is its base image.
"""

import json
import os
import re
import shlex
import shutil
import string
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

FOLDER = re.compile(r"(?<![\w.}])/(\w+)")  # the first one of an absolute path
MAKES_FOLDERS = ("WORKDIR", "COPY", "ENV")
HIDDEN = ("TRUNKLINE_", "OTEL_", "OPENAI_", "PYTHON", "VIRTUAL_ENV")  # of our own environment: no container has them
BECOME = """
import os, sys
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[2])); os.execvp(sys.argv[3], sys.argv[3:])
"""


@dataclass(frozen=True)
class Step:
    """One instruction."""

    name: str
    flags: dict[str, str]
    text: str


def steps(text: str) -> Iterator[Step]:
    """The instructions in their order, each on one line."""
    lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    for line in "\n".join(lines).replace("\\\n", "").splitlines():
        name, _, rest = line.partition(" ")
        flags: dict[str, str] = {}
        while match := re.match(r"\s*--([\w-]+)=(\S+)\s*", rest):
            flags[match[1]] = match[2]
            rest = rest[match.end() :]
        yield Step(name, flags, rest.strip())


IMAGE_ENV = {  # our own variables
    name: value
    for step in steps((Path(__file__).parents[2] / "deploy" / "docker" / "Dockerfile").read_text())
    if step.name == "ENV"
    for name, _, value in (pair.partition("=") for pair in step.text.split())
    if name.startswith(HIDDEN[0])
}


@dataclass
class Image:
    """What a Dockerfile has made: a tree of files, and how a container of it starts."""

    root: Path
    env: dict[str, str]
    workdir: Path
    user: str = "0:0"
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)

    def files(self) -> set[Path]:
        """Every file and folder."""
        return set(self.root.rglob("*"))

    def as_run(self, argv: list[str]) -> list[str]:
        """The command line that runs `argv` in WORKDIR and as USER."""
        return [*self._become, "/bin/sh", "-c", 'cd "$0" && exec "$@"', str(self.workdir), *argv]

    @cached_property
    def _become(self) -> list[str]:
        """Goes before a command of USER's; nothing where we may not change users, or USER may not run our Python."""
        uid, _, gid = self.user.partition(":")
        prefix = [sys.executable, "-c", BECOME, gid, uid]
        tried = [*prefix, "python", "-c", ""]
        works = os.geteuid() == 0 and not subprocess.call(tried, env=self.env, stderr=subprocess.DEVNULL)
        return prefix if works else []


class Build:
    """One run through a Dockerfile. `context` holds what .dockerignore lets through."""

    def __init__(self, text: str, context: Path, directory: Path) -> None:
        self._steps = list(steps(text))
        self._context = context
        self._root = directory / "root"
        self._stages = directory / "stages"
        made = "\n".join(step.text for step in self._steps if step.name in MAKES_FOLDERS)
        self._folders = set(FOLDER.findall(made))
        self._stage = ""
        self.image = self._fresh()

    def run(self) -> Image:
        """Raises CalledProcessError: a step failed."""
        for step in self._steps:
            getattr(self, f"_{step.name.lower()}")(step)
        return self.image

    def _inside(self, text: str) -> str:
        """The text with the image's own folders below our root."""
        return FOLDER.sub(lambda match: f"{self._root if match[1] in self._folders else ''}{match[0]}", text)

    def _fresh(self) -> Image:
        """The base image: this machine, with the interpreter that runs the tests as `python`."""
        self._root.mkdir(parents=True)
        env = {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)}
        env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
        return Image(self._root, env, self._root)

    def _from(self, step: Step) -> None:
        if self._stage:
            self._stages.mkdir()
            self._root.rename(self._stages / self._stage)
            self.image = self._fresh()
        self._stage = step.text.partition(" AS ")[2]

    def _workdir(self, step: Step) -> None:
        self.image.workdir = Path(self._inside(step.text))
        self.image.workdir.mkdir(parents=True, exist_ok=True)

    def _copy(self, step: Step) -> None:
        *sources, target = step.text.split()
        there = self._stages / step.flags["from"] if "from" in step.flags else self._context
        to = self.image.workdir / self._inside(target)
        for source in sources:
            what = there / source.lstrip("/")
            if what.is_dir():
                shutil.copytree(what, to, symlinks=True, dirs_exist_ok=True)
            else:
                to.mkdir(parents=True, exist_ok=True)
                shutil.copy(what, to)

    def _env(self, step: Step) -> None:
        for pair in shlex.split(self._inside(step.text)):
            name, _, value = pair.partition("=")
            self.image.env[name] = string.Template(value).safe_substitute(self.image.env)

    def _run(self, step: Step) -> None:
        subprocess.run(
            ["/bin/sh", "-c", self._inside(step.text)], cwd=self.image.workdir, env=self.image.env, check=True
        )

    def _user(self, step: Step) -> None:
        self.image.user = step.text

    def _cmd(self, step: Step) -> None:
        self.image.command = json.loads(step.text)

    def _healthcheck(self, step: Step) -> None:
        self.image.healthcheck = ["/bin/sh", "-c", step.text.removeprefix("CMD").strip()]

    def _label(self, step: Step) -> None:
        """Nothing runs by it."""

    _expose = _label


def send_context(root: Path, to: Path) -> None:
    """Copy what .dockerignore, a list of exceptions from nothing at all, lets an engine see."""
    first, *lines = [line for line in (root / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert first == "*"
    skip = shutil.ignore_patterns(*(line.removeprefix("**/") for line in lines if not line.startswith("!")))
    for name in (line[1:] for line in lines if line.startswith("!")):
        what, target = root / name, to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if what.is_dir():
            shutil.copytree(what, target, ignore=skip)
        else:
            shutil.copy(what, target)
