"""The marks that models leak into their text. Pure.

Source: the chat templates of the models, and, for what leaks of them, issues 9767 and 12398 of
vllm-project/vllm-ascend, 51701, 47903 and 32587 of vllm-project/vllm, 2284 of logancyang/obsidian-copilot, 5662 of
livekit/agents; read on 2026-11-21.
"""

import re
from typing import NamedTuple

MAX_HELD = 32  # characters of what may still become one; the longest has so many


class Look(NamedTuple):
    """What has to follow a mark, or else it begins no call: all of it, or what may still become it."""

    whole: re.Pattern[str]
    begun: re.Pattern[str]


def _begun(word: str) -> str:
    return "".join(f"(?:{re.escape(char)}" for char in word) + ")?" * len(word)


NAME = r"[\w.:-]"
AS_CALL = Look(
    re.compile(rf"\s*+(?:[\[{{]|<function=|{NAME}++(?:[(\[]|\s*+(?:\{{|<arg_key>|<[|｜])))"),
    re.compile(rf"\s*+(?:{_begun('<function=')}|{NAME}++\s*+{_begun('<arg_key>')})"),
)
AS_FUNCTION = Look(
    re.compile(r"\s*+[\w.-]++[\s>,(\[]*+(?:\{|<parameter=|</function>)"),
    re.compile(rf"\s*+(?:[\w.-]++[\s>,(\[]*+(?:{_begun('<parameter=')}|{_begun('</function>')}))?"),
)
AS_LINE = Look(re.compile(r"\w++\("), re.compile(r"\w*+"))
AS_CODE = Look(
    re.compile(rf"s?\s*+(?:[\[{{#]|```|(?:import|from|def)\s|{NAME}++(?:[(\[]|\s*+[{{=]))"),
    re.compile(rf"s?\s*+(?:`{{0,2}}|{NAME}++\s*+)"),
)
AS_RESULT = Look(re.compile(r"s?[^\S\n]*+[\n\[{\"]"), re.compile(r"s?[^\S\n]*+"))
AS_CHANNEL = Look(
    re.compile(r"\s*+(?:analysis|commentary|final)[\s<]"),
    re.compile(rf"\s*+(?:{_begun('analysis')}|{_begun('commentary')}|{_begun('final')})"),
)

OPENERS = {
    "<tool_call>": ("</tool_call>", AS_CALL),
    "<tool_response>": ("</tool_response>", AS_RESULT),
    "<function=": ("</function>", AS_FUNCTION),
    "```tool_code": ("```", AS_CODE),
    "```tool_call": ("```", AS_CODE),
    "```tool_output": ("```", AS_RESULT),
    "<|tool_call_begin|>": ("<|tool_call_end|>", AS_CALL),
    "<｜tool▁call▁begin｜>": ("<｜tool▁call▁end｜>", AS_CALL),
    "<|channel|>": ("<|message|>", AS_CHANNEL),
    "[TOOL_CALLS]": ("", AS_CALL),
    "<|python_tag|>": ("", AS_CALL),
    "<|tool_call|>": ("", AS_CALL),
    "<|function_call|>": ("", AS_CALL),
    "print(default_api.": ("\n", AS_LINE),
    "default_api.": ("\n", AS_LINE),
}
"""What a call begins with -> what ends it ("": nothing but the end of the answer), and what follows it."""

FUNCTION = "<function="
FUNCTION_NAME = re.compile(r"\s*+[\w.-]*+>?")  # the rest of that tag
WHOLE = (FUNCTION, "print(default_api.", "default_api.")  # marks that are a part of the call
CHANNEL = "<|channel|>"  # of gpt-oss: its name comes next
SILENT = ("<tool_response>", "```tool_output", CHANNEL)  # no calls: the first two are what a tool might have said
CALL_END = "<|call|>"

PLAIN = ("</tool_call>", "</tool_response>", "</function>", "<end_of_turn>", "</s>", "[INST]", "[/INST]")
TURNS = ("<|im_start|>", "<|start_header_id|>", "<|start|>", "<start_of_turn>")  # who speaks comes next
CONTROL = r"<[|｜][\w▁.:/-]{1,28}[|｜]>"

BEGINNINGS = (
    *("assistant:", "Assistant:", "ASSISTANT:", "**Assistant:**", "assistant\n"),
    *("print(default_api.", "default_api."),
)
"""What an answer may begin with that nobody should hear; in the middle of one these are words as any others."""

ROLES = ("assistant", "model", "user", "system", "developer", "tool", "ipython", "observation")
OURS = ("assistant", "model")
ROLE_MARKS = {f"<{bar}{role}{bar}>": role for role in ROLES for bar in "|｜"}

ANYWHERE = tuple(
    mark for mark in (*OPENERS, *PLAIN, *TURNS) if mark not in BEGINNINGS and not re.fullmatch(CONTROL, mark)
)
MARK = re.compile("|".join([*map(re.escape, ANYWHERE), CONTROL]))
CONTROL_MARK = re.compile(CONTROL)
STARTS = re.compile(r"[<`\[]")  # what any of them begins with
BEGUN_CONTROL = re.compile(r"<(?:[|｜](?:[\w▁.:/-]{1,28}[|｜]?)?)?")

RECIPIENT = re.compile(r"\bto=(?:functions\.)?([\w.-]{1,128})")


def may_become(text: str) -> bool:
    """Whether it is the beginning of a mark, and not all of one."""
    return any(mark.startswith(text) for mark in ANYWHERE) or BEGUN_CONTROL.fullmatch(text) is not None


def certain(text: str) -> int:
    """How many characters are neither a mark nor the beginning of one, in a text without a whole one."""
    starts = (start.start() for start in STARTS.finditer(text, max(0, len(text) - MAX_HELD)))
    return next((at for at in starts if may_become(text[at:])), len(text))
