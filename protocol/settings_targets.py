"""[models.…] and [targets.…]: read, completed by their presets, and held against each other."""

import re
from collections.abc import Container, Mapping

import msgspec

from protocol.presets import PRESETS, row
from protocol.settings_source import SettingsError, Source, read_table, refuse
from protocol.settings_types import Model, Settings, Target

BROUGHT = ("base_url", "dialect", "api_key_env", "max_tokens_field", "prefill")  # by a preset, where nobody says them


def read_target(source: Source, name: str) -> Target:
    """One [targets.…] table, complete: what it leaves to its preset is filled in."""
    path = ("targets", name)
    target = completed(source, read_table(source, path, Target), source.table(*path).keys(), path=path)
    _check_address(source, name, target)
    _check_timers(source, name, target)
    return target


def completed(source: Source, target: Target, said: Container[str], *, path: tuple[str, ...]) -> Target:
    """With the values of its preset for the keys that were not `said`. `path`: of the table that names it."""
    if target.preset is None:
        return target
    if target.preset not in PRESETS:
        refuse(f"{source.place(*path, 'preset')}: there is no preset", target.preset, PRESETS)
    preset = PRESETS[target.preset]
    brought = {key: getattr(preset, key) for key in BROUGHT if key not in said}
    refuses = tuple(dict.fromkeys((*preset.refuses, *target.refuses)))
    return msgspec.structs.replace(target, **brought, refuses=refuses)


def read_model(source: Source, name: str, targets: Mapping[str, Target]) -> Model:
    """One [models.…] table, its targets known."""
    model = read_table(source, ("models", name), Model)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*", name):
        raise SettingsError(f"{_model(source, name)}: a model's name is made of letters, digits and . _ : / @ -")
    if not model.targets:
        raise SettingsError(f'{_model(source, name)} has no target; add targets = ["<name>"] and [targets.<name>]')
    for target in model.targets:
        if target not in targets:
            _refuse_target(source, name, target, targets)
    return model


def _model(source: Source, name: str) -> str:
    return f"{source.where('models', name)}: [models.{name}]"


def check_cascades(source: Source, settings: Settings) -> None:
    """A target that another one follows must be given up while the turn still has time."""
    budget_s = settings.turn.budget_s
    for name, model in settings.models.items():
        for target in model.targets[:-1]:
            first_s = settings.targets[target].first_content_s
            if first_s >= budget_s:
                said = source.says("targets", target, "first_content_s")
                place = source.place(*(("targets", target, "first_content_s") if said else ("turn", "budget_s")))
                raise SettingsError(
                    f"{place}: first_content_s of target {target} is {first_s:g} and the turn's budget_s {budget_s:g}, "
                    f"so model {name} has no time left for its next target; lower first_content_s or raise budget_s"
                )


def _refuse_target(source: Source, model: str, target: str, targets: Mapping[str, Target]) -> None:
    header = target if re.fullmatch(r"[A-Za-z0-9_-]+", target) else f'"{target}"'
    cure = f"{'or ' * bool(targets)}add [targets.{header}] with its base_url and model"
    refuse(f"{source.place('models', model, 'targets')}: there is no [targets.…]", target, targets, otherwise=cure)


def _check_address(source: Source, name: str, target: Target) -> None:
    """What its URL is made of must have been said, by it or by its preset."""
    versioned = row(target).demands_api_version
    if lacks := _lacks(target, says_url="base_url" in source.table("targets", name), versioned=versioned):
        raise SettingsError(f"{source.where('targets', name)}: [targets.{name}] {lacks}")
    if target.api_version is not None and not versioned:
        place = source.place("targets", name, "api_version")
        raise SettingsError(f"{place} is for an upstream whose path names it, as preset azure's does; remove it")


def _lacks(target: Target, *, says_url: bool, versioned: bool) -> str:
    if not target.base_url:
        return "needs base_url = …, or preset = … of an upstream that is known by name"
    if "{" in target.base_url and says_url:
        return "holds a placeholder in base_url; put your own in the place of the braces"
    if "{" in target.base_url:
        return f'needs base_url = "{target.base_url}", with your own in the place of the braces'
    if versioned and target.api_version is None:
        return f'needs api_version = …, such as "2024-10-21": preset {target.preset} is asked by it'
    return ""


def _check_timers(source: Source, name: str, target: Target) -> None:
    """A timer that another one always forestalls was meant to be something else."""
    first_s, hedge_s, total_s = target.first_content_s, target.hedge_after_s, target.total_s
    if first_s > total_s:
        key = "first_content_s" if source.says("targets", name, "first_content_s") else "total_s"
        raise SettingsError(
            f"{source.place('targets', name, key)}: first_content_s is {first_s:g} and total_s {total_s:g}; the first "
            "content is due before the end, so raise total_s or lower first_content_s"
        )
    if hedge_s is not None and hedge_s >= first_s:
        raise SettingsError(
            f"{source.place('targets', name, 'hedge_after_s')}: hedge_after_s is {hedge_s:g} and first_content_s "
            f"{first_s:g}; by then this target is given up, so lower hedge_after_s or raise first_content_s"
        )
