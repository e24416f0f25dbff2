"""The tools of a chat request, and the choice among them. Pure.

Source: the API contract, sections 1.5 and 1.9.
"""

from edge import carried
from edge import chat_form as wire
from edge.body import missing, not_among
from edge.parameters import unserved
from protocol import errors
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
        return _mode(form, tools, "tool_choice")
    if form.type == "allowed_tools":
        if form.allowed_tools is None:
            raise missing("tool_choice.allowed_tools")
        allowed = enumerate(form.allowed_tools.tools)
        names = tuple(_named(tool, f"tool_choice.allowed_tools.tools[{index}]") for index, tool in allowed)
        return _among(ToolChoice("allowed", names, form.allowed_tools.mode == "required"), tools, "tool_choice")
    return _among(ToolChoice("named", (_named(form, "tool_choice"),)), tools, "tool_choice")


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
        return _mode(form, tools, "function_call")
    return _among(ToolChoice("named", (form.name,)), tools, "function_call")


def _mode(word: str, tools: tuple[Tool, ...], path: str) -> ToolChoice | None:
    match word:
        case "none" | "auto":
            return ToolChoice(word) if tools else None
        case "required" if tools:
            return ToolChoice("required")
        case "required":
            raise errors.InvalidValue(f"'{path}' demands a call, but no tools are offered: send some", param=path)
    raise not_among(path, ["none", "auto", "required"])


def _among(choice: ToolChoice, tools: tuple[Tool, ...], path: str) -> ToolChoice:
    if not choice.names:
        raise errors.InvalidValue(f"'{path}' allows no tool: name at least one, or send 'none'", param=path)
    if not {tool.name for tool in tools}.issuperset(choice.names):
        raise errors.InvalidValue(f"'{path}' names a tool that is not offered: add it to the tools", param=path)
    return choice
