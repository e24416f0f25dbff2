"""Names on the bus, written and read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.subjects import JobSubject, Subjects, last_token
from tests.memory_streams import matches

NAMES = Subjects("tl")

TABLE = {
    "a job": (NAMES.job("default", "e1", 7), "tl.1.job.default.e1.7"),
    "a pool's jobs": (NAMES.jobs("default"), "tl.1.job.default.>"),
    "their stream": (NAMES.jobs_stream("default"), "tl_1_JOBS_default"),
    "frames": (NAMES.edge("e1"), "tl.1.edge.e1"),
    "an edge's echo": (NAMES.edge_echo("e1"), "tl.1.edge.e1.self"),
    "a publish ack": (NAMES.pub_ack("e1", 7), "tl.1.edge.e1.ack.7"),
    "control": (NAMES.worker("w1"), "tl.1.worker.w1"),
    "a pull": (NAMES.pull("w1", "default", 3), "tl.1.worker.w1.pull.default.3"),
    "no responders": (NAMES.gone("w1", "e1"), "tl.1.gone.w1.e1"),
    "presence": (NAMES.here("default"), "tl.1.here.default"),
    "a sign of turns to come": (NAMES.warm("default"), "tl.1.warm.default"),
    "a record": (NAMES.turn("acme"), "tl.1.turn.acme"),
    "all records": (NAMES.all_turns, "tl.1.turn.>"),
    "the records' stream": (NAMES.turns, "tl_1_TURNS"),
    "an amendment": (NAMES.heard("acme", "turn_1"), "tl.1.turn.acme.heard.turn_1"),
    "what is known of a call": (NAMES.call("acme", "call 1"), "$KV.tl_1_CALLS.acme.21c5c2a600ce3c16f8a2e52382137663"),
    "its stream": (NAMES.calls_stream, "KV_tl_1_CALLS"),
    "where it is told": (NAMES.call_answer("e1", 7), "tl.1.edge.e1.call.7"),
    "what comes after a call": (
        NAMES.hook("elevenlabs", "conv_1"),
        "tl.1.hook.elevenlabs.214d6c05cb183e28721dc2a7dc43797d",
    ),
    "all of that": (NAMES.all_hooks, "tl.1.hook.>"),
    "the stream of that": (NAMES.hooks, "tl_1_WEBHOOKS"),
}


@pytest.mark.parametrize(("built", "name"), TABLE.values(), ids=TABLE)
def test_the_table(built: str, name: str) -> None:
    assert built == name


@given(st.text(), st.text())
def test_no_word_of_a_callers_gets_into_the_name_of_its_call(call_id: str, other: str) -> None:
    assert matches("$KV.tl_1_CALLS.acme.*", NAMES.call("acme", call_id))
    assert (NAMES.call("acme", call_id) == NAMES.call("acme", other)) == (call_id == other)


tokens = st.from_regex(r"[A-Za-z0-9_-]+", fullmatch=True)


@given(tokens, tokens, tokens, st.integers(0, 2**63))
def test_a_job_is_read_as_it_was_written(prefix: str, pool: str, edge_id: str, line: int) -> None:
    names = Subjects(prefix)
    subject = names.job(pool, edge_id, line)

    assert names.parse_job(subject) == JobSubject(pool, edge_id, line)
    assert matches(names.jobs(pool), subject)


@pytest.mark.parametrize(
    "subject", ["", "tl.1.job.a.b", "tl.1.job.a.b.c", "tl.1.job.a.b.1.2", "x.tl.1.job.a.b.1", "tl.2.job.a.b.1"]
)
def test_what_is_no_job_is_refused(subject: str) -> None:
    with pytest.raises(ValueError):
        NAMES.parse_job(subject)


@pytest.mark.parametrize("prefix", ["", "a.b", "a b", "a*", "a>", "é", "a\n"])
def test_a_prefix_is_one_token(prefix: str) -> None:
    with pytest.raises(ValueError, match="letters, digits"):
        Subjects(prefix)


def test_two_majors_and_two_prefixes_never_meet() -> None:
    assert not Subjects("b").job("p", "e", 1).startswith(Subjects("a").root)
    assert Subjects("a").root == "a.1"


def test_the_last_token() -> None:
    assert last_token("a.b.c") == "c"
    assert last_token("c") == "c"
