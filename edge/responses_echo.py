"""What a response repeats of its request: every field is there, with its default where nothing was sent. Pure.

Source: the API contract, section 1.11.
"""

from collections.abc import Iterable

from msgspec import Raw

from edge import responses_form as wire
from edge.platform_fields import metadata_of
from protocol.messages import Format, Tool

Echo = dict[str, object]


def echoed(form: wire.ResponsesBody, tools: Iterable[Tool], response_format: Format | None, limit: int | None) -> Echo:
    """The fields. `limit`: of its tokens, None where there is none."""
    return {
        "instructions": form.instructions,
        "max_output_tokens": limit,
        "max_tool_calls": form.max_tool_calls,
        "parallel_tool_calls": True if form.parallel_tool_calls is None else form.parallel_tool_calls,
        "previous_response_id": form.previous_response_id or None,
        "prompt_cache_key": form.prompt_cache_key,
        "presence_penalty": _or(form.presence_penalty, 0.0),
        "frequency_penalty": _or(form.frequency_penalty, 0.0),
        "reasoning": _reasoning(form.reasoning),
        "safety_identifier": form.safety_identifier,
        "service_tier": "default",
        "temperature": _or(form.temperature, 1.0),
        "text": _text(form.text, response_format),
        "tool_choice": _choice(form.tool_choice),
        "tools": [_tool(tool) for tool in tools],
        "top_logprobs": form.top_logprobs or 0,
        "top_p": _or(form.top_p, 1.0),
        "truncation": form.truncation or "disabled",
        "user": form.user,
        "metadata": metadata_of(form),
    }


def _or(sent: float | None, default: float) -> float:
    return default if sent is None else sent


def summary_of(form: wire.Reasoning) -> str | None:
    """How thoughts are to be summed up."""
    return form.summary or form.generate_summary


def _reasoning(form: wire.Reasoning | None) -> Echo:
    if form is None:
        return {"effort": None, "summary": None}
    return {"effort": form.effort, "summary": summary_of(form)}


def _text(form: wire.Text | None, wanted: Format | None) -> Echo:
    verbosity = form.verbosity if form else None
    return {"format": _format(wanted), "verbosity": verbosity or "medium"}


def _format(wanted: Format | None) -> Echo:
    if wanted is None or wanted.schema is None:
        return {"type": wanted.kind if wanted else "text"}
    return {
        "type": "json_schema",
        "name": wanted.name,
        "description": wanted.description,
        "schema": Raw(wanted.schema),
        "strict": bool(wanted.strict),
    }


def _choice(form: str | wire.Choice | None) -> str | Echo:
    if form is None or isinstance(form, str):
        return form or "auto"
    if form.type == "allowed_tools":
        tools = [{"type": "function", "name": tool.name} for tool in form.tools or ()]
        return {"type": "allowed_tools", "mode": form.mode, "tools": tools}
    return {"type": "function", "name": form.name}


def _tool(tool: Tool) -> Echo:
    """A function counts as strict unless it says that it is not: so OpenAI has it."""
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": None if tool.parameters is None else Raw(tool.parameters),
        "strict": True if tool.strict is None else tool.strict,
    }
