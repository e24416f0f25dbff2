"""What a command line means: which of our programs it is, with which options. Nothing is run."""

import re
import shlex
from typing import NamedTuple

import click

from bench.__main__ import main as bench
from trunkline.__main__ import cli

ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
GOES_ON = ("|", ">")  # what comes then is the shell's
STAYS = ("up", "edge", "worker")


class Call(NamedTuple):
    """One of our programs, as it was called."""

    group: click.Group
    name: str
    args: list[str]

    def parsed(self) -> click.Context:
        """Its options, read as the program would read them. Raises click.ClickException."""
        command = self.group.commands[self.name]
        context = command.make_context(self.name, list(self.args))
        if not isinstance(command, click.Group):
            return context
        name, inner, args = command.resolve_command(context, [*context._protected_args, *context.args])
        assert inner is not None
        return inner.make_context(name, args, parent=context)

    @property
    def stays(self) -> bool:
        """Whether it runs until it is stopped."""
        return self.group is cli and self.name in STAYS


def call_of(words: list[str]) -> Call | None:
    """`make up ARGS=…` is `trunkline up …`, and so on; None: another program, or none of their commands."""
    words = words[next((n for n, word in enumerate(words) if not ASSIGNMENT.fullmatch(word)), len(words)) :]
    words = words[: next((n for n, word in enumerate(words) if word in GOES_ON), len(words))]
    match words:
        case ["make", *rest]:
            args = [word.partition("=")[2] for word in rest if word.startswith("ARGS=")]
            target = next((word for word in rest if "=" not in word), "")
            behind = {"up": "trunkline up", "bench": "python -m bench load", "drills": "python -m bench drills"}
            return call_of(shlex.split(" ".join([behind.get(target, ""), *args])))
        case ["python" | ".venv/bin/python", "-m", "bench", name, *args]:
            return Call(bench, name, args)
        case ["trunkline" | ".venv/bin/trunkline", name, *args] if not name.startswith("-"):
            return Call(cli, name, args[: args.index(">")] if ">" in args else args)
    return None
