"""The signature of ElevenLabs' webhooks, read and held against our secrets. Pure.

    ElevenLabs-Signature: t=<unix seconds>,v0=<hex>[,v0=<hex> …]

`v0` is the HMAC-SHA256 of `<t>.<raw body>` under the webhook's shared secret. While a secret is changed there may be
several, and there may be several secrets here: any pair that fits is enough.

Source: ElevenLabs' documentation, "Webhooks" (elevenlabs.io/docs/eleven-api/resources/webhooks), as read in November
2026; its SDKs check the same in `construct_event`, with 30 minutes' tolerance.
"""

import hmac
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256

from msgspec import Struct

from protocol.errors import InvalidSignature
from protocol.settings_profiles import HooksSettings
from protocol.settings_source import SettingsError

HEADER = "ElevenLabs-Signature"
MOST_DIGESTS = 8  # each is compared with each secret's
SECONDS = re.compile(r"[0-9]{1,12}")
DIGEST = re.compile(r"[0-9a-fA-F]{64}")
FORM = f"{HEADER}: t=<unix seconds>,v0=<hex of an HMAC-SHA256>"


class Signature(Struct, frozen=True):
    """What the header says. `at`: the moment as it is signed, character by character."""

    at: str
    digests: tuple[bytes, ...]


class Secrets:
    """The shared secrets of one platform's webhooks. Nothing shows them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple(secret.encode(errors="surrogateescape") for secret in secrets)

    def proof(self, header: str, *, now: float, window_s: float) -> "Proof":
        """What is to be fed with the body. `now`: our clock, in unix seconds.

        Raises:
            InvalidSignature: of the header alone it can be seen that it is none.
        """
        signature = read(header)
        check_moment(signature, now=now, window_s=window_s)
        begun = f"{signature.at}.".encode()
        return Proof([hmac.new(secret, begun, sha256) for secret in self._secrets], signature)


def secrets_of(hooks: HooksSettings, environ: Mapping[str, str]) -> Secrets | None:
    """The secrets that the settings name, several with commas between; None: no webhook is taken.

    Raises:
        SettingsError: the variable is not set.
    """
    variable = hooks.elevenlabs_secret_env
    if variable is None:
        return None
    secrets = [secret for part in environ.get(variable, "").split(",") if (secret := part.strip())]
    if not secrets:
        raise SettingsError(
            f"hooks.elevenlabs_secret_env takes the webhook's secret from {variable}, which is not set; export "
            f"{variable}=… as ElevenLabs shows it, or leave the setting out"
        )
    return Secrets(secrets)


class Proof:
    """A signature on its way to be checked: the body may come in parts, of which none need be kept."""

    def __init__(self, computed: list[hmac.HMAC], signature: Signature) -> None:
        self._computed = computed
        self._signature = signature

    def add(self, part: bytes) -> None:
        """The next bytes of the body."""
        for one in self._computed:
            one.update(part)

    def holds(self) -> bool:
        """Whether all that was added is what was signed. Every pair is compared, each in constant time."""
        ours = [one.digest() for one in self._computed]
        return sum(hmac.compare_digest(one, theirs) for one in ours for theirs in self._signature.digests) > 0


def read(header: str) -> Signature:
    """The header's parts, in any order; those of schemes that are not known here are passed over.

    Raises:
        InvalidSignature: there is none, or it has not this form.
    """
    if not header.strip():
        raise InvalidSignature(f"no signature came with the request; it belongs into {FORM}")
    parts = [part.strip().partition("=") for part in header.split(",")]
    moments = [value for name, _, value in parts if name == "t"]
    digests = [value for name, _, value in parts if name == "v0"]
    if len(moments) != 1 or not SECONDS.fullmatch(moments[0]):
        raise InvalidSignature(f"the signature does not say once when it was made; its form is {FORM}")
    if not 1 <= len(digests) <= MOST_DIGESTS or not all(map(DIGEST.fullmatch, digests)):
        raise InvalidSignature(f"the signature has no v0 that can be read; its form is {FORM}")
    return Signature(moments[0], tuple(map(bytes.fromhex, digests)))


def check_moment(signature: Signature, *, now: float, window_s: float) -> None:
    """Raises InvalidSignature: it was made too long ago, or too far ahead of our clock (unix seconds)."""
    age_s = now - int(signature.at)
    if abs(age_s) > window_s:
        which = "old" if age_s > 0 else "far in the future"
        raise InvalidSignature(
            f"the signature is too {which}: {abs(age_s):.0f} s, and hooks.window_s allows {window_s:g}; sign anew, or "
            "compare the clocks"
        )
