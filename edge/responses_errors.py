"""A turn's errors in the words of /v1/responses: what comes from a target names the fields of chat completions. Pure.

Source: the API contract, sections 1.3 and 1.10.
"""

import re

from edge.errors import param_of
from protocol.errors import ServiceError

FUNCTION = re.compile(r"^(tools\[\d+\])\.function\b")
NAMES = {
    "messages": "input",
    "response_format.json_schema": "text.format",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
    "reasoning_effort": "reasoning.effort",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "logprobs": "include",
}
"""Fields of chat completions, and what goes by another name here; the first that a path begins with counts."""


def worded(error: ServiceError) -> ServiceError:
    """The error, as a caller of this API knows the field that it names; the very same where that is its name."""
    param = param_of(error)
    name = _named(param) if param else None
    if name == param:
        return error
    return type(error)(_renamed(str(error), str(param), str(name)), param=name, retry_after_s=error.retry_after_s)


def _renamed(message: str, param: str, name: str) -> str:
    """What is but a word may stand there as one."""
    return message.replace(f"'{param}'", f"'{name}'") if param.isalpha() else message.replace(param, name)


def _named(param: str) -> str:
    for known, name in NAMES.items():
        if param == known or param.startswith((f"{known}.", f"{known}[")):
            # an index is that of a message: items have others
            return name if name == "input" else name + param[len(known) :]
    return FUNCTION.sub(r"\1", param)
