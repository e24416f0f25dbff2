"""One way to hold a connection to NATS: the rules around the client, with a client that a script drives."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from protocol.wire import Arrived, Disconnected, NatsWire, NoResponders, UnknownClient, tell
from tests.virtual_time import play


class Client:
    """As much of nats-py's client as the wire uses."""

    def __init__(self, *, fails: int = 0) -> None:
        self.fails = fails
        self.options: dict[str, Any] = {}
        self.max_payload = 1000
        self._server_info: dict[str, Any] = {}
        self._transport = None
        self._reconnection_task_future = None
        self.last_error = None
        self.is_closed = False
        self.published: list[tuple[str, bytes]] = []
        self.subscribed: dict[str, Callable[[Any], Awaitable[None]]] = {}
        self.replies: list[str] = []
        self._pending: list[bytes] = []
        self.called: dict[str, Any] = {}

    async def connect(self, servers: list[str], **options: Any) -> None:
        if self.fails:
            self.fails -= 1
            raise OSError("connection refused")
        self.called = options

    async def publish(self, subject: str, data: bytes, *, reply: str = "", headers: Any = None) -> None:
        if subject == "waits":
            await asyncio.sleep(0)
        if subject == "broken":
            raise OSError("gone")
        self.published.append((subject, data))
        self.replies.append(reply)

    async def subscribe(self, subject: str, *, cb: Any, **_: Any) -> Any:
        self.subscribed[subject] = cb
        return SimpleNamespace(drain=lambda: asyncio.sleep(0), unsubscribe=lambda: asyncio.sleep(0))

    async def answer(self, number: int, data: bytes = b"", **headers: str) -> None:
        """To the request of that number, counted from 0."""
        [inbox] = [subject for subject in self.subscribed if subject.startswith("_INBOX.")]
        subject = self.replies[number]
        await self.subscribed[inbox](SimpleNamespace(subject=subject, data=data, reply="", headers=headers))

    async def _flush_pending(self, force_flush: bool = False) -> None:
        await asyncio.sleep(0)

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

        assert client.published == [("s", b"0"), ("s", b"1"), ("s", b"2")]

    connected(scene)


def test_a_client_library_that_waits_where_it_never_did_is_told_of_at_once() -> None:
    async def scene(wire: NatsWire, client: Client) -> None:
        with pytest.raises(UnknownClient):
            wire.publish("waits", b"")

    connected(scene)


def test_a_request_that_the_client_does_not_take_fails_at_once() -> None:
    async def scene(wire: NatsWire, client: Client) -> None:
        began = asyncio.get_running_loop().time()
        with pytest.raises(Disconnected):
            await wire.request("broken", b"", timeout_s=5.0)
        assert asyncio.get_running_loop().time() == began

    connected(scene)


def test_one_message_that_cannot_be_sent_holds_up_no_other() -> None:
    async def scene(wire: NatsWire, client: Client) -> None:
        wire.publish("broken", b"")
        wire.publish("s", b"1")

        assert client.published == [("s", b"1")]

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
