"""The choice among tools, as far as the dialects say it alike. Pure."""

from edge.body import not_among
from protocol import errors
from protocol.messages import Tool, ToolChoice


def by_word(word: str, tools: tuple[Tool, ...], path: str) -> ToolChoice | None:
    """A choice that names no tool. Raises InvalidValue."""
    match word:
        case "none" | "auto":
            return ToolChoice(word) if tools else None
        case "required" if tools:
            return ToolChoice("required")
        case "required":
            raise errors.InvalidValue(f"'{path}' demands a call, but no tools are offered: send some", param=path)
    raise not_among(path, ["none", "auto", "required"])


def among(choice: ToolChoice, tools: tuple[Tool, ...], path: str) -> ToolChoice:
    """A choice that names tools. Raises InvalidValue: it names none, or one that is not offered."""
    if not choice.names:
        raise errors.InvalidValue(f"'{path}' allows no tool: name at least one, or send 'none'", param=path)
    if not {tool.name for tool in tools}.issuperset(choice.names):
        raise errors.InvalidValue(f"'{path}' names a tool that is not offered: add it to the tools", param=path)
    return choice
