"""What `trunkline top` reads of the records that were kept before it came."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import nats

from protocol import codec
from protocol.messages import Outcome, TurnRecord
from protocol.settings import load
from protocol.streams import turns_config
from protocol.subjects import Subjects
from tests.cli.conftest import until
from tests.conftest import StartNats
from trunkline.listen import listen
from trunkline.top.watch import HISTORY, Watch, Where

LONG_AGO = "2020-01-01T00:00:00.000+00:00"  # on the clock of an edge that has it wrong


async def keep(url: str, count: int, *, outcome: Outcome = "completed", first: int = 0) -> None:
    """Keep that many records, the way edges do it."""
    subjects = Subjects("trunkline")
    connection = await nats.connect(url)
    try:
        jetstream = connection.jetstream(publish_async_max_pending=count + 1)
        config = turns_config(subjects)
        await connection.request(f"$JS.API.STREAM.CREATE.{config['name']}", msgspec.json.encode(config))
        acks = []
        for number in range(first, first + count):
            record = TurnRecord(
                id=f"turn-{number}", tenant="t", model="m", outcome=outcome, started_at=LONG_AGO, ttft_ms=number + 1.0
            )
            acks.append(await jetstream.publish_async(subjects.turn("t"), codec.encode_record(record)))
        await asyncio.gather(*acks)
    finally:
        await connection.close()


@asynccontextmanager
async def watching(url: str, *, window_s: float = 600.0) -> AsyncIterator[Watch]:
    """A view that runs, and draws nothing."""
    settings = load({"TRUNKLINE_NATS__URL": url, "TRUNKLINE_DATA_DIR": "/nowhere"}, config=None)
    async with (
        listen(settings) as listener,
        Watch(listener, Where(), nats=url, window_s=window_s, every_s=0.1) as watch,
        asyncio.TaskGroup() as tasks,
    ):
        stop = asyncio.Event()
        running = tasks.create_task(watch.run(stop))
        try:
            yield watch
        finally:
            stop.set()
            running.cancel()


async def test_what_ended_before_is_counted_once(start_nats: StartNats) -> None:
    """However the edges' clocks go: it is the server's that tells how long ago it was."""
    url = start_nats().url
    await keep(url, 300)
    async with watching(url) as watch:
        await until(lambda: watch.figures().turns == 300)
        await keep(url, 5, outcome="deadline", first=300)  # and while it looks on
        await until(lambda: watch.figures().turns == 305)
        figures = watch.figures()

    assert figures.window_s == 600.0
    assert (figures.first_content.p50_ms, figures.first_content.p95_ms) == (153.0, 290.0)
    assert [error.turn for error in figures.errors] == [f"turn-{number}" for number in (304, 303, 302, 301, 300)]


async def test_errors_from_before_the_window_are_shown_and_not_counted(start_nats: StartNats) -> None:
    url = start_nats().url
    await keep(url, 3, outcome="internal")
    async with watching(url, window_s=1.0) as watch:
        await until(lambda: len(watch.figures().errors) == 3 and watch.figures().turns == 0)

    async with watching(url, window_s=1.0) as later:
        await until(lambda: len(later.figures().errors) == 3)
        assert later.figures().turns == 0


async def test_a_history_too_long_to_be_read_narrows_the_window(start_nats: StartNats) -> None:
    """A rate over a minute of which only the end is known would be wrong."""
    url = start_nats().url
    await keep(url, HISTORY + 500)
    async with watching(url) as watch:
        await until(lambda: watch.figures().turns > 0)
        figures = watch.figures()

    assert HISTORY - 10 <= figures.turns <= HISTORY
    assert figures.window_s < 100.0


async def test_what_ended_while_nats_was_away_is_read_when_it_is_back(start_nats: StartNats) -> None:
    server = start_nats()
    await keep(server.url, 2)
    async with watching(server.url) as watch:
        await until(lambda: watch.figures().turns == 2)
        server.kill()
        await until(lambda: watch.figures().away_s is not None)
        await asyncio.to_thread(server.start)
        await keep(server.url, 2, first=2)  # perhaps before the view has found its way back
        await until(lambda: watch.figures().away_s is None and watch.figures().turns == 4)


async def test_a_server_without_records_is_shown_as_it_is(start_nats: StartNats) -> None:
    async with watching(start_nats().url) as watch:
        await until(lambda: watch.figures().queued == {})
        await until(lambda: watch.figures().window_s == 600.0)
        assert watch.figures().turns == 0
