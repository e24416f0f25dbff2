"""Tool calls in what a model wrote as text -> calls. Pure.

Each family of models has its own way to write them; a server whose parser does not know it, or loses it at a split,
passes it on as content. All are read here, whatever the tags around them:

- `{"name": …, "arguments": {…}}`, one, several, or a list: Hermes, Qwen, Mistral, Granite; `parameters`: Llama
- `<function=name>{…}</function>`: Llama; `<function=name><parameter=x>…</parameter></function>`: Qwen3-Coder
- `name{…}`, with marks between the two: Mistral, Kimi, DeepSeek
- `name` and `<arg_key>x</arg_key><arg_value>…</arg_value>`: GLM
- `<invoke name="name"><parameter name="x">…</parameter></invoke>`: DeepSeek, with a mark in each of its tags
- `print(default_api.name(x="…"))`, a line of Python: Gemini, Llama 4; only literals are read, nothing is ever run

Any of them may stand in a block of code, and have control tokens behind it.

Source: issues 47903, 51701 and 28543 of vllm-project/vllm, 12398 of vllm-project/vllm-ascend, 11621 of ollama/ollama,
15012 of ggml-org/llama.cpp, 31440 of langchain-ai/langchain, 5662 of livekit/agents; read on 2026-11-21.
"""

import ast
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple, NoReturn

import msgspec

from protocol.codec import DecodeError
from protocol.messages import Json, Tool
from workers.targets.marks import LAST_MARK

MAX_CODE_CHARS = 8 << 10  # of Python: its parser is not made for strangers
MARK_BETWEEN = r"(?:\s|```json|\[ARGS\]|\[CALL_ID\]\w{1,64}|<[|｜][\w▁]{1,32}[|｜]>|[>(])"
NAMED = re.compile(rf"(?:function<[|｜]tool▁sep[|｜]>)?\s*+([\w.-]{{1,128}})(?::\d{{1,4}})?{MARK_BETWEEN}*+(?=\{{)")
FUNCTION = re.compile(r"<function=\s*+([\w.-]{1,128})")
ATTRIBUTE = re.compile(r"\s*+name=\"([^\"<>]{1,128})\"[^<>]*+>")
DSML = "｜DSML｜"
FENCE = re.compile(r"```(?:json|xml)?\s*+")
OBJECT = re.compile(r"(?:\[\s*+)?\{")
BETWEEN_CALLS = re.compile(r"[\s,;]*+")
NAMES = ("name", "tool_name")
ARGUMENTS = ("arguments", "parameters", "args", "input")
BESIDE = {*NAMES, *ARGUMENTS, "type", "id", "function", "tool_call_id"}  # keys that hold no argument by themselves
CACHED = 32  # schemas of one worker
UNREADABLE = (ValueError, TypeError, SyntaxError, RecursionError, MemoryError)  # of JSON and of Python


class Call(NamedTuple):
    """One that can be made."""

    name: str
    arguments: str


def calls_in(text: str, tools: Mapping[str, Tool], limit: int | None = None) -> list[Call]:
    """The whole calls of tools that are offered, so many at most. What is none, or was cut off, is left out."""
    return list(islice(_readable(bare(text), tools), limit))


def bare(text: str) -> str:
    """What a model wrote, without the block of code around it and the control tokens behind it."""
    end = len(text)
    while (at := text.rfind("<", 0, end)) >= 0 and LAST_MARK.fullmatch(text, at, end):
        end = at
    text = text[:end].strip()
    fence = FENCE.match(text)
    return text if fence is None else text[fence.end() :].removesuffix("```").rstrip()


def known(told: str, tools: Mapping[str, Tool]) -> str | None:
    """The tool that is meant: some write the module, or a number, with its name."""
    short = told.rpartition(".")[2]
    return next((name for name in (told, short, short.partition(":")[0]) if name in tools), None)


def words_behind(text: str) -> str:
    """What stands behind the JSON of a call that nothing has ended; of anything else nobody can tell where it ends."""
    begun = text.lstrip()
    try:
        return begun[_json.raw_decode(begun)[1] :] if OBJECT.match(begun) else ""
    except UNREADABLE:
        return ""


def _readable(text: str, tools: Mapping[str, Tool]) -> Iterator[Call]:
    try:
        for told, arguments in _told(text, tools):
            name, written = known(told, tools), _written(arguments)
            if name is not None and written is not None:
                yield Call(name, written)
    except UNREADABLE:
        return  # what came before it counts


def _told(text: str, tools: Mapping[str, Tool]) -> Iterator[tuple[str, Any]]:
    """Names and arguments, whatever they are worth. Raises one of UNREADABLE: no more can be read."""
    if "<function=" in text:
        yield from _tagged(text, tools)
    elif text.startswith(("<invoke ", f"<{DSML}invoke ")):
        yield from _invoked(text.replace(DSML, ""), tools)
    elif OBJECT.match(text):
        yield from _objects(text)
    elif text.startswith('"name"'):
        yield from _objects(f"{{{text}}}")
    elif "<arg_key>" in text:
        name, *parts = text.split("<arg_key>")
        yield name.strip(), _typed([_pair(part) for part in parts], name.strip(), tools)
    elif NAMED.match(text):
        yield from _named(text)
    else:
        yield from _coded(text)


def _objects(text: str) -> Iterator[tuple[str, Any]]:
    at = 0
    while at < len(text):
        value, at = _json.raw_decode(text, at)
        for call in value if isinstance(value, list) else [value]:
            if isinstance(call, dict):
                yield from _of_object(call)
        if (following := BETWEEN_CALLS.match(text, at)) is not None:
            at = following.end()


def _of_object(told: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Under a key that nobody knows arguments may be, and no call is made without its own."""
    function = told.get("function")
    call = {**told, **function} if isinstance(function, dict) else told
    name = next((call[key] for key in NAMES if key in call), function)
    arguments = next((call[key] for key in ARGUMENTS if call.get(key) is not None), None)
    if isinstance(name, str) and (arguments is not None or BESIDE.issuperset(call)):
        yield name, _object(arguments)


def _object(arguments: Any) -> Any:
    """Arguments may be missing, or be JSON inside JSON."""
    if isinstance(arguments, str) and arguments.strip():
        return _json.decode(arguments)
    return arguments or {}


def _tagged(text: str, tools: Mapping[str, Tool]) -> Iterator[tuple[str, Any]]:
    starts = list(FUNCTION.finditer(text))
    ends = [*(start.start() for start in starts[1:]), len(text)]
    for start, end in zip(starts, ends, strict=True):
        body, closed, _ = text[start.end() : end].partition("</function>")
        if "<parameter=" in body:
            if closed:
                pairs = [_parameter(part) for part in body.split("<parameter=")[1:]]
                yield start[1], _typed(pairs, start[1], tools)
        elif "{" in body:
            yield start[1], _json.raw_decode(body, body.index("{"))[0]
        elif closed and body.strip() in ("", ">"):
            yield start[1], {}


def _invoked(text: str, tools: Mapping[str, Tool]) -> Iterator[tuple[str, Any]]:
    for part in text.split("<invoke ")[1:]:
        body, closed, _ = part.partition("</invoke>")
        head, *parameters = body.split("<parameter ")
        named = ATTRIBUTE.fullmatch(head.rstrip())
        if named is not None and closed:
            yield named[1], _typed([_attributed(parameter) for parameter in parameters], named[1], tools)


def _attributed(part: str) -> tuple[str, str]:
    """As `_parameter`, with the name in an attribute."""
    if (key := ATTRIBUTE.match(part)) is None:
        raise ValueError("no name")
    return key[1], _until("</parameter>", part[key.end() :])


def _parameter(part: str) -> tuple[str, str]:
    """What stands between two beginnings. Raises ValueError: it has no end."""
    key, _, rest = part.partition(">")
    return key, _until("</parameter>", rest)


def _pair(part: str) -> tuple[str, str]:
    """The same, where the name has tags of its own."""
    key, _, rest = part.partition("</arg_key>")
    opened, value = rest.lstrip()[: len("<arg_value>")], rest.lstrip()[len("<arg_value>") :]
    if opened != "<arg_value>":
        raise ValueError("no value")
    return key, _until("</arg_value>", value)


def _until(tag: str, text: str) -> str:
    value, closed, _ = text.partition(tag)
    if not closed:
        raise ValueError(f"no {tag}")
    return value


def _named(text: str) -> Iterator[tuple[str, Any]]:
    for part in text.split("[TOOL_CALLS]"):
        if (found := NAMED.match(part)) is not None:
            yield found[1], _json.raw_decode(part, found.end())[0]


def _coded(text: str) -> Iterator[tuple[str, Any]]:
    if len(text) > MAX_CODE_CHARS:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes that are none
        lines = ast.parse(text).body
    for line in lines:
        if isinstance(line, ast.Expr):
            for call in line.value.elts if isinstance(line.value, ast.List) else [line.value]:
                yield from _of_code(call)


def _of_code(call: ast.expr) -> Iterator[tuple[str, Any]]:
    """A call by keywords, as it is or printed."""
    if isinstance(call, ast.Call) and ast.unparse(call.func) == "print" and len(call.args) == 1:
        call = call.args[0]
    if isinstance(call, ast.Call) and not call.args and all(keyword.arg for keyword in call.keywords):
        yield ast.unparse(call.func), {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}


def _typed(pairs: list[tuple[str, str]], told: str, tools: Mapping[str, Tool]) -> dict[str, Any]:
    """Arguments that are all written as text: of what kind each is, only the schema says."""
    name = known(told, tools)
    kinds = _kinds(tools[name].parameters) if name is not None else {}
    return {key.strip(): _value(text, kinds.get(key.strip(), [])) for key, text in pairs}


@lru_cache(CACHED)
def _kinds(parameters: Json | None) -> dict[str, list[Any]]:
    try:
        schema = msgspec.json.decode(parameters or b"{}")
        return {key: _kind(told) for key, told in schema["properties"].items() if isinstance(told, dict)}
    except (*DecodeError, AttributeError, KeyError, TypeError):
        return {}


def _kind(told: dict[str, Any]) -> list[Any]:
    kinds = told.get("type") or [choice.get("type") for choice in told.get("anyOf", ())]
    return kinds if isinstance(kinds, list) else [kinds]


def _value(text: str, kinds: list[Any]) -> Any:
    text = text.removeprefix("\n").removesuffix("\n")
    if "string" in kinds or not any(kinds):
        return text
    for form in (text.strip(), text.strip().lower()):  # True is Python's
        try:
            return _json.decode(form)
        except UNREADABLE:
            continue
    return text


def _written(arguments: Any) -> str | None:
    """As JSON; None: they are no object, or cannot be written."""
    try:
        return msgspec.json.encode(arguments).decode() if isinstance(arguments, dict) else None
    except UNREADABLE:
        return None


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


_json = json.JSONDecoder(strict=False, parse_constant=_no_number)  # with line breaks in strings, as models write them
