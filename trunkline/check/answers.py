"""What an upstream's answers mean: its certificate, its list of models, its first token. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from ssl import cert_time_to_seconds
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from protocol.presets import PATHS, row
from protocol.settings import Model, Target
from trunkline.check.findings import Finding, fail, ok, warn
from trunkline.check.sizes import listed

SECTION = "targets"
SOON_DAYS = 14
ANY = "*"


class _Model(Struct):
    id: str


class _Models(Struct):
    data: list[_Model]


def models_url(target: Target) -> str:
    """Where an upstream lists its models, which costs nothing. `base_url` may be the URL that turns are posted to; in
    the `messages` dialect it may lack the `/v1`.
    """
    base_url = target.base_url.rstrip("/")
    for path in PATHS.values():
        base_url = base_url.removesuffix(path)
    if target.dialect == "messages" and not urlsplit(base_url).path:
        base_url += "/v1"
    return base_url + row(target).models_path.format(model=target.model, api_version=target.api_version)


def address(base_url: str) -> tuple[str, int, bool]:
    """Host, port, and whether it is TLS."""
    parts = urlsplit(base_url)
    tls = parts.scheme == "https"
    return parts.hostname or "", parts.port or (443 if tls else 80), tls


def judge_certificate(name: str, certificate: dict[str, Any], now: datetime) -> tuple[str, list[Finding]]:
    """A phrase about how long it holds; a finding where that is not long. It was verified already."""
    until = datetime.fromtimestamp(cert_time_to_seconds(certificate["notAfter"]), UTC)
    days = (until - now).days
    phrase = f"TLS certificate until {until:%Y-%m-%d}"
    if days >= SOON_DAYS:
        return phrase, []
    text = f"its TLS certificate ends in {days} days, on {until:%Y-%m-%d}"
    return phrase, [warn(SECTION, name, text, "renew it; workers refuse the upstream from then on")]


def judge_models(name: str, target: Target, status: int, body: bytes) -> tuple[str, list[Finding]]:
    """What the answer to GET /models says of URL, key and model: a phrase, and a finding where something is wrong."""
    if status == 200:
        return _judge_list(name, target, body)
    if status == 401:
        return "", [_key_refused(name, target)]
    if status == 403:
        cure = "see what the key may do; `trunkline check --spend` asks for a token"
        return "", [warn(SECTION, name, "the key may not list models (403)", cure)]
    if status >= 500:
        return "", [fail(SECTION, name, f"answers {status}", "see the upstream's own state; turns fail now")]
    return f"lists no models ({status})", []


def _judge_list(name: str, target: Target, body: bytes) -> tuple[str, list[Finding]]:
    try:
        known = sorted(model.id for model in msgspec.json.decode(body, type=_Models).data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "lists no models", []
    if target.model == ANY or "{model}" in row(target).path:  # a deployment has a name of its own
        return f"lists {len(known)} models", []
    if target.model in known or _is_alias(target, known):
        return f"lists {target.model}", []
    cure = f"correct targets.{name}.model; it has {listed(known)}" if known else "see whether it has loaded one"
    return "", [warn(SECTION, name, f"does not list the model {target.model}", cure)]


def _is_alias(target: Target, known: list[str]) -> bool:
    """Anthropic takes a model's id without its date, and lists it with the date."""
    return target.dialect == "messages" and any(model.startswith(f"{target.model}-") for model in known)


def _key_refused(name: str, target: Target) -> Finding:
    if target.api_key_env:
        return fail(SECTION, name, "refuses the key (401)", f"put a key that it knows into {target.api_key_env}")
    return fail(SECTION, name, "wants a key (401)", f"name its variable: targets.{name}.api_key_env")


def judge_preset(name: str, target: Target) -> list[Finding]:
    """That nobody has run what the preset says, where that is so."""
    preset = row(target)
    if target.preset is None or preset.verified:
        return []
    text = f"unverified: what preset {preset.name} says was read on {preset.read_on}, and not run; {preset.source}"
    return [ok(SECTION, name, text)]


def judge_hedge(name: str, target: Target, models: Mapping[str, Model]) -> list[Finding]:
    """Whether a target that is to be hedged has another one to be hedged with. `models`: those that use it."""
    key = "hedge_after_s" if target.hedge_after_s is not None else "hedge_percentile"
    if getattr(target, key) is None or not models or any(name in model.targets[:-1] for model in models.values()):
        return []
    cure = f"put another one behind it in the targets of {listed(sorted(models))}, or remove targets.{name}.{key}"
    return [warn(SECTION, name, f"has {key}, and no target that could start beside it", cure)]


def judge_first_token(name: str, target: Target, first_s: float) -> tuple[str, list[Finding]]:
    """Whether the first token came in time."""
    phrase = f"first token after {first_s * 1000:.0f} ms"
    if first_s <= target.first_content_s:
        return phrase, []
    text = f"{phrase}, later than first_content_s ({target.first_content_s:g} s)"
    cure = f"choose a faster model, or raise targets.{name}.first_content_s"
    return phrase, [warn(SECTION, name, text, cure)]


def judge_connect(name: str, target: Target, took_s: float) -> tuple[str, list[Finding]]:
    """Whether the connection came about in time."""
    host, port, _ = address(target.base_url)
    phrase = f"connected to {host}:{port} in {took_s * 1000:.0f} ms"
    if took_s <= target.connect_s:
        return phrase, []
    text = f"{phrase}, longer than connect_s ({target.connect_s:g} s)"
    cure = f"look at the way to it, or raise targets.{name}.connect_s"
    return phrase, [warn(SECTION, name, text, cure)]
