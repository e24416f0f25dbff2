"""Jobs are asked for only into free slots."""

from hypothesis import given
from hypothesis import strategies as st

from workers.pulls import EXPIRES_S, GRACE_S, OPEN_S, Pulls


def due(pulls: Pulls, free: int, now: float) -> dict[str, int]:
    """Send what is due; how many of which pool were asked for."""
    asked = {pull.pool: batch for pull, batch in pulls.due(free, now)}
    for pool, batch in asked.items():
        pulls.by_pool[pool].sent(batch, now)
    return asked


def test_one_pull_asks_for_every_free_slot() -> None:
    pulls = Pulls(["a"])

    assert due(pulls, 4, 0.0) == {"a": 4}
    assert due(pulls, 4, 0.1) == {}, "one at a time"


def test_without_a_free_slot_nothing_is_asked_for() -> None:
    assert due(Pulls(["a"]), 0, 0.0) == {}


def test_a_full_batch_makes_room_for_the_next_pull() -> None:
    pulls = Pulls(["a"])
    due(pulls, 2, 0.0)

    assert not pulls.by_pool["a"].delivered()
    assert pulls.by_pool["a"].delivered()
    assert due(pulls, 3, 0.1) == {"a": 3}


def test_the_servers_notice_ends_a_pull() -> None:
    pulls = Pulls(["a"])
    due(pulls, 2, 0.0)

    pulls.by_pool["a"].closed()

    assert due(pulls, 2, 0.1) == {"a": 2}


def test_where_the_server_says_nothing_time_ends_it() -> None:
    pulls = Pulls(["a"])
    due(pulls, 2, 0.0)

    assert due(pulls, 2, EXPIRES_S + GRACE_S - 0.01) == {}
    assert due(pulls, 2, EXPIRES_S + GRACE_S) == {"a": 2}


def test_a_pull_that_found_no_stream_waits_a_moment() -> None:
    pulls = Pulls(["a"])

    pulls.by_pool["a"].closed(wait_s=0.1, now=5.0)

    assert due(pulls, 2, 5.05) == {}
    assert due(pulls, 2, 5.1) == {"a": 2}


def test_after_a_reconnect_no_pull_is_open() -> None:
    pulls = Pulls(["a", "b"])
    due(pulls, 4, 0.0)

    pulls.reset()

    assert due(pulls, 4, 0.0) == {"a": 2, "b": 2}


def test_pools_share_the_slots() -> None:
    assert due(Pulls(["a", "b"]), 5, 0.0) == {"a": 2, "b": 2}
    assert due(Pulls(["a", "b", "c"]), 2, 0.0) == {"a": 1, "b": 1}


def test_with_one_slot_the_pools_take_turns() -> None:
    pulls, asked = Pulls(["a", "b"]), list[str]()
    for now in (1.0, 3.0, 5.0, 7.0):
        asked += due(pulls, 1, now)
        for pull in pulls.by_pool.values():
            pull.closed(now=now)

    assert asked == ["a", "b", "a", "b"]


def test_each_pull_has_its_own_number() -> None:
    pulls = Pulls(["a"])
    pull = pulls.by_pool["a"]

    assert [pull.sent(1, 0.0), pull.sent(1, 1.0)] == [1, 2]


steps = st.lists(st.tuples(st.sampled_from(["time", "take", "end", "notice", "reset"]), st.integers(0, 2)), max_size=60)


@given(st.integers(1, 3), st.integers(1, 5), steps)
def test_what_is_asked_for_never_exceeds_the_free_slots(pools: int, slots: int, steps: list[tuple[str, int]]) -> None:
    pulls, live, now = Pulls([str(at) for at in range(pools)]), 0, 0.0
    for what, which in steps:
        pull = pulls.by_pool[str(which % pools)]
        if what == "time":
            now += 0.7
        elif what == "take" and pull.open_slots:
            live += 1
            pull.delivered()
        elif what == "end":
            live = max(0, live - 1)
        elif what == "notice":
            pull.closed(now=now)
        elif what == "reset":
            pulls.reset()
        due(pulls, slots - live, now)

        asked = sum(pull.open_slots for pull in pulls.by_pool.values())
        assert live + asked <= slots
        assert pulls.next_at(now) >= now or any(p.open_slots and p.closes_at <= now for p in pulls.by_pool.values())


def test_a_pull_stood_open_once_it_has_waited_and_while_it_asks_for_more() -> None:
    pulls = Pulls(["a"])
    pull = pulls.by_pool["a"]
    assert not pull.stood_open(5.0), "it is not out yet"
    due(pulls, 2, 5.0)

    assert not pull.stood_open(5.0 + OPEN_S / 2), "what comes now may have waited for it"
    assert pull.stood_open(5.0 + OPEN_S)
    pull.delivered()
    assert pull.stood_open(6.0)
    pull.delivered()
    assert not pull.stood_open(6.0)
