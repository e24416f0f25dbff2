"""`trunkline schema`: trunkline.toml as a JSON Schema (2020-12), made from the Structs that read it.

What beyond the Structs a file needs (a model's targets, a target's base URL or preset) is added here; what TOML does
not have (null) and what no file may hold (API keys) is taken out.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from protocol.presets import PRESETS
from protocol.settings import TABLES, Settings
from protocol.settings_profiles import Gate, Profile, Tenant
from protocol.settings_types import Model, Prices, Target

DIALECT = "https://json-schema.org/draft/2020-12/schema"
REFERENCE = "#/$defs/"
ROOT = {  # what no Struct of its own describes
    "models": "The names that callers ask for.",
    "targets": "The upstreams that answer.",
    "profiles": "What voice platforms expect; the built-in ones, by their names, or your own.",
    "tenants": "What holds for one API key, by its name.",
    "tools": "When a tool may be called, by its name.",
    "data_dir": "Where `trunkline up` keeps what it writes.",
}
KINDS: tuple[type[Struct], ...] = (*TABLES.values(), Model, Prices, Target, Profile, Tenant, Gate)


def schema() -> dict[str, Any]:
    """The schema of the whole file."""
    (whole,), kinds = msgspec.json.schema_components([Settings], ref_template=REFERENCE + "{name}")
    kinds = {name: _tidy(kind) for name, kind in kinds.items()}
    for kind in KINDS:
        _describe(kinds[kind.__name__], kind)
    root = kinds.pop(whole["$ref"].removeprefix(REFERENCE))
    del root["properties"]["api_keys"]
    for key, words in ROOT.items():
        root["properties"][key]["description"] = words
    _demand(kinds)
    return {"$schema": DIALECT, **root, "title": "trunkline.toml", "$defs": kinds}


def _demand(kinds: dict[str, Any]) -> None:
    """What a file must say though the Struct has a default."""
    model, target, profile = kinds["Model"], kinds["Target"], kinds["Profile"]
    model["required"] = ["targets"]
    model["properties"]["targets"] |= {"minItems": 1}
    target["anyOf"] = [{"required": ["base_url"]}, {"required": ["preset"]}]
    for kind in (target, kinds["UpstreamSettings"]):
        kind["properties"]["preset"] |= {"enum": sorted(PRESETS)}
    for said, key in ((model, "targets"), (target, "base_url")):
        said["properties"][key].pop("default")
    for said in profile["properties"].values():
        said.pop("default", None)  # what it does not say it has from its base


def _tidy(said: Any) -> Any:
    """Without null, and with patterns as editors read them: they have `^` and `$` for Python's `\\A` and `\\Z`."""
    if isinstance(said, list | tuple):
        return [_tidy(one) for one in said]
    if not isinstance(said, dict):
        return said
    tidy = {key: _tidy(value) for key, value in said.items() if not (key == "default" and _is_nothing(value))}
    if "pattern" in tidy:
        tidy["pattern"] = tidy["pattern"].replace(r"\A", "^").replace(r"\Z", "$")
    options = [one for one in tidy.pop("anyOf", []) if one != {"type": "null"}]
    return {**tidy, **options[0]} if len(options) == 1 else {**tidy, **({"anyOf": options} if options else {})}


def _is_nothing(default: Any) -> bool:
    """A table's default is in its keys."""
    return default is None or isinstance(default, dict)


def _describe(said: dict[str, Any], kind: type[Struct]) -> None:
    """Each key's description: the comment beside its field, and what its value must be."""
    del said["title"]
    said["description"] = inspect.cleandoc(said["description"])
    comments = dict(_comments(kind))
    for item in fields(kind):
        key = said["properties"][item.name]
        words = [comments.get(item.name), key.get("description")]
        if any(words):
            key["description"] = " ".join(f"{part[0].upper()}{part[1:]}." for part in words if part)


def _comments(kind: type[Struct]) -> Iterator[tuple[str, str]]:
    """By field, the comment at the end of its line."""
    for line in inspect.getsource(kind).splitlines():
        if found := re.match(r"    (\w+): [^#]+  # (.+)", line):
            yield found[1], found[2].replace("None:", "unset:")  # TOML has no null


def text(said: Mapping[str, Any]) -> str:
    """For a file that people look into."""
    return msgspec.json.format(msgspec.json.encode(said), indent=2).decode()
