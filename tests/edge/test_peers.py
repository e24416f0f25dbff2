"""Asking workers, and the verdict on those that do not answer."""

import asyncio
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import pytest

from edge.inbox import Inbox
from edge.lines import Line
from edge.peers import Peer, Watcher
from protocol import codec
from protocol.codec import Addressed
from protocol.messages import Answer, Ask, Claimed, Text
from protocol.wire import Callback, Disconnected, NoResponders, Subscription
from tests.virtual_time import play

Reply = Answer | type[Exception] | None
"""What an ask meets: an answer, an exception at once, or (None) silence."""


class Scripted:
    """A wire, and the echo beside it, as the script has them; the last entry goes on for ever."""

    max_payload, clustered = 1 << 20, False

    def __init__(self, replies: list[Reply], *, echoes: bool = True, connected_for_s: float = 60.0) -> None:
        self._replies = replies
        self._echoes = echoes
        self.loop = asyncio.get_running_loop()
        self.connected = True
        self.connected_at = self.loop.time() - connected_for_s
        self.asked: list[tuple[float, Ask]] = []
        self.lost: list[tuple[float, int]] = []

    async def request(
        self, subject: str, data: bytes, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> bytes:
        ask = codec.decode_control(data)
        assert isinstance(ask, Ask)
        self.asked.append((self.loop.time(), ask))
        reply = self._replies[min(len(self.asked), len(self._replies)) - 1]
        if reply is None:
            await asyncio.sleep(timeout_s)
            raise TimeoutError
        if isinstance(reply, Answer):
            await asyncio.sleep(0.001)
            return codec.encode(reply)
        raise reply(subject)

    def publish(self, subject: str, data: bytes, *, reply: str = "", headers: Any = None) -> None:
        raise AssertionError("nothing else is said")

    async def subscribe(self, subject: str, callback: Callback) -> Subscription:
        raise AssertionError

    async def flush(self) -> None:
        raise AssertionError

    def on_connection(self, callback: Callable[[bool], None]) -> None:
        raise AssertionError

    # the echo
    def send(self) -> int:
        if not self.connected:
            raise Disconnected
        return len(self.asked)

    def came_back(self, number: int) -> bool:
        return self._echoes

    # what is found
    def bury(self, peer: Peer, line: Line) -> None:
        owner = line.fence.owner
        assert owner is not None
        peer.claims.pop(owner.claim)
        self.lost.append((self.loop.time(), owner.claim))


def line(claim: int, heard: int = 1) -> Line:
    made = Line(claim, "default", "m", "s", b"", {}, Inbox())
    for seq in range(heard):
        made.fence.judge("w", Addressed(claim, claim, seq, Text("a") if seq else Claimed("ack")))
    return made


async def watched(script: Scripted, *lines: Line, for_s: float = 5.0) -> tuple[float, Peer]:
    """Watch the lines of one worker for a while. When it began, and what has become of the peer."""
    began = script.loop.time()
    peer = Peer("w", began)
    peer.claims = {made.number: made for made in lines}
    watcher = Watcher(script, lambda worker: f"worker.{worker}", "e", script, script.bury)
    task = asyncio.ensure_future(watcher.watch(peer))
    await asyncio.wait([task], timeout=for_s)
    task.cancel()
    await asyncio.wait([task])
    return began, peer


def test_a_quiet_worker_is_asked_after_100_ms_and_then_every_500_at_least() -> None:
    async def scene() -> None:
        script = Scripted([Answer((1,))])
        began, _ = await watched(script, line(7))

        moments = [at - began for at, _ in script.asked]
        assert moments[0] == pytest.approx(0.1, abs=0.01)
        assert all(b - a <= 0.51 for a, b in pairwise(moments))
        assert script.lost == []

    play(scene())


def test_one_ask_lists_every_claim_with_the_number_that_is_expected() -> None:
    async def scene() -> None:
        script = Scripted([Answer((1, 3))])
        await watched(script, line(7), line(8, heard=3), for_s=0.15)

        assert script.asked[0][1] == Ask("e", ((7, 1), (8, 3)))

    play(scene())


def test_a_claim_that_its_worker_does_not_know_is_lost_the_others_are_not() -> None:
    async def scene() -> None:
        script = Scripted([Answer((1, None)), Answer((1,))])
        await watched(script, line(7), line(8))

        assert [claim for _, claim in script.lost] == [8]

    play(scene())


def test_a_hole_is_asked_for_again_at_once() -> None:
    async def scene() -> None:
        script = Scripted([Answer((4,)), Answer((4,)), Answer((1,))])
        await watched(script, line(7), for_s=0.2)

        first, second, third = (at for at, _ in script.asked[:3])
        assert second - first < 0.02
        assert third - second < 0.02

    play(scene())


VERDICTS: dict[str, tuple[list[Reply], bool, float, tuple[float, float] | None]] = {
    # what the asks meet, whether the echo comes back, seconds since the (re)connect -> lost between these moments
    "it answers": ([Answer((1,))], True, 60.0, None),
    "it has left the bus": ([NoResponders], True, 60.0, (0.25, 0.3)),
    "it was away for a moment": ([NoResponders, Answer((1,))], True, 60.0, None),
    "we have just come back ourselves": ([NoResponders, NoResponders, NoResponders, Answer((1,))], True, 0.2, None),
    "it stays away after we came back": ([NoResponders], True, 0.2, (0.8, 1.1)),
    "it is frozen": ([None], True, 60.0, (0.85, 1.05)),
    "it was late once": ([None, Answer((1,))], True, 60.0, None),
    "it is late every other time": ([None, Answer((1,))] * 5, True, 60.0, None),
    "we are cut off": ([None], False, 60.0, None),
    "the bus is away": ([Disconnected], True, 60.0, None),
    "away between two signs": ([NoResponders, Disconnected, NoResponders, Answer((1,))], True, 60.0, None),
}


@pytest.mark.parametrize(("replies", "echoes", "since_s", "lost"), VERDICTS.values(), ids=VERDICTS)
def test_the_verdict(replies: list[Reply], echoes: bool, since_s: float, lost: tuple[float, float] | None) -> None:
    async def scene() -> None:
        script = Scripted(replies, echoes=echoes, connected_for_s=since_s)

        began, _ = await watched(script, line(7), for_s=4.0)

        if lost is None:
            assert script.lost == []
        else:
            (at, claim), *more = script.lost
            assert not more
            assert claim == 7
            assert lost[0] <= at - began <= lost[1]

    play(scene())


def test_a_worker_that_speaks_while_an_ask_is_unanswered_has_missed_nothing() -> None:
    async def scene() -> None:
        script = Scripted([None])
        peer = Peer("w", script.loop.time())
        peer.claims = {7: line(7)}
        watcher = Watcher(script, str, "e", script, script.bury)
        task = asyncio.ensure_future(watcher.watch(peer))
        for _ in range(40):
            await asyncio.sleep(0.1)
            peer.heard(script.loop.time())
        task.cancel()
        await asyncio.wait([task])

        assert script.lost == []

    play(scene())


def test_an_answer_that_is_none_loses_nothing() -> None:
    class Nonsense(Scripted):
        async def request(self, *args: Any, **kwargs: Any) -> bytes:
            await super().request(*args, **kwargs)
            return b"\xc1"

    async def scene() -> None:
        script = Nonsense([Answer((1,))])
        await watched(script, line(7))
        assert script.lost == []

    play(scene())
