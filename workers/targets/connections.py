"""The connections of a worker's one HTTP client: kept, told apart, and never handed out when something is wrong."""

import asyncio
import functools
from collections import deque
from collections.abc import Mapping
from contextvars import ContextVar
from ssl import SSLContext
from time import monotonic
from typing import Any, cast

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientOSError,
    ClientPayloadError,
    ClientResponseError,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    DummyCookieJar,
    InvalidURL,
    ServerDisconnectedError,
    TCPConnector,
)
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest, ConnectionKey
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

KEEPALIVE_S = 60.0  # longer than the pause between two turns of a call
DNS_S = 30  # a name's addresses are asked for again after this: upstreams move theirs within a minute or so
DNS_NAMES = 1000
NO_TIMEOUT = ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)

reused: ContextVar[bool | None] = ContextVar("reused", default=None)
"""Whether the connection of this task's last request has carried one before. None: no connection was made, so that
nothing was sent.
"""

wants_new = ContextVar("wants_new", default=False)
"""Set: the next request of this task takes no connection that was open before."""


def open_session(tls: SSLContext | None = None) -> ClientSession:
    """The one HTTP client of a worker: as many connections as there are slots, kept warm, no cookies between callers.

    A context manager; targets share it and never close it. `tls` says whose certificates are trusted, else the
    system does.
    """
    return ClientSession(connector=Connector(tls), cookie_jar=DummyCookieJar())


def connector_of(session: ClientSession) -> "Connector":
    """The connector of a session that `open_session` made."""
    connector = session.connector
    if not isinstance(connector, Connector):
        raise TypeError("a session of `open_session` is wanted")
    return connector


class _Reader(ResponseHandler):
    """aiohttp resumes its parser after every read: where nothing is paused that is for nothing."""

    has_carried = False  # a request

    def resume_reading(self, resume_parser: bool = True) -> None:
        if self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)


class Connector(TCPConnector):
    """Tells a new connection from a kept one; aiohttp's own tracing does too, for some per cent of a turn's CPU.

    A connection on which its other end spoke unasked is not used again: what it said would be taken for the answer
    to the next turn.
    """

    def __init__(self, tls: SSLContext | None = None) -> None:
        super().__init__(
            limit=0,
            keepalive_timeout=KEEPALIVE_S,
            ttl_dns_cache=DNS_S,
            dns_cache_max_size=DNS_NAMES,
            ssl=True if tls is None else tls,
        )
        self._factory: Any = functools.partial(_Reader, loop=self._loop)
        self._limits_s: dict[tuple[str, int | None], float] = {}  # host and port → how long a connection may idle

    def keep(self, limits_s: Mapping[tuple[str, int | None], float]) -> None:
        """How many seconds connections may idle, by host and port; `KEEPALIVE_S` for any other."""
        self._limits_s = dict(limits_s)
        self._keepalive_timeout = max([KEEPALIVE_S, *limits_s.values()])

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout) -> Connection:
        """See aiohttp."""
        connection = await super().connect(req, traces, timeout)
        protocol = cast(_Reader, connection.protocol)
        reused.set(protocol.has_carried)
        protocol.has_carried = True
        return connection

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        if wants_new.get():
            return None
        idle = self._conns.get(key)
        while idle and not self._is_good(key, *idle[0]):  # aiohttp takes the first
            idle.popleft()[0].close()
        return await super()._get(key, traces)

    def _is_good(self, key: ConnectionKey, protocol: ResponseHandler, since: float, *, in_s: float = 0.0) -> bool:
        """Whether an idle connection is as it was left, and will be young enough in so many seconds."""
        limit_s = self._limits_s.get((key.host, key.port), KEEPALIVE_S)
        return monotonic() + in_s - since <= limit_s and protocol.is_connected() and not protocol.should_close

    def good_ones(self, url: str, *, in_s: float) -> int:
        """How many connections to the host of `url` idle, and will be good in so many seconds. Closes the others."""
        key = self._request(url).connection_key
        good: deque[tuple[ResponseHandler, float]] = deque()
        for protocol, since in self._conns.pop(key, ()):
            if self._is_good(key, protocol, since, in_s=in_s):
                good.append((protocol, since))
            else:
                protocol.close()
        if good:
            self._conns[key] = good
        return len(good)

    async def open_one(self, url: str, *, within_s: float) -> None:
        """Open one more connection and leave it idle: TCP and TLS, no request. For its first one it is as good as new.

        Raises:
            ClientError, OSError: it cannot be opened. A TimeoutError is one: it took longer than `within_s`.
        """
        request = self._request(url)
        async with asyncio.timeout(within_s):
            protocol = await self._create_connection(request, [], NO_TIMEOUT)
        if self.closed:
            protocol.close()
        else:
            self._release(request.connection_key, protocol)

    def _request(self, url: str) -> ClientRequest:
        """Never sent: aiohttp connects for a request."""
        return ClientRequest("POST", URL(url), loop=self._loop)


WORDS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (ClientConnectorDNSError, "its name is not known"),
    ((InvalidURL, UnicodeError), "its address is none"),  # an empty label, or one that is too long
    (ClientConnectorCertificateError, "its certificate is not trusted"),
    (ClientSSLError, "it does not speak TLS as asked"),
    (ClientConnectorError, "it cannot be connected to"),
    (ServerDisconnectedError, "it hung up"),
    (ClientPayloadError, "it hung up in the middle"),
    (ClientOSError, "the connection is lost"),
    (ClientResponseError, "it does not speak HTTP as it should"),
)
"""What a caller may hear of a failure: no host, no port. The more telling kinds come first."""


def why(error: Exception) -> str:
    """See `WORDS`."""
    return next((words for kind, words in WORDS if isinstance(error, kind)), "the connection failed")
