"""Where the line is, and as whom to call it."""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from protocol.settings import Settings, SettingsError
from protocol.settings_source import value_of
from protocol.settings_values import HttpUrl
from trunkline import run_file

KEY = re.compile(r"[!-~]+")
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # where to reach what listens everywhere


class Address(Struct, frozen=True):
    """A line and our key for it, which `repr` leaves out."""

    url: str  # without /v1
    key: str | None
    local: bool  # this machine's own line: its NATS and its traces are at hand

    def __repr__(self) -> str:
        return f"Address({self.url!r})"


def find(settings: Settings, environ: Mapping[str, str], *, url: str | None, key_env: str | None) -> Address:
    """The line that `url` names, else the one that `trunkline up` runs here, else where an edge would listen.

    A key of the settings goes to this machine's own line alone: `url` may be a stranger's.

    Raises:
        SettingsError: the URL is none, or the variable holds no key.
    """
    base = (url or _running(settings) or _configured(settings)).rstrip("/").removesuffix("/v1")
    host = _host(base)
    local = url is None or is_loopback(host)
    if key_env is not None:
        return Address(base, key_from(environ, key_env), local)
    ours = next(iter(settings.api_keys.values()), None)
    return Address(base, ours if local else None, local)


def key_from(environ: Mapping[str, str], variable: str) -> str:
    """The key that a variable holds; never quoted. Raises SettingsError."""
    key = environ.get(variable, "").strip()
    if not key:
        raise SettingsError(f"--key-env names {variable}, which is not set; export {variable}=…")
    if not KEY.fullmatch(key):
        raise SettingsError(f"{variable} holds no key: one is made of visible ASCII characters; set it again")
    return key


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _host(url: str) -> str:
    """Raises SettingsError: this is no URL."""
    value_of(url, HttpUrl, place="--url", key="url")
    try:
        parts = urlsplit(url)
        if parts.port != 0 and parts.hostname:
            return parts.hostname
    except ValueError:
        pass
    raise SettingsError("--url is not usable; its host or its port is none")


def _running(settings: Settings) -> str | None:
    url = run_file.read(Path(settings.data_dir)).get("url")
    return url if isinstance(url, str) else None


def _configured(settings: Settings) -> str:
    host = ANYWHERE.get(settings.edge.host, settings.edge.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.edge.port}"
