"""Job -> the body of an upstream chat completion. Pure, and an allow-list: what is not named here stays here.

Never sent: metadata, tenant, call id, and whatever else a caller's body held.
"""

from collections.abc import Collection
from typing import Any

import msgspec
from msgspec import Raw

from protocol.errors import UnsupportedValue
from protocol.messages import (
    Format,
    ImagePart,
    Job,
    Message,
    OpaquePart,
    Part,
    RefusalPart,
    Sampling,
    TextPart,
    Tool,
    ToolChoice,
)
from workers.targets.asking import insist, offered
from workers.targets.continuing import messages_for

OPAQUE_KINDS = ("input_audio", "file")
AS_THEY_ARE = (
    *("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "reasoning_effort", "verbosity"),
    "service_tier",
)

_encoder = msgspec.json.Encoder()


def request_body(
    job: Job,
    *,
    model: str,
    prefill: bool = False,
    max_tokens_field: str = "max_tokens",
    max_tokens: int | None = None,
    stop: tuple[str, ...] = (),
    refuses: Collection[str] = (),
    asks_usage: bool = True,
) -> bytes:
    """The JSON to post. JSON that the job only carries (schemas, `logit_bias`) goes out byte for byte.

    `max_tokens_field`: what the upstream calls that limit; `max_tokens`: the limit where the caller sets none. `stop`:
    where answers end, beside where the caller wants. `refuses`: parameters that are not sent, `name` being a message's.
    `asks_usage`: the upstream tells what a stream cost when it is asked to.

    Raises:
        UnsupportedValue: a message has a part of a kind that no upstream of this dialect takes.
        UnsupportedParameter: without a parameter that the upstream refuses the answer would not be what was asked for.
    """
    messages = [_message(message, at) for at, message in enumerate(messages_for(job, prefill=prefill))]
    body: dict[str, Any] = {"model": model, "messages": messages, "stream": True}
    if asks_usage:
        body["stream_options"] = {"include_usage": True}
    body |= _tools(job) | _sampling(job.sampling, max_tokens_field, max_tokens)
    if stops := [*job.sampling.stop, *stop]:
        body["stop"] = stops
    if job.response_format is not None and job.response_format.kind != "text":
        body["response_format"] = _format(job.response_format)
    if job.user is not None:
        body["user"] = job.user
    if refuses:
        insist(job, refuses)
        body = {name: value for name, value in body.items() if name not in refuses}
    if "name" in refuses:
        for message in messages:
            message.pop("name", None)
    return _encoder.encode(body)


def _set(**fields: Any) -> dict[str, Any]:
    """Those that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


def _message(message: Message, at: int) -> dict[str, Any]:
    """`developer` is said as `system`: OpenAI takes the two alike, others know only one."""
    role = "system" if message.role == "developer" else message.role
    optional = _set(name=message.name, tool_call_id=message.tool_call_id, refusal=message.refusal)
    if message.tool_calls:
        optional["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return {"role": role, "content": _content(message, at), **optional}


def _content(message: Message, at: int) -> Any:
    if message.content is None or isinstance(message.content, str):
        return message.content
    return [_part(part, f"messages[{at}].content[{i}]") for i, part in enumerate(message.content)]


def _part(part: Part, path: str) -> dict[str, Any]:
    match part:
        case TextPart(text):
            return {"type": "text", "text": text}
        case RefusalPart(refusal):
            return {"type": "refusal", "refusal": refusal}
        case ImagePart(url, detail):
            return {"type": "image_url", "image_url": _set(url=url, detail=detail)}
        case OpaquePart(kind, body) if kind in OPAQUE_KINDS:
            return {"type": kind, kind: Raw(body)}
    raise UnsupportedValue(f"a part of type {part.kind!r} cannot be sent to this model", param=f"{path}.type")


def _tools(job: Job) -> dict[str, Any]:
    """Tools and the choice among them. Some upstreams refuse the latter without the former."""
    tools = offered(job)
    if not tools:
        return {}
    wanted = None if job.tool_choice is None else _choice(job.tool_choice)
    parallel = _set(tool_choice=wanted, parallel_tool_calls=job.parallel_tool_calls)
    return {"tools": [_tool(tool) for tool in tools], **parallel}


def _choice(choice: ToolChoice) -> Any:
    if choice.mode == "named" and len(choice.names) == 1:
        return {"type": "function", "function": {"name": choice.names[0]}}
    if choice.mode in ("named", "allowed"):
        return "required" if choice.required or choice.mode == "named" else "auto"
    return choice.mode


def _tool(tool: Tool) -> dict[str, Any]:
    parameters = None if tool.parameters is None else Raw(tool.parameters)
    function = _set(description=tool.description, parameters=parameters, strict=tool.strict)
    return {"type": "function", "function": {"name": tool.name, **function}}


def _format(form: Format) -> dict[str, Any]:
    if form.kind != "json_schema":
        return {"type": form.kind}
    schema = None if form.schema is None else Raw(form.schema)
    described = _set(schema=schema, strict=form.strict, description=form.description)
    return {"type": "json_schema", "json_schema": {"name": form.name or "answer", **described}}


def _sampling(sampling: Sampling, max_tokens_field: str, max_tokens: int | None) -> dict[str, Any]:
    body = _set(**{name: getattr(sampling, name) for name in AS_THEY_ARE})
    body |= _set(**{max_tokens_field: max_tokens if sampling.max_tokens is None else sampling.max_tokens})
    if sampling.logprobs:
        body |= {"logprobs": True} | _set(top_logprobs=sampling.top_logprobs)
    if sampling.logit_bias is not None:
        body["logit_bias"] = Raw(sampling.logit_bias)
    return body
