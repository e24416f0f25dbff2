"""Job -> the body of a request to Anthropic's `POST /v1/messages`. Pure, and an allow-list: what is not named here
stays here.

What has another name there gets it. What cannot be said there is refused by the name that its caller used, unless its
value asks for nothing; a target's `refuses` leaves out what it names. Some things are fitted, because a caller would
rather have an answer than an error:

- `temperature` ends at 1 there: more is 1. Claude's models since 4.7 take neither `temperature` nor `top_p`, and are
  not sent them; the older ones take one of the two: `temperature`.
- `stop`: words that are white space are refused there, and left out.
- `user`: who somebody is must not be told there; anything but an opaque id, such as a number, goes as its digest.
- `response_format`: a strict schema goes as `output_config.format`, whose grammar demands what OpenAI's strict mode
  does. Any other schema, and `json_object`, for which there is nothing, go as an instruction, schema and all.
- `reasoning_effort` is `output_config.effort` with adaptive thinking, and `none` switches thinking off. A forced tool
  call rules thinking out, and so does going on with the model's own words: then only the effort is asked for.
  Claude's models before 4.6 think only within a budget of tokens, which no effort names: they are not asked to.
  Where a summary of the thoughts is wanted it is asked for: Claude's models since 4.7 tell none by themselves.
- `service_tier`: `default` is `standard_only`; what may be faster is `auto`, as it is without.

Source: Anthropic's API documentation, "Messages", "Structured outputs", "Effort", "Adaptive thinking", "What's new in
Claude Opus 4.7" and "Tool use"; the parameters of anthropic-sdk-python. Read on 2026-11-21.
"""

import re
from collections.abc import Collection
from typing import Any

import msgspec
from msgspec import Raw

from protocol.errors import UnsupportedValue
from protocol.messages import Format, Job, Sampling, Tool, ToolChoice
from workers.targets.asking import is_empty, is_json, offered, refuse, without
from workers.targets.continuing import messages_for
from workers.targets.messages_history import Conversation, conversation, opaque

MAX_TOKENS = 4096  # the API demands a limit: longer than anybody listens, and every model takes it
NO_PARAMETERS = Raw(b'{"type":"object","properties":{},"additionalProperties":false}')
ANY_PARAMETERS = Raw(b'{"type":"object"}')

CLAUDE = re.compile(r"\bclaude-")
OLDER = r"\bclaude-(?:instant|v?[23]|(?:opus|sonnet|haiku)-4(?:[-@]\d{8}|[-.][0-%d](?!\d)|$))"
SAMPLES = re.compile(OLDER % 6)  # Claude before 4.7
BUDGETS = re.compile(OLDER % 5)  # and before 4.6

ADAPTIVE, OFF, TOLD = {"type": "adaptive"}, {"type": "disabled"}, {"display": "summarized"}
EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
TIERS = {"default": "standard_only", "auto": None, "priority": None, "scale": None}

JSON = "Answer with one JSON object and nothing else: no words around it, no Markdown."
BY_SCHEMA = "It has to be valid against this JSON Schema:"

_encoder = msgspec.json.Encoder()


def request_body(
    job: Job,
    *,
    model: str,
    prefill: bool = False,
    max_tokens: int | None = None,
    stop: tuple[str, ...] = (),
    refuses: Collection[str] = (),
) -> bytes:
    """The JSON to post. Schemas, which the job only carries, go out byte for byte.

    `prefill`: the upstream goes on in the model's own last words. `max_tokens`: the limit where the caller sets none.
    `stop`: where answers end, beside where the caller wants. `refuses`: parameters that are not sent.

    Raises:
        UnsupportedParameter, UnsupportedValue: the upstream cannot be asked for that.
    """
    job = without(job, refuses)
    _check(job.sampling)
    prefill = prefill and not is_json(job)  # the two exclude each other there
    told = conversation(messages_for(job, prefill=prefill), prefill=prefill)
    limit = job.sampling.max_tokens or max_tokens or MAX_TOKENS
    body: dict[str, Any] = {"model": model, "max_tokens": limit, "messages": told.messages, "stream": True}
    if system := "\n\n".join(filter(None, (told.system, _instruction(job)))):
        body["system"] = system
    body |= _tools(job, told)
    body |= _thinking(job, model, prefills=told.messages[-1]["role"] == "assistant", forced=_is_forced(body))
    body |= _randomness(job.sampling, model, thinks=body.get("thinking", OFF)["type"] == "adaptive")
    if stops := [word for word in (*job.sampling.stop, *stop) if word.strip()]:
        body["stop_sequences"] = stops
    if job.user:
        body["metadata"] = {"user_id": opaque(job.user)}
    if tier := TIERS.get(job.sampling.service_tier or "auto"):
        body["service_tier"] = tier
    return _encoder.encode(body)


def _check(sampling: Sampling) -> None:
    """Refuse what has no place there. Raises UnsupportedParameter, UnsupportedValue."""
    refuse(
        (
            ("seed", sampling.seed is not None),
            ("logprobs", sampling.logprobs),
            ("logit_bias", not is_empty(sampling.logit_bias)),
            ("presence_penalty", sampling.presence_penalty),
            ("frequency_penalty", sampling.frequency_penalty),
            ("verbosity", sampling.verbosity not in (None, "medium")),
        )
    )
    _among("reasoning_effort", sampling.reasoning_effort, ("none", *EFFORTS))
    _among("service_tier", sampling.service_tier, TIERS)


def _among(name: str, value: str | None, known: Collection[str]) -> None:
    if value is not None and value not in known:
        words = f"{name!r} {value!r} is not known to this model's upstream; known: {', '.join(known)}"
        raise UnsupportedValue(words, param=name)


# --- tools -----------------------------------------------------------------------------------------


def _tools(job: Job, told: Conversation) -> dict[str, Any]:
    """Tools and the choice among them. A history with calls needs tools, if only those that were called, to be read."""
    if tools := [_tool(tool) for tool in offered(job)]:
        return {"tools": tools} | _choice(job.tool_choice or ToolChoice(), job.parallel_tool_calls)
    if told.called:
        stubs = [{"name": name, "input_schema": ANY_PARAMETERS} for name in told.called]
        return {"tools": stubs, "tool_choice": {"type": "none"}}
    return {}


def _tool(tool: Tool) -> dict[str, Any]:
    """`strict` is said where it is asked for: elsewhere it is off."""
    told: dict[str, Any] = {"name": tool.name}
    if tool.description:
        told["description"] = tool.description
    told["input_schema"] = NO_PARAMETERS if is_empty(tool.parameters) else Raw(tool.parameters or b"")
    if tool.strict:
        told["strict"] = True
    return told


def _choice(choice: ToolChoice, parallel: bool | None) -> dict[str, Any]:
    """A choice among several is made by offering only those."""
    match choice:
        case ToolChoice("none"):
            return {"tool_choice": {"type": "none"}}
        case ToolChoice("named", (name,)):
            told: dict[str, Any] = {"type": "tool", "name": name}
        case ToolChoice("required" | "named") | ToolChoice(required=True):
            told = {"type": "any"}
        case _ if parallel is False:
            told = {"type": "auto"}
        case _:
            return {}
    return {"tool_choice": told | ({"disable_parallel_tool_use": True} if parallel is False else {})}


def _is_forced(body: dict[str, Any]) -> bool:
    return body.get("tool_choice", {}).get("type") in ("any", "tool")


# --- how the model writes --------------------------------------------------------------------------


def _thinking(job: Job, model: str, *, prefills: bool, forced: bool) -> dict[str, Any]:
    """`thinking` and `output_config`: how much the model thinks, and the form of its answer."""
    effort = job.sampling.reasoning_effort
    config: dict[str, Any] = {}
    thinking = None
    if effort == "none":
        thinking = OFF
    elif effort is not None and not BUDGETS.search(model):
        config["effort"] = EFFORTS[effort]
        thinking = None if forced or prefills else ADAPTIVE | (TOLD if job.sampling.reasoning_summary else {})
    if (schema := _strict_schema(job.response_format)) is not None:
        config["format"] = {"type": "json_schema", "schema": schema}
    return ({"thinking": thinking} if thinking else {}) | ({"output_config": config} if config else {})


def _randomness(sampling: Sampling, model: str, *, thinks: bool) -> dict[str, Any]:
    temperature, top_p = sampling.temperature, sampling.top_p
    if CLAUDE.search(model) and (thinks or not SAMPLES.search(model)):
        return {}
    if temperature is not None:
        both = {"top_p": top_p} if top_p is not None and not CLAUDE.search(model) else {}
        return {"temperature": min(temperature, 1.0)} | both
    return {} if top_p is None else {"top_p": top_p}


def _strict_schema(form: Format | None) -> Raw | None:
    return Raw(form.schema) if form is not None and form.strict and form.schema is not None else None


def _instruction(job: Job) -> str:
    """What the model is told of the form of its answer, where no parameter tells it."""
    form = job.response_format
    if form is None or not is_json(job) or _strict_schema(form) is not None:
        return ""
    described = f"It is {form.description}." if form.description else ""
    schema = f"{BY_SCHEMA}\n{form.schema.decode(errors='replace')}" if form.schema is not None else ""
    return "\n".join(filter(None, (JSON, described, schema)))
