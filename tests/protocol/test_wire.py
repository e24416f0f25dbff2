"""One way to hold a connection to NATS: the rules around the client, with a client that a script drives."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from protocol.wire import Arrived, Disconnected, NatsWire, NoResponders, UnknownClient, publication, tell
from tests.virtual_time import play


class Transport:
    """A connection: what was written to it, command by command."""

    def __init__(self) -> None:
        self._io_writer: Any = SimpleNamespace(get_extra_info=lambda _: None)
        self.broken = False
        self.writes: list[list[bytes]] = []

    def writelines(self, lines: list[bytes]) -> None:
        if self.broken:
            raise OSError("gone")
        self.writes.append(lines)


class Client:
    """As much of nats-py's client as the wire uses."""

    def __init__(self, *, fails: int = 0) -> None:
        self.fails = fails
        self.options: dict[str, Any] = {}
        self.max_payload = 1000
        self._server_info: dict[str, Any] = {}
        self._transport: Any = Transport()
        self.is_connected = True
        self._reconnection_task_future = None
        self.last_error = None
        self.is_closed = False
        self.subscribed: dict[str, Callable[[Any], Awaitable[None]]] = {}
        self.queues: dict[str, SimpleNamespace] = {}
        self.flushes_that_wait = 0
        self._pending: list[bytes] = []
        self._pending_data_size = 0
        self.called: dict[str, Any] = {}

    async def connect(self, servers: list[str], **options: Any) -> None:
        if self.fails:
            self.fails -= 1
            raise OSError("connection refused")
        self.called = options

    @property
    def published(self) -> list[tuple[str, bytes]]:
        """Subject and data of every PUB."""
        return [(command.split(b" ")[1].decode(), command.split(b"\r\n")[1]) for command in self._commands()]

    @property
    def replies(self) -> list[str]:
        return [command.split(b" ")[2].decode() for command in self._commands()]

    def _commands(self) -> list[bytes]:
        return [command for write in self._transport.writes for command in write]

    async def subscribe(self, subject: str, *, cb: Any, **_: Any) -> Any:
        self.subscribed[subject] = cb
        self.queues[subject] = SimpleNamespace(_pending_queue=asyncio.Queue(), drain=lambda: asyncio.sleep(0))
        return self.queues[subject]

    async def answer(self, number: int, data: bytes = b"", **headers: str) -> None:
        """To the request of that number, counted from 0, once it is sent."""
        await asyncio.sleep(0)
        [inbox] = [subject for subject in self.subscribed if subject.startswith("_INBOX.")]
        subject = self.replies[number]
        await self.subscribed[inbox](SimpleNamespace(subject=subject, data=data, reply="", headers=headers))

    async def _flush_pending(self, force_flush: bool = False) -> None:
        if force_flush or self.flushes_that_wait:
            await asyncio.sleep(0)
        if not force_flush:
            self._transport.writes.append(self._pending)
            self._pending, self._pending_data_size = [], 0

    async def flush(self, timeout: float) -> None:
        await asyncio.sleep(0)

    async def close(self) -> None:
        self.is_closed = True


Scene = Callable[[NatsWire, Client], Awaitable[None]]


def connected(scene: Scene) -> None:
    async def whole() -> None:
        client = Client()
        async with NatsWire(lambda: client, "nats://a", name="n", wait_s=1.0) as wire:
            await scene(wire, client)

    play(whole())


def test_publishers_never_wait_and_order_is_kept() -> None:
    async def scene(wire: NatsWire, client: Client) -> None:
        for number in range(3):
            wire.publish("s", b"%d" % number)
        await asyncio.sleep(0)

        assert client.published == [("s", b"0"), ("s", b"1"), ("s", b"2")]
        assert len(client._transport.writes) == 1, "what is said together is one write"
        assert client._pending_data_size == 0

    connected(scene)


COMMANDS = {
    "plain": (("s.a", b"data", "", None), b"PUB s.a  4\r\ndata\r\n"),
    "with a reply": (("s.a", b"", "r.1", None), b"PUB s.a r.1 0\r\n\r\n"),
    "with headers": (
        ("s", b"data", "r", {"Nats-TTL": "8", "traceparent": "00-ä"}),
        b"HPUB s r 45 49\r\nNATS/1.0\r\nNats-TTL: 8\r\ntraceparent: 00-\xc3\xa4\r\n\r\ndata\r\n",
    ),
}


@pytest.mark.parametrize(("message", "command"), COMMANDS.values(), ids=COMMANDS)
def test_a_message_as_the_server_reads_it(message: tuple[Any, ...], command: bytes) -> None:
    assert publication(*message) == command


SMUGGLED = {
    "a space in a subject": ("s 0\r\n", "r", None),
    "a line break in a reply": ("s", "r\r\nPUB", None),
    "no subject": ("", "", None),
    "a line break in a header": ("s", "", {"tracestate": "a=b\r\nNats-TTL: 1"}),
    "a line feed in a header": ("s", "", {"tracestate": "a=b\n"}),
}


@pytest.mark.parametrize(("subject", "reply", "headers"), SMUGGLED.values(), ids=SMUGGLED)
def test_nothing_is_smuggled_into_a_command(subject: str, reply: str, headers: dict[str, str] | None) -> None:
    with pytest.raises(ValueError, match=r"one word|one line"):
        publication(subject, b"", reply, headers)


def test_a_message_over_the_servers_limit_is_not_sent_for_it_would_end_the_connection() -> None:
    async def scene(wire: NatsWire, client: Client) -> None:
        for size in (1001, 1000):
            wire.publish("s", b"x" * size)
        wire.publish("s", b"x" * 1000, headers={"a": "b"})  # they count
        await asyncio.sleep(0)

        assert client.published == [("s", b"x" * 1000)]

    connected(scene)


def test_over_a_web_socket_the_clients_own_task_writes() -> None:
    async def scene(wire: NatsWire, client: Client) -> None:
        client._transport._io_writer = None  # as nats-py's transport for web sockets has none
        await client.called["reconnected_cb"]()
        wire.publish("s", b"1")
        await asyncio.sleep(0)

        assert client.published == [("s", b"1")]

    connected(scene)


def test_a_client_library_that_waits_where_it_never_did_is_told_of_at_once() -> None:
    async def scene(wire: NatsWire, client: Client) -> None:
        client._transport._io_writer = None
        await client.called["reconnected_cb"]()
        client.flushes_that_wait = 1
        wire.publish("s", b"1")
        with pytest.raises(UnknownClient):
            wire._write()
        client.flushes_that_wait = 0

    connected(scene)


def test_a_request_that_the_client_does_not_take_fails_at_once() -> None:
    async def scene(wire: NatsWire, client: Client) -> None:
        began = asyncio.get_running_loop().time()
        client.is_connected = False  # it knows before it tells
        with pytest.raises(Disconnected):
            await wire.request("s", b"", timeout_s=5.0)
        assert asyncio.get_running_loop().time() == began

    connected(scene)


def test_one_message_that_cannot_be_sent_holds_up_no_other() -> None:
    async def scene(wire: NatsWire, client: Client) -> None:
        wire.publish("not a subject", b"")
        wire.publish("s", b"1")
        await asyncio.sleep(0)

        assert client.published == [("s", b"1")]

    connected(scene)


def test_a_connection_that_breaks_under_a_write_is_a_loss_like_any_other() -> None:
    async def scene(wire: NatsWire, client: Client) -> None:
        client._transport.broken = True
        wire.publish("s", b"1")
        await asyncio.sleep(0)
        client._transport.broken = False
        wire.publish("s", b"2")
        await asyncio.sleep(0)

        assert client.published == [("s", b"2")]

    connected(scene)


def test_while_the_bus_is_away_nothing_is_buffered_to_be_said_late() -> None:
    async def scene(wire: NatsWire, client: Client) -> None:
        client._pending = [b"PUB s 6\r\nunsent\r\n"]
        await client.called["disconnected_cb"]()
        assert client._pending == [], "nats-py would say it late"

        with pytest.raises(Disconnected):
            wire.publish("s", b"late")
        with pytest.raises(Disconnected):
            await wire.request("s", b"", timeout_s=1.0)
        with pytest.raises(Disconnected):
            await wire.flush()
        tell(wire, "s", b"who cares")
        await client.called["reconnected_cb"]()
        await wire.flush()

        assert client.published == []

    connected(scene)


def test_watchers_hear_of_every_change_once() -> None:
    async def scene(wire: NatsWire, client: Client) -> None:
        seen: list[bool] = []
        wire.on_connection(seen.append)
        first = wire.connected_at
        await asyncio.sleep(1.0)
        for _ in range(2):
            await client.called["disconnected_cb"]()
        await client.called["reconnected_cb"]()

        assert seen == [False, True]
        assert wire.connected_at > first

    connected(scene)


def test_every_request_gets_its_own_answer_and_only_the_first_of_them() -> None:
    async def scene(wire: NatsWire, client: Client) -> None:
        one, other = (asyncio.ensure_future(wire.request("s", b"?", timeout_s=1.0)) for _ in range(2))
        await asyncio.sleep(0)
        for number, data in ((1, b"b"), (0, b"a"), (0, b"again")):
            await client.answer(number, data)

        assert [await one, await other] == [b"a", b"b"]
        await client.answer(0, b"late")

    connected(scene)


def test_a_request_that_nobody_hears_or_answers_says_so() -> None:
    async def scene(wire: NatsWire, client: Client) -> None:
        unheard = asyncio.ensure_future(wire.request("s", b"?", timeout_s=1.0))
        await asyncio.sleep(0)
        await client.answer(0, Status="503")
        with pytest.raises(NoResponders):
            await unheard
        with pytest.raises(TimeoutError):
            await wire.request("s", b"?", timeout_s=1.0)

    connected(scene)


def test_a_message_as_its_receiver_sees_it() -> None:
    async def scene(wire: NatsWire, client: Client) -> None:
        seen: list[Arrived] = []
        await wire.subscribe("s.*", seen.append)
        for headers in (None, {"Status": "503"}, {"traceparent": "t"}):
            await client.subscribed["s.*"](SimpleNamespace(subject="s.a", data=b"d", reply="r", headers=headers))

        assert [arrived.status for arrived in seen] == [None, "503", None]
        assert seen[0] == Arrived("s.a", b"d", "r")

    connected(scene)


def test_a_message_reaches_its_receiver_in_the_moment_it_is_read() -> None:
    """nats-py would put it into a queue and wake a task for each."""

    async def scene(wire: NatsWire, client: Client) -> None:
        seen: list[Arrived] = []
        await wire.subscribe("s", seen.append)
        client.queues["s"]._pending_queue.put_nowait(SimpleNamespace(subject="s", data=b"d", reply="", headers=None))

        assert seen == [Arrived("s", b"d")]

    connected(scene)


def test_a_receiver_that_breaks_ends_no_subscription() -> None:
    async def scene(wire: NatsWire, client: Client) -> None:
        seen: list[bytes] = []

        def receive(message: Arrived) -> None:
            seen.append(message.data)
            raise ValueError("a bug")

        await wire.subscribe("s", receive)
        for data in (b"1", b"2"):
            await client.subscribed["s"](SimpleNamespace(subject="s", data=data, reply="", headers=None))

        assert seen == [b"1", b"2"]

    connected(scene)


def test_the_start_waits_for_the_server() -> None:
    async def scene() -> None:
        client = Client(fails=2)
        async with NatsWire(lambda: client, "nats://a", name="n", wait_s=2.0) as wire:
            assert wire.connected
            assert wire.max_payload == 1000

    play(scene())


def test_a_start_that_finds_no_server_says_so_and_tells_no_secret() -> None:
    async def scene() -> None:
        wire = NatsWire(lambda: Client(fails=99), "nats://user:secret@a:4222,nats://b", name="n", wait_s=1.0)
        with pytest.raises(Disconnected, match=r"no NATS server at a:4222, nats://b within 1 s") as raised:
            await wire.__aenter__()
        assert "secret" not in str(raised.value)

    play(scene())


def test_it_reconnects_soon_and_for_ever() -> None:
    async def scene(wire: NatsWire, client: Client) -> None:
        assert client.options["max_reconnect_attempts"] == -1
        assert client.called["pending_size"] == 0
        waits = [client.called["reconnect_to_server_handler"](["a", "b"], {}) for _ in range(20)]
        assert all(0.02 <= wait <= 0.25 for _, wait in waits)
        assert {server for server, _ in waits} == {"a", "b"}

    connected(scene)
