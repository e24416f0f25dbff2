"""What an upstream's answers mean: its certificate, its list of models, its first token. Pure."""

from datetime import UTC, datetime
from ssl import cert_time_to_seconds
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec
from msgspec import Struct

from protocol.settings import Target
from trunkline.check.findings import Finding, fail, warn
from trunkline.check.sizes import listed
from workers.targets.chat_completions import PATH, endpoint

SECTION = "targets"
SOON_DAYS = 14
ANY = "*"


class _Model(Struct):
    id: str


class _Models(Struct):
    data: list[_Model]


def models_url(base_url: str) -> str:
    """Where an OpenAI-compatible server lists its models, which costs nothing."""
    parts = urlsplit(endpoint(base_url))
    return urlunsplit(parts._replace(path=parts.path.removesuffix(PATH) + "/models"))


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
    if target.model == ANY:
        return f"lists {len(known)} models", []
    if target.model in known:
        return f"lists {target.model}", []
    cure = f"correct targets.{name}.model; it has {listed(known)}" if known else "see whether it has loaded one"
    return "", [warn(SECTION, name, f"does not list the model {target.model}", cure)]


def _key_refused(name: str, target: Target) -> Finding:
    if target.api_key_env:
        return fail(SECTION, name, "refuses the key (401)", f"put a key that it knows into {target.api_key_env}")
    return fail(SECTION, name, "wants a key (401)", f"name its variable: targets.{name}.api_key_env")


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
