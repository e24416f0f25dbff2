"""Edges that die, freeze, or lose the bus: no model goes on for nobody, and no caller waits for nothing."""

import pytest

from edge.bus import AWAY_S
from tests.flow.fates import Fates
from tests.flow.line import Line
from tests.flow.target import words

TALK = words(400, every_s=0.05)
SILENCE = words(1, first_s=30.0)


def test_when_an_edge_dies_while_text_flows_its_models_stop_within_a_second() -> None:
    with Line(script=TALK) as line:
        edge, worker = line.add_edge(), line.add_worker()
        line.run(1.0)
        clients = [edge.post() for _ in range(3)]
        line.until(lambda: all(client.text for client in clients))

        edge.kill()

        line.until(lambda: all(saying.closed for saying in line.sayings), within_s=1.0)
        line.until(lambda: worker.bus.live == 0)
        line.settle()


def test_when_an_edge_dies_while_the_model_is_silent_it_stops_within_one_and_a_half() -> None:
    with Line(script=SILENCE) as line:
        edge, _ = line.add_edge(), line.add_worker()
        edge.post()
        line.until(lambda: line.sayings)
        line.run(1.7)

        edge.kill()

        line.until(lambda: line.sayings[0].closed, within_s=1.5)
        line.settle()


def test_the_waiting_jobs_of_a_dead_edge_are_ended_unstarted() -> None:
    with Line(script=TALK) as line:
        edge, _ = line.add_edge(), line.add_worker(slots=1)
        talking = edge.post()
        line.until(lambda: talking.text)
        for _ in range(3):
            edge.post()
        line.until(lambda: line.queued == 3)

        edge.kill()

        line.until(lambda: line.queued == 0, within_s=3.0)
        assert len(line.sayings) == 1, "the upstream was called for nobody"
        line.settle()


def test_the_other_edges_turns_go_on() -> None:
    with Line(script=words(40, every_s=0.05)) as line:
        first, second, _ = line.add_edge(), line.add_edge(), line.add_worker()
        lost, kept = first.post(), second.post()
        line.until(lambda: lost.text and kept.text)

        first.kill()

        line.until(lambda: kept.ended)
        assert kept.ended_well
        assert len(kept.text.split()) == 40
        line.settle()


def test_a_frozen_edge_costs_a_slot_for_the_lease_and_no_longer() -> None:
    with Line(script=SILENCE) as line:
        edge, worker = line.add_edge(), line.add_worker()
        edge.post()
        line.until(lambda: line.sayings)
        line.run(0.1)

        edge.freeze()

        line.until(lambda: line.sayings[0].closed, within_s=3.5)
        line.until(lambda: worker.bus.live == 0)


def test_an_edge_that_was_frozen_for_long_ends_its_turn_openly() -> None:
    with Line(script=SILENCE, budget_s=60.0) as line:
        edge, _ = line.add_edge(), line.add_worker()
        client = edge.post()
        line.until(lambda: line.sayings)
        line.run(0.1)

        edge.freeze(5.0)

        line.run(5.0)
        line.until(lambda: client.ended or len(line.sayings) > 1, within_s=3.0)
        client.hang_up()
        line.settle()


def test_an_edge_that_was_cut_off_is_served_as_before() -> None:
    """Workers that had found it gone went on to end its new jobs unstarted, for ten seconds."""
    with Line(script=words(3, first_s=0.5)) as line:
        edge, _ = line.add_edge(), line.add_worker()
        line.run(1.0)
        edge.post()
        line.until(lambda: line.sayings)
        edge.cut_off(1.5)
        line.run(2.0)
        assert line.sayings[0].closed

        client = edge.post()

        line.until(lambda: client.ended, within_s=1.5)
        assert client.ended_well
        line.settle()


def test_the_waiting_jobs_of_an_edge_that_comes_back_are_run() -> None:
    """A worker that found it gone had ended them; published again with the same id they were duplicates of nothing."""
    with Line(script=words(100, every_s=0.02)) as line:
        edge, worker = line.add_edge(), line.add_worker(slots=1)
        line.run(1.0)
        talking = edge.post()
        line.until(lambda: talking.text)
        waiting = edge.post()
        line.until(lambda: line.queued == 1)

        edge.cut_off(0.9)

        line.until(lambda: not line.queued, within_s=0.85)
        assert worker.bus.live == 0, "the job was ended with the claim that was in its way"
        line.until(lambda: waiting.ended)
        assert waiting.ended_well
        assert waiting.text == line.sayings[-1].text
        line.settle()


def test_a_claim_that_its_worker_gave_up_is_offered_again() -> None:
    """All asks were lost for the length of the lease. The caller, who is there, got a 499."""
    fates = Fates()
    with Line(script=words(3, first_s=4.0), fate=fates) as line:
        edge, _, _ = line.add_edge(), line.add_worker(), line.add_worker()
        line.run(1.0)
        client = edge.post()
        line.until(lambda: line.sayings)
        fates.lose_all("ask", "echo")
        line.until(lambda: line.sayings[0].closed, within_s=3.5)
        fates.let_through()

        line.until(lambda: client.ended)

        assert client.ended_well
        assert client.text == line.sayings[1].text
        line.settle()


# --- the bus is away -------------------------------------------------------------------------------


def test_a_bus_that_is_soon_back_costs_no_word() -> None:
    with Line(script=words(60, every_s=0.05)) as line:
        edge, _ = line.add_edge(), line.add_worker()
        line.run(1.0)
        client = edge.post()
        line.until(lambda: client.text)

        line.server.stop()
        line.at(0.5, line.server.start)

        line.until(lambda: client.ended)
        assert client.text == line.sayings[0].text
        assert client.ended_well
        assert len(line.sayings) == 1
        line.settle()


def test_a_bus_that_is_away_for_longer_ends_live_turns_openly_and_refuses_new_ones() -> None:
    with Line(script=TALK) as line:
        edge, worker = line.add_edge(), line.add_worker()
        line.run(1.0)
        client = edge.post()
        line.until(lambda: client.text)

        line.server.stop()

        line.run(0.5)
        refused = edge.post()
        line.until(lambda: refused.ended, within_s=0.01)
        assert refused.status == 503
        line.until(lambda: client.ended, within_s=AWAY_S - 0.5 + 0.1)
        assert client.error is not None
        assert client.error["code"] == "worker_lost"
        line.until(lambda: line.sayings[0].closed, within_s=3.0)
        assert worker.bus.live == 0


def test_after_a_long_absence_new_turns_work_within_a_second() -> None:
    with Line(script=words(3)) as line:
        edge, _ = line.add_edge(), line.add_worker()
        line.run(1.0)
        line.server.stop()
        line.run(5.0)

        line.server.start()
        line.run(0.5)
        client = edge.post()

        line.until(lambda: client.ended, within_s=0.5)
        assert client.ended_well
        line.settle()


def test_a_turn_that_waits_survives_a_new_server() -> None:
    """Its job went with the old one's memory: it is published again."""
    with Line(script=words(40, every_s=0.05)) as line:
        edge, _ = line.add_edge(), line.add_worker(slots=1)
        line.run(1.0)
        talking = edge.post()
        line.until(lambda: talking.text)
        waiting = edge.post()
        line.until(lambda: line.queued == 1)

        line.server.stop()
        line.at(0.3, line.server.start)

        line.until(lambda: talking.ended and waiting.ended)
        assert talking.ended_well
        assert waiting.ended_well
        assert waiting.text == line.sayings[1].text
        line.settle()


def test_a_stream_deleted_under_waiting_jobs_is_made_again() -> None:
    with Line(script=words(40, every_s=0.05)) as line:
        edge, _ = line.add_edge(), line.add_worker(slots=1)
        line.run(1.0)
        clients = [edge.post() for _ in range(3)]
        line.until(lambda: any(client.text for client in clients))
        line.until(lambda: line.queued == 2)

        line.server.streams.drop(next(iter(line.server.streams.streams)))

        line.until(lambda: all(client.ended for client in clients))
        assert all(client.ended_well for client in clients)
        assert sorted(client.text for client in clients) == sorted(saying.text for saying in line.sayings)
        line.settle()


def test_a_stream_deleted_in_silence_is_made_again() -> None:
    """No worker is told (its pull's status is lost), and no job waits."""
    fates = Fates()
    with Line(script=words(3), fate=fates) as line:
        edge, _ = line.add_edge(), line.add_worker()
        line.run(1.0)
        fates.lose_all("status")
        line.server.streams.drop(next(iter(line.server.streams.streams)))
        fates.let_through()

        client = edge.post()

        line.until(lambda: client.ended, within_s=3.0)
        assert client.ended_well
        line.settle()


def test_an_ack_from_an_earlier_life_removes_nobodys_job() -> None:
    """In a new stream numbers begin again; its consumer has another name."""
    fates = Fates()
    with Line(script=words(40, every_s=0.05), fate=fates) as line:
        edge, _ = line.add_edge(), line.add_worker(slots=1)
        line.run(1.0)
        fates.of["ack", 0] = (0.25,)
        talking = edge.post()
        line.until(lambda: talking.text)
        line.server.streams.drop(next(iter(line.server.streams.streams)))
        waiting = edge.post()
        line.until(lambda: line.queued == 1)
        assert list(line.stream().messages) == [1], "it has the number of the one that was claimed"

        line.run(0.3)

        assert line.queued == 1
        line.until(lambda: talking.ended and waiting.ended)
        assert waiting.ended_well
        line.settle()


@pytest.mark.parametrize("late_s", [0.0, 1.5])
def test_a_lost_publish_ack_is_no_second_job(late_s: float) -> None:
    """Published again with the same id: a duplicate, in a full queue too."""
    fates = Fates(of={("pub_ack", at): ((late_s,) if late_s else ()) for at in range(1, 3)})
    with Line(script=words(40, every_s=0.05), max_msgs=1, fate=fates) as line:
        edge, _ = line.add_edge(), line.add_worker(slots=1)
        talking = edge.post()
        line.until(lambda: talking.text)

        waiting = edge.post()

        line.until(lambda: talking.ended and waiting.ended)
        assert waiting.ended_well
        assert len(line.sayings) == 2
        line.settle()


def test_a_lost_offer_is_published_again() -> None:
    fates = Fates(of={("offer", 0): ()})
    with Line(script=words(3), fate=fates) as line:
        edge, _ = line.add_edge(), line.add_worker()

        client = edge.post()

        line.until(lambda: client.ended, within_s=1.0)
        assert client.ended_well
        line.until(lambda: line.records)
        assert [record.offers for record in line.records] == [1]
        line.settle()
