"""The marks that models leak into their text. Pure.

Source: the chat templates of the models, and, for what leaks of them, issues 9767 and 12398 of
vllm-project/vllm-ascend, 51701, 47903 and 32587 of vllm-project/vllm, 2284 of logancyang/obsidian-copilot, 5662 of
livekit/agents; read on 2026-11-21.
"""

import re
from typing import NamedTuple

MAX_HELD = 32  # characters of what may still become one; the longest has so many
MAX_BLANK = 1024  # characters behind one that are looked at, with the white space that comes first


class Look(NamedTuple):
    """What has to follow a mark, or else it begins no call: all of it, or what may still become it."""

    whole: re.Pattern[str]
    begun: re.Pattern[str]


def _begun(word: str) -> str:
    return "".join(f"(?:{re.escape(char)}" for char in word) + ")?" * len(word)


NAME = r"[\w.:-]"
FENCE_BEGUN = rf"`{{0,3}}|```(?:{_begun('json')}|{_begun('xml')})"
TAG_BEGUN = rf"{_begun('<function=')}|{_begun('<invoke ')}|{_begun('<name>')}"
KEY_BEGUN = _begun('"name') + '|"name"\\s*+'
ALONE = re.compile(rf"{NAME}{{1,128}}")  # GLM calls a tool without arguments by nothing else
AS_CALL = Look(
    re.compile(
        r"\s*+(?:[\[{]|<function=|<invoke |<name>|\"name\"\s*+:|```(?:json|xml)?+[\s\[{<]"
        rf"|{NAME}++(?:[(\[]|\s*+(?:\{{|<arg_key>|<[|｜])))"
    ),
    re.compile(rf"\s*+(?:{TAG_BEGUN}|{KEY_BEGUN}|{FENCE_BEGUN}|{NAME}++\s*+{_begun('<arg_key>')})"),
)
AS_LIST = Look(re.compile(r"\s*+[\[{]"), re.compile(r"\s*+"))
AS_DSML = Look(re.compile(r"\s*+<｜DSML｜invoke"), re.compile(rf"\s*+{_begun('<｜DSML｜invoke')}"))
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
AS_RECIPIENT = Look(re.compile(r"functions\.\w"), re.compile(_begun("functions.")))
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
    "<｜DSML｜function_calls>": ("</｜DSML｜function_calls>", AS_DSML),
    "<｜DSML｜tool_calls>": ("</｜DSML｜tool_calls>", AS_DSML),
    "<|python_start|>": ("<|python_end|>", AS_LIST),
    "<|tool_call_start|>": ("<|tool_call_end|>", AS_LIST),
    "<|START_ACTION|>": ("<|END_ACTION|>", AS_LIST),
    "[TOOL_CALLS]": ("", AS_CALL),
    "<|python_tag|>": ("", AS_CALL),
    "<|tool_call|>": ("", AS_CALL),
    "<|function_call|>": ("", AS_CALL),
    "print(default_api.": ("\n", AS_LINE),
    "default_api.": ("\n", AS_LINE),
    "commentary to=": ("<|message|>", AS_RECIPIENT),
    "assistantcommentary to=": ("<|message|>", AS_RECIPIENT),
}
"""What a call begins with -> what ends it ("": nothing but the end of the answer), and what follows it."""

FUNCTION = "<function="
FUNCTION_NAME = re.compile(r"\s*+[\w.-]*+>?")  # the rest of that tag
CHANNEL = "<|channel|>"  # of gpt-oss: its name comes next
UNMARKED = ("commentary to=", "assistantcommentary to=")  # the same channel, where a server has eaten the mark
WHOLE = (FUNCTION, "print(default_api.", "default_api.", *UNMARKED)  # marks that are a part of what they begin
SILENT = ("<tool_response>", "```tool_output", CHANNEL, *UNMARKED)  # no calls: the first two are what a tool might say
CALL_END = "<|call|>"

PLAIN = ("</tool_call>", "</tool_response>", "</function>", "<end_of_turn>", "</s>", "[INST]", "[/INST]")
TURNS = ("<|im_start|>", "<|start_header_id|>", "<|start|>", "<start_of_turn>")  # who speaks comes next
CONTROL = r"<[|｜][\w▁.:/-]{1,28}[|｜]>"

BEGINNINGS = (
    *("assistant:", "Assistant:", "ASSISTANT:", "**Assistant:**", "assistant\n"),
    *("print(default_api.", "default_api.", *UNMARKED),
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
CALL_TOKEN = re.compile(r"(?i)<[|｜](?!/|[^|｜]*(?:end|output|response|result))[^|｜]*(?:tool|python|action|function)")
LAST_MARK = re.compile(rf"(?:{CONTROL}|</s>|<end_of_turn>)\s*+")  # what may stand behind a call, and is none of it
STARTS = re.compile(r"[<`\[]")  # what any of them begins with
BEGUN_CONTROL = re.compile(r"<(?:[|｜](?:[\w▁.:/-]{1,28}[|｜]?)?)?")

RECIPIENT = re.compile(r"\bto=(?:functions\.)?([\w.-]{1,128})")


def opening(mark: str) -> tuple[str, Look] | None:
    """What ends the call that a mark may begin, and what follows the mark; None: it begins none. Of a control token
    that nobody has listed its name tells, where a list or an object comes next.
    """
    if mark in OPENERS or mark in ROLE_MARKS or not CALL_TOKEN.match(mark):
        return OPENERS.get(mark)
    return "", AS_LIST


def may_become(text: str) -> bool:
    """Whether it is the beginning of a mark, and not all of one."""
    return any(mark.startswith(text) for mark in ANYWHERE) or BEGUN_CONTROL.fullmatch(text) is not None


def certain(text: str) -> int:
    """How many characters are neither a mark nor the beginning of one, in a text without a whole one."""
    starts = (start.start() for start in STARTS.finditer(text, max(0, len(text) - MAX_HELD)))
    return next((at for at in starts if may_become(text[at:])), len(text))
