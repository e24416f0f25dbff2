"""What is known about upstreams by name: one row each, data and no code. A target takes its row with `preset = "…"`.

Every row says where it was read and when. `verified` rows are those that the tests run for real; of a target with any
other `trunkline check` says so.
"""

from typing import Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from protocol.settings_types import Target
from protocol.settings_values import Dialect, MaxTokensField, Parameter

StreamUsage = Literal["stream_options", "always", "none"]

BEARER = "Bearer "
PATHS: dict[Dialect, str] = {
    "chat-completions": "/chat/completions",
    "responses": "/responses",
    "messages": "/messages",
}
"""Where each dialect is posted to, behind a base URL."""


class Preset(Struct, frozen=True, kw_only=True):
    """One upstream as it wants to be asked.

    `base_url` may be empty or hold a `{placeholder}`: then whoever configures a target says it. `path` follows it in
    place of the dialect's own; it may hold `{model}` and `{api_version}`, and end in a query. `other_root` is where the
    API in another dialect than `dialect` begins, for a base URL without a path.
    """

    name: str
    base_url: str = ""
    dialect: Dialect = "chat-completions"
    key_header: str = "Authorization"
    key_prefix: str = BEARER  # in front of the key
    path: str = ""  # "": the dialect's own
    other_root: str = ""
    models_path: str = "/models"  # where it lists its models; like `path`
    max_tokens_field: MaxTokensField = "max_tokens"
    refuses: tuple[Parameter, ...] = ()  # that it is never sent
    stream_usage: StreamUsage = "stream_options"  # asked for with `include_usage`; or comes unasked; or never
    prefill: bool = False
    api_key_env: str | None = None  # the customary variable; None: most run without a key
    verified: bool = False
    source: str
    read_on: str

    @property
    def demands_base_url(self) -> bool:
        """Only the operator knows the address."""
        return not self.base_url or "{" in self.base_url

    @property
    def demands_api_version(self) -> bool:
        """Its path names a version of the API."""
        return "{api_version}" in self.path


_ROWS = (
    Preset(
        name="openai",
        base_url="https://api.openai.com/v1",
        max_tokens_field="max_completion_tokens",
        api_key_env="OPENAI_API_KEY",
        source="https://platform.openai.com/docs/api-reference/chat/create",
        read_on="2026-11-21",
    ),
    Preset(
        name="azure",
        base_url="https://{resource}.openai.azure.com",
        key_header="api-key",
        key_prefix="",
        path="/openai/deployments/{model}/chat/completions?api-version={api_version}",
        other_root="/openai/v1",
        models_path="/openai/models?api-version={api_version}",  # not of the deployments, which a key cannot list
        max_tokens_field="max_completion_tokens",
        api_key_env="AZURE_OPENAI_API_KEY",
        source="https://learn.microsoft.com/en-us/azure/ai-services/openai/reference",
        read_on="2026-11-21",
    ),
    Preset(
        name="anthropic",
        base_url="https://api.anthropic.com/v1",
        dialect="messages",
        key_header="x-api-key",
        key_prefix="",
        stream_usage="always",
        prefill=False,  # models from Claude 4.6 on answer it with a 400
        api_key_env="ANTHROPIC_API_KEY",
        source="https://platform.claude.com/docs/en/api/messages",
        read_on="2026-11-21",
    ),
    Preset(
        name="groq",
        base_url="https://api.groq.com/openai/v1",
        max_tokens_field="max_completion_tokens",
        # answered with a 400; the last two: "unsupported" by its page on Responses
        refuses=("logprobs", "top_logprobs", "logit_bias", "name", "encrypted_reasoning", "truncation"),
        prefill=True,
        api_key_env="GROQ_API_KEY",
        source="https://console.groq.com/docs/openai",
        read_on="2026-11-21",
    ),
    Preset(
        name="together",
        base_url="https://api.together.ai/v1",
        api_key_env="TOGETHER_API_KEY",
        source="https://docs.together.ai/docs/inference/openai-compatibility",
        read_on="2026-11-21",
    ),
    Preset(
        name="sambanova",
        base_url="https://api.sambanova.ai/v1",
        refuses=("logprobs", "top_logprobs", "logit_bias", "presence_penalty", "frequency_penalty"),
        api_key_env="SAMBANOVA_API_KEY",
        source="https://docs.sambanova.ai/docs/en/features/openai-compatibility",
        read_on="2026-11-21",
    ),
    Preset(
        name="cloudflare",
        base_url="https://api.cloudflare.com/client/v4/accounts/{account}/ai/v1",
        api_key_env="CLOUDFLARE_API_TOKEN",
        source="https://developers.cloudflare.com/workers-ai/configuration/open-ai-compatibility",
        read_on="2026-11-21",
    ),
    Preset(
        name="assemblyai",
        base_url="https://llm-gateway.assemblyai.com/v1",
        key_prefix="",
        api_key_env="ASSEMBLYAI_API_KEY",
        source="https://www.assemblyai.com/docs/llm-gateway/chat-completions",
        read_on="2026-11-21",
    ),
    Preset(
        name="vllm",
        base_url="http://127.0.0.1:8000/v1",
        source="https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
        read_on="2026-11-21",
    ),
    Preset(
        name="ollama",
        base_url="http://127.0.0.1:11434/v1",
        source="https://docs.ollama.com/api/openai-compatibility",
        read_on="2026-11-21",
    ),
    Preset(
        name="openvino",
        base_url="http://127.0.0.1:8000/v3",
        source="https://docs.openvino.ai/2025/model-server/ovms_docs_rest_api_chat.html",
        read_on="2026-11-21",
    ),
    Preset(
        name="litellm",
        base_url="http://127.0.0.1:4000/v1",
        verified=True,
        source="https://docs.litellm.ai/docs/completion/usage",
        read_on="2026-11-21",
    ),
    Preset(
        name="llama.cpp",
        base_url="http://127.0.0.1:{port}/v1",  # its own default, 8080, is an edge's
        prefill=False,  # it does, but refuses where the model's template thinks
        verified=True,
        source="https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
        read_on="2026-11-21",
    ),
)

PRESETS: dict[str, Preset] = {row.name: row for row in _ROWS}


def row(told: Target) -> Preset:
    """The row of a target: its preset's, or a plain one made from its dialect and host.

    In another dialect than the preset's the path is that dialect's own, behind the preset's `other_root`.
    """
    if told.preset is None:
        return _plain(told)
    preset = PRESETS[told.preset]
    if told.dialect == preset.dialect:
        return preset
    root = "" if urlsplit(told.base_url).path.strip("/") else preset.other_root
    return msgspec.structs.replace(
        preset,
        dialect=told.dialect,
        path=root and root + PATHS[told.dialect],
        models_path=f"{root}/models",
        stream_usage=_usage(told.dialect),
    )


def key_headers(preset: Preset, key: str | None) -> dict[str, str]:
    """The header that holds the key; none without one."""
    return {preset.key_header: f"{preset.key_prefix}{key}"} if key else {}


def _plain(told: Target) -> Preset:
    """OpenAI's newer models refuse `max_tokens`, most others know only that."""
    host = urlsplit(told.base_url).hostname or ""
    is_openai = host.endswith((".openai.com", ".openai.azure.com"))
    is_messages = told.dialect == "messages"
    return Preset(
        name="",
        base_url=told.base_url,
        dialect=told.dialect,
        key_header="x-api-key" if is_messages else "Authorization",
        key_prefix="" if is_messages else BEARER,
        max_tokens_field="max_completion_tokens" if is_openai else "max_tokens",
        stream_usage=_usage(told.dialect),
        source="",
        read_on="",
    )


def _usage(dialect: Dialect) -> StreamUsage:
    """Of the three, one has to be asked."""
    return "stream_options" if dialect == "chat-completions" else "always"
