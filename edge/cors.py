"""Which web pages may call the API from a browser: none, unless their origins are configured. Pure.

By hand, because it is this little: `aiohttp-cors` wants to be told every route of aiohttp's own table, and the API's
paths are read by `edge.paths`. Cookies play no part, so nothing is said of credentials.

Source: WHATWG Fetch, section 3.3, HTTP CORS protocol.
"""

from collections.abc import Collection, Iterable, Mapping

ANY = "*"
EXPOSED = "x-request-id, x-trace-id, x-trunkline-call-id, Retry-After, retry-after-ms, x-should-retry"
PREFLIGHT_S = 600  # a browser asks again after this; the settings may have changed


class Cors:
    """The origins that are configured."""

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = origins

    def headers(self, origin: str | None) -> dict[str, str]:
        """What every answer to a request from `origin` carries, errors and streams too."""
        vary = {} if ANY in self._origins else {"Vary": "Origin"}
        if not self._allows(origin):
            return vary
        allowed = ANY if ANY in self._origins else str(origin)
        return {**vary, "Access-Control-Allow-Origin": allowed, "Access-Control-Expose-Headers": EXPOSED}

    def preflight(self, headers: Mapping[str, str], methods: Iterable[str]) -> dict[str, str] | None:
        """What the answer to a browser's question before its request carries beside `headers`; None: it asks none.

        Whatever headers it names may be sent: SDKs add their own, and a wildcard would not cover `Authorization`.
        """
        if not (self._allows(headers.get("Origin")) and headers.get("Access-Control-Request-Method")):
            return None
        answer = {
            "Access-Control-Allow-Methods": ", ".join(methods),
            "Access-Control-Max-Age": str(PREFLIGHT_S),
        }
        if asked := headers.get("Access-Control-Request-Headers"):
            answer["Access-Control-Allow-Headers"] = asked
        return answer

    def _allows(self, origin: str | None) -> bool:
        return bool(origin) and (ANY in self._origins or origin in self._origins)
