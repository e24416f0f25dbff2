"""Streams that come and go under the bus: jobs are claimed all the same, once, and nobody undoes another's work."""

import asyncio
from typing import Any

import pytest

from edge.inbox import Stored
from protocol.messages import Claimed
from protocol.streams import consumer_config, jobs_config
from tests.broker.halves import SMALL, Halves, eventually, is_ack

pytestmark = pytest.mark.usefixtures("no_bug_logged")


async def test_jobs_whose_stream_is_deleted_while_they_wait_are_claimed_once(halves: Halves) -> None:
    edge, worker = await asyncio.gather(halves.edge(), halves.worker(start=False))
    turns = [await edge.offer_stored(f"turn {number}") for number in range(3)]

    await halves.delete_stream()
    worker.start()

    await asyncio.gather(*(turn.until(Claimed) for turn in turns))
    await eventually(lambda: len(worker.taken) == 3)
    assert sorted(worker.heard()) == ["turn 0", "turn 1", "turn 2"]
    assert len(worker.claims) == 3
    await halves.until_depth(0)


async def test_jobs_whose_stream_is_deleted_under_busy_workers_are_claimed_once(halves: Halves) -> None:
    edge, *workers = await asyncio.gather(halves.edge(), halves.worker(slots=1), halves.worker(slots=1))
    running = [edge.offer(f"running {number}") for number in range(2)]
    await asyncio.gather(*(turn.until(Claimed) for turn in running))
    waiting = [await edge.offer_stored(f"waiting {number}") for number in range(2)]

    await halves.delete_stream()
    for worker in workers:
        worker.finish(await worker.next(), "done")

    assert [await turn.answer() for turn in running] == ["done", "done"]
    await asyncio.gather(*(turn.until(Claimed) for turn in waiting))
    await eventually(lambda: sum(len(worker.taken) for worker in workers) == 4)
    assert sorted(workers[0].heard() + workers[1].heard()) == ["running 0", "running 1", "waiting 0", "waiting 1"]
    assert sum(len(worker.claims) for worker in workers) == 4
    await halves.until_depth(0)


async def test_jobs_whose_stream_somebody_else_made_anew_are_claimed_once(halves: Halves) -> None:
    edge, worker = await asyncio.gather(halves.edge(), halves.worker(start=False))
    turns = [await edge.offer_stored(f"turn {number}") for number in range(3)]

    await halves.delete_stream()
    stranger = await halves.worker(start=False)  # it makes the stream, with a consumer of another name
    await halves.until_depth(0)
    worker.start()
    stranger.start()

    await asyncio.gather(*(turn.until(Claimed) for turn in turns))
    await eventually(lambda: len(worker.taken) + len(stranger.taken) == 3)
    assert sorted(worker.heard() + stranger.heard()) == ["turn 0", "turn 1", "turn 2"]
    assert len(worker.claims) + len(stranger.claims) == 3
    await halves.until_depth(0)


async def test_a_stream_that_an_operator_made_anew_by_hand_is_put_to_use(halves: Halves) -> None:
    """Without our metadata it counts as older than any schema of ours."""
    edge, worker = await asyncio.gather(halves.edge(), halves.worker())
    await halves.delete_stream()
    config = jobs_config(halves.subjects, "default", SMALL, "")
    del config["metadata"]
    made = await halves.api(f"STREAM.CREATE.{config['name']}", config)
    assert "error" not in made

    turn = edge.offer()

    worker.finish(await worker.next(), "done")
    assert await turn.answer() == "done"
    assert (await halves.stream())["config"]["metadata"]["trunkline.consumer"].startswith("workers-")


async def test_a_consumer_that_is_deleted_under_open_pulls_is_made_again(halves: Halves) -> None:
    edge, worker = await asyncio.gather(halves.edge(), halves.worker(answer="done"))
    assert await edge.offer("before").answer() == "done"
    info = await halves.stream()
    name = info["config"]["metadata"]["trunkline.consumer"]

    deleted = await halves.api(f"CONSUMER.DELETE.{info['config']['name']}.{name}")
    assert deleted.get("success"), deleted

    assert await edge.offer("after").answer() == "done"
    assert worker.heard() == ["before", "after"]


async def test_a_consumer_of_an_earlier_life_makes_room_for_the_right_one(halves: Halves) -> None:
    """Whoever had looked before the stream was made anew may put the old consumer into the new stream."""
    await halves.edge()
    info = await halves.stream()
    stream, name = info["config"]["name"], info["config"]["metadata"]["trunkline.consumer"]
    await halves.api(f"CONSUMER.DELETE.{stream}.{name}")
    body = {"stream_name": stream, "config": consumer_config("workers-earlier")}
    made = await halves.api(f"CONSUMER.DURABLE.CREATE.{stream}.workers-earlier", body)
    assert "error" not in made

    edge, worker = await asyncio.gather(halves.edge(), halves.worker(answer="done"))

    assert await edge.offer().answer() == "done"
    assert worker.heard() == ["hello"]
    assert (await halves.api(f"CONSUMER.NAMES.{stream}", {}))["consumers"] == [name]


async def test_an_ack_from_an_earlier_life_removes_no_strangers_job(halves: Halves) -> None:
    """Sequence numbers start again in a new stream; the consumer's name does not."""
    edge, worker = await asyncio.gather(halves.edge(), halves.worker(slots=1))
    edge.wire.holds = is_ack
    first = edge.offer("first life")
    delivery = await worker.next()
    await first.until(Claimed)
    await halves.delete_stream()
    second = await edge.offer_stored("second life")
    before = await halves.stream()
    assert before["state"]["first_seq"] == 1
    assert [sent.subject.split(".")[-4] for sent in edge.wire.held] == ["1"]  # the stream's number in the ack's subject

    edge.wire.release()
    await edge.wire.flush()

    # An ack is answered by nobody: the server has seen it once it answers what came after it.
    assert (await halves.stream())["state"]["messages"] == 1
    worker.finish(delivery, "one")
    assert await first.answer() == "one"
    worker.finish(await worker.next(), "two")
    assert await second.answer() == "two"
    await halves.until_depth(0)


async def test_an_offer_finds_no_stream_and_makes_it(halves: Halves) -> None:
    edge = await halves.edge()
    await halves.delete_stream()

    turn = edge.offer()

    await turn.until(Stored)
    await halves.until_depth(1)


async def test_a_job_that_was_stored_in_a_stream_that_is_gone_is_published_again_with_the_new_one(
    halves: Halves, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored once is not stored for ever: such jobs waited for their next repetition, a second later."""
    edge = await halves.edge()
    waiting = [await edge.offer_stored(f"waiting {number}") for number in range(2)]
    await halves.delete_stream()

    monkeypatch.setattr("edge.bus.REPEAT_S", 3600.0)
    edge.bus._publish(waiting[0].line)  # any sign that it is gone

    await halves.until_depth(2)


async def test_many_who_find_no_stream_agree_on_one(halves: Halves) -> None:
    edges = await asyncio.gather(*(halves.edge() for _ in range(3)))
    workers = await asyncio.gather(*(halves.worker(answer="done") for _ in range(3)))
    await halves.delete_stream()

    turns = [edge.offer(f"turn {number}") for edge in edges for number in range(5)]

    assert {await turn.answer() for turn in turns} == {"done"}
    assert sum(len(worker.taken) for worker in workers) == 15
    info = await halves.stream()
    assert info["state"]["consumer_count"] == 1
    await halves.until_depth(0)


# --- whose configuration counts --------------------------------------------------------------------


async def made_by(halves: Halves, *, schema: str, **changes: Any) -> dict[str, Any]:
    """A stream and consumer as a process of schema `schema` would make them."""
    config = jobs_config(halves.subjects, "default", SMALL, "workers-theirs") | changes
    config["metadata"]["trunkline.schema"] = schema
    made = await halves.api(f"STREAM.CREATE.{config['name']}", config)
    assert "error" not in made, made
    body = {"stream_name": config["name"], "config": consumer_config("workers-theirs")}
    consumer = await halves.api(f"CONSUMER.DURABLE.CREATE.{config['name']}.workers-theirs", body)
    assert "error" not in consumer, consumer
    return made


async def works(halves: Halves) -> None:
    edge, worker = await asyncio.gather(halves.edge(), halves.worker(answer="done"))
    assert await edge.offer().answer() == "done"
    assert len(worker.taken) == 1
    await halves.until_depth(0)


@pytest.mark.parametrize("schema", ["1", "2"], ids=["of the same schema", "of a newer schema"])
async def test_an_existing_stream_of_another_configuration_is_left_alone(halves: Halves, schema: str) -> None:
    made = await made_by(halves, schema=schema, max_msgs=7, max_age=60 * 10**9, duplicate_window=60 * 10**9)

    await works(halves)

    info = await halves.stream()
    assert info["config"] == made["config"]
    assert info["created"] == made["created"]
    assert info["state"]["consumer_count"] == 1


async def test_an_older_stream_is_brought_up_to_date_and_keeps_its_consumer_and_jobs(halves: Halves) -> None:
    made = await made_by(halves, schema="0", max_msgs=7)
    edge = await halves.edge()
    info = await halves.stream()
    assert info["created"] == made["created"]
    assert info["config"]["max_msgs"] == SMALL.max_msgs
    assert info["config"]["metadata"]["trunkline.schema"] == "1"
    assert info["config"]["metadata"]["trunkline.consumer"] == "workers-theirs"

    turn = edge.offer()

    worker = await halves.worker(answer="done")
    assert await turn.answer() == "done"
    assert len(worker.taken) == 1
    assert (await halves.stream())["state"]["consumer_count"] == 1
