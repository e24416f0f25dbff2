"""One connection to a real server: it refuses while it is away, comes back soon, and delivers nothing late."""

import asyncio
import gc
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from protocol.wire import Arrived, Disconnected, NatsWire, NoResponders, tell
from tests.broker.halves import TappedWire, eventually, within
from tests.broker.nats_server import NatsServer, unused_port
from tests.conftest import StartNats


class Heard:
    """What one subscription was handed."""

    def __init__(self) -> None:
        self.messages: list[Arrived] = []

    def __call__(self, arrived: Arrived) -> None:
        self.messages.append(arrived)

    @property
    def data(self) -> list[bytes]:
        return [message.data for message in self.messages]


class Said:
    """The verbs that a connection writes to its socket."""

    def __init__(self, wire: NatsWire, monkeypatch: pytest.MonkeyPatch) -> None:
        self._verbs: list[bytes] = []
        for name in ("write", "writelines"):
            monkeypatch.setattr(wire._client._transport, name, self._tap(getattr(wire._client._transport, name)))

    def _tap(self, write: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def tapped(data: Any) -> Any:
            text = data if isinstance(data, bytes) else b"".join(data)
            self._verbs += [line.split()[0] for line in text.splitlines()]
            return write(data)

        return tapped

    def first(self, verb: bytes) -> int:
        return self._verbs.index(verb)

    def last(self, verb: bytes) -> int:
        return max(index for index, it in enumerate(self._verbs) if it == verb)


def open_connections(server: NatsServer) -> int:
    """How many of this process lead to the server."""
    writers = [it for it in gc.get_objects() if isinstance(it, asyncio.StreamWriter)]
    peers = [writer.get_extra_info("peername") for writer in writers if not writer.is_closing()]
    return sum(peer is not None and peer[1] == server.port for peer in peers)


async def back(server: NatsServer) -> None:
    await asyncio.to_thread(server.start)


async def test_messages_arrive_in_order_with_their_reply_and_headers(nats_server: NatsServer) -> None:
    async with TappedWire(nats_server.url) as one, TappedWire(nats_server.url) as other:
        heard = Heard()
        await other.subscribe("wire.order.*", heard)
        await other.flush()

        for number in range(100):
            one.publish(f"wire.order.{number}", b"%d" % number)
        one.publish("wire.order.last", b"", reply="wire.reply", headers={"Nats-Msg-Id": "7"})

        await eventually(lambda: len(heard.messages) == 101)
        assert heard.data[:-1] == [b"%d" % number for number in range(100)]
        last = heard.messages[-1]
        assert (last.subject, last.reply, last.status) == ("wire.order.last", "wire.reply", None)
        assert last.headers is not None
        assert last.headers["Nats-Msg-Id"] == "7"


async def test_a_callback_that_fails_is_logged_and_the_next_message_still_comes(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Heard()

    def fail_first(arrived: Arrived) -> None:
        heard(arrived)
        if len(heard.messages) == 1:
            raise ValueError("a bug")

    async with TappedWire(nats_server.url) as wire:
        await wire.subscribe("wire.bug", fail_first)
        wire.publish("wire.bug", b"one")
        wire.publish("wire.bug", b"two")
        await eventually(lambda: heard.data == [b"one", b"two"])
    assert "a message on wire.bug broke its receiver" in caplog.text


async def test_requests_say_what_became_of_them(nats_server: NatsServer) -> None:
    async with TappedWire(nats_server.url) as wire:
        await wire.subscribe("wire.echo", lambda arrived: wire.publish(arrived.reply, arrived.data))
        await wire.subscribe("wire.mute", lambda arrived: None)

        assert await wire.request("wire.echo", b"hello", timeout_s=5.0) == b"hello"
        with pytest.raises(NoResponders):
            await wire.request("wire.nobody", b"", timeout_s=5.0)
        with pytest.raises(TimeoutError):
            await wire.request("wire.mute", b"", timeout_s=0.05)


async def test_a_message_that_nobody_hears_is_answered_with_a_status_of_its_own(nats_server: NatsServer) -> None:
    async with TappedWire(nats_server.url) as wire:
        heard = Heard()
        await wire.subscribe("wire.gone", heard)
        wire.publish("wire.nobody", b"hello", reply="wire.gone")
        await eventually(lambda: len(heard.messages) == 1)
        assert heard.messages[0].status == "503"


async def test_unsubscribing_hands_over_what_had_arrived_and_nothing_more(nats_server: NatsServer) -> None:
    async with TappedWire(nats_server.url) as one, TappedWire(nats_server.url) as other:
        heard = Heard()
        subscription = await one.subscribe("wire.last", heard)
        await one.flush()
        for number in range(500):
            other.publish("wire.last", b"%d" % number)
        await other.flush()  # all are on their way

        await subscription.unsubscribe()

        assert heard.data == [b"%d" % number for number in range(500)]
        other.publish("wire.last", b"too late")
        await other.flush()
        await one.flush()
        assert len(heard.messages) == 500


async def test_a_flush_and_an_unsubscribe_do_not_overtake_what_was_said_before_them(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client library writes its ping past its own buffer: the pong then says nothing about what is in there."""
    async with TappedWire(nats_server.url) as wire:
        subscription = await wire.subscribe("wire.word", lambda arrived: None)
        await wire.flush()
        said = Said(wire, monkeypatch)

        wire.publish("wire.other", b"hello")
        await wire.flush()
        assert said.first(b"PUB") < said.last(b"PING")
        await subscription.unsubscribe()
        assert said.first(b"UNSUB") < said.last(b"PING")


async def test_a_server_that_nobody_runs_is_named_without_its_password() -> None:
    port = unused_port()
    with pytest.raises(Disconnected) as failure:
        async with TappedWire(f"nats://someone:hush@127.0.0.1:{port}", wait_s=0.3):
            pass
    assert str(failure.value).startswith(f"no NATS server at 127.0.0.1:{port} within 0.3 s")
    assert "hush" not in str(failure.value)
    assert "someone" not in str(failure.value)


async def test_a_wrong_password_is_told_and_not_shown(start_nats: StartNats, tmp_path: Path) -> None:
    secured = tmp_path / "secured.conf"
    secured.write_text('authorization: {user: "trunkline", password: "right"}\njetstream: {}\n')
    server = start_nats(options=["-c", str(secured)])
    address = f"127.0.0.1:{server.port}"

    async with TappedWire(f"nats://trunkline:right@{address}") as wire:
        await wire.flush()
    with pytest.raises(Disconnected) as failure:
        async with TappedWire(f"nats://trunkline:wrong@{address}", wait_s=2.0):
            pass
    assert address in str(failure.value)
    assert "uthorization" in str(failure.value)
    assert "wrong" not in str(failure.value)


async def test_a_server_that_comes_up_within_the_wait_is_found(start_nats: StartNats) -> None:
    server = start_nats(wait=False)
    async with TappedWire(server.url) as wire:
        await wire.flush()
        assert wire.max_payload == 12 << 20


async def test_while_the_server_is_away_nothing_can_be_said_and_nothing_is_said_late(start_nats: StartNats) -> None:
    server = start_nats()
    async with TappedWire(server.url) as one, TappedWire(server.url) as other:
        heard, connections = Heard(), list[bool]()
        await other.subscribe("wire.word", heard)
        await other.flush()
        one.on_connection(connections.append)
        before = one.connected_at

        server.kill()
        sent_into_the_void = 0
        while one.connected:  # not noticed yet: these are lost, as on any wire
            tell(one, "wire.word", b"late")
            sent_into_the_void += 1
            await asyncio.sleep(0)
        with pytest.raises(Disconnected):
            one.publish("wire.word", b"late")
        with pytest.raises(Disconnected):
            await one.request("wire.word", b"late", timeout_s=1.0)
        with pytest.raises(Disconnected):
            await one.flush()
        tell(one, "wire.word", b"late")
        await back(server)
        await eventually(lambda: one.connected and other.connected)
        await other.flush()  # it hears again
        one.publish("wire.word", b"now")

        await eventually(lambda: b"now" in heard.data)
        assert heard.data == [b"now"]
        assert connections == [False, True]
        assert one.connected_at > before
        assert sent_into_the_void > 0


async def test_a_frozen_server_is_noticed_and_a_thawed_one_found_again(start_nats: StartNats) -> None:
    server = start_nats()
    async with TappedWire(server.url) as wire:
        heard = Heard()
        await wire.subscribe("wire.word", heard)
        await wire.flush()

        server.freeze()
        await eventually(lambda: not wire.connected)
        attempts = wire._attempts
        await eventually(lambda: wire._attempts == attempts + 3)
        assert open_connections(server) <= 1, "one per attempt was left behind"
        server.thaw()

        await eventually(lambda: wire.connected)
        wire.publish("wire.word", b"now")
        await eventually(lambda: heard.data == [b"now"])


async def test_a_server_that_turns_us_away_for_a_while_does_not_lose_us_for_good(
    start_nats: StartNats, tmp_path: Path
) -> None:
    """The client library closes for good on an error that the server tells, such as a password that was changed."""
    config = tmp_path / "reloaded.conf"
    config.write_text("jetstream: {}\n")
    server = start_nats(options=["-c", str(config)])
    async with TappedWire(server.url) as wire:
        heard = Heard()
        await wire.subscribe("wire.word", heard)
        await wire.flush()

        config.write_text('jetstream: {}\nauthorization: {user: "somebody", password: "else"}\n')
        server.send(signal.SIGHUP)
        await eventually(lambda: not wire.connected)
        await asyncio.sleep(0.5)  # for some attempts that are refused
        config.write_text("jetstream: {}\n")
        server.send(signal.SIGHUP)

        await eventually(lambda: wire.connected, what="it is back")
        wire.publish("wire.word", b"now")
        await eventually(lambda: heard.data == [b"now"])


async def test_leaving_while_the_server_is_away_neither_hangs_nor_complains(
    start_nats: StartNats, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_nats()
    wire: NatsWire = TappedWire(server.url)
    await wire.__aenter__()
    server.kill()
    await eventually(lambda: not wire.connected)

    await within(wire.__aexit__())

    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
