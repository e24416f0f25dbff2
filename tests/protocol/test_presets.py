"""Rows about upstreams, and targets that take them."""

import re
from collections.abc import Mapping

import pytest

from protocol.presets import PRESETS, Preset, key_headers, row
from protocol.settings import SettingsError, Target, parse
from protocol.settings_values import Dialect

MODEL = '[models.m]\ntargets = ["t"]\n\n[targets.t]\nmodel = "x"\n'

# what a row leaves open, filled in
OPEN = {
    "azure": 'base_url = "https://r.openai.azure.com"\napi_version = "2024-10-21"\n',
    "cloudflare": 'base_url = "https://api.cloudflare.com/client/v4/accounts/a/ai/v1"\n',
    "llama.cpp": 'base_url = "http://127.0.0.1:8081/v1"\n',
}


def target(preset: str, more: str = "") -> Target:
    """A target with this preset, as the settings read it."""
    return parse(f'{MODEL}preset = "{preset}"\n{OPEN.get(preset, "")}{more}', {}).targets["t"]


def refusal(text: str, environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(SettingsError) as refused:
        parse(text, environ or {})
    return str(refused.value)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_every_row_says_where_it_was_read_and_when(preset: Preset) -> None:
    assert preset.source.startswith("https://")
    assert re.fullmatch(r"2026-\d\d-\d\d", preset.read_on)
    assert set(re.findall(r"{(\w+)}", preset.path + preset.models_path)) <= {"model", "api_version"}
    assert not preset.base_url.endswith("/")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_makes_a_target_complete(name: str) -> None:
    told, preset = target(name), PRESETS[name]

    assert row(told) is preset
    assert "{" not in told.base_url
    assert (told.dialect, told.api_key_env, told.prefill) == (preset.dialect, preset.api_key_env, preset.prefill)
    assert (told.max_tokens_field, told.refuses) == (preset.max_tokens_field, preset.refuses)


def test_what_a_target_says_itself_goes_over_its_preset() -> None:
    own = 'base_url = "http://here/v1"\napi_key_env = "K"\nmax_tokens_field = "max_tokens"\nprefill = false\n'

    told = target("groq", own)

    assert (told.base_url, told.api_key_env) == ("http://here/v1", "K")
    assert (told.max_tokens_field, told.prefill) == ("max_tokens", False)


def test_what_a_target_refuses_is_added_to_what_its_preset_does() -> None:
    told = target("groq", 'refuses = ["seed", "logprobs"]')

    assert told.refuses == (*PRESETS["groq"].refuses, "seed")


@pytest.mark.parametrize("name", [name for name, preset in PRESETS.items() if preset.demands_base_url])
def test_an_address_that_only_the_operator_knows_is_demanded(name: str) -> None:
    said = refusal(f'{MODEL}preset = "{name}"\n')

    assert "line 4: [targets.t] needs base_url = " in said
    assert PRESETS[name].base_url in said


def test_an_address_that_was_copied_with_its_braces_is_no_address() -> None:
    said = refusal(f'{MODEL}preset = "azure"\nbase_url = "{PRESETS["azure"].base_url}"\n')

    assert "[targets.t] holds a placeholder in base_url; put your own" in said


def test_without_a_preset_the_address_is_demanded() -> None:
    assert "line 4: [targets.t] needs base_url = …, or preset = …" in refusal(MODEL)


def test_azure_is_asked_by_a_version_of_its_api() -> None:
    said = refusal(f'{MODEL}preset = "azure"\nbase_url = "https://r.openai.azure.com"\n')

    assert 'line 4: [targets.t] needs api_version = …, such as "2024-10-21"' in said


def test_a_version_that_no_path_names_would_go_nowhere() -> None:
    said = refusal(f'{MODEL}preset = "groq"\napi_version = "2024-10-21"\n')

    assert "line 7: [targets.t] api_version is for an upstream whose path names it" in said


def test_azure_in_another_dialect_needs_no_version() -> None:
    told = parse(f'{MODEL}preset = "azure"\nbase_url = "https://r/openai/v1"\ndialect = "responses"\n', {}).targets["t"]

    assert (row(told).path, row(told).models_path, row(told).key_header) == ("", "/models", "api-key")


def test_nor_does_it_need_a_path_there() -> None:
    told = parse(f'{MODEL}preset = "azure"\nbase_url = "https://r"\ndialect = "responses"\n', {}).targets["t"]

    assert (row(told).path, row(told).models_path) == ("/openai/v1/responses", "/openai/v1/models")


def test_an_unknown_preset_is_told_the_nearest_one() -> None:
    said = refusal(f'{MODEL}preset = "grok"\n')

    assert "line 6: [targets.t] preset: there is no preset 'grok'; did you mean groq?" in said


@pytest.mark.parametrize(
    ("base_url", "dialect", "field", "headers"),
    [
        ("https://api.openai.com/v1", "chat-completions", "max_completion_tokens", {"Authorization": "Bearer k"}),
        ("https://r.openai.azure.com/openai/v1", "responses", "max_completion_tokens", {"Authorization": "Bearer k"}),
        ("http://127.0.0.1:8000/v1", "chat-completions", "max_tokens", {"Authorization": "Bearer k"}),
        ("https://openai.com.example/v1", "chat-completions", "max_tokens", {"Authorization": "Bearer k"}),
        ("http://127.0.0.1:8000/v1", "messages", "max_tokens", {"x-api-key": "k"}),
    ],
)
def test_without_a_preset_dialect_and_host_decide(
    base_url: str, dialect: Dialect, field: str, headers: dict[str, str]
) -> None:
    plain = row(Target(model="m", base_url=base_url, dialect=dialect))

    assert (plain.max_tokens_field, key_headers(plain, "k"), plain.path) == (field, headers, "")


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("openai", {"Authorization": "Bearer k"}),
        ("azure", {"api-key": "k"}),
        ("anthropic", {"x-api-key": "k"}),
        ("assemblyai", {"Authorization": "k"}),
    ],
)
def test_a_key_goes_where_its_upstream_looks_for_it(name: str, headers: dict[str, str]) -> None:
    assert key_headers(PRESETS[name], "k") == headers
    assert key_headers(PRESETS[name], None) == {}


# --- the short form --------------------------------------------------------------------------------


def test_an_upstream_in_the_environment_may_be_a_preset() -> None:
    environ = {"TRUNKLINE_UPSTREAM__PRESET": "anthropic", "TRUNKLINE_UPSTREAM__MODEL": "claude"}

    told = parse(None, environ).targets["upstream"]

    assert (told.base_url, told.dialect) == ("https://api.anthropic.com/v1", "messages")
    assert told.api_key_env == "ANTHROPIC_API_KEY"


def test_what_is_said_of_an_upstream_goes_over_its_preset() -> None:
    told = parse('[upstream]\npreset = "litellm"\nmodel = "m"\nurl = "http://h/v1"\ndialect = "messages"', {}).targets

    assert (told["upstream"].base_url, told["upstream"].dialect) == ("http://h/v1", "messages")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"PRESET": "groq"}, "upstream.model is missing; set it beside the others: TRUNKLINE_UPSTREAM__MODEL=…"),
        ({"PRESET": "llama.cpp", "MODEL": "m"}, "upstream.url is missing"),
        ({"PRESET": "grok", "MODEL": "m"}, "TRUNKLINE_UPSTREAM__PRESET: there is no preset 'grok'; did you mean groq?"),
        ({"PRESET": "azure", "MODEL": "m", "URL": "https://r"}, "write [models.…] and [targets.…] for it"),
    ],
)
def test_an_upstream_that_lacks_something_says_what(environ: dict[str, str], words: str) -> None:
    said = refusal("", {f"TRUNKLINE_UPSTREAM__{name}": value for name, value in environ.items()})

    assert words in said
