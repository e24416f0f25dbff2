"""The forms of a response and its events, for the API's description: `ResponsesAnswer` writes them; a test compares.

What is `UNSET` by default is absent where it is not used, never null.

Source: the API contract, sections 1.3, 1.11 and 1.12.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from edge.answer_forms import ErrorObject, Seconds

Status = Literal["in_progress", "completed", "incomplete", "failed", "cancelled"]
ItemStatus = Annotated[
    Literal["in_progress", "completed", "incomplete"],
    Meta(description="`incomplete`: the answer was cut off in it."),
]
ItemId = Annotated[str, Meta(description="The item's; the id of its response is in it.")]
OutputIndex = Annotated[int, Meta(ge=0, description="The item's place in `output`.")]
ContentIndex = Annotated[int, Meta(ge=0, description="The part's place in the message's `content`.")]
SummaryIndex = Annotated[int, Meta(ge=0, description="The part's place in the thought's `summary`: a thought has one.")]
Number = Annotated[int, Meta(ge=0, description="Counts the events of a stream, from 0.")]
Arguments = Annotated[str, Meta(description="A JSON object.")]


# --- items -----------------------------------------------------------------------------------------


class OutputTopLogprob(Struct):
    """A token that might have been."""

    token: str
    logprob: float
    bytes: list[int]


class OutputLogprob(OutputTopLogprob):
    """A token, and how likely it was."""

    top_logprobs: list[OutputTopLogprob]


Logprobs = Annotated[
    list[OutputLogprob],
    Meta(description="Empty unless `include` or `top_logprobs` asks for them, and the target has them."),
]


class OutputTextPart(Struct, tag_field="type", tag="output_text"):
    """What is said."""

    text: str
    annotations: Annotated[list[dict[str, Any]], Meta(max_length=0, description="Always empty.")]
    logprobs: Logprobs


class OutputRefusalPart(Struct, tag_field="type", tag="refusal"):
    """The model declines, in its own words."""

    refusal: str


class OutputSummaryPart(Struct, tag_field="type", tag="summary_text"):
    """What can be read of a thought; it is never spoken."""

    text: str


OutputPart = OutputTextPart | OutputRefusalPart


class OutputMessage(Struct, tag_field="type", tag="message"):
    """What is said, up to the next thought or call."""

    id: ItemId
    status: ItemStatus
    role: Literal["assistant"]
    content: list[OutputPart]


class OutputCall(Struct, tag_field="type", tag="function_call"):
    """A function that the model calls."""

    id: ItemId
    status: ItemStatus
    call_id: Annotated[str, Meta(description="What the call's result is sent back with.")]
    name: str
    arguments: Arguments


class OutputThought(Struct, tag_field="type", tag="reasoning"):
    """What the model thinks before it goes on."""

    id: ItemId
    summary: list[OutputSummaryPart]
    encrypted_content: Annotated[
        str | UnsetType, Meta(description="What its target alone can read, to be sent back with the next request.")
    ] = UNSET


OutputItem = OutputMessage | OutputCall | OutputThought


# --- the response ----------------------------------------------------------------------------------


class ResponseError(Struct):
    """Why it failed."""

    code: Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]
    message: str


class IncompleteDetails(Struct):
    """Why the answer was cut off."""

    reason: Literal["max_output_tokens", "content_filter"]


class ResponseInputTokens(Struct):
    """What the input's tokens were."""

    cached_tokens: int
    cache_write_tokens: Annotated[int, Meta(description="Always 0.")]


class ResponseOutputTokens(Struct):
    """What the output's tokens were."""

    reasoning_tokens: int


class ResponseUsage(Struct):
    """What the turn cost."""

    input_tokens: int
    input_tokens_details: ResponseInputTokens
    output_tokens: int
    output_tokens_details: ResponseOutputTokens
    total_tokens: int


class ResponseReasoning(Struct):
    """How the model was asked to think."""

    effort: str | None
    summary: str | None


class ResponseFormat(Struct):
    """The form that the text was asked to have. What is absent goes with `json_schema` alone."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    schema: dict[str, Any] | UnsetType = UNSET
    strict: bool | UnsetType = UNSET


class ResponseText(Struct):
    """How the text was asked to be."""

    format: ResponseFormat
    verbosity: str


class ResponseTool(Struct, tag_field="type", tag="function"):
    """A function that the model could call."""

    name: str
    description: str | None
    parameters: dict[str, Any] | None
    strict: bool


class ResponseObject(Struct):
    """The answer, and what it repeats of its request."""

    id: str
    object: Literal["response"]
    created_at: Seconds
    completed_at: Annotated[Seconds | None, Meta(description="Only of one that is `completed`.")]
    status: Status
    background: Literal[False]
    error: Annotated[ResponseError | None, Meta(description="Only of one that has `failed`.")]
    incomplete_details: Annotated[IncompleteDetails | None, Meta(description="Only of one that is `incomplete`.")]
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    model: str
    output: Annotated[list[OutputItem], Meta(description="Empty where the model had nothing to say.")]
    parallel_tool_calls: bool
    previous_response_id: str | None
    prompt_cache_key: str | None
    presence_penalty: float
    frequency_penalty: float
    reasoning: ResponseReasoning
    safety_identifier: str | None
    service_tier: str
    store: Annotated[
        bool, Meta(description="Whether it can be read and gone on from: what a response says at its end.")
    ]
    temperature: float
    text: ResponseText
    tool_choice: str | dict[str, Any]
    tools: list[ResponseTool]
    top_logprobs: int
    top_p: float
    truncation: str
    usage: Annotated[ResponseUsage | None, Meta(description="Of one that came to its end.")]
    user: str | None
    metadata: dict[str, str]


# --- what is kept ----------------------------------------------------------------------------------


class DeletedResponse(Struct):
    """It is forgotten."""

    id: str
    object: Literal["response"]
    deleted: Literal[True]


class InputItemList(Struct):
    """A page of what led to a response: items as `input` takes them, each with an id, a type and, unless it is a
    thought, a status; a message's content is a list of parts.
    """

    object: Literal["list"]
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


# --- events ----------------------------------------------------------------------------------------


class Event(Struct, tag_field="type"):
    """What every event has."""

    sequence_number: Number


class InMessage(Event):
    """Of one in a message's part: where that is."""

    item_id: ItemId
    output_index: OutputIndex
    content_index: ContentIndex


class InCall(Event):
    """Of one in a call."""

    item_id: ItemId
    output_index: OutputIndex


class InThought(Event):
    """Of one in a thought."""

    item_id: ItemId
    output_index: OutputIndex
    summary_index: SummaryIndex


class ResponseCreated(Event, tag="response.created"):
    """The first event."""

    response: ResponseObject


class ResponseInProgress(Event, tag="response.in_progress"):
    """The second."""

    response: ResponseObject


class ResponseCompleted(Event, tag="response.completed"):
    """The end of an answer that came to its end."""

    response: ResponseObject


class ResponseIncomplete(Event, tag="response.incomplete"):
    """The end of one that was cut off."""

    response: ResponseObject


class ResponseFailed(Event, tag="response.failed"):
    """The end of one that failed, or was cancelled, as the response's `status` says."""

    response: ResponseObject


class ErrorEvent(Event, tag="error"):
    """What went wrong, twice over: at the top as OpenAI has it, and in `error`. `response.failed` follows."""

    code: str | None
    message: str
    param: str | None
    error: ErrorObject


class OutputItemAdded(Event, tag="response.output_item.added"):
    """An item begins: nothing is in it yet."""

    output_index: OutputIndex
    item: OutputItem


class OutputItemDone(Event, tag="response.output_item.done"):
    """An item is whole: as it is in the response."""

    output_index: OutputIndex
    item: OutputItem


class ContentPartAdded(InMessage, tag="response.content_part.added"):
    """A part of a message begins."""

    part: OutputPart


class ContentPartDone(InMessage, tag="response.content_part.done"):
    """It is whole."""

    part: OutputPart


class OutputTextDelta(InMessage, tag="response.output_text.delta"):
    """The next words."""

    delta: str
    logprobs: Logprobs


class OutputTextDone(InMessage, tag="response.output_text.done"):
    """All words of a part."""

    text: str
    logprobs: Logprobs


class RefusalDelta(InMessage, tag="response.refusal.delta"):
    """The next words of a refusal."""

    delta: str


class RefusalDone(InMessage, tag="response.refusal.done"):
    """All of it."""

    refusal: str


class ArgumentsDelta(InCall, tag="response.function_call_arguments.delta"):
    """A call's arguments: they are never sent in pieces."""

    delta: Arguments


class ArgumentsDone(InCall, tag="response.function_call_arguments.done"):
    """The same once more, with the function's name."""

    name: str
    arguments: Arguments


class SummaryPartAdded(InThought, tag="response.reasoning_summary_part.added"):
    """What can be read of a thought begins."""

    part: OutputSummaryPart


class SummaryPartDone(InThought, tag="response.reasoning_summary_part.done"):
    """It is whole."""

    part: OutputSummaryPart


class SummaryTextDelta(InThought, tag="response.reasoning_summary_text.delta"):
    """The next words of a thought."""

    delta: str


class SummaryTextDone(InThought, tag="response.reasoning_summary_text.done"):
    """All of them."""

    text: str


ResponseStreamEvent = (
    ResponseCreated
    | ResponseInProgress
    | OutputItemAdded
    | OutputItemDone
    | ContentPartAdded
    | ContentPartDone
    | OutputTextDelta
    | OutputTextDone
    | RefusalDelta
    | RefusalDone
    | ArgumentsDelta
    | ArgumentsDone
    | SummaryPartAdded
    | SummaryPartDone
    | SummaryTextDelta
    | SummaryTextDone
    | ErrorEvent
    | ResponseCompleted
    | ResponseIncomplete
    | ResponseFailed
)
"""One event of a stream, by its `type`."""
