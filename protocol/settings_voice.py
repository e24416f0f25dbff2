"""[profiles.…], [tenants.…] and [tools.…]: read, completed by their bases, and held against each other."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from protocol.profiles import BUILT_IN, PLAIN
from protocol.settings_profiles import Gate, Profile, Tenant
from protocol.settings_source import SettingsError, Source, near, read_table, refuse
from protocol.settings_types import Model, Settings

NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]+)*")
OF_PATHS = ("chat", "models", "responses", "v1")  # what follows `/p/` in a path that names no profile
BY_LANGUAGE = ("fillers", "sentences")
DOTS = (".", "…")
DEFAULT_TENANT = "default"  # of an edge without keys


def read_profiles(source: Source) -> dict[str, Profile]:
    """The built-in profiles and those of the file, each complete: what it does not say it has from its base."""
    own = {name: _own(source, name) for name in source.table("profiles")}
    _refuse_circle(own, lambda name: _bases(own, name), lambda name: _why_no_base(source, name))
    profiles = dict(BUILT_IN)
    for name in _in_order(own):
        profiles[name] = _completed(source, name, own[name], profiles[own[name].base])
    return profiles


def _own(source: Source, name: str) -> Profile:
    """One [profiles.…] table as it stands, its base known."""
    if name == PLAIN:
        raise SettingsError(
            f"{source.where('profiles', name)}: [profiles.{PLAIN}] is the plain profile, which stays as it is; "
            f'give yours another name, with base = "{PLAIN}", and choose it for a model or a key'
        )
    if not NAME.fullmatch(name) or name in OF_PATHS:
        raise SettingsError(
            f"{source.where('profiles', name)}: [profiles.{name}]: a profile's name stands in paths, so it is made of "
            f"a-z, 0-9, _ and -, and is none of {', '.join(OF_PATHS)}; rename it"
        )
    _check_languages(source, name)
    own = read_table(source, ("profiles", name), Profile)
    if not source.says("profiles", name, "base"):
        own = replace(own, base=name if name in BUILT_IN else PLAIN)
    known = BUILT_IN.keys() | source.table("profiles").keys()
    if own.base not in known:
        refuse(f"{source.place('profiles', name, 'base')}: there is no profile", own.base, known)
    return own


def _check_languages(source: Source, name: str) -> None:
    """What is said by language has a language, and says something. Whatever else it should be `read_table` tells."""
    for key in BY_LANGUAGE:
        said = source.table("profiles", name).get(key)
        for language, texts in said.items() if isinstance(said, dict) else ():
            path = ("profiles", name, key, language)
            if not LANGUAGE.fullmatch(language):
                raise SettingsError(
                    f"{source.place(*path)}: {language!r} is no language; {key} stand by language, under a tag such as "
                    "en, de or pt-BR"
                )
            if "" in [text.strip() for text in ([texts] if isinstance(texts, str) else texts) if isinstance(text, str)]:
                raise SettingsError(f"{source.place(*path)} has a blank text; take it out, or write what is to be said")


def _bases(own: Mapping[str, Profile], name: str) -> list[str]:
    """The tables of the file that a profile rests on; one called like a built-in one may rest on that."""
    base = own[name].base
    return [base] if base in own and not (base == name and name in BUILT_IN) else []


def _why_no_base(source: Source, name: str) -> str:
    place = source.place("profiles", name, "base")
    return f"{place} leads back to {name} itself; let one of these rest on a built-in profile: {', '.join(BUILT_IN)}"


def _in_order(own: Mapping[str, Profile]) -> list[str]:
    """Each behind its base."""
    order: dict[str, None] = {}

    def add(name: str) -> None:
        for base in _bases(own, name):
            add(base)
        order[name] = None

    for name in own:
        add(name)
    return list(order)


def _completed(source: Source, name: str, own: Profile, base: Profile) -> Profile:
    said: dict[str, Any] = {key: getattr(own, key) for key in source.table("profiles", name)}
    for key in BY_LANGUAGE:
        said[key] = {**getattr(base, key), **getattr(own, key)}
    profile = replace(base, **{**said, "base": own.base})
    _check_profile(source, name, profile)
    return profile


def _check_profile(source: Source, name: str, profile: Profile) -> None:
    """What one profile must have for what it is to do."""
    _check_fillers(source, name, profile)
    language, fills = profile.language, "filler" in profile.guard
    if fills and not speaks(profile.fillers, language):
        what = f"has filler in its guard, and fillers.{language} is empty"
        _refuse(
            source,
            name,
            ("guard", "language", "fillers"),
            what,
            "add some, which are said where a call shows no language",
        )
    for key in ("fillers_per_turn", "fillers_per_call"):
        if fills and getattr(profile, key) == 0:
            what = f"has filler in its guard, and {key} is 0"
            _refuse(source, name, (key, "guard"), what, "raise it, or take filler out of guard")
    for key in ("early_failure", "late_failure", "on_empty"):
        if getattr(profile, key) == "say" and not speaks(profile.sentences, language):
            what = f'has {key} = "say", and there is no sentences.{language}'
            _refuse(source, name, (key, "language"), what, "add one, which is said where a call's language has none")


def speaks(phrases: Mapping[str, object], language: str) -> bool:
    """Whether there is something to say in this language, of whatever region."""
    return any(phrases[key] for key in phrases if key.partition("-")[0] == language.partition("-")[0])


def _check_fillers(source: Source, name: str, profile: Profile) -> None:
    """Each can be told from what a model says, and reads on into it."""
    for language, fillers in profile.fillers.items():
        for filler in fillers:
            if filler != filler.strip() or filler.endswith(DOTS) or "\n" in filler or "<" in filler:
                what = f"fillers.{language} has {filler!r}, with dots, marks or white space of its own around it"
                _refuse(source, name, ("fillers",), what, 'write the words alone: "... " follows them by itself')


def _refuse(source: Source, name: str, keys: Sequence[str], what: str, cure: str) -> None:
    """Names the first of `keys` that is said, in the profile's own table or in the nearest one that it rests on."""
    for table in _tables(source, name):
        if said := [key for key in keys if source.says("profiles", table, key)]:
            raise SettingsError(f"{source.place('profiles', table, said[0])}: profile {name} {what}; {cure}")
    raise SettingsError(f"{source.where('profiles', name)}: [profiles.{name}] {what}; {cure}")


def _tables(source: Source, name: str) -> list[str]:
    """The tables of the file that a profile's values come from, its own first."""
    tables, found = source.table("profiles"), list[str]()
    while name in tables and name not in found:
        found.append(name)
        name = tables[name].get("base", PLAIN)
    return found


def platform_of(name: str, profiles: Mapping[str, Profile]) -> str:
    """The built-in profile that another one rests on."""
    while name not in BUILT_IN:
        name = profiles[name].base
    return name


# --- who chooses ---------------------------------------------------------------------------------------


def read_tenants(source: Source, profiles: Iterable[str]) -> dict[str, Tenant]:
    """Every [tenants.…] table, its profile known. Whether there is such a key only an edge can tell."""
    tenants = {name: read_table(source, ("tenants", name), Tenant) for name in source.table("tenants")}
    for name, tenant in tenants.items():
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise SettingsError(
                f"{source.where('tenants', name)}: [tenants.{name}]: a tenant has the name of an API key, of letters, "
                "digits, _ and -; see TRUNKLINE_API_KEYS"
            )
        _check_choice(source, ("tenants", name), tenant.profile, profiles)
    return tenants


def check_models(source: Source, models: Mapping[str, Model], profiles: Iterable[str]) -> None:
    """The profile that a model names is there."""
    for name, model in models.items():
        _check_choice(source, ("models", name), model.profile, profiles)


def _check_choice(source: Source, path: tuple[str, ...], profile: str | None, profiles: Iterable[str]) -> None:
    if profile is not None and profile not in profiles:
        refuse(f"{source.place(*path, 'profile')}: there is no profile", profile, profiles)


def strangers(settings: Settings) -> list[str]:
    """A sentence about each [tenants.…] table that holds for nobody, because no API key has its name."""
    names = settings.api_keys.keys() or {DEFAULT_TENANT}
    keys = "TRUNKLINE_API_KEYS has no such key" if settings.api_keys else f"without keys all are {DEFAULT_TENANT}"
    return [
        f"[tenants.{name}] holds for nobody, because {keys}; {near(name, names)}"
        for name in settings.tenants
        if name not in names
    ]


# --- tools ---------------------------------------------------------------------------------------------


def read_tools(source: Source) -> dict[str, Gate]:
    """Every [tools.…] table; each leaves its tool a way to be called."""
    gates = {name: read_table(source, ("tools", name), Gate) for name in source.table("tools")}
    for name, gate in gates.items():
        for argument in [argument for argument, values in gate.allowed.items() if not values]:
            raise SettingsError(
                f"{source.place('tools', name, 'allowed')} has no value for {argument}, so {name} could never be "
                "called; name some, or leave the argument out"
            )

    def after(name: str) -> list[str]:
        return [before for before in gates[name].after if before in gates]

    def why(name: str) -> str:
        place = source.place("tools", name, "after")
        return f"{place} leads back to {name} itself, so it could never be called; take one of them out"

    _refuse_circle(gates, after, why)
    return gates


def _refuse_circle(names: Iterable[str], next_of: Callable[[str], Iterable[str]], why: Callable[[str], str]) -> None:
    """Raises SettingsError, as `why` has it, about a name from which the next ones lead back to it."""
    for name in names:
        seen: set[str] = set()
        ahead = list(next_of(name))
        while ahead:
            if (one := ahead.pop()) == name:
                raise SettingsError(why(name))
            if one not in seen:
                seen.add(one)
                ahead += next_of(one)


# --- together ------------------------------------------------------------------------------------------


def check_times(source: Source, settings: Settings) -> None:
    """A guard that comes after the waiting has ended never speaks. A built-in profile that nobody changed may do so."""
    own = {name: settings.profiles[name] for name in source.table("profiles")}
    for name in _in_order(own):
        profile, turn = own[name], settings.turn
        budget_s = profile.budget_s or turn.budget_s
        if budget_s > turn.total_s:
            what = f"budget_s is {budget_s:g} and the turn's total_s {turn.total_s:g}"
            _refuse(source, name, ("budget_s",), what, "raise turn.total_s or lower budget_s")
        if profile.guard and profile.guard_s >= budget_s:
            whose = "budget_s" if profile.budget_s else "the turn's budget_s"
            what = f"guard_s is {profile.guard_s:g} and {whose} {budget_s:g}, so that the guard never speaks"
            _refuse(source, name, ("guard_s", "budget_s"), what, "lower guard_s or raise budget_s")
