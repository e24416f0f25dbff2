"""Which profiles there are, who chooses them, and what about them would surprise a caller. Pure."""

from collections.abc import Mapping

from edge.profile_choice import RECOGNISED
from protocol.profiles import BUILT_IN, BYTE_CLOCK_S, CONTENT_CLOCK_S, OPENAI, PLAIN
from protocol.settings import Settings
from protocol.settings_profiles import Profile
from protocol.settings_source import near
from protocol.settings_voice import DEFAULT_TENANT, platform_of, speaks, strangers
from trunkline.check.findings import Finding, ok, told, warn
from trunkline.check.sizes import listed

SECTION = "profiles"
OF_GUARDS = ("guard_s", "again_s", "fillers", "fillers_per_turn", "fillers_per_call", "flush")
"""Keys that say how a guard speaks."""


def judge_profiles(settings: Settings) -> list[Finding]:
    """A row for each that somebody chooses or has changed, and one for all that only a request may name."""
    users = {name: _users(settings, name) for name in settings.profiles}
    shown = [name for name in users if users[name] or settings.profiles[name] != BUILT_IN.get(name)]
    rest = [name for name in users if name not in shown]
    found = [finding for name in shown for finding in judge_profile(name, users[name], settings)]
    if rest:
        found.append(ok(SECTION, "built in", f"{', '.join(rest)}: by path, header or recognition"))
    return [*found, *_judge_tenants(settings), *_judge_tools(settings)]


def _judge_tenants(settings: Settings) -> list[Finding]:
    """Tables that hold for nobody; where there are no keys, all of them but `default`."""
    if settings.api_keys:
        return [told(SECTION, "tenants", "warn", said, "correct its name") for said in strangers(settings)]
    return [
        warn(
            SECTION,
            "tenants",
            f"[tenants.{name}] holds for nobody while there are no API keys: then all are {DEFAULT_TENANT}",
            f'set TRUNKLINE_API_KEYS="{name}:<secret>", here too if the edges have it; or write [tenants.default]',
        )
        for name in settings.tenants
        if name != DEFAULT_TENANT
    ]


def _judge_tools(settings: Settings) -> list[Finding]:
    """Gates hold in every profile; what else is asked of calls does not."""
    if not settings.tools:
        return []
    chosen = [name for name, profile in settings.profiles.items() if profile.check_tools and _users(settings, name)]
    where = listed(chosen) or "a profile with check_tools, which no key or model names: by path, header or recognition"
    gated = listed(list(settings.tools))
    return [ok(SECTION, "tools", f"calls of {gated} are checked in every profile; calls of other tools in {where}")]


def _users(settings: Settings, name: str) -> list[str]:
    """The keys and models that choose a profile."""
    tenants = [f"key {tenant}" for tenant, said in settings.tenants.items() if said.profile == name]
    return tenants + [f"model {model}" for model, said in settings.models.items() if said.profile == name]


def judge_profile(name: str, users: list[str], settings: Settings) -> list[Finding]:
    """What it does and for whom, and its oddities."""
    profile, platform = settings.profiles[name], platform_of(name, settings.profiles)
    rests = f" (rests on {profile.base})" if name not in BUILT_IN else ""
    chosen = f"chosen by {listed(users)}" if users else _unchosen(name)
    return [
        ok(SECTION, name, f"{chosen}{rests}; {_guard(profile)}"),
        *_judge_clock(name, profile, platform, settings),
        *_judge_guard(name, profile, settings),
        *_judge_idle(name, profile, platform),
        *_judge_languages(name, profile, settings),
        *_judge_cascades(name, profile, settings),
    ]


def _unchosen(name: str) -> str:
    """Neither a key nor a model names it."""
    if name in RECOGNISED:
        return "no key or model names it: by path, header or recognition"
    return "no key or model names it: by path or header alone"


def _guard(profile: Profile) -> str:
    if not profile.guard:
        return "says nothing while no content comes"
    return f"{', then '.join(profile.guard)} after {profile.guard_s:g} s without content"


def _judge_clock(name: str, profile: Profile, platform: str, settings: Settings) -> list[Finding]:
    """Whether what its platform counts comes before it gives up."""
    if clock_s := CONTENT_CLOCK_S.get(platform):
        return _judge_content_clock(name, profile, platform, clock_s)
    if clock_s := BYTE_CLOCK_S.get(platform):
        return _judge_byte_clock(name, profile, platform, clock_s, settings)
    return []


def _judge_content_clock(name: str, profile: Profile, platform: str, clock_s: float) -> list[Finding]:
    if not profile.guard:
        text = (
            f"its guard is off, and {platform} gives up after {clock_s:g} s without content, unless it is told to wait"
        )
        return [warn(SECTION, name, text, f'set profiles.{name}.guard = ["space"]')]
    if profile.guard_s >= clock_s:
        text = f"guard_s is {profile.guard_s:g}, and {platform} gives up after {clock_s:g} s, unless it is told to wait"
        return [warn(SECTION, name, text, f"lower profiles.{name}.guard_s, or have {platform} wait longer")]
    return []


def _judge_byte_clock(name: str, profile: Profile, platform: str, clock_s: float, settings: Settings) -> list[Finding]:
    headers_s = profile.headers_after_s or settings.edge.headers_after_s
    ping_s = settings.edge.ping_s if profile.ping_s is None else profile.ping_s
    late = [key for key, s in (("headers_after_s", headers_s), ("ping_s", ping_s or clock_s)) if s >= clock_s]
    return [
        warn(
            SECTION,
            name,
            f"{key} lets {clock_s:g} s go by without a byte, and {platform} waits no longer",
            f"set profiles.{name}.{key} to {clock_s / 2:g} or less",
        )
        for key in late
    ]


def _judge_guard(name: str, profile: Profile, settings: Settings) -> list[Finding]:
    """Whether the waiting ends before it speaks: a built-in profile may be left so by the turn's own budget."""
    budget_s = profile.budget_s or settings.turn.budget_s
    if not profile.guard or profile.guard_s < budget_s:
        return []
    text = f"its guard speaks after {profile.guard_s:g} s, and the turn's budget of {budget_s:g} s ends before"
    return [warn(SECTION, name, text, f"lower profiles.{name}.guard_s, or raise turn.budget_s")]


def _judge_idle(name: str, profile: Profile, platform: str) -> list[Finding]:
    """What a profile on the plain one says for nothing, because that one is silent: its name may be a slip."""
    if platform != PLAIN:
        return []
    idle = [key for key in OF_GUARDS if not profile.guard and getattr(profile, key) != getattr(OPENAI, key)]
    if profile.sentences and "say" not in (profile.early_failure, profile.late_failure, profile.on_empty):
        idle.append("sentences")
    if not idle:
        return []
    known = BUILT_IN.keys() - {PLAIN}
    cure = f"rename it, or give it a base, or a guard and what it says; {near(name, known)}"
    return [warn(SECTION, name, f"it rests on {PLAIN}, which says nothing, so it has no use for {listed(idle)}", cure)]


def _judge_languages(name: str, profile: Profile, settings: Settings) -> list[Finding]:
    """Whether it can speak as the models that choose it do."""
    found = []
    for model, said in settings.models.items():
        for key, wanted in (("fillers", "filler" in profile.guard), ("sentences", profile.late_failure == "say")):
            phrases: Mapping[str, object] = getattr(profile, key)
            if said.profile == name and said.language and wanted and not speaks(phrases, said.language):
                text = f"model {model} speaks {said.language}, and it has no {key} in that language"
                found.append(warn(SECTION, name, text, f"add profiles.{name}.{key}.{said.language}"))
    return found


def _judge_cascades(name: str, profile: Profile, settings: Settings) -> list[Finding]:
    """Whether a model that chooses it has time for its next target. The settings see to the turn's own budget."""
    if profile.budget_s is None:
        return []
    models = [(model, said) for model, said in settings.models.items() if said.profile == name]
    late = {target: model for model, said in models for target in said.targets[:-1]}
    return [
        warn(
            SECTION,
            name,
            f"budget_s is {profile.budget_s:g}, so model {model} has no time left for the target after {target}",
            f"lower targets.{target}.first_content_s, or raise profiles.{name}.budget_s",
        )
        for target, model in late.items()
        if settings.targets[target].first_content_s >= profile.budget_s
    ]
