"""What both tiers need of a connection to NATS, and one way to hold it.

The client class comes from the caller (`edge/bus.py`, `workers/bus.py`), so that this layer stays free of transports
and a test can put a bus in memory in its place.
"""

import asyncio
import logging
import random
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from secrets import token_hex
from typing import Any, NamedTuple, Protocol

from protocol.at_once import Waits, at_once

log = logging.getLogger(__name__)

NO_RESPONDERS = "503"
RECONNECT_FIRST_S, RECONNECT_LAST_S = 0.05, 0.25  # nats-py waits 2 s by default: that long is dead air
PING_INTERVAL_S, PINGS_LOST = 0.5, 2  # and pings every 120 s
CONNECT_S = 0.6  # a stopped server accepts and says nothing: look again soon
FLUSH_S = 1.0
BREAKS = re.compile(r"\s").search
TCP_USER_TIMEOUT_MS = 2000  # a black hole with unsent bytes would hang the reconnect for minutes


class Disconnected(Exception):
    """The bus is away. Nothing is buffered to be said late."""


class UnknownClient(Exception):
    """The client library does not do what this file relies on."""


class NoResponders(Exception):
    """Nobody listens on that subject."""


class Arrived(NamedTuple):
    """One message as it came. `status`: of the server's own notices, else None."""

    subject: str
    data: bytes
    reply: str = ""
    headers: Mapping[str, str] | None = None
    status: str | None = None


Callback = Callable[[Arrived], None]


class Subscription(Protocol):
    """Something that can be ended."""

    async def unsubscribe(self) -> None:
        """Nothing more will be sent; what has arrived is still handed over."""


class Wire(Protocol):
    """The bus as its two halves see it. Callbacks are called in order and only hand over."""

    connected: bool
    connected_at: float  # event loop's clock, seconds: of the last (re)connect
    max_payload: int  # bytes, headers counted
    clustered: bool

    def publish(self, subject: str, data: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None) -> None:
        """Hand over for sending, in order. Raises Disconnected."""

    async def subscribe(self, subject: str, callback: Callback) -> Subscription:
        """Lasts over reconnects."""

    async def request(
        self, subject: str, data: bytes, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """The answer. Raises TimeoutError, NoResponders, Disconnected."""

    async def flush(self) -> None:
        """Return once the server has all that was published. Raises TimeoutError, Disconnected."""

    def on_connection(self, callback: Callable[[bool], None]) -> None:
        """Call back with False when the connection is lost and True when it is there again."""


def tell(wire: Wire, subject: str, data: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None) -> None:
    """Publish what heals by itself when it is lost: where the bus is away, nothing happens."""
    with suppress(Disconnected):
        wire.publish(subject, data, reply=reply, headers=headers)


def _arrived(message: Any) -> Arrived:
    headers = message.headers
    status = headers.get("Status") if headers else None
    return Arrived(message.subject, message.data, message.reply, headers, status)


class NatsWire:
    """A connection that reconnects soon and for ever, and refuses to publish while it is away.

    `new_client` makes a `nats.aio.client.Client`, `url` may name several servers of a cluster, with commas.
    Use as a context manager around everything that uses the bus.
    """

    def __init__(self, new_client: Callable[[], Any], url: str, *, name: str, wait_s: float) -> None:
        self._new_client = new_client
        self._client: Any = None
        self._servers = [server.strip() for server in url.split(",")]
        self._name = name
        self._wait_s = wait_s
        self._renewing: asyncio.Task[None] | None = None
        self._leaving = False
        self._subscriptions: list[_NatsSubscription] = []
        self._answers = f"_INBOX.{token_hex(12)}"
        self._asked: dict[str, asyncio.Future[Arrived]] = {}  # by the last token of the reply subject
        self._request_number = 0
        self._watchers: list[Callable[[bool], None]] = []
        self._attempts = 0
        self._last_error = ""
        self._sending = False  # what is published meanwhile leaves with it
        self._by_hand = True  # nats-py writes to a TCP connection at once, to a web socket only in its own task
        self.connected = False
        self.connected_at = 0.0
        self.max_payload = 0
        self.clustered = False

    async def __aenter__(self) -> "NatsWire":
        """Connect, trying for `wait_s` seconds. Raises Disconnected."""
        try:
            async with asyncio.timeout(self._wait_s):
                while not await self._try_connect():  # noqa: ASYNC110 - there is no event to wait for
                    await asyncio.sleep(RECONNECT_LAST_S)
        except TimeoutError:
            servers = ", ".join(_without_secrets(server) for server in self._servers)
            raise Disconnected(f"no NATS server at {servers} within {self._wait_s:g} s {self._last_error}") from None
        self._came()
        await self.subscribe(f"{self._answers}.*", self._on_answer)
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(TimeoutError, Disconnected):
            await self.flush()
        self.connected = False
        self._leaving = True
        if self._renewing:
            self._renewing.cancel()
        try:
            await self._client.close()
        except Exception as error:  # nats-py writes what is left in its buffer even to a connection that is gone
            log.debug("left: %s", error)

    async def _try_connect(self) -> bool:
        self._client = self._new_client()
        try:
            await self._client.connect(
                self._servers,
                name=self._name,
                max_reconnect_attempts=1,  # of this first try alone: afterwards for ever
                reconnect_time_wait=RECONNECT_FIRST_S,
                reconnect_to_server_handler=self._next_server,
                connect_timeout=CONNECT_S,
                ping_interval=PING_INTERVAL_S,
                max_outstanding_pings=PINGS_LOST,
                pending_size=0,  # refuse while disconnected: what is said late is worth nothing
                error_cb=self._on_error,
                disconnected_cb=self._went,
                closed_cb=self._closed,
                reconnected_cb=self._came_back,
            )
        except Exception as error:  # whatever it is: not there yet, and the last one is told
            self._note(error)
            return False
        self._client.options["max_reconnect_attempts"] = -1
        return True

    def _next_server(self, servers: list[Any], _info: dict[str, Any]) -> tuple[Any, float]:
        """Which server to try next, and the wait before it in seconds: growing, with jitter."""
        wait = min(RECONNECT_LAST_S, RECONNECT_FIRST_S * 2 ** min(self._attempts, 8))
        server = servers[self._attempts % len(servers)]
        self._attempts += 1
        return server, wait * random.uniform(0.5, 1.0)

    def _came(self) -> None:
        self.connected = True
        self.connected_at = asyncio.get_running_loop().time()
        self.max_payload = self._client.max_payload
        self.clustered = bool(self._client._server_info.get("cluster"))
        self._attempts = 0
        transport = getattr(self._client._transport, "_io_writer", None)
        self._by_hand = transport is not None
        sock = transport.get_extra_info("socket") if transport else None
        if sock is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TCP_USER_TIMEOUT_MS)

    async def _came_back(self) -> None:
        self._came()
        log.info("the bus is back")
        for watcher in self._watchers:
            watcher(True)

    async def _went(self) -> None:
        if not self.connected:
            return
        self.connected = False
        self._client._pending, self._client._pending_data_size = [], 0  # nats-py would say it late
        log.warning("the bus is away")
        for watcher in self._watchers:
            watcher(False)

    async def _closed(self) -> None:
        """nats-py gives up for good on most errors that a server tells, such as a password that was changed."""
        if not self._leaving and (self._renewing is None or self._renewing.done()):
            log.error("the bus has turned us away: %s", self._client.last_error)
            self._renewing = asyncio.create_task(self._renew(), name="bus renewal")

    async def _renew(self) -> None:
        """Begin anew, with the same subscriptions."""
        while not await self._try_connect() or not await self._resubscribe():  # noqa: ASYNC110 - no event either
            await asyncio.sleep(RECONNECT_LAST_S)
        await self._came_back()

    async def _resubscribe(self) -> bool:
        try:
            for subscription in self._subscriptions:
                await subscription.open(self._client)
        except Exception as error:  # turned away again
            log.debug("not subscribed: %s", error)
            await self._client.close()
        return not self._client.is_closed

    async def _on_error(self, error: Exception) -> None:
        self._note(error)
        if self._client._reconnection_task_future is not None:
            self._client._transport.close()  # nats-py leaves the connection of a failed attempt open
        log.debug("bus: %s: %s", type(error).__name__, error)

    def _note(self, error: Exception) -> None:
        """Keep what says most: a refusal is told once, and then the connection just breaks."""
        if type(error).__name__ != "NoServersError" and "uthorization" not in self._last_error:
            self._last_error = f"({error})"

    def on_connection(self, callback: Callable[[bool], None]) -> None:
        self._watchers.append(callback)

    def publish(self, subject: str, data: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None) -> None:
        if not self.connected:
            raise Disconnected("the bus is away")
        self._send(subject, data, reply, headers)

    def _send(self, subject: str, data: bytes, reply: str, headers: Mapping[str, str] | None) -> bool:
        """Whether it is on its way: into nats-py's own buffer, which its own `publish` fills for thrice the CPU."""
        client = self._client
        try:
            command = publication(subject, data, reply, headers)
        except ValueError as error:
            log.error("not sent: %s", error)
            return False
        size = len(command) - command.index(b"\r\n") - 4
        if not client.is_connected or size > self.max_payload:  # the server would end the connection
            log.debug("not sent: away, or %d bytes are too many", size)
            return False
        client._pending.append(command)
        client._pending_data_size += len(command)
        if not self._sending:
            self._sending = True
            asyncio.get_running_loop().call_soon(self._write)
        return True

    def _write(self) -> None:
        """All that was published in one turn of the event loop is one write."""
        client, self._sending = self._client, False
        if not (client._pending and client.is_connected):
            return
        if not self._by_hand:
            self._let_write()
            return
        pending, client._pending, client._pending_data_size = client._pending, [], 0
        try:
            client._transport.writelines(pending)
        except (OSError, RuntimeError) as error:  # away between the check and the write: a loss like any other
            log.debug("not sent: %s", error)

    def _let_write(self) -> None:
        try:
            at_once(self._client._flush_pending())
        except Waits:
            raise UnknownClient(
                "nats-py waits where it never did: it is of a version that Trunkline does not know"
            ) from None

    async def subscribe(self, subject: str, callback: Callback) -> Subscription:
        def hand_over(message: Any) -> None:
            try:
                callback(_arrived(message))
            except Exception:
                log.exception("a message on %s broke its receiver", subject)

        subscription = _NatsSubscription(subject, hand_over, self._subscriptions)
        await subscription.open(self._client)
        self._subscriptions.append(subscription)
        return subscription

    async def request(
        self, subject: str, data: bytes, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> bytes:
        if not self.connected:
            raise Disconnected("the bus is away")
        loop = asyncio.get_running_loop()
        self._request_number += 1
        number = str(self._request_number)
        answer: asyncio.Future[Arrived] = loop.create_future()
        self._asked[number] = answer
        timer = loop.call_later(timeout_s, _too_late, answer)
        try:
            if not self._send(subject, data, f"{self._answers}.{number}", headers):
                raise Disconnected("the bus is away")
            arrived = await answer
        finally:
            timer.cancel()
            del self._asked[number]
        if arrived.status == NO_RESPONDERS:
            raise NoResponders(subject)
        return arrived.data

    def _on_answer(self, arrived: Arrived) -> None:
        """The first one counts; nats-py's own requests do the same for four times the CPU."""
        answer = self._asked.get(arrived.subject.rpartition(".")[2])
        if answer is not None and not answer.done():
            answer.set_result(arrived)

    async def flush(self) -> None:
        if not self.connected:
            raise Disconnected("the bus is away")
        self._write()
        try:
            await _hand_to_socket(self._client)
            await self._client.flush(timeout=FLUSH_S)
        except TimeoutError:
            raise
        except Exception as error:
            raise Disconnected(str(error)) from None


def publication(subject: str, data: bytes, reply: str, headers: Mapping[str, str] | None) -> bytes:
    """The command that publishes.

    Raises:
        ValueError: a space or a line break where it would be read as the end of a word, or of the whole command.

    Source: NATS client protocol, PUB and HPUB.
    """
    if BREAKS(subject) or BREAKS(reply) or not subject:
        raise ValueError("a subject is one word")
    if not headers:
        return b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply.encode(), len(data), data)
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
        raise ValueError("a header is one line")
    head = f"NATS/1.0\r\n{lines}\r\n".encode()
    sizes = b"%d %d" % (len(head), len(head) + len(data))
    return b"HPUB %b %b %b\r\n%b%b\r\n" % (subject.encode(), reply.encode(), sizes, head, data)


def _too_late(answer: "asyncio.Future[Arrived]") -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())


async def _hand_to_socket(client: Any) -> None:
    """Everything so far: the ping of nats-py's `flush` overtakes what still waits in its own buffer."""
    await client._flush_pending(force_flush=True)


class _Straight(asyncio.Queue[Any]):
    """In place of a subscription's queue, for which nats-py would wake a task: a message is handed over as it comes."""

    def __init__(self, hand_over: Callable[[Any], None]) -> None:
        super().__init__()
        self._hand_over = hand_over

    def put_nowait(self, item: Any) -> None:
        self._hand_over(item)


class _NatsSubscription:
    def __init__(self, subject: str, hand_over: Callable[[Any], None], others: "list[_NatsSubscription]") -> None:
        self._subject = subject
        self._hand_over = hand_over
        self._others = others
        self._client: Any = None
        self._subscription: Any = None

    async def open(self, client: Any) -> None:
        """Subscribe, on this connection from now on."""
        self._client = client
        self._subscription = await client.subscribe(
            self._subject, cb=self._queued, pending_msgs_limit=0, pending_bytes_limit=0
        )
        self._subscription._pending_queue = _Straight(self._hand_over)

    async def _queued(self, message: Any) -> None:
        self._hand_over(message)

    async def unsubscribe(self) -> None:
        with suppress(ValueError):  # a second time
            self._others.remove(self)
        try:
            async with asyncio.timeout(FLUSH_S):
                await self._client._send_unsubscribe(self._subscription._id)
                await _hand_to_socket(self._client)
                await self._subscription.drain()  # what has arrived is still handed over
        except Exception as error:  # away: the server has forgotten it already
            log.debug("unsubscribed without the server: %s", error)


def _without_secrets(url: str) -> str:
    """A server's address without the user and password that it may hold."""
    return url.rpartition("@")[2] if "@" in url else url
