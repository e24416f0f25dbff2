"""Options of the command line that are settings: what one may hold, and that errors name it instead of its variable."""

import os
from collections.abc import Mapping

import click

EDGE = {"TRUNKLINE_EDGE__PORT": "--port", "TRUNKLINE_EDGE__PROCESSES": "--processes"}
UP = {
    **EDGE,
    "TRUNKLINE_EDGE__PROCESSES": "--edges",
    "TRUNKLINE_UPSTREAM__URL": "--upstream",
    "TRUNKLINE_UPSTREAM__MODEL": "--upstream-model",
}
UPSTREAM = ("TRUNKLINE_UPSTREAM__KEY_ENV", "TRUNKLINE_UPSTREAM__PRESET", "TRUNKLINE_UPSTREAM__DIALECT")  # no options
WORKER = {"TRUNKLINE_WORKER__SLOTS": "--slots", "TRUNKLINE_WORKER__POOLS": "--pools"}


class Said(click.ParamType[str]):
    """A text that is not blank: as a variable, an empty one would count as not set, and nobody would notice."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As it was typed."""
        if not value.strip():
            self.fail("it is empty: give it a value, or leave the option out", param, ctx)
        return value


def flags(options: Mapping[str, str]) -> dict[str, str]:
    """By variable, those options of the command that runs which its user goes by.

    That is what was given; and, beside one that was, the others of its table that no variable says.
    """
    context = click.get_current_context()
    typed = {option.opts[0] for option in context.command.params if context.params[str(option.name)] is not None}
    given = {variable for variable, option in options.items() if option in typed}
    beside = {variable for variable in options if _table(variable) in map(_table, given) and not _is_set(variable)}
    return {variable: options[variable] for variable in given | beside}


def _table(variable: str) -> str:
    return variable.partition("__")[0]


def _is_set(variable: str) -> bool:
    return bool(os.environ.get(variable))
