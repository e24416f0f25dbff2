"""Frames on their way to the edges."""

import asyncio

from protocol import codec
from protocol.codec import Addressed
from protocol.messages import Text
from tests.virtual_time import play
from workers.outbox import BATCH_BYTES, TURNS, Outbox


class Published(list[tuple[str, list[int]]]):
    """Batches: to which edge, and the numbers of their frames."""

    def put(self, edge_id: str, data: bytes) -> None:
        worker_id, frames = codec.decode_batch(data)
        assert worker_id == "w"
        assert len(data) <= BATCH_BYTES or len(frames) == 1
        self.append((edge_id, [frame.seq for frame in frames]))


async def turns(count: int) -> None:
    """So many turns of the event loop, and what they bring."""
    for _ in range(count):
        await asyncio.sleep(0)


def frame(seq: int, text: str = "a") -> Addressed:
    return Addressed(1, 2, seq, Text(text))


def test_what_one_turn_of_the_loop_produces_leaves_as_one_batch_per_edge() -> None:
    async def scene() -> None:
        published = Published()
        outbox = Outbox("w", published.put)

        for seq in range(3):
            outbox.put("e", frame(seq))
            outbox.put("f", frame(seq))
        assert published == []
        await turns(2)

        assert published == [("e", [0, 1, 2]), ("f", [0, 1, 2])]

    play(scene())


def test_a_lone_frame_leaves_at_once() -> None:
    async def scene() -> None:
        published, loop = Published(), asyncio.get_running_loop()
        outbox = Outbox("w", published.put)
        for seq in range(3):
            outbox.put("e", frame(seq))
            await turns(2)
            assert published[-1] == ("e", [seq])
        assert loop.time() - 1000.0 < 0.001, "nothing waits on a timer"

    play(scene())


def test_a_batch_stays_open_while_turns_of_the_loop_bring_more_and_no_longer_than_that() -> None:
    async def scene() -> None:
        published = Published()
        outbox = Outbox("w", published.put)
        for seq in range(3):
            outbox.put("e", frame(seq))
            await turns(1)
        assert published == []
        await turns(1)

        assert published == [("e", [0, 1, 2])]

    play(scene())


def test_a_stream_that_never_pauses_holds_no_batch_open_for_ever() -> None:
    async def scene() -> None:
        published = Published()
        outbox = Outbox("w", published.put)
        for seq in range(3 * TURNS):
            outbox.put("e", frame(seq))
            await turns(1)

        assert [len(numbers) for _, numbers in published] == [TURNS] * len(published)
        assert len(published) >= 2

    play(scene())


def test_flushing_sends_what_is_there_and_nothing_twice() -> None:
    async def scene() -> None:
        published = Published()
        outbox = Outbox("w", published.put)
        outbox.put("e", frame(0))

        outbox.flush()
        outbox.put("e", frame(1))
        outbox.flush()
        await turns(TURNS)

        assert published == [("e", [0]), ("e", [1])]

    play(scene())


def test_a_large_batch_is_split_in_order() -> None:
    async def scene() -> None:
        published = Published()
        outbox = Outbox("w", published.put)
        for seq in range(7):
            outbox.put("e", frame(seq, "x" * (BATCH_BYTES // 3)))
        outbox.put("e", frame(7, "x" * (2 * BATCH_BYTES)))
        await turns(2)

        assert [seq for _, numbers in published for seq in numbers] == list(range(8))
        assert len(published) > 3

    play(scene())
