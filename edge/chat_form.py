"""The form of a body of POST /v1/chat/completions, as msgspec reads it and the JSON Schema has it.

Every optional field may be null. `Raw` is what is carried byte for byte, or tolerated in any shape. A stranger's
fields are skipped; `edge.parameters` says what becomes of those that are known.

Source: the API contract, section 1.5.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from edge.platform_fields import PlatformFields

Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Name = Annotated[str, Meta(min_length=1)]


class TextPart(Struct, tag_field="type", tag="text"):
    text: str


class ImageUrl(Struct):
    url: str
    detail: str | None = None


class ImagePart(Struct, tag_field="type", tag="image_url"):
    image_url: ImageUrl


class AudioPart(Struct, tag_field="type", tag="input_audio"):
    input_audio: Raw


class FilePart(Struct, tag_field="type", tag="file"):
    file: Raw


class RefusalPart(Struct, tag_field="type", tag="refusal"):
    refusal: str


Part = TextPart | ImagePart | AudioPart | FilePart | RefusalPart


class PastFunction(Struct):
    name: Name
    arguments: str | None = None


class PastCall(Struct):
    id: str
    type: str | None = None
    function: PastFunction | None = None


class Message(Struct):
    role: Literal["developer", "system", "user", "assistant", "tool", "function"]
    content: str | list[Part] | UnsetType | None = UNSET  # a null is known from an absence
    name: str | None = None
    tool_calls: list[PastCall] | None = None
    tool_call_id: str | None = None
    function_call: PastFunction | None = None
    refusal: str | None = None


class Function(Struct):
    name: Name
    description: str | None = None
    parameters: Raw = field(default_factory=Raw)
    strict: bool | None = None


class Tool(Struct):
    type: str | None = None
    function: Function | None = None


class Named(Struct):
    name: Name


class NamedTool(Struct):
    type: str | None = None
    function: Named | None = None


class Allowed(Struct):
    mode: Literal["auto", "required"]
    tools: list[NamedTool]


class Choice(Struct):
    type: str | None = None
    function: Named | None = None
    allowed_tools: Allowed | None = None


class JsonSchema(Struct):
    name: str
    description: str | None = None
    schema: Raw = field(default_factory=Raw)
    strict: bool | None = None


class Format(Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(Struct):
    include_usage: bool | None = None


class ChatBody(PlatformFields, kw_only=True):
    model: Name
    messages: Annotated[list[Message], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    max_completion_tokens: float | None = None  # 100.0 is a whole number too
    max_tokens: float | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    seed: Int64 | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    logit_bias: Raw = field(default_factory=Raw)
    reasoning_effort: str | None = None
    verbosity: str | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None = None
    modalities: list[str] | None = None
    tools: list[Tool] | None = None
    tool_choice: str | Choice | None = None
    parallel_tool_calls: bool | None = None
    functions: list[Function] | None = None
    function_call: str | Named | None = None
    response_format: Format | None = None
    user: str | None = None
    web_search_options: Raw = field(default_factory=Raw)
    # ignored on purpose, in any shape: listed so that they are known
    audio: Raw = field(default_factory=Raw)
    moderation: Raw = field(default_factory=Raw)
    prediction: Raw = field(default_factory=Raw)
    prompt_cache_key: Raw = field(default_factory=Raw)
    prompt_cache_options: Raw = field(default_factory=Raw)
    prompt_cache_retention: Raw = field(default_factory=Raw)
    safety_identifier: Raw = field(default_factory=Raw)
    store: Raw = field(default_factory=Raw)
