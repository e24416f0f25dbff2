"""What a turn is asked for, whichever of the API's dialects its request came in. Pure."""

from collections.abc import Collection
from typing import TypeVar

from msgspec import Struct

from edge.history import Repaired, repair
from edge.language import language_of
from edge.profile_choice import PLAIN_CHOICE, Chosen
from edge.spoken import without_spoken
from protocol.messages import Format, Job, Json, Message, OnLost, Sampling, Tool, ToolChoice


class Asked(Struct, frozen=True, kw_only=True):
    """A body that was found good: what a job needs. Each dialect's own adds how its answer is to be written."""

    model: str
    messages: tuple[Message, ...]
    stream: bool
    call_id_from_body: str | None
    tools: tuple[Tool, ...]
    tool_choice: ToolChoice | None
    parallel_tool_calls: bool | None
    response_format: Format | None
    sampling: Sampling
    user: str | None
    metadata: dict[str, str]
    extras: dict[str, Json]


AskedT = TypeVar("AskedT", bound=Asked)


def to_job(
    request: Asked,
    *,
    turn_id: str,
    tenant: str,
    call_id: str | None,
    budget_ms: int,
    total_ms: int,
    on_lost: OnLost,
    chosen: Chosen = PLAIN_CHOICE,
    model_language: str | None = None,
    gated: Collection[str] = (),
) -> Job:
    """The request as the workers see it. Both durations count from the job's receipt.

    A lost answer in JSON is never continued: half an object cannot be gone on with by ear. A plain profile's job is the
    request and nothing more: what else it costs to know is for those who speak. Calls of a tool in `gated` are checked
    in every profile: a gate that holds for some requests alone is none.
    """
    messages, repairs = _history(request, chosen)
    profile, language = chosen.profile, model_language
    if not chosen.is_plain:
        language = language_of(request.messages, request.extras, model_language, profile)
    form = request.response_format
    plain = form is None or form.kind == "text"
    return Job(
        id=turn_id,
        model=request.model,
        messages=messages,
        budget_ms=budget_ms,
        total_ms=total_ms,
        tenant=tenant,
        call_id=call_id,
        tools=request.tools,
        tool_choice=request.tool_choice,
        parallel_tool_calls=request.parallel_tool_calls,
        response_format=form,
        sampling=request.sampling,
        user=request.user,
        metadata=request.metadata,
        on_lost=on_lost if plain or on_lost != "continue" else "error",
        extras=request.extras,
        repairs=repairs,
        profile=chosen.name,
        language=language,
        check_tools=profile.check_tools or (bool(gated) and any(tool.name in gated for tool in request.tools)),
        clean_markup=profile.clean_markup,
    )


def _history(request: Asked, chosen: Chosen) -> Repaired:
    """Without what the edge itself has said in it, and as targets take it."""
    if chosen.is_plain:
        return repair(request.messages)
    messages, cleaned = without_spoken(request.messages, chosen.spoken)
    repaired = repair(messages)
    return Repaired(repaired.messages, cleaned + repaired.repairs)
