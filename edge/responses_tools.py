"""The tools of a request for a response, and the choice among them. Pure.

Source: the API contract, section 1.10.
"""

from edge import carried
from edge import responses_form as wire
from edge.body import missing, not_among
from edge.responses_parameters import HOSTED, unserved
from edge.tool_choice import among, by_word
from protocol.messages import Tool, ToolChoice


def offered(form: wire.ResponsesBody) -> tuple[Tool, ...]:
    """The functions that may be called."""
    return tuple(_tool(tool, f"tools[{index}]") for index, tool in enumerate(form.tools or ()))


def _tool(form: wire.Tool, at: str) -> Tool:
    name = _function(form, at)
    return Tool(name, form.description, carried.json_object(form.parameters, f"{at}.parameters"), form.strict)


def _function(form: wire.Tool | wire.NamedTool | wire.Choice, at: str) -> str:
    """The name of a function; where no type is said one is meant."""
    _check(form.type, f"{at}.type", ["function"])
    if form.name is None:
        raise missing(f"{at}.name", where="beside 'type', not under 'function' as in chat completions")
    return form.name


def _check(kind: str | None, path: str, served: list[str]) -> None:
    if kind in HOSTED:
        raise unserved("hosted tools", param=path)
    if kind is not None and kind not in served:
        raise not_among(path, served)


def choice(form: wire.ResponsesBody, tools: tuple[Tool, ...]) -> ToolChoice | None:
    """What is said of the choice."""
    wanted = form.tool_choice
    if wanted is None:
        return None
    if isinstance(wanted, str):
        return by_word(wanted, tools, "tool_choice")
    if wanted.type == "allowed_tools":
        return among(_allowed(wanted), tools, "tool_choice")
    _check(wanted.type, "tool_choice.type", ["function", "allowed_tools"])
    return among(ToolChoice("named", (_function(wanted, "tool_choice"),)), tools, "tool_choice")


def _allowed(form: wire.Choice) -> ToolChoice:
    if form.mode is None:
        raise missing("tool_choice.mode")
    if form.tools is None:
        raise missing("tool_choice.tools")
    names = tuple(_function(tool, f"tool_choice.tools[{index}]") for index, tool in enumerate(form.tools))
    return ToolChoice("allowed", names, form.mode == "required")
