"""Edges, as a worker knows them."""

import pytest

from workers.edges import FORGIVEN_S, GONE_S, QUIET_S, SUSPICION_S, Edges, Sign


def test_one_sign_is_a_suspicion_a_second_one_later_the_verdict() -> None:
    edges = Edges()

    assert edges.no_responders("e", 10.0) is Sign.FIRST
    assert edges.no_responders("e", 10.0 + SUSPICION_S / 2) is Sign.NOTHING
    assert not edges.gone("e", 10.1)
    assert edges.no_responders("e", 10.0 + SUSPICION_S) is Sign.GONE
    assert edges.gone("e", 10.2)


def test_a_sign_of_life_takes_a_suspicion_back() -> None:
    edges = Edges()
    edges.no_responders("e", 10.0)

    edges.heard("e", 10.1)

    assert edges.no_responders("e", 10.2) is Sign.FIRST


def test_an_old_suspicion_is_forgiven() -> None:
    edges = Edges()
    edges.no_responders("e", 10.0)

    assert edges.no_responders("e", 10.01 + FORGIVEN_S) is Sign.FIRST


def test_edges_are_told_apart() -> None:
    edges = Edges()
    edges.no_responders("e", 10.0)

    assert edges.no_responders("f", 10.2) is Sign.FIRST


def gone() -> Edges:
    edges = Edges()
    edges.no_responders("e", 10.0)
    edges.no_responders("e", 10.2)
    return edges


@pytest.mark.parametrize(("at", "is_gone"), [(10.2, True), (10.1 + GONE_S, True), (10.3 + GONE_S, False)])
def test_an_edge_is_gone_for_a_while(at: float, is_gone: bool) -> None:
    assert gone().gone("e", at) is is_gone


def test_an_edge_that_is_back_is_not_gone() -> None:
    edges = gone()

    edges.heard("e", 11.0)

    assert not edges.gone("e", 11.0)


def test_a_quiet_edge_is_asked_once_a_second() -> None:
    edges = Edges()
    edges.heard("e", 10.0)

    assert edges.to_probe({"e"}, 10.0 + QUIET_S - 0.01) == []
    assert edges.to_probe({"e"}, 10.0 + QUIET_S) == ["e"]
    assert edges.to_probe({"e"}, 10.5 + QUIET_S) == []
    assert edges.to_probe({"e"}, 10.0 + 2 * QUIET_S) == ["e"]


def test_what_concerns_no_claim_is_forgotten() -> None:
    edges = gone()
    edges.heard("f", 10.0)

    edges.forget({"f"}, 30.0)

    assert not edges.gone("e", 10.3)
    assert edges.to_probe({"f"}, 10.5) == [], "it runs claims: it stays known"
