"""docker-compose.yml as a compose engine reads it, without one: anchors merged, variables filled in."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<name>\w+)(?::(?P<form>[-+])(?P<word>[^}]*))?\})")


def services(environ: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    """Every service, with what `environ` says, or with nothing said."""
    found: dict[str, dict[str, Any]] = filled(yaml.safe_load(FILE.read_text()), environ or {})["services"]
    return found


def filled(value: Any, environ: Mapping[str, str]) -> Any:
    """Every `${NAME}`, `${NAME:-word}` and `${NAME:+word}` in a tree replaced, every `$$` a `$`.

    Source: the Compose specification, "Interpolation".
    """
    if isinstance(value, dict):
        return {key: filled(item, environ) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, environ) for item in value]
    return VARIABLE.sub(lambda match: _word(match, environ), value) if isinstance(value, str) else value


def _word(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match["escaped"]:
        return "$"
    said = environ.get(match["name"], "")
    if match["form"] == "+":
        return str(match["word"]) if said else ""
    return said or str(match["word"] or "")


def variables() -> set[str]:
    """The names of all variables that the file takes from outside."""
    return {match["name"] for match in VARIABLE.finditer(FILE.read_text()) if match["name"]}


def environment(service: str, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a service's processes find in their environment, beside what the image says.

    A name without a value is passed on where it is set outside; an engine leaves it out where it is not.
    Source: the Compose specification, "environment".
    """
    outside = environ or {}
    said: dict[str, str | None] = services(environ)[service]["environment"]
    found = {name: outside.get(name) if value is None else value for name, value in said.items()}
    return {name: value for name, value in found.items() if value is not None}


def mounts(service: dict[str, Any]) -> dict[str, Path]:
    """Folders and files of the repository by their path in the container."""
    pairs = [mount.split(":") for mount in service.get("volumes", ())]
    return {pair[1]: (ROOT / pair[0]).resolve() for pair in pairs if pair[0].startswith(".")}


def seconds(text: str) -> float:
    """`45s` is 45."""
    number, unit = float(text[:-1]), text[-1]
    return number * {"s": 1, "m": 60}[unit]
