"""Options that several benches take."""

import os
from pathlib import Path

import click


def writable(_: click.Context, __: click.Parameter, path: Path | None) -> Path | None:
    """A file to write at the end: known now to be possible."""
    if path is not None and not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise click.BadParameter(f"{path} cannot be written; name a file in a directory that is there and yours")
    return path


json_option = click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=writable,
    help="Write all figures there.",
)
