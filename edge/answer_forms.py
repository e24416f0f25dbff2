"""The forms of what the public API answers, for its description: `ChatAnswer` writes them, and a test compares.

What is `UNSET` by default is absent where it is not used, never null.

Source: the API contract, sections 1.3, 1.4 and 1.6 to 1.9.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

Reason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]
Seconds = Annotated[int, Meta(description="Seconds since 1970.")]
Thought = Annotated[str, Meta(description="What the model thinks; it is never spoken.")]


class ErrorObject(Struct):
    """What went wrong, and the way out."""

    message: str
    type: str
    param: Annotated[str | None, Meta(description="The path of the field at fault, like `messages[2].content`.")]
    code: str | None


class ErrorBody(Struct):
    """Every failure, and the last event of a stream that failed."""

    error: ErrorObject


class CalledFunction(Struct):
    """A function that the model calls."""

    name: str
    arguments: Annotated[str, Meta(description="A JSON object, whole: calls are never sent in pieces.")]


class ToolCall(Struct):
    """One call."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class ToolCallDelta(Struct):
    """One call in a stream."""

    index: int
    id: str
    type: Literal["function"]
    function: CalledFunction


class TopLogprob(Struct):
    """A token that might have been."""

    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(Struct):
    """A token, and how likely it was."""

    token: str
    logprob: float
    bytes: list[int] | None
    top_logprobs: list[TopLogprob]


class Logprobs(Struct):
    """How likely each token was."""

    content: list[TokenLogprob]
    refusal: None


class PromptTokens(Struct):
    """What the prompt's tokens were."""

    cached_tokens: int
    audio_tokens: int


class CompletionTokens(Struct):
    """What the answer's tokens were."""

    reasoning_tokens: int
    audio_tokens: int
    accepted_prediction_tokens: int
    rejected_prediction_tokens: int


class Usage(Struct):
    """What the turn cost."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokens
    completion_tokens_details: CompletionTokens


class AnswerMessage(Struct):
    """The answer."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    annotations: list[dict[str, Any]]
    reasoning_content: Thought | UnsetType = UNSET
    tool_calls: list[ToolCall] | UnsetType = UNSET
    function_call: CalledFunction | UnsetType = UNSET


class AnswerChoice(Struct):
    """The one choice."""

    index: int
    message: AnswerMessage
    logprobs: Logprobs | None
    finish_reason: Reason


class ChatCompletion(Struct):
    """The answer in one body."""

    id: str
    object: Literal["chat.completion"]
    created: Seconds
    model: str
    choices: list[AnswerChoice]
    usage: Usage
    service_tier: str
    system_fingerprint: str


class Delta(Struct):
    """What a chunk adds; empty in the chunk that has the finish reason."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    refusal: str | UnsetType | None = UNSET
    reasoning_content: Thought | UnsetType = UNSET
    tool_calls: list[ToolCallDelta] | UnsetType = UNSET
    function_call: CalledFunction | UnsetType = UNSET


class ChunkChoice(Struct):
    """The one choice's next piece."""

    index: int
    delta: Delta
    logprobs: Logprobs | None
    finish_reason: Reason | None


class ChatCompletionChunk(Struct):
    """One event of a stream. `choices` is empty only in the chunk that has the usage."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: Seconds
    model: str
    service_tier: str
    system_fingerprint: str
    choices: list[ChunkChoice]
    usage: Annotated[
        Usage | UnsetType | None, Meta(description="Only where `stream_options.include_usage` asks for it.")
    ] = UNSET


class Model(Struct):
    """A name that can be asked for."""

    id: str
    object: Literal["model"]
    created: Seconds
    owned_by: str


class ModelList(Struct):
    """All of them, those apart that are passed through (`openai/…`)."""

    object: Literal["list"]
    data: list[Model]


class Health(Struct):
    """The process runs."""

    status: Literal["ok"]


class Pool(Struct):
    """The living workers of a pool, and how many more turns they can take."""

    workers: int
    slots_free: int


class Readiness(Struct):
    """Whether turns can be taken now, and what that depends on."""

    ready: bool
    nats: bool
    pools: dict[str, Pool]
    draining: bool


class HookTaken(Struct):
    """What became of a webhook whose signature holds. What came again is a duplicate; what is not asked for is dropped,
    and what no message of the bus has room for.
    """

    outcome: Literal["stored", "duplicate", "dropped"]
