"""What the edge and the workers say to each other.

A new field needs a default and goes last: during a rollout, old and new processes share the bus,
and frames travel as arrays.
"""

from typing import Literal

from msgspec import Raw, Struct

Json = bytes
"""JSON text that is carried, not read: tool parameters, schemas. It reaches a target byte for byte."""


# --- the job: edge -> worker -----------------------------------------------------------------------


class TextPart(Struct, frozen=True, tag="text"):
    """A run of text inside a message."""

    text: str


class ImagePart(Struct, frozen=True, tag="image_url"):
    """An image by URL or data URL."""

    url: str
    detail: str | None = None


class OpaquePart(Struct, frozen=True, tag="opaque"):
    """A part that only a target understands (audio, a file): `kind` names it, `body` is its JSON value."""

    kind: str
    body: Json


class RefusalPart(Struct, frozen=True, tag="refusal"):
    """An earlier refusal by the model."""

    refusal: str


Part = TextPart | ImagePart | OpaquePart | RefusalPart


class PastCall(Struct, frozen=True):
    """A tool call in the history; `arguments` is whatever the model wrote then."""

    id: str
    name: str
    arguments: str


class Thought(Struct, frozen=True, omit_defaults=True):
    """What a model thought before it said or called something; for targets that take their own thoughts back."""

    id: str | None = None
    summary: tuple[str, ...] = ()
    encrypted: str | None = None  # sealed by the target: nobody else reads it


class Message(Struct, frozen=True, omit_defaults=True):
    """One entry of the history. `tool_call_id` names the call that a tool message answers."""

    role: Literal["developer", "system", "user", "assistant", "tool"]
    content: str | tuple[Part, ...] | None = None
    name: str | None = None
    tool_calls: tuple[PastCall, ...] = ()
    tool_call_id: str | None = None
    refusal: str | None = None
    thoughts: tuple[Thought, ...] = ()  # of an assistant's message, before what it says


class Tool(Struct, frozen=True, omit_defaults=True):
    """A function that the model may call. `parameters`: its JSON Schema; None takes no arguments."""

    name: str
    description: str | None = None
    parameters: Json | None = None
    strict: bool | None = None


class ToolChoice(Struct, frozen=True, omit_defaults=True):
    """`named` demands one of `names`; `allowed` leaves the choice among them (`required`: one must be called)."""

    mode: Literal["none", "auto", "required", "named", "allowed"] = "auto"
    names: tuple[str, ...] = ()
    required: bool = False


class Format(Struct, frozen=True, omit_defaults=True):
    """The form that the answer must have. `schema` goes with `json_schema` alone."""

    kind: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    schema: Json | None = None
    strict: bool | None = None
    description: str | None = None


class Sampling(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the model is asked to write. None leaves a choice to the target."""

    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: bool = False
    top_logprobs: int | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    service_tier: str | None = None
    logit_bias: Json | None = None
    reasoning_summary: str | None = None  # how the target is to sum up what it thinks; its own words for it
    encrypted_reasoning: bool = False  # its thoughts are wanted sealed, so that they can be sent back
    truncation: str | None = None  # whether the target may cut a history that is too long for it


OnLost = Literal["error", "finish", "continue"]


class Job(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One turn to answer. The edge makes it; a worker only reads it."""

    id: str
    model: str
    messages: tuple[Message, ...]
    budget_ms: int  # a duration to the first content, counted from receipt: no two clocks are ever compared
    total_ms: int  # a duration to the last frame
    tenant: str = "default"
    call_id: str | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: Format | None = None
    sampling: Sampling = Sampling()
    user: str | None = None
    metadata: dict[str, str] = {}
    on_lost: OnLost = "error"  # only under `continue` may a worker go on by itself after a target is lost
    said: str = ""  # what the caller has already heard, when this job continues a lost one
    extras: dict[str, Json] = {}  # what a platform said of the call, by its field's name; for us, never for an upstream
    repairs: tuple[str, ...] = ()  # what the edge put right in `messages`, by name
    profile: str = "openai"  # what its platform expects, see `protocol.profiles`
    language: str | None = None  # of the call, as far as it is known
    check_tools: bool = False  # calls are held against their schema, the gates and what was called before
    clean_markup: bool = False  # what a model leaks into its text is taken out


def text_of(message: Message) -> str:
    """A message's text, its parts joined; other kinds of parts have none."""
    if isinstance(message.content, str):
        return message.content
    return "".join(part.text for part in message.content or () if isinstance(part, TextPart))


# --- the frames: worker -> edge --------------------------------------------------------------------


class Usage(Struct, frozen=True, omit_defaults=True):
    """What a generation cost, in tokens. `estimated`: counted here, because the target did not say."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0
    estimated: bool = False


class Timings(Struct, frozen=True, omit_defaults=True):
    """The targets' clock, in milliseconds from the start of the first request. None: none came so far."""

    first_content_ms: float | None = None
    total_ms: float | None = None


class TokenLogprob(Struct, frozen=True, array_like=True, gc=False):
    """One token with its log probability and the likeliest others."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None
    top: tuple["TokenLogprob", ...] = ()


class Attempt(Struct, frozen=True, omit_defaults=True):
    """One target tried for a turn, or passed over, and what that cost. Never content. Times from its own request."""

    target: str
    outcome: str  # `answered`, `outrun` (a hedge's loser), `skipped`, else the wire code of its failure
    reason: str = ""  # of `skipped`: `breaker_open`, `retry_budget`, `unsupported`; of a try that `waited` for its
    # target's Retry-After, asks again after an `empty` answer, `continues` the answer that another one began, or is
    # the `tool_repair` of one whose call could not go out
    hedge: bool = False  # it was started beside another one
    usage: Usage = Usage()
    cost: float | None = None  # in the unit of the target's prices; None: it has none
    first_content_ms: float | None = None
    total_ms: float | None = None


REPEATED = "repeated"


class Withheld(Struct, frozen=True, omit_defaults=True):
    """A tool call that did not go out, and that no second try has mended. Never its arguments."""

    tool: str
    # `invalid`, `repeated` (it was made before), or the gate's: `too_early`, `not_allowed`, `not_after`, `placeholder`
    reason: str


# Frames hold no cycles (`gc=False`): a worker keeps thousands of them, and a collection would look at each.
class Claimed(Struct, frozen=True, array_like=True, tag="c", gc=False):
    """A worker runs this offer. `ack` is the delivery's ack subject: the edge acknowledges, not the worker."""

    ack: str


class Text(Struct, frozen=True, array_like=True, tag="t", gc=False):
    """Spoken content; never empty."""

    text: str
    logprobs: tuple[TokenLogprob, ...] | None = None


class Reasoning(Struct, frozen=True, array_like=True, tag="r", gc=False):
    """Never spoken, never mixed into content."""

    text: str
    id: str | None = None
    encrypted: str | None = None


class Refusal(Struct, frozen=True, array_like=True, tag="n", gc=False):
    """The model declines, in its own words; audible."""

    text: str


class ToolCall(Struct, frozen=True, array_like=True, tag="x", gc=False):
    """One whole call. `index` counts from 0 without gaps; `arguments` parse as a JSON object."""

    index: int
    id: str
    name: str
    arguments: str


FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class Finished(Struct, frozen=True, array_like=True, tag="f", gc=False):
    """The last frame of an answer that came to its end."""

    reason: FinishReason
    usage: Usage = Usage()
    target: str = ""
    timings: Timings = Timings()
    attempts: tuple[Attempt, ...] = ()  # every target that was tried or passed over, in order; `usage` is the answer's
    withheld: tuple[Withheld, ...] = ()  # calls that the model made and nobody got
    leaked: int = 0  # marks and calls that were taken out of the text


class Failed(Struct, frozen=True, array_like=True, tag="e", gc=False):
    """The last frame of one that did not. `retryable`: another *worker* may succeed, never an upstream failure.

    It carries what was spent until then: a hang-up costs money too.
    """

    code: str
    message: str
    param: str | None = None
    retryable: bool = False
    usage: Usage = Usage()
    target: str = ""
    timings: Timings = Timings()
    retry_after_s: float | None = None  # the caller may try again then, as the target said
    attempts: tuple[Attempt, ...] = ()  # as in `Finished`
    withheld: tuple[Withheld, ...] = ()
    leaked: int = 0


Frame = Claimed | Text | Reasoning | Refusal | ToolCall | Finished | Failed
LAST = (Finished, Failed)


# --- control: edge -> worker, worker -> edges ------------------------------------------------------


class Cancel(Struct, frozen=True, array_like=True, tag="cancel"):
    """Stop this claim: close the upstream connection, then answer with a last frame."""

    claim: int


class Ask(Struct, frozen=True, array_like=True, tag="ask"):
    """Ping, resend and lease in one: send every frame of each claim again from the number beside it."""

    edge_id: str
    claims: tuple[tuple[int, int], ...]


Control = Cancel | Ask


class Answer(Struct, frozen=True, array_like=True):
    """To an `Ask`, claim by claim and in its order: the next frame's number, or None where the claim is unknown."""

    next: tuple[int | None, ...]


class Here(Struct, frozen=True, kw_only=True):
    """A worker says that it lives. Feeds readiness, `no_worker` and metrics; never dispatch or liveness."""

    worker_id: str
    models: tuple[str, ...]
    slots: int
    free: int
    draining: bool
    config: str  # hash of its settings: processes that differ are found by comparing
    version: str = ""  # of its Trunkline
    open: tuple[str, ...] = ()  # targets that its circuit breakers pass over now


# --- the record: edge -> whoever wants -------------------------------------------------------------

Outcome = Literal["completed", "interrupted", "shed", "deadline", "upstream_error", "worker_lost", "internal"]


class Heard(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An amendment to the record of a turn that was cut: how much of it the caller has heard, as the platform's next
    request shows. Never the text itself.
    """

    amends: str  # the turn's id
    by: str  # the id of the turn whose history shows it
    tenant: str
    call_id: str
    said_chars: int
    heard_chars: int
    said_words: int
    heard_words: int


class TurnRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One finished turn: usage, timings, outcome. Never content. Times in milliseconds from the request."""

    id: str
    tenant: str
    model: str
    outcome: Outcome
    started_at: str  # RFC 3339, UTC: for people and stores, never compared with another clock
    call_id: str | None = None
    trace_id: str | None = None
    worker: str | None = None
    target: str | None = None
    offers: int = 0
    finish_reason: str | None = None
    error: str | None = None  # the wire code of the failure
    queue_ms: float | None = None
    ttft_ms: float | None = None
    overhead_ms: float | None = None
    max_gap_ms: float | None = None
    cancel_ms: float | None = None
    total_ms: float = 0.0
    usage: Usage = Usage()
    cost: float | None = None  # of all attempts that have a price; None: none has
    attempts: tuple[Attempt, ...] = ()
    profile: str = "openai"
    language: str | None = None
    spoken_by_edge: tuple[str, ...] = ()  # sentences and spaces of the profile's, in order
    withheld: tuple[Withheld, ...] = ()
    leaked: int = 0
    unheard: int | None = None  # of an interrupted turn: tokens that were generated and never reached the client
    unheard_cost: float | None = None  # what these tokens cost, where their target has a price
    heard: Heard | None = None  # its amendment, which the stream keeps apart: whoever reads the record adds it
    called_by_edge: tuple[str, ...] = ()  # functions: `skip_turn`, where silence was the ending


# --- what comes after a call: edge -> whoever wants --------------------------------------------------


class Hook(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a platform has sent after a call; its signature held. `body`: its JSON, without space around it."""

    platform: str
    received_at: str  # RFC 3339, UTC
    body: Raw
    type: str = ""  # as the platform says it; empty: it says none
    conversation_id: str | None = None  # where the platform's header gives it to us, the call id of its turns
    agent_id: str | None = None
    trace_id: str | None = None  # of the request that brought it
