"""Who asks: API keys -> tenants."""

import hmac
from collections.abc import Mapping
from hashlib import sha256

from protocol.errors import InvalidKey, NoKey

DEFAULT_TENANT = "default"


class Keys:
    """The keys that are configured; without any, everybody is the default tenant."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._digests = {name: sha256(secret.encode()).digest() for name, secret in keys.items()}

    def tenant_of(self, authorization: str | None) -> str:
        """The name of the key in an `Authorization` header.

        Raises:
            NoKey: no key came.
            InvalidKey: it is none of ours. Every key is compared, in constant time.
        """
        if not self._digests:
            return DEFAULT_TENANT
        scheme, _, secret = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise NoKey("no API key came with the request; send it as 'Authorization: Bearer KEY'")
        digest = sha256(secret.strip().encode("utf-8", "surrogateescape")).digest()
        names = [name for name, known in self._digests.items() if hmac.compare_digest(known, digest)]
        if not names:
            raise InvalidKey("the API key is not known here; check that it was copied whole")
        return names[0]
