"""Where a turn is posted to, and with which headers, for every preset: what is sent to whom."""

import json
from typing import Any

import pytest

from protocol.messages import Sampling
from protocol.presets import PRESETS
from protocol.settings import Target
from tests.protocol.test_presets import target
from tests.workers.target_jobs import job
from workers.targets.build import DIALECTS

URLS = {
    "openai": "https://api.openai.com/v1/chat/completions",
    "azure": "https://r.openai.azure.com/openai/deployments/x/chat/completions?api-version=2024-10-21",
    "anthropic": "https://api.anthropic.com/v1/messages",
    "groq": "https://api.groq.com/openai/v1/chat/completions",
    "together": "https://api.together.ai/v1/chat/completions",
    "sambanova": "https://api.sambanova.ai/v1/chat/completions",
    "cloudflare": "https://api.cloudflare.com/client/v4/accounts/a/ai/v1/chat/completions",
    "assemblyai": "https://llm-gateway.assemblyai.com/v1/chat/completions",
    "vllm": "http://127.0.0.1:8000/v1/chat/completions",
    "ollama": "http://127.0.0.1:11434/v1/chat/completions",
    "openvino": "http://127.0.0.1:8000/v3/chat/completions",
    "litellm": "http://127.0.0.1:4000/v1/chat/completions",
    "llama.cpp": "http://127.0.0.1:8081/v1/chat/completions",
}
ASKED = Sampling(max_tokens=9, seed=1, logprobs=True, top_logprobs=2, presence_penalty=0.5, temperature=0.5)


def body(told: Target) -> dict[str, Any]:
    sent: dict[str, Any] = json.loads(DIALECTS[told.dialect].body(job(sampling=ASKED), told))
    return sent


@pytest.mark.parametrize("name", PRESETS)
def test_a_turn_goes_to_the_address_that_the_preset_has(name: str) -> None:
    told = target(name)

    assert DIALECTS[told.dialect].url(told) == URLS[name]


@pytest.mark.parametrize("name", [name for name, preset in PRESETS.items() if preset.dialect == "chat-completions"])
def test_a_turn_is_worded_as_the_preset_has_it(name: str) -> None:
    preset, sent = PRESETS[name], body(target(name))

    assert {key: value for key, value in sent.items() if key.startswith("max_")} == {preset.max_tokens_field: 9}
    assert set(sent) & set(preset.refuses) == set()
    assert ("stream_options" in sent) == (preset.stream_usage == "stream_options")
    assert sent["temperature"] == 0.5


@pytest.mark.parametrize("name", PRESETS)
def test_a_key_is_in_one_header_and_nowhere_else(name: str) -> None:
    told = target(name)
    headers = DIALECTS[told.dialect].headers(told, "s3cret")

    assert [key for key, value in headers.items() if "s3cret" in value] == [PRESETS[name].key_header]
    assert "s3cret" not in DIALECTS[told.dialect].url(told)


def test_one_preset_in_another_dialect_has_that_dialects_path() -> None:
    told = target("litellm", 'dialect = "messages"')

    assert DIALECTS["messages"].url(told) == "http://127.0.0.1:4000/v1/messages"
