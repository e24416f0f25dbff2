"""The form of a body of POST /v1/responses, and of its items, as msgspec reads them and the JSON Schema has them.

Every optional field may be null. `Raw` is what is carried byte for byte, read by itself, or tolerated in any shape. A
stranger's fields are skipped; `edge.responses_parameters` says what becomes of those that are known.

Source: the API contract, sections 1.10 and 1.13.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from edge.platform_fields import PlatformFields

Name = Annotated[str, Meta(min_length=1)]


# --- the items of `input` --------------------------------------------------------------------------


class InputText(Struct, tag_field="type", tag="input_text"):
    text: str


class OutputText(InputText, tag="output_text"):
    pass


class PlainText(InputText, tag="text"):
    pass


class RefusalPart(Struct, tag_field="type", tag="refusal"):
    refusal: str


class ImagePart(Struct, tag_field="type", tag="input_image"):
    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None


class FilePart(Struct, tag_field="type", tag="input_file"):
    file_id: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    filename: str | None = None


class AudioPart(Struct, tag_field="type", tag="input_audio"):
    input_audio: Raw


Part = InputText | OutputText | PlainText | RefusalPart | ImagePart | FilePart | AudioPart
Content = str | list[Part] | UnsetType | None  # a null is known from an absence


class MessageItem(Struct):
    role: Literal["user", "assistant", "system", "developer"]
    content: Content = UNSET
    type: Literal["message"] | None = None
    id: str | None = None


class CallItem(Struct):
    call_id: Name
    name: Name
    arguments: str | None = None
    type: Literal["function_call"] | None = None
    id: str | None = None


class ResultItem(Struct):
    call_id: Name
    output: Content = UNSET
    type: Literal["function_call_output"] | None = None
    id: str | None = None


class Summary(Struct):
    text: str = ""


class ReasoningItem(Struct):
    summary: list[Summary] | None = None
    encrypted_content: str | None = None
    type: Literal["reasoning"] | None = None
    id: str | None = None


class ReferenceItem(Struct):
    id: Name
    type: Literal["item_reference"] | None = None


Item = MessageItem | CallItem | ResultItem | ReasoningItem | ReferenceItem


# --- the rest of the body --------------------------------------------------------------------------


class Tool(Struct):
    type: str | None = None
    name: Name | None = None
    description: str | None = None
    parameters: Raw = field(default_factory=Raw)
    strict: bool | None = None


class NamedTool(Struct):
    type: str | None = None
    name: Name | None = None


class Choice(Struct):
    type: str | None = None
    name: Name | None = None
    mode: Literal["auto", "required"] | None = None
    tools: list[NamedTool] | None = None


class Format(Struct):
    type: Literal["text", "json_object", "json_schema"]
    name: Name | None = None
    description: str | None = None
    schema: Raw = field(default_factory=Raw)
    strict: bool | None = None


class Text(Struct):
    format: Format | None = None
    verbosity: str | None = None


class Reasoning(Struct):
    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None  # the older name


class ResponsesBody(PlatformFields, kw_only=True):
    model: Name
    input: str | list[Raw] | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    stream: bool | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    max_output_tokens: float | None = None  # 100.0 is a whole number too
    max_tool_calls: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    include: list[str] | None = None
    reasoning: Reasoning | None = None
    text: Text | None = None
    tools: list[Tool] | None = None
    tool_choice: str | Choice | None = None
    parallel_tool_calls: bool | None = None
    truncation: Literal["auto", "disabled"] | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    background: bool | None = None
    conversation: Raw = field(default_factory=Raw)
    prompt: Raw = field(default_factory=Raw)
    # ignored on purpose, in any shape: listed so that they are known
    access_programs: Raw = field(default_factory=Raw)
    context_management: Raw = field(default_factory=Raw)
    image: Raw = field(default_factory=Raw)
    moderation: Raw = field(default_factory=Raw)
    prompt_cache_options: Raw = field(default_factory=Raw)
    prompt_cache_retention: Raw = field(default_factory=Raw)
    stream_options: Raw = field(default_factory=Raw)
