"""trunkline.toml and the environment → frozen Structs, read once at the start of a process.

`TRUNKLINE_<TABLE>__<KEY>` overrides a key of every table with a fixed name. An unknown name, a value of the wrong type,
a model without a target stop the start, with a `SettingsError` that says where and what to do. Only `load` touches a
file; everything else works on the text and the environment it is given.
"""

import functools
import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import fields

from protocol.presets import row
from protocol.settings_source import PREFIX, SettingsError, Source, read, read_table, refuse, value_of, variable_of
from protocol.settings_targets import check_cascades, completed, read_model, read_target
from protocol.settings_types import (
    PASS_THROUGH,
    BuiltinSettings,
    LocalSettings,
    Model,
    Settings,
    Target,
    UpstreamSettings,
)
from protocol.settings_values import HttpUrl, Words
from protocol.settings_voice import check_models, check_times, read_profiles, read_tenants, read_tools

__all__ = ["BUILTIN_MODELS", "Model", "Settings", "SettingsError", "Target"]
__all__ += ["check_exposure", "load", "missing_keys", "parse"]

BUILTIN_MODELS = ("echo", "echo-tools", "echo-json", "echo-reasoning")
Brought = tuple[str, dict[str, Model], dict[str, Target]]  # by which switch, and what
LOCAL_STALL_S = 15.0  # a machine that is busy with its model is slow, not gone
NO_FLAGS: Mapping[str, str] = {}
OPENAI_URL = "https://api.openai.com/v1"
UPSTREAM_KEYS = {"url": "base_url", "key_env": "api_key_env", "dialect": "dialect"}  # what a target calls them
NAMED = ("models", "targets", "profiles", "tenants", "tools")  # tables of tables, whose names the file chooses
TABLES: dict[str, type[Struct]] = {
    item.name: item.type for item in fields(Settings) if isinstance(item.type, type) and issubclass(item.type, Struct)
}
CONFIG, DATA_DIR, API_KEYS = (PREFIX + name for name in ("CONFIG", "DATA_DIR", "API_KEYS"))
VARIABLES = {CONFIG, DATA_DIR, API_KEYS} | {
    variable_of(table, item.name) for table, kind in TABLES.items() for item in fields(kind)
}


def load(environ: Mapping[str, str], *, config: Path | None = None, flags: Mapping[str, str] = NO_FLAGS) -> Settings:
    """Read the file that `config` or TRUNKLINE_CONFIG names, else ./trunkline.toml where there is one.

    `flags` has, by variable, the options of a command line that put it into `environ`: errors name those.

    Raises:
        SettingsError: the file cannot be read, or something in it or in `environ` is wrong.
    """
    named = config or (Path(said) if (said := environ.get(CONFIG)) else None)
    path = named or Path("trunkline.toml")
    try:
        return parse(path.read_text(encoding="utf-8"), environ, name=str(path), flags=flags)
    except FileNotFoundError:
        if named is None:
            return parse(None, environ, flags=flags)
        raise SettingsError(f"{path}: no such file; name another with --config or {CONFIG}") from None
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be read: {error.strerror}; name another with --config or {CONFIG}"
        ) from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None


def parse(
    text: str | None, environ: Mapping[str, str], *, name: str = "trunkline.toml", flags: Mapping[str, str] = NO_FLAGS
) -> Settings:
    """Settings from a file's text (None: there is no file) and the environment.

    Raises:
        SettingsError: names the line or the variable, and the cure.
    """
    source = read(text or "", environ, name=name, flags=flags)
    _refuse_unknown(source)
    tables: dict[str, Any] = {table: read_table(source, (table,), kind) for table, kind in TABLES.items()}
    targets = {key: read_target(source, key) for key in source.table("targets")}
    models = {key: read_model(source, key, targets) for key in source.table("models")}
    profiles = read_profiles(source)
    brought = [_builtin(tables["builtin"]), _upstream(source, tables["upstream"]), _local(tables["local"])]
    if text is None:  # whoever writes a file names the models; there, OPENAI_API_KEY is a key and nothing more
        brought.append(_pass_through(environ))
    for switch, more_models, more_targets in brought:
        _refuse_taken(source, "models", more_models, switch)
        _refuse_taken(source, "targets", more_targets, switch)
        models |= more_models
        targets |= more_targets
    data_dir = environ.get(DATA_DIR) or source.tables.get("data_dir", ".trunkline")
    settings = Settings(
        **tables,
        models=models,
        targets=targets,
        profiles=profiles,
        tenants=read_tenants(source, profiles),
        tools=read_tools(source),
        data_dir=value_of(data_dir, Words, place=functools.partial(source.place, "data_dir"), key="data_dir"),
        api_keys=_api_keys(environ.get(API_KEYS, "")),
    )
    _check_together(source, settings)
    return settings


def check_exposure(settings: Settings) -> None:
    """Raises SettingsError: the edge would answer other machines, and anybody on them."""
    if settings.api_keys or _is_loopback(settings.edge.host):
        return
    raise SettingsError(
        f"edge.host {settings.edge.host!r} is open to other machines and no API key is configured; set "
        f'{API_KEYS}="name:secret", or listen on 127.0.0.1'
    )


def missing_keys(settings: Settings, environ: Mapping[str, str]) -> list[SettingsError]:
    """What a worker lacks: variables of targets that the models of its pools need. The edge never asks."""
    served = [model for model in settings.models.values() if model.pool in settings.worker.pools]
    wanted = {name: settings.targets[name].api_key_env for model in served for name in model.targets}
    return [
        SettingsError(f"targets.{name} takes its key from {variable}, which is not set; export {variable}=…")
        for name, variable in sorted(wanted.items())
        if variable and not environ.get(variable)
    ]


def _refuse_unknown(source: Source) -> None:
    if "api_keys" in source.tables:
        raise SettingsError(f"{source.where('api_keys')}: api_keys do not belong in a file; set {API_KEYS} instead")
    for key in source.tables.keys() - (known := {*TABLES, *NAMED, "data_dir"}):
        refuse(f"{source.where(key)}: no table or key", key, known)
    for variable in sorted(source.environ):
        if variable.startswith(PREFIX) and variable not in VARIABLES:
            refuse("the environment: no setting", variable, VARIABLES)


def _check_together(source: Source, settings: Settings) -> None:
    """What no single key shows."""
    turn, pools = settings.turn, settings.worker.pools
    if turn.budget_s > turn.total_s:
        key = "total_s" if source.says("turn", "total_s") else "budget_s"
        raise SettingsError(
            f"{source.place('turn', key)}: budget_s is {turn.budget_s} and total_s {turn.total_s}; the first "
            "content is due before the end, so raise total_s or lower budget_s"
        )
    if len(set(pools)) < len(pools):
        raise SettingsError(f"{source.place('worker', 'pools')} names a pool twice; keep one of them")
    check_cascades(source, settings)
    check_models(source, settings.models, settings.profiles)
    check_times(source, settings)


def _refuse_taken(source: Source, kind: str, brought: Mapping[str, object], switch: str) -> None:
    """Nothing that Trunkline brings along replaces what the file says, nor the other way round."""
    for name in brought.keys() & source.table(kind).keys():
        raise SettingsError(
            f"{source.where(kind, name)}: [{kind}.{name}] is a name of {switch}; rename it, or drop {switch}"
        )


def _builtin(builtin: BuiltinSettings) -> Brought:
    return "[builtin]", {name: Model() for name in BUILTIN_MODELS} if builtin.enabled else {}, {}


def _upstream(source: Source, upstream: UpstreamSettings) -> Brought:
    """The model `upstream`, from the short form."""
    if (upstream.preset, upstream.url, upstream.model, upstream.key_env) == (None, None, None, None):
        return "[upstream]", {}, {}
    said = {target_key for key, target_key in UPSTREAM_KEYS.items() if source.says("upstream", key)}
    target = Target(
        base_url=upstream.url or "",
        model=upstream.model or "",
        preset=upstream.preset,
        dialect=upstream.dialect,
        api_key_env=upstream.key_env,
    )
    target = completed(source, target, said, path=("upstream",))
    for key, known in (("url", target.base_url and "{" not in target.base_url), ("model", target.model)):
        if not known:
            raise SettingsError(
                f"upstream.{key} is missing; set it beside the others: {source.called(variable_of('upstream', key))}=…"
            )
    if row(target).demands_api_version:
        raise SettingsError(
            f"{source.place('upstream', 'preset')} is {target.preset}, whose api_version has no place in [upstream]; "
            "write [models.…] and [targets.…] for it"
        )
    return "[upstream]", {"upstream": Model(targets=("upstream",))}, {"upstream": target}


def _local(local: LocalSettings) -> Brought:
    """The model `local`, from a server on this machine that has one model and does not ask for its name."""
    if local.url is None:
        return "[local]", {}, {}
    stop = (local.stop,) if local.stop else ()
    target = Target(base_url=local.url, model="local", stall_s=LOCAL_STALL_S, stop=stop)
    return "[local]", {"local": Model(targets=("local",))}, {"local": target}


def _pass_through(environ: Mapping[str, str]) -> Brought:
    """`openai/<id>` for whoever has a key in the environment; only the variable's name is kept."""
    if not environ.get("OPENAI_API_KEY"):
        return "OPENAI_API_KEY", {}, {}
    url = value_of(environ.get("OPENAI_BASE_URL") or OPENAI_URL, HttpUrl, place="OPENAI_BASE_URL", key="url")
    target = Target(base_url=url, model="*", api_key_env="OPENAI_API_KEY")
    return "OPENAI_API_KEY", {PASS_THROUGH + "*": Model(targets=("openai",))}, {"openai": target}


def _api_keys(text: str) -> dict[str, str]:
    """`name:secret,…`. An error counts the entry instead of quoting it."""
    keys: dict[str, str] = {}
    for number, entry in enumerate((part.strip() for part in text.split(",")), start=1):
        if not entry:
            continue  # a trailing comma
        name, colon, secret = entry.partition(":")
        if not (colon and re.fullmatch(r"[A-Za-z0-9_-]+", name) and re.fullmatch(r"[!-~]+", secret)):
            raise SettingsError(
                f"{API_KEYS}: entry {number} is not name:secret; a name has letters, digits, _ and -, a secret visible "
                "ASCII characters other than a comma"
            )
        if name in keys or secret in keys.values():
            raise SettingsError(f"{API_KEYS}: entry {number} repeats an earlier name or secret; make both unique")
        keys[name] = secret
    return keys


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
