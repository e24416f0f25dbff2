"""Connections that are open before a turn asks for one."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from ssl import SSLContext
from typing import Any

import pytest

from protocol.errors import UpstreamError
from protocol.messages import Finished
from protocol.settings import Target
from tests.tcp import listening
from tests.workers.fake_upstream import Exchange, FakeUpstream, says, upstream
from tests.workers.target_jobs import job
from trunkline.ports import free_port
from workers.targets import Patience, warm
from workers.targets.chat_completions import CHAT_COMPLETIONS
from workers.targets.connections import open_session
from workers.targets.upstream import Upstream
from workers.targets.warm import Warm, origins

CERTIFICATE = Path(__file__).parents[1] / "cli" / "upstream.pem"  # self-signed, for 127.0.0.1; its key is in there


def server_tls() -> SSLContext:
    context = SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def target(url: str, **told: Any) -> Target:
    return Target(base_url=url, model="up", **told)


async def whole(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.send(says("Hello."))
    await exchange.end()


async def turn(session: Any, told: Target) -> None:
    """One, from its beginning to its end."""
    one = Upstream("gpt", told, CHAT_COMPLETIONS, session=session)
    frames = [frame async for frame in one.stream(job(), headers={}, patience=Patience(8.0, 60.0))]
    assert isinstance(frames[-1], Finished)


class Warmed:
    """A session whose connections are kept warm for the length of a test."""

    def __init__(self, session: Any, warm: Warm) -> None:
        self.session = session
        self.warm = warm


@asynccontextmanager
async def warming(targets: Mapping[str, Target], tls: SSLContext | None = None) -> AsyncIterator[Warmed]:
    async with open_session(tls) as session:
        warm = Warm(session, targets)
        running = asyncio.create_task(warm.run())
        try:
            yield Warmed(session, warm)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
async def test_a_turn_goes_over_a_connection_that_was_open_before(secure: bool) -> None:
    """Nothing is asked of the upstream until the turn comes."""
    trusted = ssl.create_default_context(cafile=str(CERTIFICATE)) if secure else None
    async with upstream(whole, server_tls() if secure else None) as fake:
        told = target(fake.url, warm=2)
        async with warming({"gpt": told}, trusted) as warmed:
            await fake.has_open(2)
            assert not fake.seen
            await turn(warmed.session, told)
            assert (len(fake.seen), fake.connections) == (1, 2)
        await fake.has_open(0)


async def test_no_connection_is_opened_where_none_is_wanted() -> None:
    async with upstream(whole) as cold, upstream(whole) as fake:
        told = {"cold": target(cold.url, warm=0), "gpt": target(fake.url, warm=1)}
        async with warming(told):
            await fake.has_open(1)
            assert cold.connections == 0


async def test_connections_are_renewed_before_they_expire() -> None:
    """Idle ones are never older than `keepalive_s`."""
    async with upstream(whole) as fake, warming({"gpt": target(fake.url, warm=1, keepalive_s=0.2)}):
        async with asyncio.timeout(10), fake.changed:
            await fake.changed.wait_for(lambda: fake.connections == 4)
        assert fake.open <= 2


async def test_a_target_may_have_its_connections_idle_for_less_long_than_others() -> None:
    async with upstream(whole) as brief, upstream(whole) as long:
        told = {"a": target(brief.url, warm=0, keepalive_s=0.05), "b": target(long.url, warm=0)}
        async with warming(told) as warmed:
            for _ in range(2):
                await turn(warmed.session, told["a"])
                await turn(warmed.session, told["b"])
                await asyncio.sleep(0.1)
        assert (brief.connections, long.connections) == (2, 1)


class Lines(logging.Handler):
    """What a log says, one record at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.said: asyncio.Queue[logging.LogRecord] = asyncio.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self.said.put_nowait(record)


async def test_an_upstream_that_is_away_is_told_once_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "AWAY_S", 0.01)
    lines, fake, port = Lines(), FakeUpstream(whole), free_port("127.0.0.1")
    warm.log.addHandler(lines)
    monkeypatch.setattr(warm.log, "level", logging.INFO)
    try:
        async with asyncio.timeout(10), warming({"gpt": target(f"http://127.0.0.1:{port}", warm=2)}):
            assert (await lines.said.get()).levelname == "WARNING"
            await asyncio.sleep(0.1)  # a few tries more
            async with listening(fake.serve, port=port):
                assert "again" in (await lines.said.get()).getMessage()
                await fake.has_open(2)
        assert lines.said.empty()
    finally:
        warm.log.removeHandler(lines)


async def test_a_signal_fills_up_at_once_and_many_are_as_good_as_one() -> None:
    hung_up = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not hung_up.is_set():
            hung_up.set()
            writer.close()
        else:
            await fake.serve(reader, writer)

    fake = FakeUpstream(whole)
    async with listening(serve) as port, warming({"gpt": target(f"http://127.0.0.1:{port}", warm=1)}) as warmed:
        await hung_up.wait()
        await asyncio.sleep(0.05)  # it is known here too
        assert fake.connections == 0
        for _ in range(100):
            warmed.warm.warm_now()
        await fake.has_open(1)
    assert fake.connections == 1


async def test_other_targets_are_warmed_after_a_change() -> None:
    async with upstream(whole) as former, upstream(whole) as latter:
        told = {"a": target(former.url, warm=1)}
        async with warming(told) as warmed:
            await former.has_open(1)
            warmed.warm.change({"b": target(latter.url, warm=1)})
            await latter.has_open(1)
            assert former.connections == 1


async def test_who_hangs_up_on_a_connection_opened_in_advance_is_not_asked_again() -> None:
    """It has seen the request, which is the first on its connection."""

    async def answer(exchange: Exchange) -> None:
        exchange.cut()

    async with upstream(answer) as fake:
        told = target(fake.url, warm=2)
        async with warming({"gpt": told}) as warmed:
            await fake.has_open(2)
            with pytest.raises(UpstreamError, match="it hung up"):
                await turn(warmed.session, told)
        assert len(fake.seen) == 1


async def test_an_answer_that_nobody_asked_for_is_never_taken_for_one() -> None:
    """A connection on which its other end has spoken is not used."""
    spoken = asyncio.Event()
    answers = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answers
        answers += 1
        if answers == 1:
            with closing(writer):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                await writer.drain()
                spoken.set()
                await reader.read()
        else:
            await FakeUpstream(whole).serve(reader, writer)

    async with listening(serve) as port:
        told = target(f"http://127.0.0.1:{port}", warm=1)
        async with warming({"gpt": told}) as warmed:
            await spoken.wait()
            await asyncio.sleep(0.05)  # it has arrived
            await turn(warmed.session, told)
        assert answers == 2


def test_targets_of_one_host_share_connections() -> None:
    one, other, far = (
        target("https://h/v1", warm=1),
        target("https://h:443/v2", warm=3, keepalive_s=5),
        target("http://h"),
    )
    found = origins({"a": one, "b": other, "c": far})
    assert [(origin.targets, origin.count, origin.keepalive_s) for origin in found] == [
        (("a", "b"), 3, 5),
        (("c",), 2, 60),
    ]
