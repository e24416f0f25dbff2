"""A WebSocket is asked for where there is plain HTTP alone: LiveKit's and Pipecat's default for responses.

Neither client shows what such a refusal says, so it is in the log too.

Source: livekit-plugins-openai 1.8.9, `responses.LLM`, which dials `<base URL>?model=NAME`; pipecat-ai 1.14,
`OpenAIResponsesLLMService`.
"""

import logging
import time
from collections.abc import Callable

from aiohttp import web

from edge import paths
from protocol.errors import NoWebSocket

log = logging.getLogger(__name__)

LOG_EVERY_S = 60.0  # for each path: an agent dials again and again
CURE = (
    "no WebSocket is served here: responses come over HTTP. LiveKit: openai.responses.LLM(use_websocket=False); "
    "Pipecat: OpenAIResponsesHttpLLMService in place of OpenAIResponsesLLMService"
)


class NoWebSockets:
    """Refuses them. `now` is a clock in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._logged: dict[str, float] = {}

    def refuse(self, request: web.Request) -> None:
        """Raises NoWebSocket: the request asks for one, where an agent looks for the API."""
        if request.method != "GET" or request.headers.get("Upgrade", "").strip().lower() != "websocket":
            return
        route = paths.socket_route(request.rel_url.raw_path)
        if route is None:
            return
        now = self._now()
        if now - self._logged.get(route, -LOG_EVERY_S) >= LOG_EVERY_S:
            self._logged[route] = now
            log.warning("%s", CURE, extra={"path": route})
        raise NoWebSocket(CURE)
