"""Job -> the body of a request to OpenAI's `POST /responses`. Pure, and an allow-list: what is not named here stays
here.

What has another name there gets it. What cannot be said there is refused by the name that its caller used, unless its
value asks for nothing. Left out, because an answer without it is what was asked for:

- a message's `name`: there is no such field.
- the target's own `stop`: nothing ends an answer there but its length.
- `truncation` that is disabled: so it is without, and not every upstream knows the word.
- sealed thoughts, of a model that is not known to think: it answers the wish for them with a 400.

Schemas are strict there unless they say that they are not; in a chat completion it is the other way round.

Source: OpenAI's API reference, "Create a response", and the parameters of openai-python 3.52, read on 2026-11-21; the
API's own refusal, "Encrypted content is not supported with this model", read on 2026-11-22.
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
from workers.targets.responses_input import items_of
from workers.targets.seals import Seals

AS_THEY_ARE = ("temperature", "top_p", "service_tier")
LOGPROBS = "message.output_text.logprobs"
SEALED = "reasoning.encrypted_content"
THINKS = re.compile(r"(?:^|/)(?:o[1-9]|gpt-[5-9]|codex|grok-[4-9])(?!.*-(?:chat|non-reasoning))", re.IGNORECASE)
"""The ids of models that seal what they think, whatever else is asked of them."""
NO_PARAMETERS = Raw(b'{"type":"object","properties":{},"additionalProperties":false}')

_encoder = msgspec.json.Encoder()


def request_body(
    job: Job,
    *,
    model: str,
    prefill: bool = False,
    max_tokens: int | None = None,
    refuses: Collection[str] = (),
    seals: Seals | None = None,
) -> bytes:
    """The JSON to post. Schemas, which the job only carries, go out byte for byte.

    `prefill`: the upstream goes on in the model's own last words. `max_tokens`: the limit where the caller sets none.
    `refuses`: parameters that are not sent. `seals`: the upstream's, by which it is shown what it thought.

    Raises:
        UnsupportedParameter, UnsupportedValue: the upstream cannot be asked for that.
    """
    job = without(job, refuses)
    _check(job.sampling)
    messages = enumerate(messages_for(job, prefill=prefill))
    items = [item for at, message in messages for item in items_of(message, at, seals)]
    body: dict[str, Any] = {"model": model, "input": items, "stream": True, "store": False}
    body |= _tools(job) | _sampling(job.sampling, max_tokens)
    if include := _include(job.sampling, model):
        body["include"] = include
    if text := _text(job):
        body["text"] = text
    if job.user is not None:
        body["user"] = job.user
    return _encoder.encode(body)


def _check(sampling: Sampling) -> None:
    refuse(
        (
            ("stop", sampling.stop),
            ("seed", sampling.seed is not None),
            ("logit_bias", not is_empty(sampling.logit_bias)),
            ("presence_penalty", sampling.presence_penalty),
            ("frequency_penalty", sampling.frequency_penalty),
        )
    )


def _tools(job: Job) -> dict[str, Any]:
    tools = offered(job)
    if not tools:
        return {}
    body: dict[str, Any] = {"tools": [_tool(tool) for tool in tools]}
    if job.tool_choice is not None:
        body["tool_choice"] = _choice(job.tool_choice)
    if job.parallel_tool_calls is not None:
        body["parallel_tool_calls"] = job.parallel_tool_calls
    return body


def _tool(tool: Tool) -> dict[str, Any]:
    told: dict[str, Any] = {"type": "function", "name": tool.name}
    if tool.description is not None:
        told["description"] = tool.description
    parameters = NO_PARAMETERS if tool.parameters is None else Raw(tool.parameters)
    return told | {"parameters": parameters, "strict": bool(tool.strict)}


def _choice(choice: ToolChoice) -> Any:
    match choice:
        case ToolChoice("named", (name,)):
            return {"type": "function", "name": name}
        case ToolChoice("named" | "allowed"):
            return "required" if choice.required or choice.mode == "named" else "auto"
    return choice.mode


def _sampling(sampling: Sampling, max_tokens: int | None) -> dict[str, Any]:
    body = {name: value for name in AS_THEY_ARE if (value := getattr(sampling, name)) is not None}
    if limit := sampling.max_tokens or max_tokens:
        body["max_output_tokens"] = limit
    if sampling.logprobs and sampling.top_logprobs is not None:
        body["top_logprobs"] = sampling.top_logprobs
    if sampling.truncation not in (None, "disabled"):
        body["truncation"] = sampling.truncation
    if reasoning := _reasoning(sampling):
        body["reasoning"] = reasoning
    return body


def _reasoning(sampling: Sampling) -> dict[str, str]:
    """How much the model is to think, and how it is to sum that up."""
    told = {"effort": sampling.reasoning_effort, "summary": sampling.reasoning_summary}
    return {name: value for name, value in told.items() if value is not None}


def _include(sampling: Sampling, model: str) -> list[str]:
    """What comes only where it is asked for. A caller who says how a model is to think knows that it does."""
    thinks = bool(_reasoning(sampling)) or THINKS.search(model)
    return [LOGPROBS] * sampling.logprobs + [SEALED] * bool(sampling.encrypted_reasoning and thinks)


def _text(job: Job) -> dict[str, Any]:
    """The form of the answer, and how long-winded it is."""
    told: dict[str, Any] = {}
    if job.response_format is not None and is_json(job):
        told["format"] = _format(job.response_format)
    if job.sampling.verbosity is not None:
        told["verbosity"] = job.sampling.verbosity
    return told


def _format(form: Format) -> dict[str, Any]:
    if form.kind != "json_schema":
        return {"type": form.kind}
    if form.schema is None:
        raise UnsupportedValue(
            "this model's upstream needs the schema: send it, or ask for a 'json_object'",
            param="response_format.json_schema.schema",
        )
    told: dict[str, Any] = {"type": "json_schema", "name": form.name or "answer", "schema": Raw(form.schema)}
    if form.description is not None:
        told["description"] = form.description
    return told | {"strict": bool(form.strict)}
