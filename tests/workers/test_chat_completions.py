"""The `chat-completions` dialect: where it posts, with which key, and what a target's settings make of a request."""

import json
from typing import Any

import pytest

from protocol.messages import Sampling
from protocol.settings import Target
from tests.workers.target_jobs import job
from workers.targets.chat_completions import CHAT_COMPLETIONS, endpoint

ENDPOINTS = {
    "https://api.openai.com/v1": "https://api.openai.com/v1/chat/completions",
    "https://api.openai.com/v1/": "https://api.openai.com/v1/chat/completions",
    "http://h:1/chat/completions": "http://h:1/chat/completions",
    "http://h:1/chat/completions/": "http://h:1/chat/completions",
    "http://h": "http://h/chat/completions",
    "https://h/d?api-version=1": "https://h/d/chat/completions?api-version=1",
}


def told(base_url: str = "http://h/v1", **fields: Any) -> Target:
    return Target(base_url=base_url, model="up", **fields)


def body(target: Target, **sampling: Any) -> dict[str, Any]:
    sent: dict[str, Any] = json.loads(CHAT_COMPLETIONS.body(job(sampling=Sampling(**sampling)), target))
    return sent


@pytest.mark.parametrize(("base_url", "url"), ENDPOINTS.items())
def test_the_url_that_is_posted_to(base_url: str, url: str) -> None:
    assert endpoint(base_url) == url


def test_azure_has_the_model_and_a_version_in_its_url_and_the_bare_key_in_a_header() -> None:
    azure = Target(base_url="https://r.openai.azure.com/", model="my gpt", preset="azure", api_version="2025-01-01")
    path = "https://r.openai.azure.com/openai/deployments/my%20gpt/chat/completions"
    assert CHAT_COMPLETIONS.url(azure) == f"{path}?api-version=2025-01-01"
    headers = CHAT_COMPLETIONS.headers(azure, "k")
    assert (headers["api-key"], "Authorization" in headers) == ("k", False)


def test_a_key_is_a_bearers_unless_a_preset_says_otherwise() -> None:
    assert CHAT_COMPLETIONS.headers(told(), "k")["Authorization"] == "Bearer k"
    assert "Authorization" not in CHAT_COMPLETIONS.headers(told(), None)


@pytest.mark.parametrize(
    ("target", "field"),
    [
        (told("https://api.openai.com/v1"), "max_completion_tokens"),
        (told("https://x.openai.azure.com/v1"), "max_completion_tokens"),
        (told("https://notopenai.com/v1"), "max_tokens"),
        (told(), "max_tokens"),
        (told(max_tokens_field="max_completion_tokens"), "max_completion_tokens"),
    ],
)
def test_the_token_limit_has_the_name_that_the_upstream_knows(target: Target, field: str) -> None:
    sent = body(target, max_tokens=5)
    assert {name: value for name, value in sent.items() if name.startswith("max_")} == {field: 5}


def test_a_targets_own_limit_counts_where_the_caller_sets_none() -> None:
    limited = told(max_tokens=7)
    assert (body(limited)["max_tokens"], body(limited, max_tokens=5)["max_tokens"]) == (7, 5)


def test_what_a_target_refuses_is_not_sent() -> None:
    picky = told(refuses=("seed", "stream_options"))
    sent = body(picky, seed=1, temperature=0.5)
    assert ("seed" in sent, "stream_options" in sent, sent["temperature"]) == (False, False, 0.5)
