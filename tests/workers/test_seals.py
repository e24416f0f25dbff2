"""Sealed thoughts: each upstream is shown its own, and none that it would refuse."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.messages import Message, Sampling, Thought
from protocol.settings import Target
from tests.workers.target_jobs import job, user
from workers.targets.seals import Sealed, Seals, seals_of, without_seals

OWN, OTHER, OPENAI = Seals("own"), Seals("other"), Seals("own", takes_unmarked=True)


def marked(content: str, id_: str = "") -> str:
    seal = OWN.marked(content, id_)
    assert seal is not None
    return seal


SHOWN: dict[str, tuple[Seals, Thought, Sealed | None]] = {
    "its own, by the id that it knows": (OWN, Thought("rs_edge", (), marked("gA", "rs_up")), Sealed("rs_up", "gA")),
    "its own, which it gave no id": (OWN, Thought("rs_edge", (), marked("gA")), Sealed(None, "gA")),
    "another one's": (OTHER, Thought("rs_1", (), marked("gA", "rs_up")), None),
    "another one's, to OpenAI": (Seals("x", takes_unmarked=True), Thought("rs_1", (), marked("gA")), None),
    "an unmarked one": (OWN, Thought("rs_1", (), "gA"), None),
    "an unmarked one, to OpenAI": (OPENAI, Thought("rs_1", (), "gA"), Sealed("rs_1", "gA")),
    "none": (OPENAI, Thought("rs_1", ("hm",)), None),
    "an empty one": (OPENAI, Thought("rs_1", (), ""), None),
    "a mark and nothing else": (OPENAI, Thought("rs_1", (), "trunkline1."), None),
    "a mark without its end": (OPENAI, Thought("rs_1", (), "trunkline1.own.rs_up"), None),
    "a mark without content": (OPENAI, Thought("rs_1", (), "trunkline1.own.rs_up."), None),
    "one of a line behind this one": (
        OWN,
        Thought(None, (), marked(marked("gA", "a"), "b")),
        Sealed("b", marked("gA", "a")),
    ),
}


@pytest.mark.parametrize(("seals", "thought", "shown"), SHOWN.values(), ids=SHOWN)
def test_an_upstream_is_shown_what_it_can_read(seals: Seals, thought: Thought, shown: Sealed | None) -> None:
    assert seals.opened(thought) == shown


@given(content=st.text(min_size=1), id_=st.text())
def test_what_was_marked_is_shown_as_it_was(content: str, id_: str) -> None:
    shown = OWN.opened(Thought("x", (), marked(content, id_)))
    assert shown is not None
    assert (shown.content, shown.id in (id_, None)) == (content, True)
    assert OTHER.opened(Thought("x", (), marked(content, id_))) is None


@given(seal=st.one_of(st.text(), st.text(alphabet="trunkline1.own", max_size=30).map("trunkline1.{}".format)))
def test_no_seal_of_a_callers_is_too_strange(seal: str) -> None:
    for seals in (OWN, OPENAI):
        shown = seals.opened(Thought(None, (), seal))
        assert shown is None or shown.content in seal


def target(**fields: Any) -> Target:
    return Target(**{"base_url": "https://up.example/v1", "model": "m", "api_key_env": "K", **fields})


def test_two_targets_that_ask_alike_read_each_others() -> None:
    assert seals_of(target()) == seals_of(target(base_url="https://up.example/v1/", warm=3, refuses=("seed",)))
    others = (target(model="n"), target(api_key_env="L"), target(base_url="https://b.example/v1"), target())
    assert len({seals_of(one).whose for one in others}) == len(others)


@pytest.mark.parametrize(
    ("fields", "takes"),
    [
        ({"base_url": "https://api.openai.com/v1"}, True),
        ({"base_url": "https://eu.api.openai.com/v1"}, True),
        ({"preset": "openai", "base_url": "http://127.0.0.1:1/v1"}, True),
        ({"base_url": "https://r.openai.azure.com/openai/v1"}, False),
        ({"base_url": "https://notopenai.com/v1"}, False),
        ({"preset": "llama.cpp", "base_url": "http://127.0.0.1:1/v1"}, False),
        ({}, False),
    ],
)
def test_unmarked_ones_are_openais(fields: dict[str, Any], takes: bool) -> None:
    assert seals_of(target(**fields)).takes_unmarked is takes


def test_a_job_is_told_without_any() -> None:
    thinks = Message("assistant", "b", thoughts=(Thought("rs_1", (), "gA"),))
    asked = job(messages=(user("a"), thinks, user("c")), sampling=Sampling(encrypted_reasoning=True, top_p=0.5))

    bare = without_seals(asked)

    assert bare.messages == (user("a"), Message("assistant", "b"), user("c"))
    assert bare.sampling == Sampling(top_p=0.5)
    assert without_seals(bare) == bare
