"""Which web pages may call from a browser: the headers that say so."""

import pytest

from edge.cors import EXPOSED, PREFLIGHT_S, Cors

APP, OTHER = "https://app.example.com", "https://other.example.com"
ASKS = {"Origin": APP, "Access-Control-Request-Method": "POST"}


def test_a_page_that_is_configured_may_read_the_answer_and_its_ids() -> None:
    assert Cors([OTHER, APP]).headers(APP) == {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": APP,
        "Access-Control-Expose-Headers": EXPOSED,
    }
    assert {"x-request-id", "x-trace-id", "x-trunkline-call-id"} <= set(EXPOSED.split(", "))


@pytest.mark.parametrize("origin", [None, "", "null", OTHER, APP + ".evil.example", APP[:-1], "*"])
def test_any_other_may_not(origin: str | None) -> None:
    """A cache shall not give its answer to one that may."""
    assert Cors([APP]).headers(origin) == {"Vary": "Origin"}
    assert Cors([APP]).preflight({**ASKS, "Origin": origin or ""}, ["POST"]) is None


@pytest.mark.parametrize("origin", ["null", OTHER, APP])
def test_a_star_lets_every_page(origin: str) -> None:
    assert Cors(["*"]).headers(origin) == {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": EXPOSED,
    }


def test_a_request_that_comes_from_no_page_is_told_nothing() -> None:
    assert Cors(["*"]).headers(None) == {}


def test_a_browser_that_asks_first_may_send_what_it_names() -> None:
    asked = {**ASKS, "Access-Control-Request-Headers": "authorization, content-type, x-stainless-os"}

    assert Cors([APP]).preflight(asked, ["GET", "HEAD"]) == {
        "Access-Control-Allow-Methods": "GET, HEAD",
        "Access-Control-Allow-Headers": "authorization, content-type, x-stainless-os",
        "Access-Control-Max-Age": str(PREFLIGHT_S),
    }


def test_options_of_another_kind_are_no_such_question() -> None:
    assert Cors([APP]).preflight({"Origin": APP}, ["POST"]) is None
    assert Cors([APP]).preflight({"Access-Control-Request-Method": "POST"}, ["POST"]) is None
