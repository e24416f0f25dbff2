"""The tools of a chat request, and the choice among them. Pure.

Source: the API contract, sections 1.5 and 1.9.
"""

from edge import carried
from edge import chat_form as wire
from edge.body import missing, not_among
from edge.parameters import unserved
from edge.tool_choice import among, by_word
from protocol.messages import Tool, ToolChoice


def offered(form: wire.ChatBody) -> tuple[tuple[Tool, ...], bool]:
    """The tools, and whether they came as legacy `functions`."""
    if form.tools or not form.functions:
        forms = enumerate(form.tools or ())
        return tuple(_tool(tool, f"tools[{index}]") for index, tool in forms), False
    return tuple(_function(function, f"functions[{i}]") for i, function in enumerate(form.functions)), True


def _tool(form: wire.Tool, at: str) -> Tool:
    check_function(form.type, f"{at}.type")
    if form.function is None:
        raise missing(f"{at}.function")
    return _function(form.function, f"{at}.function")


def _function(form: wire.Function, at: str) -> Tool:
    return Tool(form.name, form.description, carried.json_object(form.parameters, f"{at}.parameters"), form.strict)


def check_function(kind: str | None, path: str) -> None:
    """Only functions are tools here; where nothing is said they are meant."""
    if kind == "custom":
        raise unserved("custom tools", param=path)
    if kind not in (None, "function"):
        raise not_among(path, ["function"])


def choice(form: wire.ChatBody, tools: tuple[Tool, ...]) -> ToolChoice | None:
    """What is said of the choice; `function_call` is the legacy name, and counts where the newer one is absent."""
    if form.tool_choice is None:
        return _function_call(form.function_call, tools)
    return _tool_choice(form.tool_choice, tools)


def _tool_choice(form: str | wire.Choice, tools: tuple[Tool, ...]) -> ToolChoice | None:
    if isinstance(form, str):
        return by_word(form, tools, "tool_choice")
    if form.type == "allowed_tools":
        if form.allowed_tools is None:
            raise missing("tool_choice.allowed_tools")
        allowed = enumerate(form.allowed_tools.tools)
        names = tuple(_named(tool, f"tool_choice.allowed_tools.tools[{index}]") for index, tool in allowed)
        return among(ToolChoice("allowed", names, form.allowed_tools.mode == "required"), tools, "tool_choice")
    return among(ToolChoice("named", (_named(form, "tool_choice"),)), tools, "tool_choice")


def _named(form: wire.Choice | wire.NamedTool, at: str) -> str:
    """The function that a choice names."""
    check_function(form.type, f"{at}.type")
    if form.function is None:
        raise missing(f"{at}.function")
    return form.function.name


def _function_call(form: str | wire.Named | None, tools: tuple[Tool, ...]) -> ToolChoice | None:
    if form is None:
        return None
    if isinstance(form, str):
        return by_word(form, tools, "function_call")
    return among(ToolChoice("named", (form.name,)), tools, "function_call")
