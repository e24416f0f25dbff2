"""Who asks: API keys -> tenants."""

import hmac
from collections.abc import Iterable, Mapping
from hashlib import sha256

from protocol.errors import InvalidKey, NoKey
from protocol.settings_voice import DEFAULT_TENANT


class Keys:
    """The keys that are configured; without any, everybody is the default tenant.

    `headers` are those that may hold a key as it is, beside `Authorization: Bearer`.
    """

    def __init__(self, keys: Mapping[str, str], headers: Iterable[str] = ()) -> None:
        self._digests = {name: sha256(secret.encode()).digest() for name, secret in keys.items()}
        self._headers = tuple(headers)
        ways = ["'Authorization: Bearer KEY'", *(f"'{name}: KEY'" for name in self._headers), "the path /t/KEY/v1/..."]
        self._no_key = f"no API key came with the request; send it as {', '.join(ways[:-1])} or in {ways[-1]}"

    def tenant_of(self, headers: Mapping[str, str], from_path: str | None = None) -> str:
        """The name of the key that a request carries: of the first that is ours.

        One that is not ours does no harm beside it: clients of OpenAI's cannot but send something as their key.

        Raises:
            NoKey: no key came.
            InvalidKey: none is ours.
        """
        if not self._digests:
            return DEFAULT_TENANT
        said = [_bearer(headers.get("Authorization", "")), *(headers.get(name, "").strip() for name in self._headers)]
        secrets = [secret for secret in (*said, from_path) if secret]
        if not secrets:
            raise NoKey(self._no_key)
        names = [name for secret in secrets for name in self._names_of(secret)]
        if not names:
            raise InvalidKey("the API key is not known here; check that it was copied whole")
        return names[0]

    def _names_of(self, secret: str) -> list[str]:
        """The names of a key. Every key is compared, in constant time."""
        digest = sha256(secret.encode("utf-8", "surrogateescape")).digest()
        return [name for name, known in self._digests.items() if hmac.compare_digest(known, digest)]


def _bearer(authorization: str) -> str:
    scheme, _, secret = authorization.partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""
