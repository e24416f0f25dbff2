"""Events on their way from the bus to a relay."""

import asyncio

import pytest

from edge.inbox import UNSENT_BYTES, Event, Inbox, Refused, Stored
from protocol.errors import Internal
from protocol.messages import Reasoning, Text, ToolCall
from tests.virtual_time import START_S, play


def test_events_come_in_order_and_all_at_once() -> None:
    async def scene() -> None:
        inbox = Inbox()
        inbox.push(Stored(1))
        inbox.push(Text("a"))

        assert await inbox.take(START_S + 1) == [Stored(1), Text("a")]
        assert await inbox.take(START_S + 1) == []

    play(scene())


def test_a_waiting_relay_is_woken_by_the_first_event() -> None:
    async def scene() -> None:
        inbox, loop = Inbox(), asyncio.get_running_loop()
        loop.call_later(0.5, inbox.push, Text("a"))

        assert await inbox.take(START_S + 9) == [Text("a")]
        assert loop.time() < START_S + 0.6

    play(scene())


def test_a_moment_that_passes_wakes_it_too() -> None:
    async def scene() -> None:
        inbox = Inbox()

        assert await inbox.take(START_S + 2) == []
        assert asyncio.get_running_loop().time() >= START_S + 2

    play(scene())


def test_a_wait_may_end_before_the_one_before_it_would_have() -> None:
    """One timer serves many waits: it is brought forward, and one that fires too soon ends nothing."""

    async def scene() -> None:
        inbox, loop = Inbox(), asyncio.get_running_loop()
        for until, comes_at in ((9.0, 0.5), (2.0, None), (9.0, 3.0), (20.0, None)):
            if comes_at is not None:
                loop.call_at(START_S + comes_at, inbox.push, Text("a"))
            assert await inbox.take(START_S + until) == ([] if comes_at is None else [Text("a")])
            assert loop.time() - START_S == pytest.approx(until if comes_at is None else comes_at, abs=0.01)

    play(scene())


def test_nothing_fires_for_an_inbox_that_is_closed() -> None:
    async def scene() -> None:
        inbox, loop = Inbox(), asyncio.get_running_loop()
        loop.call_later(0.5, inbox.push, Text("a"))
        await inbox.take(START_S + 9)
        inbox.close()

        assert inbox._timer is None

    play(scene())


def test_a_cancelled_wait_loses_nothing() -> None:
    async def scene() -> None:
        inbox = Inbox()
        waiting = asyncio.ensure_future(inbox.take(START_S + 9))
        await asyncio.sleep(0.1)
        inbox.push(Text("a"))
        waiting.cancel()
        await asyncio.wait([waiting])

        assert waiting.cancelled()
        assert await inbox.take(START_S + 9) == [Text("a")]

    play(scene())


def test_what_waits_for_a_client_that_does_not_read_has_a_bound() -> None:
    async def scene() -> None:
        inbox, calls = Inbox(), []
        inbox.on_overflow = lambda: calls.append(1)
        inbox.writing = True
        piece = "x" * (UNSENT_BYTES // 4)
        for event in (Text(piece), Reasoning(piece), ToolCall(0, "i", "f", piece), Text(piece)):
            inbox.push(event)
        assert calls == []

        inbox.push(Text("y"))
        inbox.push(Text("z"))

        assert calls == [1], "once"
        assert inbox.overflowed

    play(scene())


def test_a_burst_for_a_client_that_reads_is_no_overflow() -> None:
    async def scene() -> None:
        inbox = Inbox()
        inbox.push(Text("x" * (2 * UNSENT_BYTES)))
        assert not inbox.overflowed
        await inbox.take(START_S)

        inbox.writing = True
        inbox.push(Text("y"))

        assert not inbox.overflowed

    play(scene())


def test_text_is_spoken_together_and_wakes_no_relay_that_waits() -> None:
    async def scene() -> None:
        inbox = Inbox()
        spoken: list[list[Text]] = []

        def speak(texts: list[Text]) -> bool:
            spoken.append(list(texts))
            return True

        inbox.on_speech = speak
        waiting = asyncio.ensure_future(inbox.take(START_S + 1))
        await asyncio.sleep(0.1)
        for word in ("a", "b"):
            inbox.push(Text(word))
        await asyncio.sleep(0.1)
        inbox.push(Text("c"))

        assert await waiting == [], "only time has woken it"
        assert spoken == [[Text("a"), Text("b")], [Text("c")]]

    play(scene())


def test_text_that_cannot_be_spoken_now_or_beside_something_else_is_for_the_relay() -> None:
    async def scene() -> None:
        inbox = Inbox()
        asked: list[list[Text]] = []

        def refuse(texts: list[Text]) -> bool:
            asked.append(list(texts))
            return False

        inbox.on_speech = refuse
        comes: list[list[Event]] = [[Text("a")], [Text("b"), Reasoning("c")], [Reasoning("d"), Text("e")]]
        for events in comes:
            waiting = asyncio.ensure_future(inbox.take(START_S + 9))
            await asyncio.sleep(0.1)
            for event in events:
                inbox.push(event)
            assert await waiting == events
        assert asked == [[Text("a")]]

    play(scene())


def test_text_that_comes_while_the_relay_is_busy_waits_for_it() -> None:
    async def scene() -> None:
        inbox = Inbox()
        inbox.on_speech = lambda _: pytest.fail("the relay writes something else")
        inbox.push(Text("a"))
        await asyncio.sleep(0.1)

        assert await inbox.take(START_S + 9) == [Text("a")]

    play(scene())


def test_a_bug_in_speaking_ends_the_turn_and_nothing_is_said_twice(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        inbox = Inbox()
        inbox.on_speech = lambda _: 1 / 0 > 0
        waiting = asyncio.ensure_future(inbox.take(START_S + 9))
        await asyncio.sleep(0.1)
        inbox.push(Text("a"))

        [refused] = await waiting
        assert isinstance(refused, Refused)
        assert isinstance(refused.error, Internal)

    play(scene())
    assert "ZeroDivisionError" in caplog.text
